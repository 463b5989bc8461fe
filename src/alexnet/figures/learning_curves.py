"""Learning curves, with their diagnosis in words: underfitting, overfitting or neither (bias and variance)."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.core.errors import InputError
from alexnet.figures.run_data import RunData, evenly_spaced
from alexnet.figures.style import INK, PALE, SMALL, SOFT, TEXT, TRUE, footnote, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST = 0.1  # share of the error of chance below which an error, or a difference of errors, is small
TRAINING = 500  # training pictures that the finished net is evaluated on, as in validation

TITLE = "Learning curves"
CAPTION = (
    "Training loss and error are measured during training, with dropout and random views; validation uses one central "
    f"view. The diamond is the error of the finished net on up to {TRAINING} training pictures, evaluated as in "
    "validation. A dotted line marks a fall of the learning rate."
)


def draw(run_data: RunData) -> "Figure":
    """Draw the learning curves of a run, with its final training error if the net and the store can be read."""
    from alexnet.runs import log

    try:
        split = run_data.store["train"]
        ids = evenly_spaced(TRAINING, len(split))
        error = float(np.mean(run_data.predicted(split, ids) != split.labels[ids]))
    except InputError:
        error = None
    return curves(log.read(run_data.run), len(run_data.classes), error)


def curves(log: Sequence[Mapping[str, Any]], classes: int, training_error: float | None = None) -> "Figure":
    """Draw loss and error against epochs, with their `reading` beneath.

    Chance is a loss of ln(classes) and an error of 1 - 1 / classes.

    Args:
        log: Lines of a run's log.
        classes: Number of classes.
        training_error: Error rate of the finished net on training pictures, evaluated as in validation.

    Raises:
        InputError: The log holds neither steps nor epochs.
    """
    epochs = [line for line in log if line["kind"] == "epoch"]
    ends = {line["step"] for line in epochs}  # the last batch of an epoch may be small, and its numbers noisy
    steps = [line for line in log if line["kind"] == "step" and line["step"] not in ends]
    if not epochs and not steps:
        raise InputError("no step has been logged yet")
    # A step is logged every ten seconds. In a short run the means over epochs are finer.
    if len(steps) > len(epochs):
        training = [(s["epoch"], s["loss"], s["error"]) for s in steps]
    else:
        training = [(e["epoch"], e["train_loss"], e["train_error"]) for e in epochs]
    validation = [(e["epoch"], e["nats"], e["top1"], e["top5"]) for e in epochs]

    figure = new_figure(12, 6.4)
    loss, error = figure.subplots(1, 2)
    loss.axhline(math.log(classes), color=SOFT, dashes=(6, 3), linewidth=1.2, label=f"chance, ln {classes:,}")
    _line(loss, training, 1, "training", color=SOFT, linewidth=1.3)
    _line(loss, validation, 1, "validation", color=INK, linewidth=2.4, marker="o")
    error.axhline(100 - 100 / classes, color=SOFT, dashes=(6, 3), linewidth=1.2, label="chance, top-1")
    _line(error, training, 2, "training, top-1", 100, color=SOFT, linewidth=1.3)
    _line(error, validation, 2, "validation, top-1", 100, color=INK, linewidth=2.4, marker="o")
    if classes > 5:
        _line(error, validation, 3, "validation, top-5", 100, color=INK, linewidth=1.8, linestyle="--", marker="s")
    end = max([t[0] for t in training] + [e["epoch"] for e in epochs])
    if training_error is not None:
        words = f"training, as in validation: {100 * training_error:.1f} %"
        error.plot(end, 100 * training_error, "D", color=INK, mfc="white", mew=2, ms=9, label=words, clip_on=False)
    final = next((line for line in reversed(log) if line["kind"] == "final"), None)
    if final and epochs:
        label = f"{final['views']} views, top-1: {100 * final['top1']:.1f} %"
        last = epochs[-1]["epoch"], 100 * final["top1"]
        error.plot(*last, "*", color=TRUE, markersize=16, label=label, clip_on=False, zorder=3)

    loss.set(ylim=(0, None))
    loss.set_ylabel("loss (nats a picture)", fontsize=TEXT)
    error.set(ylim=(0, 103))
    error.set_ylabel("error (%)", fontsize=TEXT)
    for axes in (loss, error):
        axes.set_xlabel("epoch", fontsize=TEXT)
        axes.set(xlim=(0, end))
        for epoch, rate in _drops([*steps, *epochs]):
            axes.axvline(epoch, color=SOFT, linestyle=":", linewidth=1.2)
            axes.annotate(
                f"rate {rate:.2g}",
                (epoch, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                color=SOFT,
            )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelsize=TEXT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=SMALL)
    footnote(figure, reading(log, classes, training_error))
    return figure


def reading(log: Sequence[Mapping[str, Any]], classes: int, training_error: float | None = None) -> str:
    """Diagnose underfitting, overfitting or neither, with the paper's remedies (slides, supplement 1).

    The validation error is split into the training error (bias: the net has not learnt its training pictures) and the
    rest (variance: what it learnt does not generalize). The larger part decides, unless both are below a tenth of the
    error of chance. `training_error` replaces the error measured during training, which dropout and random views
    increase.
    """
    last = next((line for line in reversed(log) if line["kind"] == "epoch"), None)
    if last is None:
        return "No epoch is complete yet: too early to say whether the net underfits or overfits."
    bias = last["train_error"] if training_error is None else training_error
    validation = last["top1"]
    gap, chance = validation - bias, 1 - 1 / classes
    how = (
        "measured with dropout and random views, so rather high"
        if training_error is None
        else "evaluated as in validation"
    )
    numbers = (
        f"Training error {100 * bias:.1f} % ({how}), validation {100 * validation:.1f} %: "
        f"bias {100 * bias:.1f}, variance {100 * max(0.0, gap):.1f} points."
    )
    if bias > 0.9 * chance:
        return (
            f"Underfitting: hardly better than chance, {100 * chance:.1f} %. {numbers} Check the learning rate and "
            "the scale of the input before the size of the net."
        )
    if max(bias, gap) <= SMALLEST * chance:
        return (
            f"Neither underfitting nor overfitting. {numbers} Both are small. The next step in the paper is a "
            "larger net with more pictures (section 7)."
        )
    both = min(bias, gap) > SMALLEST * chance
    if bias >= gap:
        also = " Variance is not small either, so apply the remedies for overfitting too (4.1, 4.2)." if both else ""
        return (
            f"Underfitting: most of the error is already there in training (high bias). {numbers} The paper's "
            "remedies: a larger, deeper net and longer training (section 7), a lower learning rate when progress "
            "stops, and "
            f"weight decay, which lowered its training error (5).{also}"
        )
    also = " Bias is not small either, so train a larger net for longer too (7)." if both else ""
    return (
        f"Overfitting: what the net learnt holds less for other pictures (high variance). {numbers} The paper's "
        "remedies: more pictures by crops, mirrors and colour noise (4.1), dropout (4.2), weight decay (5)."
        f"{also}"
    )


def _line(
    axes: "Axes", points: Sequence[tuple[float, ...]], column: int, label: str, scale: float = 1, **style: Any
) -> None:
    if points:
        if "marker" in style:
            style |= {"markersize": 5, "markevery": -(-len(points) // 20)}
        axes.plot([p[0] for p in points], [scale * p[column] for p in points], label=label, **style)


def _drops(lines: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """List (epoch, new rate) wherever the learning rate falls."""
    ordered = sorted(lines, key=lambda line: line["step"])
    return [(after["epoch"], after["rate"]) for before, after in pairwise(ordered) if after["rate"] < before["rate"]]
