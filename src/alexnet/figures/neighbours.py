"""Figure 4, right: held-out pictures and their nearest training pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import RunData, evenly_spaced
from alexnet.figures.style import INK, SMALL, TEXT, caption_below, new_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUERIES, NEAREST = 6, 6

TITLE = "Held-out pictures and their nearest training pictures"
CAPTION = (
    "As in figure 4 of the paper, right. All training pictures are compared by the Euclidean distance (the number) "
    "between activations of the last hidden layer. A dashed frame and italics mark a picture of another class. The "
    "held-out pictures are spread evenly over the split and were not picked by result."
)


def draw(run_data: RunData) -> "Figure":
    """Draw figure 4, right, for pictures that are spread evenly over the held-out split."""
    import torch

    from alexnet.inference.features import extract
    from alexnet.inference.layer_names import last_hidden
    from alexnet.inference.similar import nearest

    net, compute, train = run_data.net, run_data.compute, run_data.store["train"]
    ids = evenly_spaced(QUERIES, len(run_data.held_out))
    pictures, layer = run_data.held_out.read(ids), last_hidden(run_data.net)
    queries = extract(net, layer, torch.from_numpy(pictures).to(compute.device), compute)
    near, apart = nearest(net, layer, train, queries, NEAREST, compute, progress=run_data.progress)
    found = train.read(near.ravel()).reshape(*near.shape, *pictures.shape[1:])
    names = [[run_data.names[label] for label in row] for row in train.labels[near]]
    asked = [run_data.names[label] for label in run_data.held_out.labels[ids]]
    return neighbours(pictures, asked, found, names, apart, run_data.split or "held out")


def neighbours(
    queries: np.ndarray,
    asked: Sequence[str],
    found: np.ndarray,
    names: Sequence[Sequence[str]],
    distances: np.ndarray,
    what: str = "held out",
) -> "Figure":
    """Draw figure 4, right: a row for each query picture, with its nearest training pictures.

    A picture of another class than the query's has a dashed frame, and its class is in italics.

    Args:
        queries: Query pictures, uint8 (q, S, S, 3).
        asked: Classes of the queries.
        found: Nearest pictures, nearest first, uint8 (q, k, S, S, 3).
        names: Classes of the nearest pictures (q, k).
        distances: Distances of the nearest pictures, float (q, k).
        what: What the queries are.
    """
    from matplotlib.patches import Rectangle

    count, each = found.shape[:2]
    figure = new_figure(1.62 * (each + 1) + 0.7, 2.02 * count + 0.3)
    grid = figure.subplots(count, each + 2, squeeze=False, width_ratios=[1, 0.16, *[1] * each])
    side = queries.shape[1]
    for row in range(count):
        grid[row, 1].set_axis_off()
        for column in range(each + 1):
            axes = grid[row, 0 if column == 0 else column + 1]
            axes.set_axis_off()
            axes.imshow(queries[row] if column == 0 else found[row, column - 1])
            if column == 0:
                caption_below(axes, short(asked[row], 16), weight="bold", fontsize=SMALL)
                line, style = 3, "solid"
            else:
                name = names[row][column - 1]
                other = name != asked[row]
                words = f"{short(name, 16)}\n{distances[row, column - 1]:.3g}"
                caption_below(axes, words, style="italic" if other else "normal", fontsize=SMALL)
                line, style = 3 * other, "dashed"
            corner = (-0.5, -0.5)
            frame = Rectangle(corner, side, side, fill=False, edgecolor=INK, clip_on=False, lw=line, ls=style)
            axes.add_patch(frame)
    grid[0, 0].set_title(what, fontsize=TEXT, color=INK)
    grid[0, 2].set_title("nearest first", fontsize=TEXT, color=INK, loc="left")
    return figure
