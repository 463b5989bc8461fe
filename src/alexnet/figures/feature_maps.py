"""The feature maps of each layer for one picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import RunData, evenly_spaced
from alexnet.figures.style import INK, SMALL, TEXT, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Feature maps of one picture"
CAPTION = (
    "The maps with the most energy in each layer and tower, after the activation, with their numbers. Each map is "
    "scaled separately; white is the strongest."
)


def draw(run_data: RunData) -> "Figure":
    """Draw the strongest maps of each layer for the picture in the middle of the held-out split."""
    import torch

    run_data.check_convolutional()
    net, compute = run_data.net, run_data.compute
    (picture,) = run_data.held_out.read(evenly_spaced(1, len(run_data.held_out)))
    with torch.inference_mode(), compute.arithmetic():
        images = torch.from_numpy(picture[None]).to(compute.device)
        walk = list(net.walk(net.transform.center_crop(images, compute.dtype)))
    active = [(name, x[0].float().cpu().numpy()) for name, x in walk if name.startswith("relu") and x.ndim == 4]
    layers = [(f"conv{name[4:]}" if f"conv{name[4:]}" in dict(walk) else f"local{name[4:]}", x) for name, x in active]
    return maps(picture, layers, run_data.towers)


def maps(picture: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], towers: int, each: int = 4) -> "Figure":
    """Draw the maps with the most energy in every layer for one picture, tower 0 on the left and tower 1 on the right.

    Args:
        picture: The picture, uint8 (S, S, 3).
        layers: Pairs of a layer's name and its maps, float (maps, side, side), in order.
        towers: Number of towers, 1 or 2.
        each: Number of maps of each tower; twice as many if there is one tower.
    """
    columns = 2 * each
    figure = new_figure(12, 1.13 * len(layers) + 0.4)
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
                0.03,
                0.95,
                str(order[here]),
                transform=a.transAxes,
                va="top",
                fontsize=9,
                color="white",
                bbox={"facecolor": "black", "edgecolor": "none", "pad": 1.2},
            )
        axes[0].text(
            -0.12,
            0.5,
            f"{name}\n{values.shape[1]}²",
            transform=axes[0].transAxes,
            ha="right",
            va="center",
            fontsize=SMALL,
            color=INK,
        )
    if towers > 1:
        for tower in range(towers):
            grid[0, tower * (each + 1)].set_title(f"tower {tower}", loc="left", fontsize=TEXT, color=INK)
    return figure


def strongest(values: np.ndarray, count: int) -> list[int]:
    """Find the maps of (n, side, side) with the most energy, strongest first; ties go to the lower number."""
    energy = (values.astype(np.float64) ** 2).sum((1, 2))
    return [int(i) for i in np.argsort(-energy, kind="stable")[:count]]
