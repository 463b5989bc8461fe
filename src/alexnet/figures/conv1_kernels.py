"""Figure 3: the kernels of conv1, one tower above the other, and a comparison of the towers."""

from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import RunData
from alexnet.figures.style import INK, PALE, SMALL, SOFT, TEXT, footnote, new_figure
from alexnet.figures.tower_statistics import NOISE, measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Kernels of conv1"
CAPTION = (
    "As figure 3 of the paper. Each tile is scaled separately, so brightness cannot be compared between tiles. "
    "Beneath: the colour of each kernel (share of its energy off the grey axis) and its orientation (how strongly its "
    "Fourier energy concentrates along one axis). p is the probability that chance alone separates the towers as far "
    "(permutation test), adjusted for the two measures (Holm)."
)


def draw(run_data: RunData) -> "Figure":
    """Draw figure 3: the run's conv1."""
    run_data.check_convolutional()
    return kernels(run_data.net.state_dict()["conv1.weight"].float().cpu().numpy(), run_data.towers)


def kernels(weight: np.ndarray, towers: int) -> "Figure":
    """Draw kernels as colour tiles, tower 0 above tower 1, and beneath their colour and orientation.

    Args:
        weight: Weights of conv1, float (kernels, 3, side, side). Each tile is scaled separately to 0 to 1.
        towers: Number of towers, 1 or 2; each has an equal share of the kernels, in order.
    """
    canvas, starts, tall = tiles(weight, towers)
    wide = 11.5
    high = max(1.5, min(6.0, wide * canvas.shape[0] / canvas.shape[1]))
    figure = new_figure(12, high + 4.4)
    top, below = figure.subplots(2, 1, height_ratios=[high, 3.2])
    top.imshow(canvas, interpolation="nearest")
    top.set_xticks([])
    names = [f"tower {tower}" for tower in range(towers)] if towers > 1 else []
    middles = [start + (tall - 1) / 2 for start in starts][: len(names)]
    top.set_yticks(middles, names, rotation=90, va="center", color=INK, fontsize=TEXT)
    top.tick_params(length=0)
    top.spines[:].set_visible(False)

    found = measured(weight, towers)
    share = len(weight) // towers
    for tower in range(towers):
        own = slice(tower * share, (tower + 1) * share)
        mark, face = ("o", INK) if tower == 0 else ("^", "white")
        style = {"marker": mark, "edgecolors": INK, "facecolors": face, "zorder": 3}
        name = f"tower {tower}" if towers > 1 else "a kernel"
        below.scatter(found.colour[own], found.orientation[own], s=42, linewidths=1.2, label=name, **style)
        line = "-" if tower == 0 else "--"
        mean = f"{name}, mean colour" if towers > 1 else "mean colour"
        below.axvline(found.colours[tower], color=INK, linewidth=1.8, linestyle=line, label=mean)
    below.axvline(NOISE, color=SOFT, linewidth=1.2, linestyle=":", label="colour of noise")
    below.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
    below.set_xlabel("colour: share of energy off the grey axis", fontsize=TEXT)
    below.set_ylabel("orientation", fontsize=TEXT)
    below.tick_params(labelsize=SMALL)
    below.spines[["top", "right"]].set_visible(False)
    below.grid(color=PALE, linewidth=0.8)
    below.set_axisbelow(True)
    below.legend(fontsize=SMALL, loc="upper right", ncols=2, framealpha=1, edgecolor="none")
    footnote(figure, found.words())
    return figure


def tiles(weight: np.ndarray, towers: int, most: int = 16) -> tuple[np.ndarray, list[int], int]:
    """Arrange the tiles on white; return the picture, the first row of each tower, and the height of a tower.

    Args:
        weight: Kernels (maps, 3, side, side).
        towers: Number of towers, 1 or 2.
        most: Most tiles in a row.
    """
    share, side = len(weight) // towers, weight.shape[-1]
    across = min(most, share)
    down = -(-share // across)
    cell, apart = side + 1, 3
    tall = down * cell - 1
    canvas = np.ones((towers * tall + (towers - 1) * apart, across * cell - 1, 3))
    starts = [tower * (tall + apart) for tower in range(towers)]
    for number, kernel in enumerate(weight):
        tower, place = divmod(number, share)
        y, x = starts[tower] + place // across * cell, place % across * cell
        canvas[y : y + side, x : x + side] = _scaled(kernel.transpose(1, 2, 0))
    return canvas, starts, tall


def _scaled(kernel: np.ndarray) -> np.ndarray:
    low, high = kernel.min(), kernel.max()
    return (kernel - low) / (high - low) if high > low else np.full_like(kernel, 0.5)
