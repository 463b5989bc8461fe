"""Pictures of a reader's own run for the slides."""

from typing import TYPE_CHECKING, Any

from alexnet.core.errors import InputError
from alexnet.figures import feature_maps, learning_curves, top5
from alexnet.figures.conv1_kernels import tiles
from alexnet.figures.run_data import RunData, evenly_spaced
from alexnet.figures.style import INK, LARGE, PALE, TEXT, TOWERS, TRUE, new_figure
from alexnet.reporting.results import UNLIKE, unlike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 4  # pictures with their five likeliest classes
MOST_ACROSS, WIDE = 16, 2.1  # kernels in a row of figure 3; width of the picture by its height, on a slide
FLAT = 0.01  # slope of tanh below which hardly any gradient comes through


def curves(run: RunData) -> "Figure":
    """Draw the run's learning curves, with their reading; raise InputError for a log of another shape."""
    try:
        return learning_curves.draw(run)
    except InputError:
        raise
    except UNLIKE as error:
        raise unlike(run.run, error, "train", "name another run") from None


def kernels(run: RunData) -> "Figure":
    """Draw the kernels of the run's first convolution, one tower above the other."""
    run.check_convolutional()
    weight = run.net.state_dict()["conv1.weight"].float().cpu().numpy()
    canvas, starts, tall = tiles(weight, run.towers, across(len(weight), run.towers))
    figure = new_figure(12, max(2.5, min(5.6, 12 * canvas.shape[0] / canvas.shape[1])))
    axes = figure.subplots()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_xticks([])
    names = [f"tower {tower}" for tower in range(run.towers)] if run.towers > 1 else []
    middles = [start + (tall - 1) / 2 for start in starts][: len(names)]
    axes.set_yticks(middles, names, rotation=90, va="center", color=INK, fontsize=LARGE)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def across(maps: int, towers: int) -> int:
    """Choose how many tiles a row has, at most as in figure 3, so that they are as large as a slide lets them be."""

    def size(count: int) -> float:
        rows = towers * -(-maps // towers // count)
        return min(WIDE / count, 1 / rows)

    return max(range(1, MOST_ACROSS + 1), key=size)


def towers(run: RunData) -> dict[str, Any] | None:
    """Compare the towers' first kernels, in numbers for a sentence; None for a net of one tower.

    Raises:
        InputError: The net has no convolution, or no checkpoint can be read.
    """
    from alexnet.figures.tower_statistics import LEVEL, measured

    run.check_convolutional()
    if run.towers < 2:
        return None
    found = measured(run.net.state_dict()["conv1.weight"].float().cpu().numpy(), run.towers)
    assert found.p_colour is not None
    assert found.p_orientation is not None
    early, apart = 2 * found.noisy > len(found.colour), min(found.p_colour, found.p_orientation) < LEVEL
    return {
        "colours": [f"{value:.2f}" for value in found.colours],
        "orientations": [f"{value:.2f}" for value in found.orientations],
        "p_colour": f"{found.p_colour:.2g}",
        "p_orientation": f"{found.p_orientation:.2g}",
        "verdict": "early" if early else "apart" if apart else "alike",
    }


def likeliest(run: RunData) -> "Figure":
    """Draw held-out pictures, evenly spaced, with their five likeliest classes."""
    from alexnet.inference.predict import predict_arrays

    split = run.held_out
    ids = evenly_spaced(SHOWN, len(split))
    pictures = split.read(ids)
    ranked = predict_arrays(run.net, pictures, top=5, compute=run.compute)
    return top5.top5(pictures, [run.names[label] for label in split.labels[ids]], ranked)


def maps(run: RunData) -> "Figure":
    """Draw the maps with the most energy in each layer for one held-out picture."""
    return feature_maps.draw(run)


def saturation(run: RunData) -> "Figure":
    """Draw where the inputs of the run's activations lie, and where tanh would be flat."""
    import numpy as np
    import torch

    run.check_convolutional()
    net, compute = run.net, run.compute
    if getattr(run.recipe.net, "activation", "relu") != "relu":
        raise InputError(f"the run's activation is {run.recipe.net.activation}, and the picture is of a ReLU's inputs")
    ids = evenly_spaced(SHOWN, len(run.held_out))
    with torch.inference_mode(), compute.arithmetic():
        images = torch.from_numpy(run.held_out.read(ids)).to(compute.device)
        walk = dict(net.walk(net.transform.center_crop(images, compute.dtype)))
    names = [name for name in ("conv2", "conv3", "conv4", "conv5") if name in walk]
    if not names:
        raise InputError("the run's net has no convolutions of its own before a ReLU")
    edge = float(np.arctanh(np.sqrt(1 - FLAT)))
    figure = new_figure(12, 4.4)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        values = walk[name].float().cpu().numpy().ravel()
        reach = float(np.quantile(np.abs(values), 0.995)) or 1.0
        axes.hist(values, bins=60, range=(-reach, reach), color=TOWERS[0], edgecolor=INK, linewidth=0.4)
        axes.axvspan(-min(edge, reach), min(edge, reach), color=PALE, zorder=0)
        axes.axvline(0, color=INK, linewidth=1.2)
        flat, passed = 100 * float(np.mean(np.abs(values) > edge)), 100 * float(np.mean(values > 0))
        axes.set_title(f"{name}\ntanh flat: {flat:.0f} %\nReLU's slope 1: {passed:.0f} %", fontsize=LARGE, loc="left",
                       color=TRUE if flat > 50 else INK)  # fmt: skip
        axes.set_yticks([])
        axes.tick_params(labelsize=TEXT)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
