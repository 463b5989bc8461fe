"""The pictures of part 7: a crop in its picture, random views, and colours with their principal components."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alexnet.data.transforms import Transform
from alexnet.figures.style import FALSE, INK, PALE, SMALL, TEXT, TRUE, new_figure
from coursekit.plots import row_of_pictures, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pixels_of(views: Tensor, transform: Transform, noise: float = 0.0) -> np.ndarray:
    """Undo what a transform does to the pixels of views: uint8 (N, size, size, 3).

    Args:
        views: Views, (N, 3, size, size).
        transform: Their transform, whose mean is that of the centre.
        noise: The colour noise that the views were drawn with, whose 1 + noise divided them.
    """
    edge, size = transform.margin // 2, transform.size
    mean = transform.mean[edge : edge + size, edge : edge + size]
    pixels = views.permute(0, 2, 3, 1) * (1 + noise if transform.views.colour_shrink else 1) + mean
    return pixels.clamp(0, 255).round().to(torch.uint8).numpy()


def framed(picture: np.ndarray, pixels: np.ndarray, view: Tensor, top: int, left: int) -> "Figure":
    """Show a picture with the frame of a view, the pixels of the view, and the view around middle gray.

    Args:
        picture: The picture, uint8 (side, side, 3).
        pixels: The view's pixels, uint8 (size, size, 3).
        view: The view, minus the mean, (3, size, size).
        top: Its first line.
        left: Its first column.
    """
    from matplotlib.patches import Rectangle

    centred = (127.5 + view.permute(1, 2, 0).numpy() / 2).clip(0, 255).astype(np.uint8)
    side, size = len(picture), len(pixels)
    words = [f"the picture, {side} x {side}", f"the view, {size} x {size}", "minus the mean"]
    figure = row_of_pictures([picture, pixels, centred], words, 3.3)
    frame = Rectangle((left - 0.5, top - 0.5), size, size, fill=False, edgecolor="white", linewidth=4)
    figure.axes[0].add_patch(frame)
    inner = Rectangle((left - 0.5, top - 0.5), size, size, fill=False, edgecolor=TRUE, linewidth=2)
    figure.axes[0].add_patch(inner)
    return figure


def draws(pictures: np.ndarray, first: int) -> "Figure":
    """Show views of one picture in two rows, by their epochs."""
    figure = new_figure(10, 5.4)
    for epoch, (axes, picture) in enumerate(zip(figure.subplots(2, 4).flat, pictures, strict=True), start=first):
        axes.imshow(picture)
        axes.set_title(f"epoch {epoch}", fontsize=SMALL, color=INK)
        axes.set_axis_off()
    return figure


def cloud(colours: np.ndarray, mean: np.ndarray, components: np.ndarray) -> "Figure":
    """Draw colours of pixels as points, red against green and green against blue, with the principal components.

    Args:
        colours: Colours of pixels, uint8 (N, 3).
        mean: Their mean, (3,).
        components: The components, one a column; its length is a standard deviation.
    """
    figure = new_figure(10, 4.6)
    names = "red", "green", "blue"
    for axes, (x, y) in zip(figure.subplots(1, 2), ((0, 1), (1, 2)), strict=True):
        axes.scatter(colours[:, x], colours[:, y], s=6, c=colours / 255, edgecolors=FALSE, linewidths=0.2)
        for number, (component, dashes) in enumerate(zip(components.T, ((), (6, 2), (2, 2)), strict=True), start=1):
            ends = np.stack([mean - component, mean + component])
            for colour, width in (("white", 5), (TRUE, 2.2)):
                style = {"color": colour, "linewidth": width, "dashes": dashes if colour == TRUE else ()}
                label = f"p{number}, length {np.linalg.norm(component):.0f}" if colour == TRUE else None
                axes.plot(ends[:, x], ends[:, y], label=label, **style)
        axes.set(xlim=(0, 255), ylim=(0, 255), aspect="equal")
        tidy(axes, names[x], names[y])
        axes.grid(visible=False)
    figure.axes[0].legend(frameon=True, edgecolor=PALE, fontsize=SMALL, loc="upper left")
    return figure


def recoloured(picture: np.ndarray, shift: np.ndarray) -> tuple["Figure", float]:
    """Show a picture before and after a colour shift, and return the share of numbers that leave 0 to 255 as well."""
    moved = picture + shift
    lost = float(((moved < 0) | (moved > 255)).mean())
    figure = new_figure(10, 3.8)
    before, after, bars = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    words = "as it is", "with the shift"
    for axes, pixels, above in zip((before, after), (picture, moved.clip(0, 255).astype(np.uint8)), words, strict=True):
        axes.imshow(pixels)
        axes.set_title(above, fontsize=TEXT, color=INK)
        axes.set(xticks=[], yticks=[])  # the frame stays, since a large shift leaves white
        axes.spines[:].set_color(PALE)
    shown = bars.bar(["red", "green", "blue"], shift, color=["#b4261a", "#3d7a3d", "#3b5f92"])
    bars.bar_label(shown, fmt="%+.1f", fontsize=SMALL)
    bars.axhline(0, color=INK, linewidth=0.8)
    most = max(40.0, 1.2 * float(np.abs(shift).max()))
    bars.set(ylim=(-most, most))
    tidy(bars, "", "shift (gray levels)")
    return figure, lost
