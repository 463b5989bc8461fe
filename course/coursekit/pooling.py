"""The pictures of part 6: pools over a map, which units they choose, and what a shift of the picture changes."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alexnet.figures.style import FALSE, INK, PALE, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.ops import reference
from alexnet.ops.pool import max_pool
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PATCH = 8  # units a side: even, so that pools of 2 and of 3 are as many


def busiest(values: np.ndarray, side: int = PATCH) -> tuple[int, int]:
    """Find the first line and column, both even, of the square of a map whose values differ most."""
    squares = np.lib.stride_tricks.sliding_window_view(values, (side, side))[::2, ::2]
    top, left = np.unravel_index(squares.std((2, 3)).argmax(), squares.shape[:2])
    return 2 * int(top), 2 * int(left)


def maps(view: np.ndarray, before: np.ndarray, after: np.ndarray, frame: tuple[int, int]) -> "Figure":
    """Show a view of a picture, a map of it with a frame around a patch, and the map's pools.

    Args:
        view: Pixels, uint8 (size, size, 3).
        before: The map.
        after: Its pools.
        frame: First line and column of the patch.
    """
    from matplotlib.patches import Rectangle

    figure = new_figure(10, 3.7)
    top, left = frame
    words = f"the view, {view.shape[0]} x {view.shape[0]}"
    for axes, picture, name in zip(
        figure.subplots(1, 3),
        (view, before, after),
        (words, f"the map, {before.shape[0]} x {before.shape[0]}", f"its pools, {after.shape[0]} x {after.shape[0]}"),
        strict=True,
    ):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=before.max(), interpolation="nearest")
        axes.set_title(name, fontsize=TEXT, color=INK)
        axes.set_axis_off()
    figure.axes[1].add_patch(Rectangle((left - 0.5, top - 0.5), PATCH, PATCH, fill=False, edgecolor=TRUE, linewidth=2))
    return figure


def patch(values: np.ndarray, size: int, line: int, column: int) -> "Figure":
    """Draw the numbers of a patch and of its pools, and frame the window of one pool and of the next.

    Args:
        values: The patch, (side, side).
        size: z, the side of a pool.
        line: Line of the pool.
        column: Column of the pool.
    """
    from matplotlib.patches import Rectangle

    # Rounded down: a window past the end of the patch would not be one of the map's.
    taken, index = reference.pool_forward(torch.from_numpy(values)[None, None], size, False, False)
    pools, chosen = taken[0, 0].numpy(), index[0, 0].numpy()
    figure = new_figure(10, 5.4)
    left, right = figure.subplots(1, 2, width_ratios=[len(values), len(pools)])
    numbers(left, values, values.max())
    numbers(right, pools, values.max())
    left.set_title(f"{len(values)} x {len(values)} units, z = {size}, s = 2", fontsize=TEXT, color=INK)
    right.set_title(f"{len(pools)} x {len(pools)} pools", fontsize=TEXT, color=INK)
    for across, colour, style, inset in ((1, SOFT, "--", 0.1), (0, TRUE, "-", 0.0)):
        if column + across < pools.shape[1]:
            corner, width = (2 * (column + across) - 0.5 + inset, 2 * line - 0.5 + inset), size - 2 * inset
            frame = {"fill": False, "edgecolor": colour, "linestyle": style, "linewidth": 3, "clip_on": False}
            left.add_patch(Rectangle(corner, width, width, **frame))  # type: ignore[arg-type]
            right.add_patch(
                Rectangle((column + across - 0.5 + inset / 2, line - 0.5 + inset / 2), 1 - inset, 1 - inset, **frame)  # type: ignore[arg-type]
            )
    down, along = divmod(int(chosen[line, column]), size)
    unit = (2 * column + along - 0.45, 2 * line + down - 0.45)
    left.add_patch(Rectangle(unit, 0.9, 0.9, fill=False, edgecolor=TRUE, linewidth=2, linestyle=":"))
    return figure


def numbers(axes: "Axes", values: np.ndarray, largest: float) -> None:
    """Draw values as shades, each with its number."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.8 * max(largest, 1e-9))  # pale, so that the numbers are legible
    for (line, column), value in np.ndenumerate(values):
        axes.text(column, line, f"{value:.0f}", ha="center", va="center", fontsize=SMALL, color=INK)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(PALE)


def choices(before: Tensor, size: int) -> Tensor:
    """Count, for each unit of maps (N, C, H, W), the pools of a side that chose it."""
    pools, index = reference.pool_forward(before, size, True, False)
    return reference.unpool(torch.ones_like(pools), index, tuple(before.shape), size)


def shares(counts: Tensor) -> list[float]:
    """Compute the share of units that 0, 1, 2, 3 and 4 pools chose."""
    return [float((counts == number).float().mean()) for number in range(5)]


def chosen(before: Tensor, size: int, frame: tuple[int, int], number: int) -> "Figure":
    """Draw how many pools chose each unit of a patch, and the shares of all units by that number, for z = 2 and z.

    Args:
        before: Maps, (1, C, H, W).
        size: z, the side of a pool.
        frame: First line and column of the patch.
        number: Number of the map of the patch.
    """
    top, left = frame
    counts = choices(before, size)
    figure = new_figure(10, 3.8)
    map_axes, axes = figure.subplots(1, 2, width_ratios=[1, 1.7])
    numbers(map_axes, counts[0, number, top : top + PATCH, left : left + PATCH].numpy(), 4)
    map_axes.set_title(f"pools that chose the unit, z = {size}", fontsize=TEXT, color=INK)
    for shift, side, colour, hatch in ((-0.2, 2, FALSE, ""), (0.2, size, TRUE, "//"))[: 1 if size == 2 else 2]:
        values = [100 * share for share in shares(choices(before, side))]
        style = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        label = "z = 2, side by side" if side == 2 else f"z = {size}"
        bars = axes.bar(np.arange(5) + shift, values, 0.38, label=label, **style)
        axes.bar_label(bars, fmt="%.1f", fontsize=SMALL)
    axes.set(xticks=range(5), ylim=(0, 100))
    tidy(axes, "pools that chose a unit", "units of all maps (%)")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def changes(first: Tensor, moved: Tensor, sizes: tuple[int, ...]) -> list[float]:
    """Compute how much pools of each side change between maps, as a share of the norm of the first ones."""
    pairs = [(max_pool(first, size), max_pool(moved, size)) for size in sizes]
    return [float((a - b).norm() / a.norm()) for a, b in pairs]


def shifts(curves: dict[int, list[float]], steps: list[int], shift: int) -> "Figure":
    """Draw the change of pools against the shift of the view.

    Args:
        curves: The change at each shift, 0 to 1, by z.
        steps: The shifts in pixels.
        shift: The shift to mark.
    """
    figure = new_figure(9, 3.8)
    axes = figure.subplots()
    looks = {1: (SOFT, (2, 2)), 2: (INK, (6, 3)), 3: (TRUE, ()), 4: (FALSE, (8, 2, 2, 2))}
    for size, curve in curves.items():
        colour, dashes = looks[size]
        words = " (every second unit)" if size == 1 else " (side by side)" if size == 2 else ""
        axes.plot(steps, [100 * c for c in curve], color=colour, dashes=dashes, linewidth=2, label=f"z = {size}{words}")
        axes.plot(shift, 100 * curve[steps.index(shift)], "o", color=colour)
    axes.axvline(shift, color=PALE, linewidth=2, zorder=0)
    axes.set(ylim=(0, None), xlim=(0, steps[-1]))
    tidy(axes, "shift of the view (pixels)", "change of the pools (%)")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure
