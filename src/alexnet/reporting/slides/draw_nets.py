"""Pictures of nets for the slides: all numbers come from the layer table of recipe paper, the net of the text."""

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.figures.style import FALSE, INK, LARGE, PALE, SMALL, SOFT, TEXT, TOWERS, TRUE, new_figure
from alexnet.models.layer_table import Convolution, Layer, Pool, describe, layers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHES = ("", "///")  # told apart without colour


@cache
def paper_net() -> Net:
    """Return the net that the paper prints."""
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    return net


def architecture() -> "Figure":
    """Draw figure 2 of the paper from the net of recipe paper."""
    import torch

    from alexnet.figures.architecture import architecture
    from alexnet.models.build import build

    with torch.device("meta"):
        return architecture(build(paper_net(), 0))


def weights() -> "Figure":
    """Draw each layer's share of the weights and of the multiply-adds."""
    layers = [layer for layer in layers_of(paper_net()) if layer.weighted]
    figure = new_figure(12, 4.5)
    for axes, name, words in zip(
        figure.subplots(1, 2, sharey=True), ("weights", "multiply_adds"), ("weights", "multiply-adds"), strict=True
    ):
        whole = sum(getattr(layer, name) for layer in layers)
        for y, layer in enumerate(layers):
            share = 100 * getattr(layer, name) / whole
            convolution = isinstance(layer.op, Convolution)
            axes.barh(y, share, color=TOWERS[not convolution], edgecolor=INK, hatch=HATCHES[not convolution])
            axes.text(share + 1, y, f"{getattr(layer, name):,}", va="center", fontsize=TEXT, color=INK)
        axes.set(xlim=(0, 100), ylim=(len(layers) - 0.4, -0.6))
        axes.set_yticks(range(len(layers)), [layer.name for layer in layers], fontsize=LARGE)
        axes.set_title(f"{words}: {whole:,}", loc="left", fontsize=LARGE, color=INK, weight="bold")
        axes.set_xlabel("share, %", fontsize=TEXT)
        bare(axes)
    return figure


def bare(axes: "Axes") -> None:
    """Take away the frame of a chart, and leave its vertical lines."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def blank(axes: "Axes", width: float, height: float) -> None:
    """Make axes without a frame, from 0 to `width` and `height`, with equal units."""
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")


def column(count: int, x: float, height: float, most: float = 0.9) -> list[tuple[float, float]]:
    """Place units one above the other, from the top, in the middle of the height."""
    apart = min(most, height / count)
    return [(x, height / 2 + apart * ((count - 1) / 2 - i)) for i in range(count)]


def unit(axes: "Axes", at: tuple[float, float], colour: str = TOWERS[0], words: str = "", **style: Any) -> None:
    """Draw a unit as a circle, with words in it."""
    from matplotlib.patches import Circle

    radius = style.pop("radius", 0.3)
    axes.add_patch(Circle(at, radius, facecolor=colour, edgecolor=INK, linewidth=1.2, zorder=2, **style))
    if words:
        axes.text(*at, words, ha="center", va="center", fontsize=TEXT, color=INK, zorder=3)


def join(axes: "Axes", a: tuple[float, float], b: tuple[float, float], **style: Any) -> None:
    """Draw a connection between two units."""
    axes.plot([a[0], b[0]], [a[1], b[1]], zorder=1, **dict[str, Any]({"color": SOFT, "linewidth": 0.8} | style))


def fully_connected() -> "Figure":
    """Draw fc6 to fc8 as a fully connected net, some units of each layer, with the numbers of all."""
    figure = new_figure(12, 5)
    axes = figure.subplots()
    blank(axes, 12, 5)
    layers = [layer for layer in layers_of(paper_net()) if layer.weighted][-3:]
    inputs = ("input vector", layers[0].inputs, None)
    shown = [inputs, *((layer.name, layer.maps, layer) for layer in layers)]
    places = [column(count, 1.5 + 3 * x, 4.4, 0.75) for x, count in enumerate((6, 5, 5, 4))]
    for before, after in itertools.pairwise(places):
        for a in before:
            for b in after:
                join(axes, a, b)
    for x, ((name, count, layer), units) in enumerate(zip(shown, places, strict=True)):
        for at in units:
            unit(axes, at, "white" if layer is None else TOWERS[x == 3], radius=0.24)
        words = f"{name}: {count:,}" + (" units" if layer else "")
        axes.text(units[0][0], 4.95, words, ha="center", va="top", fontsize=LARGE, weight="bold", color=INK)
        if layer:
            axes.text(units[0][0] - 1.5, 0.05, f"{layer.weights:,} weights", ha="center", fontsize=TEXT, color=INK)
    return figure


def volumes() -> "Figure":
    """Draw the output of each stage of the net as a box of width, height and depth."""
    from matplotlib.patches import Polygon

    layers = describe(paper_net())
    named = {layer.name: layer for layer in layers}
    side = paper_net().image_size
    shown = [("input", 3, side), *((n, named[n].maps, named[n].side) for n in ("conv1", "pool1", "pool2", "pool5"))]
    figure = new_figure(12, 5)
    axes = figure.subplots()
    blank(axes, 12, 5)
    x = 0.3
    for name, maps, across in shown:
        tall, deep = 3.1 * (across / side) ** 0.5, 0.12 * maps**0.5
        slant, low = 0.28 * tall, 1.0
        front = [(x, low), (x, low + tall), (x + deep, low + tall), (x + deep, low)]
        top = [(x, low + tall), (x + slant, low + 1.2 * tall), (x + slant + deep, low + 1.2 * tall), front[2]]
        flank = [front[2], top[2], (top[2][0], low + 0.2 * tall), front[3]]
        for corners, colour in ((front, TOWERS[0]), (top, "white"), (flank, PALE)):
            axes.add_patch(Polygon(corners, facecolor=colour, edgecolor=INK, linewidth=1.2, joinstyle="round"))
        middle = x + (deep + slant) / 2
        axes.text(middle, 0.78, name, ha="center", va="top", fontsize=LARGE, weight="bold", color=INK)
        axes.text(middle, 0.4, f"{across} × {across} × {maps}", ha="center", va="top", fontsize=TEXT, color=INK)
        x += deep + slant + 0.8
    axes.annotate("depth", (0.37, 4.15), (0.2, 4.75), fontsize=TEXT, color=TRUE, arrowprops={"arrowstyle": "-"})
    axes.text(0.12, 2.5, "height", rotation=90, ha="center", va="center", fontsize=TEXT, color=TRUE)
    axes.text(1.5, 4.85, "width", ha="center", va="center", fontsize=TEXT, color=TRUE)
    axes.set_xlim(-0.1, x)
    return figure


def fields() -> list[tuple[str, int, int]]:
    """List each convolution and pool with the side of its receptive field in pixels, and the step between fields."""
    found, size, step = [], 1, 1
    for layer in describe(paper_net()):
        if isinstance(layer.op, (Convolution, Pool)):
            stride = layer.op.stride if isinstance(layer.op, Convolution) else 2
            size += (layer.op.size - 1) * step
            step *= stride
            found.append((layer.name, size, step))
    return found


def receptive() -> "Figure":
    """Draw what one unit of each convolution sees of a view, and the column of units that see one patch."""
    from matplotlib.patches import Rectangle

    from alexnet.data.sources.drawings import draw

    net = paper_net()
    side = net.image_size
    margin = (256 - side) // 2
    view = draw(3)[margin : margin + side, margin : margin + side]
    figure = new_figure(12, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    left.imshow(view)
    left.set_axis_off()
    shown = [each for each in fields() if each[0].startswith("conv")]
    for name, size, _ in shown:
        start = (side - size) / 2
        box: dict[str, Any] = {"fill": False, "edgecolor": TRUE, "linewidth": 2.2}
        left.add_patch(Rectangle((start, start), size, size, **box))
        left.text(
            start + size, start, f" {name} {size}", va="bottom", ha="right", fontsize=TEXT, color="white",
            weight="bold",
            bbox={"facecolor": INK, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    left.set_title(f"One unit's receptive field in a view of {side} pixels", loc="left", fontsize=LARGE, color=INK)

    first = next(layer for layer in layers_of(net) if layer.name == "conv1")
    assert isinstance(first.op, Convolution)
    blank(right, 10, 8)
    grid(right, 0.1, 1.5, 5.4, first.op.size)
    for i in range(5):
        unit(right, (6.4 + 0.75 * i, 4.8), TOWERS[0], radius=0.32)
        join(right, (3.7, 5.1), (6.1 + 0.75 * i, 4.8))
        join(right, (3.7, 3.3), (6.1 + 0.75 * i, 4.8))
    right.text(9.85, 4.8, "…", fontsize=LARGE, ha="center", va="center")
    right.text(6.2, 5.5, f"{first.maps} units, one a map,", fontsize=TEXT, color=INK)
    right.text(6.2, 3.9, f"read the same\n{first.op.size} × {first.op.size} × {first.seen} inputs", fontsize=TEXT,
               va="top", color=INK)  # fmt: skip
    right.set_title("conv1: the units at one place", loc="left", fontsize=LARGE, color=INK)
    return figure


def grid(axes: "Axes", x: float, y: float, side: float, window: int) -> None:
    """Draw pixels as a grid, with the window of a kernel in the middle."""
    from matplotlib.patches import Rectangle

    count, reach = 15, 5
    cell = side / count
    axes.add_patch(Rectangle((x, y), side, side, facecolor="white", edgecolor=SOFT, zorder=0.4))
    for i in range(1, count):
        axes.plot([x + i * cell] * 2, [y, y + side], color=PALE, linewidth=0.8, zorder=0.6)
        axes.plot([x, x + side], [y + i * cell] * 2, color=PALE, linewidth=0.8, zorder=0.6)
    low = x + reach * cell
    red: dict[str, Any] = {"facecolor": "#f4cfc9", "edgecolor": TRUE, "linewidth": 2, "zorder": 0.8}
    axes.add_patch(Rectangle((low, y + reach * cell), reach * cell, reach * cell, **red))
    axes.text(low + reach * cell / 2, y + (reach + reach / 2) * cell, f"{window} × {window}", ha="center", va="center",
              fontsize=LARGE, color=INK)  # fmt: skip


def towers() -> "Figure":
    """Draw the layers in two rows, one a GPU, with a star at each layer that reads both."""
    layers: list[Layer] = [layer for layer in layers_of(paper_net()) if layer.weighted]
    figure = new_figure(12, 5)
    axes = figure.subplots()
    blank(axes, 12.4, 5)
    rows = {0: 3.6, 1: 1.5}
    for x, layer in enumerate(layers):
        both = layer.groups == 1 and x > 0
        last = x == len(layers) - 1
        for tower, y in rows.items():
            place = (1.6 + 1.42 * x, sum(rows.values()) / 2 if last else y)
            box(axes, place, layer.name, f"{layer.maps if last else layer.maps // 2:,}", TOWERS[tower])
            if x:
                before = 1.6 + 1.42 * (x - 1) + 0.5
                axes.annotate("", (place[0] - 0.52, place[1]), (before, y), arrowprops={"arrowstyle": "-|>"}, zorder=1)
                if both and not last:
                    other = rows[1 - tower]
                    style = {"arrowstyle": "-|>", "linestyle": (0, (4, 2)), "linewidth": 1.4}
                    axes.annotate("", (place[0] - 0.52, place[1]), (before, other), arrowprops=style, zorder=1)
        if both:
            star = (1.6 + 1.42 * x - 0.71, sum(rows.values()) / 2)
            axes.plot(*star, marker="*", markersize=26, color=TRUE, markeredgecolor=INK, zorder=4)
    for tower, y in rows.items():
        axes.text(0.1, y, f"GPU {tower + 1}", va="center", fontsize=LARGE, weight="bold", color=INK)
    axes.text(0.1, 0.25, "★  the layer reads both GPUs; solid: from its own GPU, dashed: from the other", fontsize=TEXT,
              color=INK, family="DejaVu Sans")  # fmt: skip
    return figure


def box(axes: "Axes", at: tuple[float, float], name: str, words: str, colour: str = FALSE) -> None:
    """Draw a layer as a box with its name and a word."""
    from matplotlib.patches import FancyBboxPatch

    x, y = at
    style: dict[str, Any] = {
        "boxstyle": "round,pad=0.06",
        "facecolor": colour,
        "edgecolor": INK,
        "linewidth": 1.2,
        "zorder": 2,
    }
    axes.add_patch(FancyBboxPatch((x - 0.4, y - 0.5), 0.8, 1.0, **style))
    axes.text(x, y + 0.2, name, ha="center", va="center", fontsize=LARGE, weight="bold", color=INK, zorder=3)
    axes.text(x, y - 0.22, words, ha="center", va="center", fontsize=TEXT, color=INK, zorder=3)
