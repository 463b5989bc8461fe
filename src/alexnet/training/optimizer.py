"""The update rule of section 5."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from alexnet.config.recipe import Sgd
from alexnet.ops import cpu, reference
from alexnet.ops.dispatch import best
from alexnet.training.schedule import LearningRates


def identity(squares: Tensor, names: Sequence[str]) -> Tensor:
    """Return the squares unchanged: the `total` of one process, which holds every layer whole."""
    return squares


class Momentum:
    """v <- momentum v - decay rate w - rate g, then w <- w + v (section 5), in one pass over each layer.

    The rate is inside the velocity. torch.optim.SGD keeps it outside, so the two differ after each drop of the rate.
    The rate also multiplies the decay, so weights shrink more slowly after each drop. A rate of 0 leaves a parameter
    and its velocity unchanged, as in the 2012 code. With `sgd.decoupled`, the velocity has no part of the decay:
    w <- (1 - decay rate) w, then v <- momentum v - rate g and w <- w + v.

    A layer whose factor in `sgd.layer_lr` is 0 never learns. Its parameters need no gradient, so the backward pass ends
    at the first layer that learns, and computes no gradient of a frozen layer's weights.

    Args:
        net: The net whose parameters are trained, in float32 or float64; those of frozen layers stop requiring one.
        sgd: The recipe's learning rates, decay and momentum.
        dtype: The type that the net computes in.
        total: Function that sums the squares of weights and gradients, shape (2, matrices), over the processes that
            hold parts of the matrices. LARS (`sgd.lars`, see `trust`) needs it.

    Attributes:
        compute_weights: The weights that the net computes with, by name: the parameters themselves if they have
            `dtype`, else copies that each step updates. So no forward pass has to round 61 million numbers.
        never: The names of the parameters that never learn and have no gradient.
        finite: One flag per parameter, on the device: True if it was free of NaN and infinity after the last step.
        rule: None, or a tensor (parameters, 2) on the device. With it, `step` reads from there what `factors` returns,
            so that a captured CUDA graph has the rates of the time of its replay. Of the rates that `step` is given, it
            then matters only which are 0.
    """

    rule: Tensor | None = None

    def __init__(
        self,
        net: nn.Module,
        sgd: Sgd,
        dtype: torch.dtype = torch.float32,
        total: Callable[[Tensor, Sequence[str]], Tensor] = identity,
    ) -> None:
        self.sgd, self.total = sgd, total
        self.parameters: dict[str, Tensor] = dict(net.named_parameters())
        self.velocity = {name: torch.zeros_like(p) for name, p in self.parameters.items()}
        self.compute_weights = dict(self.parameters)
        self.never = frozenset(name for name in self.parameters if sgd.layer_lr.get(name.split(".")[0]) == 0)
        for name, p in self.parameters.items():
            learns = name not in self.never
            p.requires_grad_(learns)
            if p.dtype != dtype:
                self.compute_weights[name] = p.detach().to(dtype).requires_grad_(learns)
        device = next(iter(self.parameters.values())).device
        self.finite = torch.ones(len(self.parameters), dtype=torch.bool, device=device)
        self.flags = dict(zip(self.parameters, self.finite.unbind(), strict=True))
        self.order = {name: i for i, name in enumerate(self.parameters)}

    def load(self, velocity: dict[str, Tensor]) -> None:
        """Copy the velocities of a checkpoint."""
        for name, kept in self.velocity.items():
            kept.copy_(velocity[name])

    def step(self, rates: LearningRates, gradients: Mapping[str, Tensor]) -> None:
        """Update all parameters from their gradients, by name; a gradient may have another dtype than its weight."""
        self.begin()
        trust = {} if self.sgd.lars is None else self.trust(self.sgd.lars, gradients)
        for name in self.parameters:
            if name not in self.never:
                self.update(name, rates, gradients[name], trust.get(name))

    @torch.no_grad()
    def begin(self) -> None:
        """Prepare for the updates of a step, in any order, and check the parameters that have none."""
        self.finite.fill_(True)
        for name in self.never:
            reference.check_finite(self.parameters[name], self.flags[name])

    @torch.no_grad()
    def update(self, name: str, rates: LearningRates, g: Tensor, trust: Tensor | None = None) -> None:
        """Update one parameter from its gradient; with LARS, `trust` is its number."""
        w, v, seen = self.parameters[name], self.velocity[name], self.compute_weights[name]
        rate, decay = self.settings(name, rates)
        if not rate:
            reference.check_finite(w, self.flags[name])
            return
        if g.stride() != w.stride():
            g = torch.empty_like(w, dtype=g.dtype).copy_(g)
        if trust is not None:
            g, decay = torch.add(g, w, alpha=decay).mul_(trust), 0.0
        if self.sgd.decoupled and decay:
            if self.rule is None:
                w.mul_(1 - decay * rate)
            else:
                w.addcmul_(w, self.rule[self.order[name], 0])
            decay = 0.0
        shadow = () if seen is w else (seen,)
        form = best(w, v, g, *shadow) if w.dtype == torch.float32 else reference
        if self.rule is not None and form is cpu:
            form = reference  # the C++ form takes numbers alone
        factor = rate if self.rule is None else self.rule[self.order[name]]
        form.momentum(w, v, g, *(shadow or (None,)), self.flags[name], factor, self.sgd.momentum, decay)

    @torch.no_grad()
    def trust(self, eta: float, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute eta |w| / (|g| + decay |w|) of each weight matrix, or 1 where that is 0 or 0 / 0.

        This is LARS (You et al. 2017). The numbers stay on the device, so that a CUDA graph can hold the step.
        """
        names = [name for name in self.parameters if name.endswith(".weight") and name not in self.never]
        if not names:
            return {}
        both = [[sum_of_squares(of[name]) for name in names] for of in (self.parameters, gradients)]
        w, g = self.total(torch.stack([torch.stack(squares) for squares in both]), names).sqrt()
        found = {}
        for i, name in enumerate(names):
            below = torch.add(g[i], w[i], alpha=self.decay(name))
            found[name] = (eta * w[i] / below).masked_fill_((w[i] == 0) | (below == 0), 1.0)
        return found

    def factors(self, rates: LearningRates) -> Tensor:
        """Compute -decay rate and -rate of each parameter: (parameters, 2), rounded once, to the parameters' dtype."""
        settings = [self.settings(name, rates) for name in self.parameters]
        dtype = next(iter(self.parameters.values())).dtype
        return torch.tensor([(-decay * rate, -rate) for rate, decay in settings], dtype=dtype)

    def frozen(self, rates: LearningRates) -> tuple[str, ...]:
        """List the parameters whose rate is 0, which a step leaves unchanged."""
        return tuple(name for name in self.parameters if not self.settings(name, rates)[0])

    def settings(self, name: str, rates: LearningRates) -> tuple[float, float]:
        """Return (rate, decay) of one parameter, such as "conv1.bias"."""
        layer, kind = name.split(".")
        rate, factor = rates.weights if kind == "weight" else rates.biases, self.sgd.layer_lr.get(layer, 1.0)
        # The 2012 log slows conv1's weights alone; a rate of 0 freezes the biases too.
        if layer == "conv1" and rates.conv1 is not None and (kind == "weight" or rates.conv1 == 0):
            rate = min(rate, rates.conv1)
        if kind == "bias" and factor != 0 and not self.sgd.layer_lr_biases:
            factor = 1.0
        return rate * factor, self.decay(name)

    def decay(self, name: str) -> float:
        """Return the weight decay of one parameter."""
        layer, kind = name.split(".")
        return (
            self.sgd.bias_weight_decay
            if kind == "bias"
            else self.sgd.layer_weight_decay.get(layer, self.sgd.weight_decay)
        )


def sum_of_squares(x: Tensor) -> Tensor:
    """Sum the squares of x, in float32 or wider."""
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    # Row by row: PyTorch's norm of all of fc6 at once is off by half a percent on a CPU.
    return torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=wide).square().sum()
