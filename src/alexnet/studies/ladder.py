"""Judge ladders: studies whose arms are steps, from one net to another, and not about claims of the paper."""

from collections.abc import Mapping
from typing import Any

from alexnet.studies import claims
from alexnet.studies.judge import Finding, findings, judge_together, row
from alexnet.studies.measures import measured
from alexnet.studies.record import Record, Records
from alexnet.studies.statistics import mean


def judge_ladders(records: Records) -> list[dict[str, Any]]:
    """Judge the steps of each ladder that has records, on its own scale.

    Args:
        records: Records from `read_records`.

    Returns:
        For each ladder the dictionary of `judge.row`, with the rungs under "rungs", the lowest first. A step without
        runs has no numbers. The p values are adjusted for the steps of the ladder (Holm 1979), not for the paper's
        claims.
    """
    rows = []
    for claim in claims.LADDERS:
        if found := findings(claim, records):
            ((finding, judgements),) = judge_together(found[:1])
            rows.append(row(finding, judgements) | {"rungs": rungs(finding)})
    return rows


def rungs(finding: Finding) -> list[dict[str, Any]]:
    """List the rungs of a ladder with the errors of their runs; a rung without runs has none."""
    steps = [e for e in finding.claim.expects if e.judged]
    names = [steps[0].larger, *(e.smaller for e in steps)]
    return [{"rung": name} | of_runs(finding.arms.get(name, {})) for name in names]


def of_runs(runs: Mapping[int, Record]) -> dict[str, Any]:
    """Describe the runs of a rung: the seeds, their errors with ten views, means, and the learning rate."""
    top1 = [measured(r, "top1") or 0.0 for r in runs.values()]
    others = {m: [measured(r, m) or 0.0 for r in runs.values()] for m in ("nats", "train")}
    return {
        "seeds": list(runs),
        "each_top1": top1,
        "top1": mean(top1) if top1 else None,
        **{name: mean(values) if values else None for name, values in others.items()},
        "lr": next((r.recipe.sgd.lr for r in runs.values()), None),
    }


def steps_of(ladder: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the judged steps of a ladder, in the order of the rungs that they lead to."""
    return [e for e in ladder["expects"] if e["judged"]]
