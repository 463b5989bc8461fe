"""The pictures of part 9: descent with momentum, a drop of the rate, rates of a run, and the plateau at ln(classes).

Each descent uses the package's own update rule, on a surface of two weights.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from alexnet.config.recipe import Recipe, Sgd
from alexnet.figures.style import FALSE, INK, PALE, SMALL, SOFT, TEXT, TRUE, footnote, new_figure
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates, learning_rates
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEEPNESS = (1.0, 25.0)  # of the valley: L = (w1^2 + 25 w2^2) / 2
START = (-9.0, 1.2)
FLOORS = (0.62, 0.47, 0.42, 0.405)  # errors at which the invented curve stops after each drop


class Weights(nn.Module):
    """A net of one vector of weights, named as a layer's, for `Momentum`."""

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self.valley = nn.Module()
        self.valley.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def descend(momentum: float, rate: float, steps: int, weight_decay: float = 0.0) -> np.ndarray:
    """Descend the valley from START by the rule of section 5, and return all places: float (steps + 1, 2)."""
    net, steep = Weights(START), torch.tensor(STEEPNESS, dtype=torch.float64)
    rule = Momentum(net, Sgd(momentum=momentum, weight_decay=weight_decay), torch.float64)
    places = [np.array(START)]
    for _ in range(steps):
        w = rule.parameters["valley.weight"].detach()
        rule.step(LearningRates(rate, rate), {"valley.weight": steep * w})
        places.append(w.numpy().copy())
    return np.array(places)


def heights(places: np.ndarray) -> np.ndarray:
    """Compute the loss at places (n, 2)."""
    return np.asarray(np.minimum((np.array(STEEPNESS) * np.minimum(np.abs(places), 1e6) ** 2).sum(1) / 2, 1e12))


def valley(places: np.ndarray, plain: np.ndarray) -> "Figure":
    """Draw two descents on the contours of the valley, and their losses beside it.

    Args:
        places: Places with momentum, (steps + 1, 2).
        plain: Places without momentum, at the same rate.
    """
    figure = new_figure(10, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    x, y = np.meshgrid(np.linspace(-10, 6, 160), np.linspace(-2, 2, 120))
    levels = np.geomspace(0.05, 90, 12)
    left.contour(x, y, (STEEPNESS[0] * x**2 + STEEPNESS[1] * y**2) / 2, levels=levels, colors=FALSE, linewidths=0.9)
    for path, name, style in (
        (plain, "momentum 0", {"color": SOFT, "linestyle": "--", "marker": "s"}),
        (places, "with momentum", {"color": TRUE, "marker": "o"}),
    ):
        inside = np.clip(path, -30, 30)
        left.plot(inside[:, 0], inside[:, 1], markersize=3, linewidth=1.3, label=name, **style)
        right.plot(heights(path), linewidth=1.8, label=name, color=style["color"], linestyle=style.get("linestyle"))
    left.plot(0, 0, "+", color=INK, markersize=13, markeredgewidth=2)
    left.set(xlim=(-10, 6), ylim=(-2, 2))
    tidy(left, "w1", "w2")
    left.grid(visible=False)
    right.set_yscale("log")
    right.set(ylim=(1e-6, 1e3))
    tidy(right, "step", "loss")
    right.legend(frameon=False, fontsize=SMALL)
    return figure


def speeds(momentum: float, rate: float, factor: float, at: int, steps: int) -> dict[str, np.ndarray]:
    """Measure how far each step goes under a constant gradient of 1, before and after a drop of the rate.

    Args:
        momentum: Momentum, 0 to below 1.
        rate: Learning rate before the drop.
        factor: Number that the rate is divided by at step `at`.
        at: Step of the drop.
        steps: Steps in all.

    Returns:
        Distances of the rule of section 5 and of torch.optim.SGD, by name, (steps,) each.
    """
    ours, theirs = Weights((0.0,)), nn.Parameter(torch.zeros(1, dtype=torch.float64))
    rule = Momentum(ours, Sgd(momentum=momentum, weight_decay=0.0), torch.float64)
    sgd = torch.optim.SGD([theirs], lr=rate, momentum=momentum)
    places: dict[str, list[float]] = {"section 5": [0.0], "torch.optim.SGD": [0.0]}
    one = torch.ones(1, dtype=torch.float64)
    for step in range(steps):
        now = rate / factor if step >= at else rate
        rule.step(LearningRates(now, now), {"valley.weight": one})
        sgd.param_groups[0]["lr"], theirs.grad = now, one.clone()
        sgd.step()
        places["section 5"].append(rule.parameters["valley.weight"].item())
        places["torch.optim.SGD"].append(theirs.item())
    return {name: -np.diff(of) for name, of in places.items()}


def drop(of: Mapping[str, np.ndarray], at: int) -> "Figure":
    """Draw the distances of `speeds`."""
    figure = new_figure(9, 3.4)
    axes = figure.subplots()
    for (name, distances), colour, line in zip(of.items(), (TRUE, SOFT), ("-", "--"), strict=True):
        style = {"color": colour, "linestyle": line}
        axes.plot(np.arange(1, len(distances) + 1), distances, linewidth=2, label=name, **style)  # type: ignore[arg-type]
    axes.axvline(at + 0.5, color=INK, linestyle=":", linewidth=1.2)
    axes.set(ylim=(0, None))
    tidy(axes, "step; the dotted line is the drop of the rate", "length of the step")
    axes.legend(frameon=False, fontsize=TEXT)
    return figure


def invented_run(recipe: Recipe) -> tuple[list[float], list[float]]:
    """Invent validation errors that stop at a floor for each rate, and let the recipe's schedule answer them.

    Returns:
        The errors after each epoch, 0 to 1, and the rate of each epoch, until the schedule ends the run.
    """
    from alexnet.training.schedule import finished

    noise = np.random.default_rng(2012).normal(0, 0.004, recipe.epochs)
    errors, rates, error = list[float](), list[float](), 0.95
    for epoch in range(recipe.epochs):
        rates.append(learning_rates(recipe, epoch / recipe.epochs, errors).weights)
        drops = min(len(FLOORS) - 1, round(math.log(recipe.sgd.lr / rates[-1], 10)))
        error += 0.3 * (FLOORS[drops] - error)
        errors.append(error + float(noise[epoch]) * (0.3**drops))
        if finished(recipe, errors):
            break
    return errors, rates


def planned(recipe: Recipe) -> list[float]:
    """List the rate of the weights at the start of each epoch, of a schedule that no error changes."""
    return [learning_rates(recipe, epoch / recipe.epochs, []).weights for epoch in range(recipe.epochs)]


def schedules(errors: Sequence[float], rates: Sequence[float], others: Mapping[str, Sequence[float]]) -> "Figure":
    """Draw validation errors above the rates that answered them, and the rates of other recipes."""
    figure = new_figure(10, 5)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(100 * np.array(errors), color=INK, linewidth=1.8, label="validation error (invented)")
    falls = [epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1]]
    for epoch in falls:
        above.axvline(epoch, color=SOFT, linestyle=":", linewidth=1.2)
    tidy(above, "", "error (%)")
    above.legend(frameon=False, fontsize=SMALL)
    below.step(range(len(rates)), rates, where="post", color=TRUE, linewidth=2.2, label="paper: on a plateau")
    for (name, of), line in zip(others.items(), ("--", ":"), strict=False):
        below.step(range(len(of)), of, where="post", color=SOFT, linewidth=1.5, linestyle=line, label=name)
    below.set_yscale("log")
    tidy(below, "epoch", "learning rate")
    below.legend(frameon=False, fontsize=SMALL)
    return figure


def loss_curves(losses: Mapping[str, Sequence[float]], chosen: str, classes: int, said: Sequence[str]) -> "Figure":
    """Draw smoothed losses, with one in colour, and beneath it what `alexnet train` says of that one.

    Args:
        losses: Loss of each step, by name.
        chosen: The name to draw in colour.
        classes: Number of classes; ln(classes) is a dashed line.
        said: Lines that training printed.
    """
    figure = new_figure(10, 4.6 + 0.23 * sum(1 + len(line) // 100 for line in said))
    axes = figure.subplots()
    level = math.log(classes)
    axes.axhline(level, color=INK, dashes=(6, 3), linewidth=1.2, label=f"ln {classes} = {level:.3f}")
    for name, of in losses.items():
        width = min(20, len(of))
        smooth = np.convolve(of, np.ones(width) / width, "valid")
        style = {"color": TRUE, "linewidth": 2.4, "zorder": 3} if name == chosen else {"color": SOFT, "linewidth": 1.2}
        axes.plot(np.arange(width, len(of) + 1), smooth, label=name if name == chosen else None, **style)  # type: ignore[arg-type]
        if name != chosen and name == next(each for each in losses if each != chosen):
            axes.plot([], [], color=SOFT, linewidth=1.2, label="the other nets")
    axes.set(ylim=(0, None))
    tidy(axes, "step", "loss, mean of 20 steps")
    axes.legend(frameon=False, fontsize=SMALL, loc="lower left")
    footnote(figure, "\n".join(line.strip() for line in said) or "alexnet train prints no warning.", 105)
    return figure


def signals(of: Mapping[str, Mapping[str, float]], chosen: str) -> "Figure":
    """Draw how much each layer's outputs differ from picture to picture before training, by net."""
    figure = new_figure(10, 3.6)
    axes = figure.subplots()
    for name, layers in of.items():
        own = name == chosen
        style = {"color": TRUE if own else SOFT, "linewidth": 2.4 if own else 1.2, "marker": "o" if own else "."}
        axes.plot(list(layers), list(layers.values()), zorder=3 if own else 2, **style)  # type: ignore[arg-type]
        ends = (len(layers) - 1, list(layers.values())[-1])
        axes.annotate(name, ends, (8, 0), textcoords="offset points", va="center", fontsize=SMALL, color=style["color"])
    axes.set_yscale("log")
    axes.set(xlim=(-0.3, len(layers) + 1.3))
    tidy(axes, "layer", "std from picture to picture")
    axes.grid(axis="y", color=PALE)
    return figure
