"""Figure 4, left: held-out pictures and their five likeliest classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import PANEL, RunData, evenly_spaced
from alexnet.figures.style import FALSE, INK, SMALL, TEXT, TRUE, caption_below, new_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 4  # pictures a row of the top-5 panel

TITLE = "Held-out pictures and their five likeliest classes"
CAPTION = (
    "As in figure 4 of the paper, left, with ten views. The true label is beneath each picture; its bar is hatched "
    "and bold. The pictures are spread evenly over the split and were not picked by result."
)


def draw(run_data: RunData) -> "Figure":
    """Draw figure 4, left, for pictures that are spread evenly over the held-out split."""
    from alexnet.inference.predict import predict_arrays

    split = run_data.held_out
    ids = evenly_spaced(PANEL, len(split))
    pictures = split.read(ids)
    ranked = predict_arrays(run_data.net, pictures, top=5, compute=run_data.compute)
    return top5(pictures, [run_data.names[label] for label in split.labels[ids]], ranked)


def top5(pictures: np.ndarray, truths: Sequence[str], predictions: Sequence[Sequence[tuple[str, float]]]) -> "Figure":
    """Draw figure 4, left: pictures, their true labels, and the likeliest classes as bars.

    The bar of the true class is red, hatched and in bold.

    Args:
        pictures: Pictures, uint8 (n, S, S, 3).
        truths: True class of each picture.
        predictions: For each picture, up to five pairs (class, probability from 0 to 1), likeliest first.
    """
    across = min(ACROSS, len(pictures))
    down = -(-len(pictures) // across)
    figure = new_figure(2.9 * across + 0.4, 4.9 * down)
    grid = figure.subplots(2 * down, across, squeeze=False, height_ratios=[2, 1.6] * down)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (picture, truth, ranked) in enumerate(zip(pictures, truths, predictions, strict=True)):
        row, column = 2 * (number // across), number % across
        shown, bars = grid[row, column], grid[row + 1, column]
        shown.imshow(picture)
        caption_below(shown, short(truth, 24), weight="bold", fontsize=TEXT)
        for place, (name, probability) in enumerate(ranked):
            right = name == truth
            bars.barh(
                place + 0.22,
                probability,
                height=0.34,
                color=TRUE if right else FALSE,
                linewidth=0,
                hatch="/////" if right else None,
                edgecolor="white" if right else FALSE,
            )
            bold = "bold" if right else "normal"
            words = {"y": place - 0.01, "va": "bottom", "fontsize": SMALL, "color": INK, "weight": bold}
            bars.text(x=0.02, s=short(name, 22), parse_math=False, **words)
            bars.text(x=1, s=f"{100 * probability:.0f} %", ha="right", **words)
        bars.set(xlim=(0, 1), ylim=(4.5, -0.6))
        bars.axvline(0, color=INK, linewidth=1)
    return figure
