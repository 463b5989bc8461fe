"""Verdicts on claims from records alone, without a store or weights."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config.recipe import Net, Recipe
from alexnet.core.errors import InputError
from alexnet.studies import claims, designs
from alexnet.studies.apart import ladder_bases, of_claims
from alexnet.studies.averages import FIVE
from alexnet.studies.claim import Claim, Expect
from alexnet.studies.measures import lowest_training_error, measured
from alexnet.studies.plan import best_variant
from alexnet.studies.record import Average, Record, Records, arm_digest, read_records
from alexnet.studies.statistics import (
    FEWEST,
    Estimate,
    Judgement,
    compare,
    crossed,
    decide,
    holm,
    jackknife,
    overall,
    pooled_sd,
)


@dataclass(frozen=True)
class Comparison:
    """An expectation with its estimate from the records, before all claims are judged together."""

    expect: Expect
    estimate: Estimate | None
    larger: Mapping[int, float | None]  # by seed
    smaller: Mapping[int, float | None]
    sd: float | None = None
    why: str = ""

    @property
    def seeds(self) -> int:
        """Number of seeds with a value, in the arm that has fewer."""
        return min(sum(v is not None for v in arm.values()) for arm in (self.larger, self.smaller))


@dataclass(frozen=True)
class Finding:
    """A claim with the runs of its arms on one scale, and a comparison for each expectation."""

    claim: Claim
    base: str
    scale: tuple[str, str]
    arms: Mapping[str, Mapping[int, Record]]
    comparisons: Sequence[Comparison]
    averages: Sequence[Average] = field(default_factory=tuple)

    @property
    def seeds(self) -> int:
        """Number of seeds of the judged arm that has the fewest."""
        return min((c.seeds for c in self.comparisons if c.expect.judged), default=0)

    @property
    def record(self) -> Record:
        """Any one of the runs, for the values that all share."""
        return next(r for arm in self.arms.values() for r in arm.values())


def judge_folder(folder: str | Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Judge every claim for which a folder holds records.

    The verdicts are "holds", "opposite", "absent" and "not shown"; docs/studies.md defines them.

    Args:
        folder: Folder of records that `alexnet study` wrote, at any depth, on any machine.

    Returns:
        A dictionary for each claim, in the order of the paper, as `row` makes it; and a line for each file left out.
        Differences of errors are rates (0.014 is 1.4 points), those of losses are in nats.

    Raises:
        InputError: The folder does not exist or holds no record of a run.
    """
    records = read_records(Path(folder))
    left = [f"left out: {one.path}: {one.why}" for one in records.left]
    if not records.runs:
        more = f"; {len(left)} are left out, the first {left[0].removeprefix('left out: ')}" if left else ""
        raise InputError(f"folder {folder} holds no record of a run{more}; make some with 'alexnet study --records'")
    return judge_records(records), left


def judge_records(records: Records) -> list[dict[str, Any]]:
    """Judge every claim of the paper that has records.

    Each claim is judged on the scale of its own design, or else on the scale with the most seeds.

    Args:
        records: Records from `read_records`.

    Returns:
        A dictionary for each claim, in the order of the paper, as `row` makes it. Under "also" it holds the results on
        other scales, each judged alone.
    """
    records = of_claims(records)
    found = [(claim, findings(claim, records)) for claim in claims.ALL]
    shown = [(claim, each) for claim, each in found if each]
    firsts = judge_together([each[0] for _, each in shown])
    rows = []
    for (_, each), (finding, judgements) in zip(shown, firsts, strict=True):
        others = [row(f, j) for other in each[1:] for f, j in judge_together([other])]
        rows.append(row(finding, judgements) | {"also": others})
    return rows


def comparisons(rows: Sequence[Mapping[str, Any]]) -> int:
    """Count the comparisons among rows of `judge_records` that were judged together, and p adjusted for."""
    return sum(e["judged"] and e["p_holm"] is not None for row in rows for e in row["expects"])


def judge_together(found: Sequence[Finding]) -> list[tuple[Finding, list[Judgement]]]:
    """Judge findings together: their p values are adjusted for the number of judged comparisons (Holm 1979)."""
    judged = [c for f in found for c in f.comparisons if c.expect.judged]
    adjusted = iter(holm([c.estimate.p if c.estimate and c.seeds >= FEWEST and not c.why else None for c in judged]))

    def of(f: Finding) -> list[Judgement]:
        return [judgement(f.claim, c, next(adjusted) if c.expect.judged else None) for c in f.comparisons]

    return [(f, of(f)) for f in found]


def judgement(claim: Claim, c: Comparison, p_holm: float | None) -> Judgement:
    """Judge one expectation; one that is only shown keeps its own p value."""
    p = p_holm if c.expect.judged or c.estimate is None or c.seeds < FEWEST else c.estimate.p
    margin = claim.margin
    return decide(c.estimate, p_holm=p, margin=margin, paper=c.expect.paper, ratio=c.expect.ratio, why=c.why, sd=c.sd)


def findings(claim: Claim, records: Records) -> list[Finding]:
    """List the scales on which the records decide a claim: its own design first, then by number of seeds."""
    found = dict[tuple[Any, ...], tuple[bool, Finding]]()
    for scale in dict.fromkeys(r.scale for r in records.runs):
        of_scale = [r for r in records.runs if r.scale == scale]
        for own, name, base in (ladder_bases if claim.steps else bases)(claim, of_scale):
            try:
                variants = designs.arms_of(claim, base)
            except InputError:
                continue
            fits = not claim.room or base.net.image_size < of_scale[0].plain["store"]["side"]
            if not fits or (claim.shape and not isinstance(base.net, Net)):
                continue
            key = (*scale, *sorted(arm_digest(r) for r in variants.values()))
            if key not in found and (finding := finding_of(claim, name, variants, records, scale)):
                found[key] = own, finding
    ordered = sorted(found.items(), key=lambda item: (not item[1][0], -item[1][1].seeds, item[0]))
    return [finding for _, (_, finding) in ordered]


def bases(claim: Claim, records: Sequence[Record]) -> Iterable[tuple[bool, str, Recipe]]:
    """Yield the possible base recipes of a claim: its design's, and those of the records themselves."""
    store = records[0].plain["store"]
    try:
        name, recipe, pictures = designs.base_of(claim, store["side"], None)
        own = pictures is None or pictures == store["pictures"]
        yield own, name, recipe.replace(net={"classes": store["classes"]})
    except InputError:
        pass
    for recipe in {r.arm: r.recipe.replace(seed=0, start=None) for r in records}.values():
        if type(recipe.net) is type((claim.base or designs.GROUNDS["A"].recipe).net):
            yield False, f"{recipe.digest}, {recipe.epochs} epochs", recipe


def finding_of(
    claim: Claim, base: str, variants: Mapping[str, Recipe], records: Records, scale: tuple[str, str]
) -> Finding | None:
    """Collect the records of a claim's arms and compare them; None while a judged arm has no run.

    The steps of a ladder are compared one by one, as far as there are runs.
    """
    chosen = dict(variants)
    for arm in claim.tune:
        if best := best_variant(claim, arm, variants, records, scale):
            chosen[arm] = variants[best]
    runs = {n: judged_runs(records.of(arm_digest(r) + "+" * (n in claim.first), scale)) for n, r in chosen.items()}
    judged = {arm for e in claim.expects if e.judged for arm in (e.larger, e.smaller)}
    if not claim.steps and not all(runs.get(arm) for arm in judged):
        return None
    arms = {n: of for n, of in runs.items() if of}
    averages = [a for a in records.averages if a.plain["precision"] == scale[1]]
    others = sorted({key[0] for key in records.by_arm if key[1:] == scale})
    pool = {arm: judged_runs(records.of(arm, scale)) for arm in others}
    compared = [comparison(e, arms, averages, pool) for e in claim.expects]
    if not any(c.seeds for c in compared if c.expect.judged) or claim.first.keys() - arms.keys():
        return None  # there is no average of nets yet, or no net that trained on other pictures first
    return Finding(claim, base, scale, arms, compared, averages)


def judged_runs(runs: Mapping[int, Record]) -> dict[int, Record]:
    """Select the runs of an arm that count, by seed in order; those that choose a learning rate do not."""
    return {seed: runs[seed] for seed in sorted(runs) if seed < designs.TUNING_SEED}


def comparison(
    e: Expect,
    arms: Mapping[str, Mapping[int, Record]],
    averages: Sequence[Average],
    pool: Mapping[str, Mapping[int, Record]],
) -> Comparison:
    """Compare the two arms of an expectation."""
    if e.larger not in arms or e.smaller not in arms:
        return Comparison(e, None, {}, {}, why="an arm has no run yet")
    larger, smaller = arms[e.larger], arms[e.smaller]
    if e.smaller_measure and e.smaller_measure.startswith("ensemble"):
        return of_average(e, larger, averages)
    if e.smaller_measure:
        return of_same_nets(e, larger, pool)
    both = (*larger.values(), *smaller.values())
    level = max(lowest_training_error(r) for r in both) if e.measure == "even_gap" else None
    values = [{seed: measured(r, e.measure, level) for seed, r in of.items()} for of in (larger, smaller)]
    lost = [seed for of in values for seed, value in of.items() if value is None]
    why = f"{len(lost)} of {len(both)} runs give no value" if lost else ""
    same = {r.arm for r in both}
    scale = {(r.recipe.epochs, r.recipe.sgd.batch) for r in both}
    beside = [
        [v for r in of.values() if (v := measured(r, e.measure, level)) is not None]
        for arm, of in pool.items()
        if arm not in same and scale & {(r.recipe.epochs, r.recipe.sgd.batch) for r in of.values()}
    ]
    known = [[v for v in of.values() if v is not None] for of in values]
    if e.ratio:
        logs = [list(np.log(of)) if all(v > 0 for v in of) else [] for of in (*known, *beside)]
        known, beside = logs[:2], logs[2:]
    return Comparison(e, compare(known[0], known[1], beside), values[0], values[1], pooled_sd([*known, *beside]), why)


def of_same_nets(e: Expect, runs: Mapping[int, Record], pool: Mapping[str, Mapping[int, Record]]) -> Comparison:
    """Compare two measures of the same nets: all that trained on these pictures for as long and have room for crops."""
    first = next(iter(runs.values()))
    epochs, side = first.recipe.epochs, first.plain["store"]["side"]
    nets = [
        r
        for _, of in sorted(pool.items())
        for r in of.values()
        if r.recipe.epochs == epochs and r.recipe.net.image_size < side and isinstance(r.recipe.net, Net)
    ] or list(runs.values())
    assert e.smaller_measure
    larger = {i: measured(r, e.measure) for i, r in enumerate(nets)}
    smaller = {i: measured(r, e.smaller_measure) for i, r in enumerate(nets)}
    gains = [a - b for a, b in zip(larger.values(), smaller.values(), strict=True) if a is not None and b is not None]
    if len(gains) < 2:
        return Comparison(e, None, larger, smaller)
    by_picture = np.mean([r.right["ten"] - r.right["one"] for r in nets], axis=0)
    pictures = standard_error(by_picture) if e.measure == "one_top1" else 0.0
    return Comparison(e, crossed(gains, pictures), larger, smaller, statistics.stdev(gains))


def of_average(e: Expect, runs: Mapping[int, Record], averages: Sequence[Average]) -> Comparison:
    """Compare single nets with averages of five, from the largest record whose nets all have records."""
    by_key = {r.key: (seed, r) for seed, r in runs.items()}
    fitting = [a for a in averages if set(a.members) <= by_key.keys() and a.plain["size"] == min(FIVE, len(a.members))]
    singles = {seed: measured(r, e.measure) for seed, r in runs.items()}
    if not fitting:
        return Comparison(e, None, singles, {}, why="no record of an average of these nets")
    average = max(fitting, key=lambda a: (len(a.members), a.key))
    members = [by_key[key] for key in average.members]
    each = np.array([measured(r, e.measure) for _, r in members], float)
    whole = float(average.plain["errors"][e.measure])
    without = average.plain["without"][e.measure]
    gains = [float(np.delete(each, i).mean()) - without[i] for i in range(len(each))]
    name = "ten" if e.measure == "top1" else "five"
    by_picture = average.right(e.measure) - np.mean([r.right[name] for _, r in members], axis=0)
    estimate = jackknife(float(each.mean()) - whole, gains, standard_error(by_picture))
    larger = {seed: float(value) for (seed, _), value in zip(members, each, strict=True)}
    return Comparison(e, estimate, larger, dict.fromkeys(larger, whole), float(each.std(ddof=1)))


def standard_error(values: np.ndarray) -> float:
    """Compute the standard error of the mean over pictures."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def row(finding: Finding, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Make the JSON of a claim: its numbers are those of the judged expectation with the largest p value."""
    claim = finding.claim
    both = list(zip(finding.comparisons, judgements, strict=True))
    judged = [(c, j) for c, j in both if c.expect.judged]
    weakest, main = max(judged, key=lambda pair: 2.0 if pair[1].p is None else pair[1].p)
    store = finding.record.plain["store"]
    return {
        "claim": claim.name,
        "section": claim.section,
        "verdict": overall([j.verdict for _, j in judged]),
        "difference": main.difference,
        "low": main.low,
        "high": main.high,
        "p": main.p,
        "p_holm": main.p_holm,
        "seeds": finding.seeds,
        "paper": weakest.expect.paper,
        "paper_inside": main.paper_inside,
        "log": weakest.expect.log,
        "ratio": weakest.expect.ratio,
        "margin": claim.margin,
        "measure": weakest.expect.measure,
        "larger": weakest.expect.larger,
        "smaller": weakest.expect.smaller,
        "why": main.why,
        "needed_paper": main.needed_paper,
        "base": finding.base,
        "scale": scale_words(finding),
        "kind": store["kind"],
        "pictures": store["pictures"],
        "epochs": finding.record.recipe.epochs,
        "store": store["digest"],
        "precision": finding.scale[1],
        "expects": [expectation(c, j) for c, j in both],
    }


def expectation(c: Comparison, j: Judgement) -> dict[str, Any]:
    """Make the JSON of one expectation."""
    e = c.expect
    return {
        "larger": e.larger,
        "smaller": e.smaller,
        "measure": e.measure,
        "smaller_measure": e.smaller_measure,
        "judged": e.judged,
        "ratio": e.ratio,
        "paper": e.paper,
        "log": e.log,
    } | j.plain()


def scale_words(finding: Finding) -> str:
    """Write the scale of the experiment in words."""
    record, claim = finding.record, finding.claim
    store, epochs = record.plain["store"], record.recipe.epochs
    until = f" at most, to a training error of {claim.until:.0%}" if claim.until else ""
    return (
        f"{store['pictures']:,} pictures of {store['classes']:,} classes, {store['side']} pixels a side, judged on "
        f"{store['held_out']:,}, recipe {finding.base}, {epochs} epoch{'s' * (epochs > 1)}{until}"
    )
