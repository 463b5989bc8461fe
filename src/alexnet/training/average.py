"""The average of the weights over the last part of a training, which validation and evaluation use (`sgd.average`)."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Weights:
    """The weights that a run is judged by: without an average, those that training has now.

    Attributes:
        tensors: The weights by name, of this process's part of the net.
    """

    def __init__(self, trained: Mapping[str, Tensor]) -> None:
        self.tensors = dict(trained)

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps: they are those that training has."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the weights of a checkpoint: training has loaded them."""


class Average(Weights):
    """An average of the weights over all steps, which gives the newest most.

    After step t it is a <- a + (w - a) / min(t, horizon). In the first `horizon` steps it is the mean of the weights so
    far, without a trace of the initial ones (Polyak & Juditsky 1992). Then it is an exponential average, in which the
    weights of `horizon` steps ago count 1/e of the newest (as in Szegedy et al. 2016).

    Args:
        trained: The weights that training updates in place, by name.
        horizon: Number of steps, 1 or more.
    """

    def __init__(self, trained: Mapping[str, Tensor], horizon: float) -> None:
        super().__init__({name: w.detach().clone() for name, w in trained.items()})
        self.horizon = horizon
        self.now, self.averaged = [w.detach() for w in trained.values()], list(self.tensors.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps, in one pass, without waiting for the device."""
        torch._foreach_lerp_(self.averaged, self.now, 1 / min(step, self.horizon))

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the average of a checkpoint."""
        for name, kept in self.tensors.items():
            kept.copy_(tensors[name])


def judged_weights(trained: Mapping[str, Tensor], part: float, steps: int) -> Weights:
    """Choose the weights that a run is judged by: an average over a part of its steps, or for 0 those trained."""
    return Average(trained, max(1.0, part * steps)) if part else Weights(trained)
