"""The pictures of part 5: activities before and after the norm, a unit beside a stronger one, and norms off."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import LRN
from alexnet.data.split import Split
from alexnet.figures.style import FALSE, INK, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.lab.walk import Settings, walk
from alexnet.models.alexnet import AlexNet
from alexnet.models.network import Network
from alexnet.ops.norm import response_norm
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

MOST = 800.0  # the largest activity of a neighbour that is drawn
POINTS = 101
SWITCHES = {
    "both norms on": (True, True),
    "norm2 off": (True, False),
    "norm1 off": (False, True),
    "both off": (False, False),
}


def strongest(net: Network, pictures: Split, number: int) -> tuple[Tensor, tuple[int, int]]:
    """Compute conv1's maps behind the ReLU at the place of a picture where their sum is largest.

    Returns:
        The activities, (1, maps, 1, 1), and the row and column of the place, counted from 0.
    """
    view = net.transform.center_crop(torch.from_numpy(pictures.read([number])))
    with torch.inference_mode():
        maps = net.features(view, "conv1").relu()[0]
    row, column = divmod(int(maps.sum(0).argmax()), maps.shape[2])
    return maps[None, :, row : row + 1, column : column + 1].clone(), (row, column)


def window(net: AlexNet, pictures: Split, number: int, place: tuple[int, int]) -> tuple[np.ndarray, "Rectangle"]:
    """Cut the central view of a picture, and frame the window of it that conv1 reads at a place (row, column)."""
    from matplotlib.patches import Rectangle

    edge, side = net.transform.margin // 2, net.net.kernel_sizes[0]
    view = pictures.read([number])[0, edge : edge + net.transform.size, edge : edge + net.transform.size]
    row, column = (net.net.stride * at - 0.5 for at in place)
    return view, Rectangle((column, row), side, side, fill=False, edgecolor=TRUE, linewidth=2)


def before_and_after(seen: tuple[np.ndarray, "Rectangle"], a: Tensor, b: Tensor, norm: LRN, towers: int) -> "Figure":
    """Draw the activities of all maps at a place, and beneath them by what factor the norm multiplies each.

    Args:
        seen: A view and the frame of the place, as `window` makes them.
        a: Activities, (1, maps, 1, 1).
        b: The same, normalised.
        norm: The numbers; without neighbours a unit of activity 0 has the factor k^-beta.
        towers: Number of towers, between which a line is drawn.
    """
    figure = new_figure(10, 5.6)
    grid = figure.add_gridspec(3, 2, width_ratios=(1, 3))
    shown = figure.add_subplot(grid[0, 0])
    shown.imshow(seen[0])
    shown.add_patch(seen[1])
    shown.set_axis_off()
    above = figure.add_subplot(grid[0, 1])
    middle, below = (figure.add_subplot(grid[row, 1], sharex=above) for row in (1, 2))
    for axes in (above, middle):
        axes.tick_params(labelbottom=False)
    before, maps = a.flatten().numpy(), np.arange(a.numel())
    above.bar(maps, before, 0.6, color=FALSE)
    middle.bar(maps, b.flatten().numpy(), 0.6, color=TRUE, hatch="//", edgecolor="white")
    # Where a is 0, so is b: the factor is that of a unit so weak that it changes no sum.
    probe = torch.where(a == 0, 1e-6, a)
    factor = (response_norm(probe.double(), norm, towers) / probe.double()).flatten().numpy()
    below.bar(maps, factor, 0.6, color=SOFT)
    below.axhline(norm.k**-norm.beta, color=INK, linestyle=":", label="no activity near: k to the power -β")
    for axes in (above, middle, below):
        for border in range(1, towers):
            axes.axvline(border * len(maps) / towers - 0.5, color=INK, linewidth=1)
    below.set(ylim=(0, 1.6 * norm.k**-norm.beta), xticks=maps[::2])
    tidy(above, "", "a, before")
    tidy(middle, "", "b, after")
    tidy(below, "map of conv1; the line separates the towers", "b / a")
    below.legend(frameon=False, fontsize=SMALL, loc="upper right")
    return figure


def beside_a_neighbour(own: float, norm: LRN) -> tuple[np.ndarray, np.ndarray]:
    """Compute b of a unit beside a neighbour of activity 0 to MOST, by the printed formula and by the slides' slip.

    The slip squares the unit's own activity for each of the n maps of the window. That is the norm of a window of one
    map, with n times alpha.
    """
    neighbour = torch.linspace(0, MOST, POINTS, dtype=torch.float64)
    maps = torch.zeros(POINTS, norm.n + 2, 1, 1, dtype=torch.float64)
    middle = maps.shape[1] // 2
    maps[:, middle, 0, 0] = own
    if norm.n > 1:
        maps[:, middle + 1, 0, 0] = neighbour
    slip = LRN(n=1, k=norm.k, alpha=norm.alpha * norm.n, beta=norm.beta)
    right, wrong = (response_norm(maps, each, 1)[:, middle, 0, 0].numpy() for each in (norm, slip))
    return right, wrong


def neighbour(own: float, right: np.ndarray, slip: np.ndarray) -> "Figure":
    """Draw what `beside_a_neighbour` computes."""
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    at = np.linspace(0, MOST, len(right))
    axes.plot(at, right, color=INK, linewidth=2.4, label="squares of the neighbours, as in the paper")
    axes.plot(at, slip, color=TRUE, dashes=(5, 2), linewidth=2, label="squares of the unit itself, as on the slide")
    axes.set(ylim=(0, 1.25 * max(right.max(), slip.max())), xlim=(0, MOST))
    tidy(axes, "activity of the neighbouring map", f"b of a unit with a = {own:g}")
    axes.legend(frameon=False, fontsize=TEXT)
    return figure


def error(net: Network, pictures: Split, on: tuple[bool, bool]) -> float:
    """Compute the top-1 error with one view, with norms switched on or off."""
    wrong = 0
    labels = np.asarray(pictures.labels)
    for first in range(0, len(labels), 50):
        ids = range(first, min(first + 50, len(labels)))
        views = net.transform.center_crop(torch.from_numpy(pictures.read(ids)))
        logits = walk(net, views, Settings(norms=on))[net.order[-1]]
        wrong += int((logits.argmax(1).numpy() != labels[ids]).sum())
    return wrong / len(labels)


def switched(errors: dict[str, float]) -> "Figure":
    """Draw the error of a net with its norms on and off."""
    figure = new_figure(8, 2.6)
    axes = figure.subplots()
    bars = axes.barh(list(errors), [100 * error for error in errors.values()], color=FALSE)
    axes.bar_label(bars, fmt="{:.1f}", padding=3, fontsize=SMALL)
    axes.invert_yaxis()
    axes.set(xlim=(0, max(1, 130 * max(errors.values()))))
    tidy(axes, "top-1 error (%), one view")
    axes.grid(visible=False)
    return figure
