"""The results of evaluations that are kept in a run, in words for a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet.core.text import percent
from alexnet.runs import results
from alexnet.runs.progress import Progress
from alexnet.runs.run import Run

ROWS = 20  # results shown of a run
WORST = 5  # classes named of a split


def kept(folder: Path) -> dict[str, Any]:
    """Describe the results that are kept in a run.

    Returns:
        "rows", a line for each result; "classes", the classes of each split that are found least, by its first result;
        "more", the number of results that are not shown; "left", the files that are left out, and why.
    """
    run = Run(folder)
    found = results.read(run)
    shown = found.records[:ROWS]
    firsts = {record["split"]: record for record in reversed(shown)}
    own = _digest(run)
    return {
        "rows": [_row(record, own) for record in shown],
        "classes": [_classes(split, firsts[split]) for split in results.SPLITS if split in firsts],
        "more": len(found.records) - len(shown),
        "left": [{"file": path.relative_to(folder).as_posix(), "why": why} for path, why in found.left],
    }


def balance(measures: Mapping[str, Any]) -> str:
    """Write the balanced error with its interval."""
    return _between(measures["balanced_error"], measures["balanced_interval"])


def _digest(run: Run) -> str:
    try:
        return str(run.environment["store_digest"])
    except ValueError:  # lost or altered
        return ""


def _row(record: Mapping[str, Any], own: str) -> dict[str, str]:
    seen, (at,) = record["measures"], record["checkpoints"]
    progress = Progress("", at["checkpoint"], at["step"], at["epoch"], at["epochs"], at["finished"])
    always = seen["best_constant_error"] if seen["majority_error"] is None else seen["majority_error"]
    views = f"{record['views']} view{'s' * (record['views'] != 1)}"
    chosen = "" if record["among"] == "run" else ", among the store's classes"
    return {
        "split": record["split"] + ("" if record["store_digest"] == own else f" of {Path(record['store']).name}"),
        "how": f"{views}, {record['precision']}{chosen}",
        "at": progress.words(),
        "top1": _between(record["top1"], record["top1_interval"]),
        "balanced": balance(seen),
        "always": percent(always),
        "calibration": percent(seen["calibration_error"]),
        "pictures": f"{record['images']:,}",
    }


def _classes(split: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Name the classes of a split with the lowest recall."""
    present = [each for each in record["per_class"] if each["pictures"]]
    worst = sorted(present, key=lambda each: (each["recall"], -each["pictures"]))[:WORST]
    lost = len(record["measures"]["never_found"])
    return {
        "split": split,
        "lost": f"{lost:,} of {len(present):,} classes {'is' if lost == 1 else 'are'} never found" if lost else "",
        "worst": [f"{each['class']} {percent(each['recall'])} of {each['pictures']:,}" for each in worst],
    }


def _between(rate: float, interval: Any) -> str:
    low, high = interval
    return f"{percent(rate)} ({100 * low:.1f} to {100 * high:.1f})"
