"""The pictures that only the course shows; the others are those of alexnet.figures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.figures.learning_curves import reading
from alexnet.figures.style import FALSE, INK, PALE, SMALL, SOFT, TEXT, TRUE, footnote, new_figure
from alexnet.inference.evaluation import credit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def tidy(axes: "Axes", x: str = "", y: str = "") -> None:
    """Name the axes, and leave out the frame."""
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def row_of_pictures(pictures: list[np.ndarray], words: list[str], inches: float = 3.0) -> "Figure":
    """Show pictures side by side, uint8 (side, side, 3) or (side, side), each with its words above it."""
    figure = new_figure(inches * len(pictures), inches + 0.4)
    for axes, picture, above in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, words, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(above, fontsize=TEXT, color=INK)
        axes.set_axis_off()
    return figure


def centred(pixels: np.ndarray, mean: np.ndarray) -> "Figure":
    """Show a picture, the mean training picture, and their difference around middle gray."""
    difference = np.clip(127.5 + (pixels.astype(np.float32) - mean) / 2, 0, 255).astype(np.uint8)
    return row_of_pictures(
        [pixels, mean.round().astype(np.uint8), difference],
        [
            "raw pixels, 0 to 255",
            "mean of the training set",
            f"their difference, {pixels.shape[0]} x {pixels.shape[0]}",
        ],
        3.4,
    )


def top_k_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Compute the share of pictures whose label is not among the k likeliest classes, for k of 1 to all classes."""
    classes = probabilities.shape[1]
    return np.array([1 - credit(probabilities, labels, k).mean() for k in range(1, classes + 1)])


def top_k(errors: np.ndarray, chosen: int) -> "Figure":
    """Draw the top-k error against k beside that of chance, and mark the chosen k."""
    figure = new_figure(9, 3.6)
    axes = figure.subplots()
    k = np.arange(1, len(errors) + 1)
    axes.plot(k, 100 * (1 - k / len(errors)), color=SOFT, dashes=(6, 3), label="chance")
    axes.bar(k, 100 * errors, color=[TRUE if place == chosen else FALSE for place in k], width=0.7, label="the net")
    axes.set(ylim=(0, 100), xticks=k)
    for place, error in enumerate((100 * errors).tolist(), start=1):
        axes.text(place, error, f"{error:.1f}", ha="center", va="bottom", size=SMALL)
    tidy(axes, "k: the answers that count", "top-k error (%)")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def bias_and_variance(training: float, validation: float, classes: int) -> "Figure":
    """Draw an error as the sum of bias and variance, with the diagnosis of `alexnet report` beneath it.

    Args:
        training: Training error, 0 to 1.
        validation: Validation error, 0 to 1.
        classes: Number of classes.
    """
    figure = new_figure(9, 2.9)
    axes = figure.subplots()
    bias, variance, chance = 100 * training, 100 * max(0.0, validation - training), 100 * (1 - 1 / classes)
    axes.barh(0, bias, color=FALSE, label=f"bias {bias:.1f}: already there in training")
    axes.barh(0, variance, left=bias, color=TRUE, hatch="//", edgecolor="white", label=f"variance {variance:.1f}")
    axes.axvline(chance, color=SOFT, dashes=(6, 3), label=f"chance {chance:.1f}")
    axes.set(xlim=(0, 100), ylim=(-0.6, 0.6), yticks=[])
    tidy(axes, "validation error (%)")
    axes.grid(visible=False)
    axes.legend(frameon=False, fontsize=SMALL, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    log = [{"kind": "epoch", "train_error": training, "top1": validation}]
    footnote(figure, reading(log, classes, training), 100)
    return figure


def curves_of_two(logs: dict[str, list[dict[str, Any]]]) -> "Figure":
    """Draw the training and validation error of runs side by side, by their names."""
    figure = new_figure(10, 3.8)
    for axes, (name, log) in zip(
        figure.subplots(1, len(logs), sharey=True, squeeze=False)[0], logs.items(), strict=True
    ):
        epochs = [line for line in log if line["kind"] == "epoch"]
        steps = [line["step"] for line in epochs]
        axes.plot(steps, [100 * line["train_error"] for line in epochs], color=SOFT, linestyle="--", label="training")
        axes.plot(steps, [100 * line["top1"] for line in epochs], color=INK, linewidth=2, label="validation")
        axes.set(ylim=(0, 100))
        axes.set_title(name, fontsize=TEXT, color=INK)
        tidy(axes, "step", "error (%)" if axes.get_subplotspec().is_first_col() else "")
        axes.legend(frameon=False, fontsize=SMALL)
    return figure
