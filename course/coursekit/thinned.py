"""The pictures of part 8: thinned nets, means of their predictions, and the gradients that they leave at zero."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.figures.style import FALSE, INK, PALE, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.models.alexnet import AlexNet
from alexnet.ops.dropout import dropout
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = 5, 8, 8, 4  # inputs, two layers that are thinned as fc6 and fc7 are, outputs


def masks(p: float, step: int) -> list[np.ndarray]:
    """Draw which units of the small net stay at a training step: a bool array for each layer."""
    kept = [dropout(torch.ones(1, UNITS[at]), p, 0, name, step, 0)[0] > 0 for at, name in ((1, "fc6"), (2, "fc7"))]
    return [np.ones(UNITS[0], bool), *(each.numpy() for each in kept), np.ones(UNITS[3], bool)]


def nets(p: float, step: int) -> "Figure":
    """Draw the whole small net, and the thinned net of a training step beside it."""
    figure = new_figure(10, 4.2)
    whole, thinned = figure.subplots(1, 2)
    net(whole, [np.ones(units, bool) for units in UNITS], "in testing: all units")
    net(thinned, masks(p, step), f"in training: step {step}, p = {p:g}")
    return figure


def net(axes: "Axes", kept: list[np.ndarray], words: str) -> None:
    """Draw layers of units and their connections; a dropped unit is a cross without connections."""
    places = [[(3 * layer, unit - (len(row) - 1) / 2) for unit in range(len(row))] for layer, row in enumerate(kept)]
    for layer in range(len(kept) - 1):
        for (x, y), here in zip(places[layer], kept[layer], strict=True):
            for (end, to), there in zip(places[layer + 1], kept[layer + 1], strict=True):
                if here and there:
                    axes.plot([x, end], [y, to], color=FALSE, linewidth=0.8, zorder=1)
    for row, stays in zip(places, kept, strict=True):
        for (x, y), stay in zip(row, stays, strict=True):
            style = {"s": 190, "color": "white", "edgecolors": INK, "linewidths": 1.5} if stay else {"s": 90}
            axes.scatter(x, y, marker="o" if stay else "x", zorder=2, **(style if stay else style | {"color": TRUE}))
    names = ("inputs", "fc6", "fc7", "fc8")
    for layer, name in enumerate(names):
        axes.text(3 * layer, 4.6, name, ha="center", va="center", fontsize=SMALL, color=INK)
    axes.set(ylim=(-4.2, 5), xlim=(-0.7, 9.7))
    axes.set_title(words, fontsize=TEXT, color=INK)
    axes.set_axis_off()


def fc7_of(net: AlexNet, flat: Tensor, share: float) -> Tensor:
    """Compute the outputs of fc7 after ReLU from those of pool5, with fc6's outputs times `share`, as in testing."""
    return F.relu(net.fc7(share * F.relu(net.fc6(flat))))


def every_mask(units: Tensor, weight: Tensor, bias: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Compute the logits of all 2^n nets that drop some of the n units that say most, and of testing.

    All other units are halved, as in testing.

    Args:
        units: Outputs of the layer before the last, (units,).
        weight: Weights of the last layer, (classes, units).
        bias: Its biases, (classes,).
        n: Number of units that are dropped or kept.

    Returns:
        Logits (2^n, classes), and (classes,).
    """
    most = (units * weight.std(0)).argsort(descending=True)[:n]
    share = torch.full((2**n, len(units)), 0.5)
    share[:, most] = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)))
    return share * units @ weight.T + bias, 0.5 * units @ weight.T + bias


def geometric(probabilities: Tensor) -> Tensor:
    """Compute the geometric mean of predictions (N, ..., classes), scaled to a sum of one."""
    return torch.softmax(probabilities.clamp(min=1e-30).log().mean(0), -1)


def means(view: np.ndarray, label: int, values: dict[str, Tensor], names: list[str]) -> "Figure":
    """Draw a picture, and beside it predictions for it, class by class.

    Args:
        view: Pixels, uint8 (side, side, 3).
        label: Its class.
        values: Probabilities (classes,) by what they are.
        names: Names of the classes.
    """
    figure = new_figure(10, 3.9)
    seen, axes = figure.subplots(1, 2, width_ratios=(1, 3.6))
    seen.imshow(view)
    seen.set_title(f"label: {names[label]}", fontsize=TEXT, color=INK)
    seen.set_axis_off()
    likely = torch.stack(list(values.values())).amax(0).argsort(descending=True)[:4]
    looks = (PALE, ""), (FALSE, ".."), (TRUE, "//")
    for place, ((words, probabilities), (colour, hatch)) in enumerate(zip(values.items(), looks, strict=True)):
        at = np.arange(len(likely)) + 0.27 * (place - 1)
        style = {"color": colour, "hatch": hatch, "edgecolor": SOFT}
        bars = axes.bar(at, 100 * probabilities[likely].numpy(), 0.26, label=words, **style)
        axes.bar_label(bars, fmt="%.1f", fontsize=SMALL)
    axes.set_xticks(range(len(likely)), [names[label] for label in likely])
    axes.set(ylim=(0, 108), yticks=range(0, 101, 20))  # room for the numbers above the bars
    tidy(axes, "", "probability (%)")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def thinned_predictions(net: AlexNet, flat: Tensor, nets: int) -> Tensor:
    """Compute the predictions of thinned nets, as training draws them: probabilities (nets, N, classes).

    Args:
        net: The net; its fc6 and fc7 are thinned.
        flat: Outputs of pool5, flattened: (N, inputs of fc6).
        nets: Number of thinned nets, which are those of the steps from 0.
    """

    def logits(step: int) -> Tensor:
        x = dropout(F.relu(net.fc6(flat)), 0.5, 0, "fc6", step, 0)
        x = dropout(F.relu(net.fc7(x)), 0.5, 0, "fc7", step, 0)
        return net.fc8(x)

    return torch.stack([torch.softmax(logits(step), 1) for step in range(nets)])


def nats(probabilities: Tensor, labels: Tensor) -> float:
    """Compute the mean of minus the logarithm of the probability of the label."""
    return float(-probabilities[torch.arange(len(labels)), labels].clamp(min=1e-30).log().mean())


def against_nets(curves: dict[str, list[float]], testing: float, chosen: int) -> "Figure":
    """Draw the loss of a mean of predictions against the number of nets, beside that of testing.

    Args:
        curves: Nats for 1, 2, 3, ... nets, by the name of the mean: arithmetic and geometric.
        testing: Nats of the net with all units.
        chosen: Number of nets to mark.
    """
    figure = new_figure(9, 3.8)
    axes = figure.subplots()
    for (name, curve), (colour, dashes) in zip(curves.items(), ((INK, (6, 3)), (TRUE, ())), strict=True):
        numbers = range(1, len(curve) + 1)
        axes.plot(numbers, curve, color=colour, dashes=dashes, linewidth=2, label=f"{name} mean of thinned nets")
        axes.plot(chosen, curve[chosen - 1], "o", color=colour)
    axes.axhline(testing, color=SOFT, dashes=(1, 2), linewidth=2.5, label="all units, halved: testing")
    axes.axvline(chosen, color=PALE, linewidth=2, zorder=0)
    axes.set(xlim=(1, len(next(iter(curves.values())))), ylim=(0, None))
    tidy(axes, "thinned nets", "mean loss")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def gradient(net: AlexNet, flat: Tensor, labels: Tensor) -> Tensor:
    """Compute the gradient of fc7's weights for a batch whose nets are thinned, (units of fc7, units of fc6)."""
    weight = net.fc7.weight.detach().clone().requires_grad_()
    x = dropout(F.relu(net.fc6(flat)), 0.5, 0, "fc6", 0, 0)
    x = dropout(F.relu(F.linear(x, weight, net.fc7.bias)), 0.5, 0, "fc7", 0, 0)
    return torch.autograd.grad(F.cross_entropy(net.fc8(x), labels), weight)[0]


def zeros(slope: Tensor, units: int = 64) -> "Figure":
    """Draw which weights between the first units of fc6 and of fc7 have a gradient, and which have none."""
    figure = new_figure(5.2, 5)
    axes = figure.subplots()
    axes.imshow(slope[:units, :units].ne(0).numpy(), cmap="Blues", vmin=0, vmax=1.6, interpolation="nearest")
    axes.set_title("blue: the weight has a gradient", fontsize=TEXT, color=INK)
    tidy(axes, "unit of fc6", "unit of fc7")
    axes.grid(visible=False)
    return figure
