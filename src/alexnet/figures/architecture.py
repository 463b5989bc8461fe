"""Figure 2: the net as boxes, one tower above the other, with each layer's weights and the joins of the towers."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alexnet.figures.run_data import RunData
from alexnet.figures.style import INK, SMALL, SOFT, TEXT, TOWERS, new_figure, title
from alexnet.models.layer_table import Convolution, Dropout, Layer, Local, Norm, Op, Pool

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from alexnet.models.network import Network

APART = 1.25  # distance of each tower's middle from the middle of the figure

TITLE = "Architecture"
CAPTION = (
    "Figure 2 of the paper, drawn from the net of this run. Each layer shows its output (maps × side²), its kernels, "
    "the norm or pool that follows (a pool as side/stride), and the number of its weights, biases included."
)


def draw(run_data: RunData) -> "Figure":
    """Draw figure 2 for the net of a run."""
    import torch

    from alexnet.models import build

    with torch.device("meta"):
        return architecture(build.build(run_data.recipe.net, 0))


def architecture(net: "Network") -> "Figure":
    """Draw the layers as boxes, one tower above the other; the height shows the maps' side, the width their number.

    Lines cross where a layer reads both towers. The last layer belongs to neither tower. All numbers, and the layers in
    which the towers meet, come from models.layer_table.
    """
    from matplotlib.lines import Line2D

    layers = net.layers
    shown = [layer for layer in layers if layer.weighted]
    towers = getattr(net.net, "towers", 1)
    figure = new_figure(max(7.5, 1.42 * (len(shown) + 1)), 6.6 if towers > 1 else 4.8)
    axes = figure.subplots()
    axes.set_axis_off()
    high = APART + 1.1 if towers > 1 else 1.25
    axes.set(xlim=(-0.55, len(shown) + 0.5), ylim=(-high - 1.15, high + 0.15))

    spots = [_box(axes, 0, 0.0, 3, net.net.image_size, net.net.image_size, TOWERS[0])]
    rows: list[list[tuple[float, float, float]]] = [spots]
    for x, layer in enumerate(shown, 1):
        parts = towers if x < len(shown) else 1
        middles = [APART, -APART] if parts == 2 else [0.0]
        rows.append(
            [
                _box(axes, x, y, layer.maps // parts, layer.side, net.net.image_size, TOWERS[i])
                for i, y in enumerate(middles)
            ]
        )
        _lines(axes, rows[-2], rows[-1], layer.groups == 1)
    for x, column in enumerate([["input", "kernels", "then", "weights"], *(said(layers, layer) for layer in shown)]):
        for line, words in enumerate(column):
            name, heading = line == 0, line > 0 and x == 0
            axes.text(
                x,
                -high - 0.02 - 0.235 * line,
                words,
                ha="center",
                va="top",
                fontsize=TEXT if name else SMALL,
                weight="bold" if name else "normal",
                style="italic" if heading else "normal",
                color=INK if name or (line == 3 and x) else SOFT,
            )
    if towers > 1:
        for tower, y in enumerate((APART, -APART)):
            axes.text(-0.5, y, f"tower {tower}", rotation=90, ha="center", va="center", fontsize=TEXT, color=INK)
        marks = [Line2D([], [], color=INK, lw=1.2), Line2D([], [], color=INK, lw=1.6, ls=(0, (4, 2)))]
        axes.legend(
            marks,
            ["within a tower", "from the other tower"],
            loc="upper right",
            frameon=False,
            fontsize=SMALL,
            bbox_to_anchor=(1, 1.03),
        )
    weights, adds = (sum(getattr(layer, n) for layer in layers) for n in ("weights", "multiply_adds"))
    title(figure, f"{weights:,} weights, {sum(layer.units for layer in layers):,} units, {_large(adds)} multiply-adds")
    return figure


def said(layers: Sequence[Layer], layer: Layer) -> list[str]:
    """List the text beneath a layer: its name, its kernels, the norm, pool or dropout that follow, and its weights."""
    op, what = layer.op, "full"
    if isinstance(op, Convolution):
        what = f"{op.size} × {op.size}" + (f", stride {op.stride}" if op.stride > 1 else "")
    elif isinstance(op, Local):
        what = "3 × 3, unshared"
    after = layers[layers.index(layer) + 1 :]
    after = list(itertools.takewhile(lambda each: not each.weighted, after))
    words = dict.fromkeys(filter(None, (short(each.op) for each in after)))
    return [layer.name, what, ", ".join(words), f"{layer.weights:,}"]


def short(op: Op) -> str:
    """Name an operation between the layers with weights in a word or two; "" for one that the figure leaves out."""
    if isinstance(op, Pool):
        return f"{op.kind} {op.size}/2"
    if isinstance(op, Norm):
        return "norm"
    return f"dropout {op.p:g}" if isinstance(op, Dropout) and op.p else ""


def _box(
    axes: "Axes", x: float, y: float, maps: int, side: int, largest: int, colour: str
) -> tuple[float, float, float]:
    """Draw a box for maps x side x side, with its size; return its x, y and half width."""
    from matplotlib.patches import Polygon

    tall = 1.75 * (side / largest) ** 0.48 if side > 1 else 0.021 * maps**0.5
    wide = 0.025 * maps**0.5 if side > 1 else 0.16
    deep = 0.3 * tall if side > 1 else 0.05
    left, right, low, top = x - wide / 2, x + wide / 2, y - tall / 2, y + tall / 2
    style: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.1, "zorder": 2, "joinstyle": "round"}
    slant = (0.35 * deep, 0.5 * deep)
    upper = [(left, top), (left + slant[0], top + slant[1]), (right + slant[0], top + slant[1]), (right, top)]
    flank = [(right, top), (right + slant[0], top + slant[1]), (right + slant[0], low + slant[1]), (right, low)]
    axes.add_patch(Polygon([(left, low), (left, top), (right, top), (right, low)], facecolor=colour, **style))
    axes.add_patch(Polygon(upper, facecolor="white", **style))
    axes.add_patch(Polygon(flank, facecolor="#d3d8de", **style))
    size = f"{maps} × {side}²" if side > 1 else f"{maps:,}"
    under = y < 0  # the lines of a join pass above the lower tower
    at, where = (low - 0.07, "top") if under else (top + slant[1] + 0.05, "bottom")
    axes.text(x if under else x + slant[0] / 2, at, size, ha="center", va=where, fontsize=TEXT, color=INK)
    return x, y, wide / 2 + slant[0] / 2


def _lines(
    axes: "Axes", before: list[tuple[float, float, float]], after: list[tuple[float, float, float]], joined: bool
) -> None:
    """Draw the arrows to a layer: from the same tower, and from the other tower where they meet."""
    for i, (x, y, half) in enumerate(after):
        for j, (x0, y0, half0) in enumerate(before):
            other = len(before) == len(after) == 2 and i != j
            if other and not joined:
                continue
            axes.annotate(
                "",
                (x - half - 0.03, y),
                (x0 + half0 + 0.05, y0),
                zorder=1,
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": INK,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "lw": 1.6 if other else 1.2,
                    "linestyle": (0, (4, 2)) if other else "-",
                },
            )


def _large(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e9 else f"{number / 1e6:.1f} million"
