"""The probability of the true class for each view and each dropout mask of one picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import PANEL, RunData, evenly_spaced
from alexnet.figures.style import FALSE, INK, SMALL, SOFT, TEXT, TRUE, caption_below, new_figure, short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS = 50  # random dropout masks to draw

TITLE = "One picture in ten views and under many dropout masks"
CAPTION = (
    "The probability of the true class, for the picture of the top-5 panel that the net is least sure of. Bars: each "
    "of the ten views that testing averages. Histogram: the central view under random dropout masks, as in training, "
    "beside the value with all units, as in testing."
)


def draw(run_data: RunData) -> "Figure":
    """Draw the views and dropout masks of the picture in the top-5 panel that the net is least sure of."""
    import torch

    net, compute, split = run_data.net, run_data.compute, run_data.held_out
    ids = evenly_spaced(PANEL, len(split))
    labels = torch.from_numpy(split.labels[ids])
    with torch.inference_mode(), compute.arithmetic():
        images = torch.from_numpy(split.read(ids)).to(compute.device)
        views = net.transform.ten_crop(images, compute.dtype)
        each = torch.softmax(net(views.flatten(0, 1)).float(), 1).view(*views.shape[:2], -1).cpu()
        true = each[:, torch.arange(len(ids)), labels]  # views, pictures
        one = int((true.mean(0) - 0.5).abs().argmin())
        whole = net.transform.center_crop(images[one : one + 1], compute.dtype)
        masks: list[float] = []
        if getattr(net.net, "dropout", 0):
            try:
                many = net.train().at(0)(whole.expand(MASKS, -1, -1, -1))
            finally:
                net.eval()
            masks = torch.softmax(many.float(), 1)[:, labels[one]].tolist()
        unhidden = float(torch.softmax(net(whole).float(), 1)[0, labels[one]])
    names = [
        place_in_words(top, left, mirrored, net.transform.margin) for top, left, mirrored in net.transform.places()
    ]
    seen = list(zip(names, true[:, one].tolist(), strict=True))
    return chances(split.read(ids[one : one + 1])[0], run_data.names[labels[one]], seen, masks, unhidden)


def place_in_words(top: int, left: int, mirrored: bool, margin: int) -> str:
    """Describe a view's place, such as "top left, mirrored"."""
    corner = f"{'bottom' if top else 'top'} {'right' if left else 'left'}"
    where = "whole" if not margin else "centre" if 0 < top < margin or (top, left) == (0, 0) == (margin, 0) else corner
    return f"{where}, mirrored" if mirrored else where


def chances(
    picture: np.ndarray, truth: str, views: Sequence[tuple[str, float]], masks: Sequence[float], whole: float
) -> "Figure":
    """Draw the true class's probability for each view of one picture, and under each of many dropout masks.

    Args:
        picture: The picture, uint8 (S, S, 3).
        truth: Its true class.
        views: Pairs of a view's place and the probability with that view.
        masks: Probabilities under random dropout masks; empty for a net without dropout.
        whole: Probability with all units, their outputs multiplied by the share kept in training (section 4.2).
    """
    figure = new_figure(12, 5.2)
    grid = figure.subplots(1, 3 if masks else 2, width_ratios=[1.25, 2, 1.5] if masks else [1, 2])
    shown, bars = grid[0], grid[1]
    shown.set_axis_off()
    shown.imshow(picture)
    caption_below(shown, short(truth, 22), weight="bold", fontsize=TEXT)
    values = [100 * p for _, p in views]
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    places = range(len(values))
    mirrored = [name.endswith("mirrored") for name, _ in views]
    bars.barh(
        places,
        values,
        height=0.62,
        color=[FALSE if m else SOFT for m in mirrored],
        edgecolor=INK,
        linewidth=0.8,
    )
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
        drops.yaxis.get_major_locator().set_params(integer=True)
        panels.append(drops)
    for axes in panels:
        axes.set(xlim=(0, 100))
        axes.set_xlabel("probability of the true class (%)", fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure
