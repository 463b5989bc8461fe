"""The update rule of section 5, and the rates it is given."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from alexnet.config.recipe import Sgd
from alexnet.ops import reference
from alexnet.ops.dispatch import best
from alexnet.training.schedule import LearningRates


def identity(squares: Tensor, names: Sequence[str]) -> Tensor:
    """`total` where one process holds all of every layer."""
    return squares


class Momentum:
    """v <- momentum v - decay rate w - rate g, then w <- w + v (section 5), in one pass over each layer.

    The rate is inside the velocity, unlike torch.optim.SGD's: they part whenever the rate drops. A rate of 0 leaves a
    parameter wholly alone, its velocity included, as in the 2012 code.

    `seen` is what the net is to compute with: the weights themselves where they are of `dtype`, else copies that each
    step writes anew, so that no forward pass has to round 61 million numbers.

    `finite` says of each parameter whether it was, after the last step, free of NaN and infinity.

    Where `sgd.lars` is set, each weight matrix's rate is scaled by its norm over its gradient's (see `trust`). A
    process that holds a part of a layer gets the whole's by `total`: squares of the weights and of the gradients
    (2, matrices), and the matrices' names, to their sums over all parts.
    """

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
        for name, p in self.parameters.items():
            if p.dtype != dtype:
                self.compute_weights[name] = p.detach().to(dtype).requires_grad_()
        device = next(iter(self.parameters.values())).device
        self.finite = torch.ones(len(self.parameters), dtype=torch.bool, device=device)
        self.flags = dict(zip(self.parameters, self.finite.unbind(), strict=True))

    def load(self, velocity: dict[str, Tensor]) -> None:
        """Take over the velocities of a checkpoint."""
        for name, kept in self.velocity.items():
            kept.copy_(velocity[name])

    @torch.no_grad()
    def step(self, rates: LearningRates, gradients: Mapping[str, Tensor]) -> None:
        """One update from the gradients of all parameters, by name; their dtype need not be the weights'."""
        self.finite.fill_(True)
        trust = {} if self.sgd.lars is None else self.trust(self.sgd.lars, gradients)
        for name, w in self.parameters.items():
            rate, decay = self.settings(name, rates)
            if not rate:
                reference.check_finite(w, self.flags[name])
                continue
            g, v, seen = gradients[name], self.velocity[name], self.compute_weights[name]
            if g.stride() != w.stride():
                g = torch.empty_like(w, dtype=g.dtype).copy_(g)
            if name in trust:
                g, decay = torch.add(g, w, alpha=decay).mul_(trust[name]), 0.0
            shadow = () if seen is w else (seen,)
            form = best(w, v, g, *shadow) if w.dtype == torch.float32 else reference
            form.momentum(w, v, g, *(shadow or (None,)), self.flags[name], rate, self.sgd.momentum, decay)

    def trust(self, eta: float, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """eta |w| / (|g| + decay |w|) of each weight matrix, 1 where that is 0 or 0 / 0 (You et al. 2017: LARS).

        It stays on the device, so that a graph may hold it.
        """
        names = [name for name in self.parameters if name.endswith(".weight")]
        both = [[sum_of_squares(of[name]) for name in names] for of in (self.parameters, gradients)]
        w, g = self.total(torch.stack([torch.stack(squares) for squares in both]), names).sqrt()
        found = {}
        for i, name in enumerate(names):
            below = torch.add(g[i], w[i], alpha=self.decay(name))
            found[name] = (eta * w[i] / below).masked_fill_((w[i] == 0) | (below == 0), 1.0)
        return found

    def settings(self, name: str, rates: LearningRates) -> tuple[float, float]:
        """(rate, decay) of one parameter, such as "conv1.bias"."""
        layer, kind = name.split(".")
        rate, factor = rates.weights if kind == "weight" else rates.biases, self.sgd.layer_lr.get(layer, 1.0)
        # The 2012 log slows conv1's weights alone; a rate of 0 freezes the biases too.
        if layer == "conv1" and rates.conv1 is not None and (kind == "weight" or rates.conv1 == 0):
            rate = min(rate, rates.conv1)
        if kind == "bias" and factor != 0 and not self.sgd.layer_lr_biases:
            factor = 1.0
        return rate * factor, self.decay(name)

    def decay(self, name: str) -> float:
        """The decay of one parameter."""
        layer, kind = name.split(".")
        return (
            self.sgd.bias_weight_decay
            if kind == "bias"
            else self.sgd.layer_weight_decay.get(layer, self.sgd.weight_decay)
        )


def sum_of_squares(x: Tensor) -> Tensor:
    """The sum of the squares of x, in float32 or wider."""
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    # Row by row: PyTorch's norm of all of fc6 at once is off by half a percent on a CPU.
    return torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=wide).square().sum()
