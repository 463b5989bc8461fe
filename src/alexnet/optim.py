"""The update rule of section 5, and the rates it is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.ops import plain
from alexnet.ops.forms import best
from alexnet.recipe import Late, Plateau, Recipe, Sgd, Steps


@dataclass(frozen=True)
class Rates:
    """The rates of one step."""

    weights: float
    biases: float
    conv1: float | None = None  # where conv1's weights and biases go their own way


class Momentum:
    """v <- momentum v - decay rate w - rate g, then w <- w + v (section 5), in one pass over each layer.

    The rate is inside the velocity, unlike torch.optim.SGD's: they part whenever the rate drops. A rate of 0 leaves a
    parameter wholly alone, its velocity included, as in the 2012 code.

    `seen` is what the net is to compute with: the float32 weights themselves, or copies of `dtype` that each step
    writes anew, so that no forward pass has to round 61 million numbers.
    """

    def __init__(self, net: nn.Module, sgd: Sgd, dtype: torch.dtype = torch.float32) -> None:
        self.sgd = sgd
        self.parameters: dict[str, Tensor] = dict(net.named_parameters())
        self.velocity = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.seen = self.parameters
        if dtype != torch.float32:
            self.seen = {name: p.detach().to(dtype).requires_grad_() for name, p in self.parameters.items()}

    def load(self, velocity: dict[str, Tensor]) -> None:
        """Take over the velocities of a checkpoint."""
        for name, kept in self.velocity.items():
            kept.copy_(velocity[name])

    def clear(self) -> None:
        """Let the gradients go: backward adds to what it finds."""
        for seen in self.seen.values():
            seen.grad = None

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """One update from the gradients that backward left in `seen`."""
        for name, w in self.parameters.items():
            seen = self.seen[name]
            g = seen.grad
            assert g is not None  # every parameter has one
            rate, decay = self.settings(name, rates)
            if rate:
                v, shadow = self.velocity[name], None if seen is w else seen
                if g.stride() != w.stride():
                    g = torch.empty_like(w, dtype=g.dtype).copy_(g)
                form = best(w, v) if w.dtype == v.dtype == torch.float32 else plain
                form.momentum(w, v, g, shadow, rate, self.sgd.momentum, decay)

    def settings(self, name: str, rates: Rates) -> tuple[float, float]:
        """(rate, decay) of one parameter, such as "conv1.bias"."""
        layer, kind = name.split(".")
        rate = rates.weights if kind == "weight" else rates.biases
        if layer == "conv1" and rates.conv1 is not None:
            rate = min(rate, rates.conv1)
        if kind == "bias":
            return rate, self.sgd.bias_decay
        return rate, self.sgd.layer_decay.get(layer, self.sgd.decay)


def rates(recipe: Recipe, progress: float, errors: Sequence[float]) -> Rates:
    """The rates at `progress` (0 to 1) of the run, given the validation error after each epoch so far."""
    sgd, schedule = recipe.sgd, recipe.schedule
    epoch = progress * schedule.of
    if isinstance(schedule, Steps):
        weights = sgd.rate / schedule.factor ** sum(at <= epoch for at in schedule.at)
        biases = sgd.bias_rate / schedule.bias_factor ** sum(at <= epoch for at in schedule.bias_at)
    else:
        down = schedule.factor ** min(schedule.drops, plateaus(errors, patience(schedule, recipe.epochs)))
        weights, biases = sgd.rate / down, sgd.bias_rate / down
    return Rates(weights, biases, _conv1(recipe.late, epoch))


def colour_on(recipe: Recipe, progress: float) -> bool:
    """Whether colour noise is still on: the 2012 runs switched it off late."""
    off = recipe.late.colour_off
    return off is None or progress * recipe.schedule.of < off


def finished(recipe: Recipe, errors: Sequence[float]) -> bool:
    """Whether the error stopped improving once more after the last drop: section 5's "prior to termination"."""
    schedule = recipe.schedule
    return isinstance(schedule, Plateau) and plateaus(errors, patience(schedule, recipe.epochs)) > schedule.drops


def patience(schedule: Plateau, epochs: int) -> int:
    """Epochs without a better error that make a plateau, in a run of `epochs`."""
    return max(1, round(schedule.patience * epochs / schedule.of))


def plateaus(errors: Sequence[float], patience: int) -> int:
    """How often the error went `patience` epochs without a new best; each plateau starts the count again."""
    count, best, since = 0, float("inf"), 0
    for error in errors:
        best, since = (error, 0) if error < best else (best, since + 1)
        if since == patience:
            count, since = count + 1, 0
    return count


def _conv1(late: Late, epoch: float) -> float | None:
    if late.conv1_frozen is not None and epoch >= late.conv1_frozen:
        return 0.0
    if late.conv1_slow is not None and epoch >= late.conv1_slow:
        return late.conv1_rate
    return None
