"""Figures of pictures: figure 4, left and right, and what the maps of each layer make of one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.figures.style import FALSE, INK, SMALL, SOFT, TEXT, TRUE, sheet, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 4  # pictures a row of the top-5 panel


def top5(pictures: np.ndarray, truths: Sequence[str], predictions: Sequence[Sequence[tuple[str, float]]]) -> "Figure":
    """Figure 4, left: pictures uint8 (n, S, S, 3), the true label beneath, and the likeliest classes as bars.

    `predictions` holds (class, probability in 0..1) of up to five classes a picture, best first. The bar of the true
    class is red, hatched and in bold.
    """
    across = min(ACROSS, len(pictures))
    down = -(-len(pictures) // across)
    figure = sheet(2.9 * across + 0.4, 4.9 * down)
    grid = figure.subplots(2 * down, across, squeeze=False, height_ratios=[2, 1.6] * down)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (picture, truth, ranked) in enumerate(zip(pictures, truths, predictions, strict=True)):
        row, column = 2 * (number // across), number % across
        shown, bars = grid[row, column], grid[row + 1, column]
        shown.imshow(picture)
        _below(shown, short(truth, 24), weight="bold", fontsize=TEXT)
        for place, (name, probability) in enumerate(ranked):
            right = name == truth
            bars.barh(
                place + 0.22, probability, height=0.34, color=TRUE if right else FALSE, linewidth=0,
                hatch="/////" if right else None, edgecolor="white" if right else FALSE,
            )  # fmt: skip
            bold = "bold" if right else "normal"
            words = {"y": place - 0.01, "va": "bottom", "fontsize": SMALL, "color": INK, "weight": bold}
            bars.text(x=0.02, s=short(name, 22), parse_math=False, **words)
            bars.text(x=1, s=f"{100 * probability:.0f} %", ha="right", **words)
        bars.set(xlim=(0, 1), ylim=(4.5, -0.6))
        bars.axvline(0, color=INK, linewidth=1)
    return figure


def neighbours(
    queries: np.ndarray, asked: Sequence[str], found: np.ndarray, names: Sequence[Sequence[str]], distances: np.ndarray
) -> "Figure":
    """Figure 4, right: query pictures uint8 (q, S, S, 3), and in a row with each the nearest training pictures.

    `asked` are the queries' classes; `found` (q, k, S, S, 3), `names` and `distances` (q, k) are of the nearest, in
    order. A picture of another class than its query has a dashed frame and its class in italics.
    """
    from matplotlib.patches import Rectangle

    count, each = found.shape[:2]
    figure = sheet(1.62 * (each + 1) + 0.7, 2.02 * count + 0.3)
    grid = figure.subplots(count, each + 2, squeeze=False, width_ratios=[1, 0.16, *[1] * each])
    side = queries.shape[1]
    for row in range(count):
        grid[row, 1].set_axis_off()
        for column in range(each + 1):
            axes = grid[row, 0 if column == 0 else column + 1]
            axes.set_axis_off()
            axes.imshow(queries[row] if column == 0 else found[row, column - 1])
            if column == 0:
                _below(axes, short(asked[row], 16), weight="bold", fontsize=SMALL)
                line, style = 3, "solid"
            else:
                name = names[row][column - 1]
                other = name != asked[row]
                words = f"{short(name, 16)}\n{distances[row, column - 1]:.3g}"
                _below(axes, words, style="italic" if other else "normal", fontsize=SMALL)
                line, style = 3 * other, "dashed"
            corner = (-0.5, -0.5)
            frame = Rectangle(corner, side, side, fill=False, edgecolor=INK, clip_on=False, lw=line, ls=style)
            axes.add_patch(frame)
    grid[0, 0].set_title("held out", fontsize=TEXT, color=INK)
    grid[0, 2].set_title("nearest first", fontsize=TEXT, color=INK, loc="left")
    return figure


def maps(picture: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], towers: int, each: int = 4) -> "Figure":
    """The strongest maps of every layer for one picture: `layers` holds (name, (maps, side, side)) from first to last.

    Of each tower the `each` maps with the most energy, tower 0 left, tower 1 right (of one tower twice as many), each
    with its number and scaled on its own; white is the strongest.
    """
    columns = 2 * each
    figure = sheet(12, 1.13 * len(layers) + 0.4)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[2.1, columns])[0]
    shown = left.subplots()
    shown.set_axis_off()
    shown.imshow(picture)
    shown.set_title("the picture", fontsize=TEXT, color=INK)
    grid = right.subplots(len(layers), columns + 1, squeeze=False, width_ratios=[*[1] * each, 0.12, *[1] * each])
    for row, (name, values) in enumerate(layers):
        axes = [a for i, a in enumerate(grid[row]) if i != each]
        grid[row, each].set_axis_off()
        share = len(values) // towers
        order = [
            tower * share + number
            for tower in range(towers)
            for number in strongest(values[tower * share : (tower + 1) * share], columns // towers)
        ]
        for place, a in enumerate(axes):
            a.set_axis_off()
            tower, rank = divmod(place, columns // towers)
            here = tower * min(share, columns // towers) + rank
            if rank >= share or here >= len(order):
                continue
            a.imshow(values[order[here]], cmap="gray", interpolation="nearest", vmin=min(0, values.min()))
            a.text(
                0.03, 0.95, str(order[here]), transform=a.transAxes, va="top", fontsize=9, color="white",
                bbox={"facecolor": "black", "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
        axes[0].text(
            -0.12, 0.5, f"{name}\n{values.shape[1]}²", transform=axes[0].transAxes, ha="right", va="center",
            fontsize=SMALL, color=INK,
        )  # fmt: skip
    if towers > 1:
        for tower in range(towers):
            grid[0, tower * (each + 1)].set_title(f"tower {tower}", loc="left", fontsize=TEXT, color=INK)
    return figure


def strongest(values: np.ndarray, count: int) -> list[int]:
    """The numbers of the maps (n, side, side) with the most energy, strongest first; of equals the first."""
    energy = (values.astype(np.float64) ** 2).sum((1, 2))
    return [int(i) for i in np.argsort(-energy, kind="stable")[:count]]


def chances(
    picture: np.ndarray, truth: str, views: Sequence[tuple[str, float]], masks: Sequence[float], whole: float
) -> "Figure":
    """The true class's probability for each view of one picture, and under each of many dropout masks.

    `views` holds (where the view lies, probability); `masks` are probabilities with half of the units left out at
    random, empty for a net without dropout; `whole` is that with all units, multiplied by what was kept in training.
    """
    figure = sheet(12, 5.2)
    grid = figure.subplots(1, 3 if masks else 2, width_ratios=[1.25, 2, 1.5] if masks else [1, 2])
    shown, bars = grid[0], grid[1]
    shown.set_axis_off()
    shown.imshow(picture)
    _below(shown, short(truth, 22), weight="bold", fontsize=TEXT)
    values = [100 * p for _, p in views]
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    places = range(len(values))
    mirrored = [name.endswith("mirrored") for name, _ in views]
    bars.barh(
        places, values, height=0.62, color=[FALSE if m else SOFT for m in mirrored], edgecolor=INK, linewidth=0.8,
    )  # fmt: skip
    for place, value in zip(places, values, strict=True):
        bars.text(
            min(value, 88) + 1.2, place, f"{value:.0f} %", va="center", fontsize=SMALL, color=INK, zorder=4, bbox=white
        )
    bars.set_yticks(list(places), [name for name, _ in views], fontsize=SMALL)
    bars.invert_yaxis()
    mean = sum(values) / len(values)
    bars.axvline(mean, color=INK, linewidth=2, linestyle="--", label=f"mean of {len(values)} views: {mean:.0f} %")
    bars.set_title("one view at a time (4.1)", fontsize=TEXT, color=INK, loc="left")
    panels = [bars]
    if masks:
        drops = grid[2]
        steps = np.linspace(0, 100, 21)
        drops.hist([100 * p for p in masks], steps, color=FALSE, edgecolor=INK, linewidth=0.8)
        middle = 100 * sum(masks) / len(masks)
        drops.axvline(middle, color=INK, linewidth=2, linestyle="--", label=f"mean of masks: {middle:.0f} %")
        drops.axvline(100 * whole, color=TRUE, linewidth=2.4, label=f"all units, as in testing: {100 * whole:.0f} %")
        drops.set_title(f"{len(masks)} dropout masks (4.2)", fontsize=TEXT, color=INK, loc="left")
        drops.set_ylabel("masks", fontsize=TEXT)
        panels.append(drops)
    for axes in panels:
        axes.set(xlim=(0, 100))
        axes.set_xlabel("probability of the true class (%)", fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


def _below(axes: "Axes", words: str, **style: Any) -> None:
    axes.text(
        0.5, -0.03, words, transform=axes.transAxes, ha="center", va="top", color=INK, parse_math=False, **style
    )  # fmt: skip
