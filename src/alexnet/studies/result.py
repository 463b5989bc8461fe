"""The contents of OUT/NAME.json, the result of a claim."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.config import overrides
from alexnet.config.recipe import Recipe
from alexnet.runs import log as runlog
from alexnet.runs.environment import commit
from alexnet.studies.claim import MEASURES, Expect
from alexnet.studies.judge import Comparison, Finding, comparison, expectation, judged_runs
from alexnet.studies.measures import measured
from alexnet.studies.plan import StudyPlan
from alexnet.studies.record import Records, arm_digest
from alexnet.studies.statistics import Judgement, overall


def finding_of_plan(plan: StudyPlan, records: Records, precision: str) -> Finding:
    """Collect and compare the records of a plan's arms, even if some arms have no run."""
    scale = plan.store.digest, precision
    arms = {n: judged_runs(records.of(arm_digest(of[0]), scale)) if of else {} for n, of in plan.arms.items()}
    pool = {key[0]: judged_runs(of) for key, of in sorted(records.by_arm.items()) if key[1:] == scale}
    averages = [a for a in records.averages if a.plain["precision"] == precision]
    there = {n: of for n, of in arms.items() if of}
    compared = [comparison(e, there, averages, pool) for e in plan.claim.expects]
    return Finding(plan.claim, plan.base, scale, there, compared, averages)


def result(
    plan: StudyPlan,
    finding: Finding,
    judgements: Sequence[Judgement],
    failed: Mapping[str, str],
    out: Path,
    folder_of: Callable[[Recipe], Path],
    precision: str,
) -> dict[str, Any]:
    """Make the contents of OUT/NAME.json."""
    claim, recipes, store = plan.claim, plan.recipes, plan.store
    failures = [{"digest": d, "seed": recipes[d].seed, "why": why} for d, why in failed.items() if d in recipes]
    expects = [compared(c, j) for c, j in zip(finding.comparisons, judgements, strict=True)]
    verdict = overall([e["verdict"] for e in expects if e["judged"]])
    first = next(iter(recipes.values()))
    folders = [f for f in map(folder_of, recipes.values()) if f.is_dir()]
    return {
        "claim": claim.name,
        "section": claim.section,
        "words": claim.words,
        "paper": claim.paper,
        "log": claim.log,
        "verdict": "not shown" if failures and verdict != "not shown" else verdict,
        "scale": f"{len(store['train']):,} pictures of {len(store.classes):,} classes, "
        f"{store.side} pixels a side, recipe {plan.base}, {first.epochs} epoch{'s' * (first.epochs > 1)}"
        + (f" at most, to a training error of {claim.until:.0%}" if claim.until else "")
        + earlier(plan),
        "seeds": finding.seeds,
        "expects": expects,
        "rows": rows(plan, finding),
        "arms": {name: arm(plan, name, finding, out, folder_of) for name in plan.arms},
        "measures": {m: MEASURES[m] for m in asked(claim.expects)},
        "notes": [*claim.notes, "Intervals are over seeds: they cover other nets trained on the same pictures."],
        "failed": failures,
        "seconds": round(sum(runlog.total_seconds(runlog.read(f)) for f in folders), 1),
        "recipe": {"name": plan.base, "epochs": first.epochs},
        "store": {"path": str(store.path.resolve()), "kind": store.kind, "digest": store.digest},
        "precision": precision,
        "commit": commit(),
    }


def asked(expects: Sequence[Expect]) -> list[str]:
    """List the measures to show for each run."""
    named = {m for e in expects for m in (e.measure, e.smaller_measure or e.measure)}
    return [m for m in MEASURES if m in named | {"top1", "top5", "one_top1", "one_top5"}]


def arm(plan: StudyPlan, name: str, finding: Finding, out: Path, folder_of: Callable[[Recipe], Path]) -> dict[str, Any]:
    """Describe an arm: its recipes, its run folders, and each measure by seed, or one value for averages."""
    recipes, runs = plan.arms[name], finding.arms.get(name, {})
    shown = [m for m in asked(plan.claim.expects) if m != "even_gap" and not m.startswith("ensemble")]
    seen = {m: [measured(runs[r.seed], m) if r.seed in runs else None for r in recipes] for m in shown}
    for c in finding.comparisons:
        if c.expect.smaller == name and (c.expect.smaller_measure or "").startswith("ensemble") and c.smaller:
            seen[str(c.expect.smaller_measure)] = [next(iter(c.smaller.values()))]
    return {
        "differs": differs(plan, name),
        "digests": [r.digest for r in recipes],
        "runs": [folder_of(r).relative_to(out).as_posix() for r in recipes],
        "measures": seen,
    }


def compared(c: Comparison, j: Judgement) -> dict[str, Any]:
    """Describe an expectation and its result, under today's names and those of JSON before 0.2.0."""
    e = c.expect
    both = [s for s in c.larger if s in c.smaller]
    pairs = [(c.larger[s], c.smaller[s]) for s in both]
    steps = [None if a is None or b is None else (a / b if b else None) if e.ratio else a - b for a, b in pairs]
    before = {"more": e.larger, "less": e.smaller, "than": e.smaller_measure, "mean": j.difference}
    return before | expectation(c, j) | {"differences": steps}


def rows(plan: StudyPlan, finding: Finding) -> list[dict[str, Any]]:
    """Make the rows of a claim's table that have records; a row about one net is the mean over its arm."""
    made = []
    for row in plan.claim.rows:
        each = {
            m: [measured(r, m) or 0.0 for arm in row.nets for r in finding.arms.get(arm, {}).values()]
            for m in ("top1", "top5")
        }
        if any(len(finding.arms.get(arm, {})) < count for arm, count in row.nets.items()):
            continue
        count, found = sum(row.nets.values()), {m: sum(values) / len(values) for m, values in each.items()}
        if count > 1:
            nets = {r.key for arm, n in row.nets.items() for r in list(finding.arms[arm].values())[:n]}
            same = [a for a in finding.averages if set(a.members) == nets and a.plain["size"] == count]
            if not same:
                continue
            found = dict(same[0].plain["errors"])
        made.append(
            {"model": row.model, "nets": dict(row.nets), "top1": found["top1"], "top5": found["top5"]}
            | {f"each_{m}": values for m, values in each.items()}
        )
    return made


def earlier(plan: StudyPlan) -> str:
    """Describe the pictures that some arms trained on first."""
    if not (plan.first and plan.more):
        return ""
    pictures, classes = len(plan.more["train"]), len(plan.more.classes)
    return f"; {', '.join(plan.claim.first)} first as long on {pictures:,} of {classes:,} classes"


def differs(plan: StudyPlan, arm: str) -> dict[str, list[str]]:
    """List the recipe fields in which an arm differs from the first arm, with both values."""
    first, own = (
        {n: v for n, v, _ in overrides.describe_fields(plan.arms[a][0])} for a in (next(iter(plan.arms)), arm)
    )
    return {n: [first.get(n, "none"), own.get(n, "none")] for n in overrides.differing_names(first, own)}
