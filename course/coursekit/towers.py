"""The pictures of part 4: which tower a layer reads, what towers cost and save, and a tower that is silent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from alexnet.config.recipe import Net
from alexnet.data.split import Split
from alexnet.distributed.estimate import traffic
from alexnet.figures.style import FALSE, INK, SMALL, TEXT, TRUE, new_figure
from alexnet.lab.walk import Settings, walk
from alexnet.models.layer_table import layers_of
from alexnet.models.network import Network
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOWERS = 2
FEW = 8  # pictures whose gradients are averaged
BYTES = 4  # of a number that is sent, as in 2012


def influence(net: Network, pictures: Split, layer: str) -> np.ndarray:
    """Measure how strongly each tower's units of a layer depend on each tower's maps of pool1, by the gradient.

    Returns:
        Mean absolute gradients, float (towers of the layer, towers of pool1).
    """
    views = net.transform.center_crop(torch.from_numpy(pictures.read(range(min(FEW, len(pictures))))))
    x = net.features(views, "pool1").detach().requires_grad_()
    names = net.order[net.order.index("pool1") + 1 : net.order.index(layer) + 1]
    y = x
    for name in names:
        y = net.layer(name)(y)
    found = []
    for own in y.chunk(TOWERS, 1):
        (gradient,) = torch.autograd.grad(own.square().sum(), x, retain_graph=True)
        found.append([float(part.abs().mean()) for part in gradient.chunk(TOWERS, 1)])
    return np.array(found)


def influence_picture(found: np.ndarray, layer: str) -> "Figure":
    """Draw `influence` as shares of each row."""
    shares = 100 * found / found.sum(1, keepdims=True)
    figure = new_figure(5.4, 3.6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Greys", vmin=0, vmax=300)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(column, row, f"{share:.0f} %", ha="center", va="center", fontsize=TEXT + 3, color=INK)
    axes.set_xticks([0, 1], ["pool1, tower 0", "pool1, tower 1"])
    axes.set_yticks([0, 1], [f"{layer}, tower 0", f"{layer}, tower 1"])
    axes.tick_params(labelsize=SMALL, length=0)
    return figure


@dataclass(frozen=True)
class Cost:
    """What a net costs: its weights, multiply-adds for a picture, and bytes that two GPUs send in a step."""

    weights: int
    multiply_adds: int
    sent: int


def cost(net: Net, batch: int) -> Cost:
    """Compute what a net costs with its towers on two GPUs, at `batch` pictures a step; one tower sends nothing."""
    layers = layers_of(net)
    sent = sum(traffic(net, "towers", 1, batch, BYTES).values()) if net.towers == TOWERS else 0
    return Cost(sum(layer.weights for layer in layers), sum(layer.multiply_adds for layer in layers), sent)


def costs(found: dict[str, Cost]) -> "Figure":
    """Draw what nets cost beside each other."""
    figure = new_figure(10, 3.2)
    kinds = (("weights", "million weights"), ("multiply_adds", "million multiply-adds"), ("sent", "MB sent in a step"))
    for axes, (name, words) in zip(figure.subplots(1, 3, sharey=True), kinds, strict=True):
        values = [getattr(each, name) / 1e6 for each in found.values()]
        bars = axes.barh(list(found), values, color=FALSE)
        axes.bar_label(bars, fmt="{:.0f}", padding=3, fontsize=SMALL)
        axes.invert_yaxis() if not axes.yaxis_inverted() else None
        axes.set(xlim=(0, 1.25 * max(values)))
        tidy(axes, words)
        axes.grid(visible=False)
    return figure


def errors_by_class(net: Network, pictures: Split, silent: Sequence[int]) -> np.ndarray:
    """Compute the top-1 error of each class with one view, while some towers are silent."""
    labels = np.asarray(pictures.labels)
    wrong = np.zeros(len(labels))
    for first in range(0, len(labels), 50):
        ids = range(first, min(first + 50, len(labels)))
        views = net.transform.center_crop(torch.from_numpy(pictures.read(ids)))
        logits = walk(net, views, Settings(silent=tuple(silent)))[net.order[-1]]
        wrong[ids] = logits.argmax(1).numpy() != labels[ids]
    return np.array(
        [wrong[labels == place].mean() if (labels == place).any() else 0 for place in range(len(net.classes))]
    )


def silence(classes: Sequence[str], whole: np.ndarray, silenced: np.ndarray) -> "Figure":
    """Draw the error of each class with the whole net and with a silent tower."""
    figure = new_figure(10, 3.6)
    axes = figure.subplots()
    places = np.arange(len(classes))
    axes.bar(places - 0.2, 100 * whole, 0.38, color=FALSE, label="whole net")
    axes.bar(places + 0.2, 100 * silenced, 0.38, color=TRUE, hatch="//", edgecolor="white", label="as chosen")
    axes.set_xticks(places, classes, rotation=20)
    axes.set(ylim=(0, 105))
    tidy(axes, "", "top-1 error (%)")
    axes.legend(frameon=False, fontsize=TEXT)
    return figure
