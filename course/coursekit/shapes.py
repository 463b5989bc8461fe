"""The pictures of part 2: windows over a line of inputs, weights and work of layers, and what a unit sees."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.style import FALSE, INK, PALE, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.models.layer_table import Layer, formula, output_side, overhang
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def windows(width: int, size: int, stride: int, padding: int, first: int = 0) -> "Figure":
    """Draw a line of inputs with its padding, and beneath it the windows that a layer reads.

    What a window reads past the padding is hatched: zeros that only the rounding up needs.

    Args:
        width: W, the number of inputs.
        size: F, the inputs of a window.
        stride: S, the inputs from one window to the next.
        padding: P, the zeros at each end.
        first: First input to draw, for a long line.
    """
    from matplotlib.patches import Rectangle

    sides, over = output_side(width, size, stride, padding), overhang(width, size, stride, padding)
    shown = [place for place in range(sides) if place * stride - padding >= first - padding]
    rows = min(len(shown), 1 + (size - 1) // stride)
    figure = new_figure(10, 1.3 + 0.32 * rows)
    axes = figure.subplots()
    for place in range(first - padding * (first == 0), width + padding + over):
        inside, hanging = 0 <= place < width, place >= width + padding
        style = {"facecolor": FALSE if inside else "white", "edgecolor": TRUE if hanging else SOFT, "linewidth": 1}
        axes.add_patch(Rectangle((place, 0.2), 1, 1, hatch="////" if hanging else None, **style))  # type: ignore[arg-type]
        if not inside:
            axes.text(place + 0.5, 0.7, "0", ha="center", va="center", fontsize=SMALL, color=INK)
    for number, place in enumerate(shown):
        start, row = place * stride - padding, number % rows
        last = place == sides - 1
        colour = TRUE if last and over else INK
        axes.plot([start + 0.15, start + size - 0.15], [-0.3 - 0.55 * row] * 2, color=colour, linewidth=4)
    axes.set(xlim=(first - padding - 0.5, width + padding + over + 0.5), ylim=(-0.5 - 0.55 * rows, 1.4), yticks=[])
    tidy(axes, f"input; {sides} windows" + (f", from input {first} on" if first else ""))
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    return figure


def written(width: int, size: int, stride: int, padding: int = 0) -> str:
    """Write out the size formula with its numbers, without the stars that Markdown would take."""
    return formula(width, size, stride, padding).replace("*", " · ")


def rows(layers: Sequence[Layer]) -> str:
    """Write layers as rows of a table of Markdown: formula, output, weights, multiply-adds."""
    lines = list[str]()
    for layer in layers:
        numbers = f"{layer.weights:,} | {layer.multiply_adds:,}" if layer.weighted else " | "
        shape = f"{layer.maps} × {layer.side} × {layer.side}"
        lines.append(
            f"| **{layer.name}** | {layer.working.replace('*', ' · ').replace('->', '→')} | {shape} | {numbers} |"
        )
    return "\n".join(lines)


def weights_and_work(layers: Sequence[Layer]) -> "Figure":
    """Draw each layer's share of the weights and of the multiply-adds."""
    own = [layer for layer in layers if layer.weighted]
    figure = new_figure(10, 3.4)
    axes = figure.subplots()
    places = np.arange(len(own))
    for shift, name, colour, hatch in ((-0.2, "weights", FALSE, ""), (0.2, "multiply_adds", TRUE, "//")):
        values = np.array([getattr(layer, name) for layer in own], float)
        words = name.replace("_", "-")
        style = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        axes.bar(places + shift, 100 * values / values.sum(), 0.38, label=words, **style)  # type: ignore[arg-type]
    axes.set_xticks(places, [layer.name for layer in own])
    tidy(axes, "", "share (%)")
    axes.legend(frameon=False, fontsize=TEXT)
    return figure


def receptive_field(picture: np.ndarray, sees: int) -> "Figure":
    """Show a picture, and frame what the unit in the middle of a map sees of it."""
    from matplotlib.patches import Rectangle

    figure = new_figure(4.2, 4.2)
    axes = figure.subplots()
    side = picture.shape[0]
    axes.imshow(picture)
    low = side / 2 - sees / 2 - 0.5
    axes.add_patch(Rectangle((low, low), sees, sees, fill=False, edgecolor=TRUE, linewidth=3))
    axes.set(xlim=(min(low, 0) - 4, max(low + sees, side) + 4), ylim=(max(low + sees, side) + 4, min(low, 0) - 4))
    axes.set_xticks([0, side])
    axes.set_yticks([0, side])
    axes.tick_params(labelsize=SMALL)
    axes.set_facecolor(PALE)
    return figure
