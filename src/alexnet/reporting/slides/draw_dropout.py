"""Pictures of dropout for the slides; the masks are those of the package's own dropout."""

import itertools
from typing import TYPE_CHECKING

from alexnet.figures.style import INK, LARGE, PALE, SOFT, TEXT, TOWERS, TRUE, new_figure
from alexnet.reporting.slides.draw_nets import blank, column, join, paper_net, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = (4, 5, 5, 3)  # of the net that is thinned: inputs, two hidden layers, outputs
THINNED = 3
INPUTS, WEIGHTS = (1.0, 2.0, 0.5, 3.0), (0.4, -0.3, 0.8, 0.5)  # of one unit


def mask(count: int, layer: str, step: int) -> list[bool]:
    """Draw which units of a layer dropout keeps in a step, with the paper's probability."""
    import torch

    from alexnet.ops.dropout import dropout

    kept = dropout(torch.ones(1, count), paper_net().dropout, 0, layer, step, 0)
    return [bool(value) for value in kept[0].tolist()]


def net(axes: "Axes", kept: list[list[bool]], width: float = 4.2) -> None:
    """Draw a small net without the units that are dropped; `kept` has a list for each layer."""
    blank(axes, width, 5)
    places = [column(count, 0.45 + x * (width - 0.9) / 3, 4.8) for x, count in enumerate(UNITS)]
    for x, (before, after) in enumerate(itertools.pairwise(places)):
        for i, a in enumerate(before):
            for j, b in enumerate(after):
                if kept[x][i] and kept[x + 1][j]:
                    join(axes, a, b, linewidth=1.0)
    for of, units in zip(kept, places, strict=True):
        for stays, at in zip(of, units, strict=True):
            unit(axes, at, TOWERS[0] if stays else "white", "" if stays else "×", radius=0.26,
                 **({} if stays else {"linestyle": ":"}))  # fmt: skip


def whole() -> list[list[bool]]:
    """Return the mask that keeps every unit."""
    return [[True] * count for count in UNITS]


def thinned_mask(step: int) -> list[list[bool]]:
    """Return the mask of a step: inputs and outputs stay, as in the paper."""
    return [
        [True] * UNITS[0], mask(UNITS[1], "fc6", step), mask(UNITS[2], "fc7", step), [True] * UNITS[3],
    ]  # fmt: skip


def thinned() -> "Figure":
    """Draw a small net, and the thinned nets of some steps of training."""
    figure = new_figure(12, 4.6)
    for place, axes in enumerate(figure.subplots(1, 1 + THINNED)):
        net(axes, thinned_mask(place) if place else whole())
        words = f"step {place}" if place else "without dropout"
        axes.set_title(words, fontsize=LARGE, color=INK, weight="bold")
    return figure


def pair() -> "Figure":
    """Draw a net without and with dropout side by side."""
    figure = new_figure(10, 4.8)
    for axes, of, words in zip(
        figure.subplots(1, 2), (whole(), thinned_mask(1)), ("without dropout", "with dropout"), strict=True
    ):
        net(axes, of)
        axes.set_title(words, fontsize=LARGE, color=INK, weight="bold")
    return figure


def two_times() -> "Figure":
    """Draw one unit in training and in testing: what it hands on, and its mean over many masks."""
    p = paper_net().dropout
    value = 3.0
    kept = sum(sum(mask(500, "fc6", step)) for step in range(4)) / 2000
    figure = new_figure(12, 4.2)
    for axes, words, out in zip(
        figure.subplots(1, 2),
        ("training: present with probability", "testing: always present"),
        (f"{value:g} or 0", f"{1 - p:g} × {value:g} = {(1 - p) * value:g}"),
        strict=True,
    ):
        training = words.startswith("training")
        blank(axes, 8, 4)
        unit(axes, (2.2, 2.2), TOWERS[0], f"y = {value:g}", radius=0.8, **({"linestyle": "--"} if training else {}))
        axes.annotate("", (6.4, 2.2), (3.1, 2.2), arrowprops={"arrowstyle": "-|>", "linewidth": 2.2})
        axes.text(4.7, 2.45, out, ha="center", fontsize=LARGE + 2, color=INK)
        axes.set_title(f"{words} {1 - p:g}" if training else words, fontsize=LARGE, weight="bold", color=INK)
        mean = (
            f"mean over 2,000 masks: {kept * value:.2f}"
            if training
            else f"the mean that training has: {(1 - p) * value:g}"
        )
        axes.text(4.0, 0.6, mean, ha="center", fontsize=LARGE, color=TRUE)
    return figure


def sum_of(kept: list[bool]) -> float:
    """Compute the unit's sum over the inputs that stay."""
    return sum(y * w for y, w, stays in zip(INPUTS, WEIGHTS, kept, strict=True) if stays)


def one_unit(with_dropout: bool) -> "Figure":
    """Draw one unit's sum with its numbers, with a mask or without."""
    kept = mask(len(INPUTS), "fc6", 4) if with_dropout else [True] * len(INPUTS)
    figure = new_figure(11, 4.6)
    axes = figure.subplots()
    blank(axes, 11, 4.8)
    places = column(len(INPUTS), 1.2, 4.6, 1.15)
    target = (6.2, 2.3)
    for i, (at, stays) in enumerate(zip(places, kept, strict=True)):
        unit(axes, at, TOWERS[0] if stays else "white", f"{INPUTS[i]:g}", radius=0.42)
        join(axes, at, target, color=INK if stays else PALE, linewidth=1.6)
        middle = (at[0] + 0.38 * (target[0] - at[0]), at[1] + 0.38 * (target[1] - at[1]))
        axes.text(*middle, f"w = {WEIGHTS[i]:g}", fontsize=TEXT, color=INK if stays else SOFT, ha="center",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        if with_dropout:
            axes.text(at[0] - 0.62, at[1], f"r = {int(stays)}", ha="right", va="center", fontsize=TEXT,
                      color=INK if stays else TRUE)  # fmt: skip
    total = sum_of(kept)
    unit(axes, target, TOWERS[1], "Σ", radius=0.55)
    axes.annotate("", (7.9, 2.3), (6.8, 2.3), arrowprops={"arrowstyle": "-|>", "linewidth": 2})
    axes.text(8.0, 2.3, f"z = {total:g}\ny = max(0, z) = {max(0, total):g}", va="center", fontsize=LARGE, color=INK)
    axes.set_xlim(-0.4, 11)
    return figure


def plain_unit() -> "Figure":
    """Draw a unit's sum without dropout."""
    return one_unit(False)


def masked_unit() -> "Figure":
    """Draw a unit's sum with dropout of its inputs."""
    return one_unit(True)
