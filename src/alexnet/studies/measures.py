"""What a run's log shows."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Plateau, Recipe
from alexnet.runs import log as runlog
from alexnet.studies import claim


def complete(folder: Path, recipe: Recipe, until: float | None) -> bool:
    """Whether a run has come to its end, or its training error to `until`."""
    log = runlog.read(folder)
    errors = [line["train_error"] for line in log if line["kind"] == "epoch"]
    if until is not None and any(error <= until for error in errors):
        return True
    ended = len(errors) >= recipe.epochs or isinstance(recipe.schedule, Plateau)
    return ended and any(line["kind"] == "final" for line in log)


def logged(log: Sequence[Mapping[str, Any]], recipe: Recipe) -> dict[str, float | None]:
    """What a run's log shows; None for what it does not come to."""
    epochs = [line for line in log if line["kind"] == "epoch"]
    final = next((line for line in log if line["kind"] == "final"), None)
    seen: dict[str, float | None] = {m: final[m] if final else None for m in ("top1", "top5")}
    seen |= {f"one_{m}": final["one_view"][m] if final else None for m in ("top1", "top5")}
    errors, held_out = [e["train_error"] for e in epochs], [e["top1"] for e in epochs]
    seen["until"] = crossing([1 - 1 / recipe.net.classes, *errors], claim.UNTIL)
    start = max(1, round(recipe.epochs / 10))
    seen["early"] = statistics.fmean(errors[:start]) if len(errors) >= start else None
    low = 1.05 * min(held_out, default=0.0)
    seen["settled"] = next((float(i) for i, error in enumerate(held_out, 1) if error <= low), None)
    return seen


def crossing(errors: Sequence[float], level: float) -> float | None:
    """Where a line through the errors after epoch 0, 1, 2... first comes down to `level`; None where it does not."""
    for i, error in enumerate(errors):
        if error <= level:
            above = errors[i - 1] if i else error
            return i - 1 + (above - level) / (above - error) if i else 0.0
    return None
