"""Measures of a run, read from its record, and the test that a run is complete."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Plateau, Recipe
from alexnet.runs import log as runlog
from alexnet.studies import claim
from alexnet.studies.record import Record

HELD_OUT_CURVE = ("even_gap", "settled")  # measures that need the held-out errors of all epochs
EASY = 0.05  # relative distance from the lowest validation error at which an epoch counts as settled


def complete(folder: Path, recipe: Recipe, until: float | None) -> bool:
    """Check whether a run has reached its end, or its training error `until`."""
    log = runlog.read(folder)
    errors = [line["train_error"] for line in log if line["kind"] == "epoch"]
    if until is not None and any(error <= until for error in errors):
        return True
    ended = len(errors) >= recipe.epochs or isinstance(recipe.schedule, Plateau)
    return ended and any(line["kind"] == "final" for line in log)


def measured(record: Record, measure: str, level: float | None = None) -> float | None:
    """Return a measure of a run, or None if the run did not reach the point where it is taken.

    Args:
        record: The run's record.
        measure: Key of `claim.MEASURES`, except those of an ensemble.
        level: Training error, 0 to 1, at which "even_gap" compares.

    Returns:
        An error rate from 0 to 1, a loss in nats, or a number of epochs.
    """
    errors: Mapping[str, Any] = record.plain["errors"]
    curve = record.curve
    if measure in ("top1", "top5", "nats"):
        return float(errors["ten_views"][measure])
    if measure in ("one_top1", "one_top5"):
        return float(errors["one_view"][measure.removeprefix("one_")])
    if measure in ("train", "train_nats"):
        return float(errors["train"]["top1" if measure == "train" else "nats"])
    if measure == "gap":
        return float(errors["one_view"]["top1"] - errors["train"]["top1"])
    if measure == "until":
        chance = 1 - 1 / record.recipe.net.classes
        return crossing([chance, *(line["train_error"] for line in curve)], claim.UNTIL)
    if measure == "early":
        return curve[0]["train_loss"] if curve else None
    if not record.curve_is_whole:
        return None
    if measure == "settled":
        low = (1 + EASY) * min((line["top1"] for line in curve), default=0.0)
        return next((float(i) for i, line in enumerate(curve, 1) if line["top1"] <= low), None)
    assert measure == "even_gap", measure
    return None if level is None else held_out_at(curve, level)


def crossing(errors: Sequence[float], level: float) -> float | None:
    """Compute after how many epochs the training error falls to `level`; None if it does not.

    `errors` begins with the error of chance, at epoch 0. The error of epoch i is a mean over the epoch, so it is placed
    at its middle, i - 1/2.
    """
    points = [(max(0.0, i - 0.5), error) for i, error in enumerate(errors)]
    for i, (at, error) in enumerate(points):
        if error <= level:
            before, above = points[i - 1] if i else (at, error)
            return at if above == error else before + (at - before) * (above - level) / (above - error)
    return None


def lowest_training_error(record: Record) -> float:
    """Return the lowest training error of any epoch."""
    return min((line["train_error"] for line in record.curve), default=1.0)


def held_out_at(curve: Sequence[Mapping[str, float]], level: float) -> float | None:
    """Interpolate the held-out error at the point where the training error first falls to `level`."""
    for i, line in enumerate(curve):
        if line["train_error"] <= level:
            if not i:
                return line["top1"]
            before = curve[i - 1]
            part = (before["train_error"] - level) / (before["train_error"] - line["train_error"])
            return before["top1"] + part * (line["top1"] - before["top1"])
    return None
