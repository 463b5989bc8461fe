"""The pictures of part 3: activations, their slopes, and what is left of a gradient behind several of them."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from alexnet.figures.style import INK, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.models.layers import ACTIVATIONS
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = ("relu", "tanh", "logistic")
STYLES = {
    "relu": {"color": INK, "linewidth": 2.4},
    "tanh": {"color": TRUE, "linewidth": 2, "dashes": (5, 2)},
    "logistic": {"color": SOFT, "linewidth": 2, "dashes": (1.5, 1.5)},
}
UNITS = 20_000  # random sums that the mean of slopes is taken over


def value_and_slope(name: str, x: float) -> tuple[float, float]:
    """Compute an activation of the package and, by its gradient, its slope at x."""
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = ACTIVATIONS[name]()(at)
    (slope,) = torch.autograd.grad(value, at)
    return float(value.detach()), float(slope)


def slopes(name: str, at: torch.Tensor) -> torch.Tensor:
    """Compute the slope of an activation at each of some inputs."""
    at = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ACTIVATIONS[name]()(at).sum(), at)
    return slope


def functions(x: float) -> "Figure":
    """Draw the activations and their slopes, with marks at x."""
    figure = new_figure(10, 3.8)
    left, right = figure.subplots(1, 2)
    line = torch.linspace(-4, 4, 401, dtype=torch.float64)
    for name in NAMES:
        value, slope = value_and_slope(name, x)
        left.plot(line, ACTIVATIONS[name]()(line), label=name, **STYLES[name])
        right.plot(line, slopes(name, line), label=name, **STYLES[name])
        left.plot(x, value, "o", color=STYLES[name]["color"])
        right.plot(x, slope, "o", color=STYLES[name]["color"])
    left.set(ylim=(-1.3, 4.1))
    right.set(ylim=(-0.08, 1.12))
    tidy(left, "x, the sum of a unit", "f(x), its output")
    tidy(right, "x", "slope of f")
    left.legend(frameon=False, fontsize=TEXT)
    return figure


def gradients_left(layers: int, spread: float) -> dict[str, np.ndarray]:
    """Compute the root mean square of a product of slopes, one slope a layer, at random sums of a given spread.

    Args:
        layers: Number of layers.
        spread: Standard deviation of the sums, which are normal.

    Returns:
        For each activation, the product after 1 to `layers` layers.
    """
    sums = torch.randn(UNITS, generator=torch.Generator().manual_seed(0)) * spread
    each = {name: float(slopes(name, sums).square().mean().sqrt()) for name in NAMES}
    return {name: each[name] ** np.arange(1, layers + 1) for name in NAMES}


def depth(layers: int, spread: float) -> "Figure":
    """Draw `gradients_left` against the number of layers."""
    figure = new_figure(8, 3.6)
    axes = figure.subplots()
    for name, left in gradients_left(layers, spread).items():
        axes.semilogy([0, *range(1, layers + 1)], [1, *left], label=name, marker="o", **STYLES[name])
    axes.set(xlim=(0, max(layers, 1)), ylim=(1e-8, 2))
    axes.locator_params(axis="x", integer=True)
    tidy(axes, "layers that a gradient has come back through", "what is left of it")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure
