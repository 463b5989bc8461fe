"""When the update rule runs: after the backward pass, or on one GPU already during it."""

from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from alexnet.distributed.sharding import Gradients
from alexnet.ops.choices import choices
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates


class Updates(Protocol):
    """The updates of one step."""

    def begin(self, rates: LearningRates) -> None:
        """Prepare for the step's backward pass."""

    def finish(self, rates: LearningRates) -> None:
        """Make the updates that are not made yet."""


class AfterBackward:
    """All updates after the backward pass, when the gradients of all processes are there."""

    def __init__(self, momentum: Momentum, gradients: Gradients) -> None:
        self.momentum, self.gradients = momentum, gradients

    def begin(self, rates: LearningRates) -> None:
        """Do nothing yet."""

    def finish(self, rates: LearningRates) -> None:
        """Wait for the gradients of all processes, then update all parameters."""
        self.gradients.wait()
        self.momentum.step(rates, self.gradients)


class DuringBackward:
    """Each update as soon as its gradient is there, on a stream of its own.

    An update waits for memory and a convolution for arithmetic, so the two take little more time than one. The update
    of fc6 to fc8, nine tenths of the weights, is over before the gradients of the convolutions are.
    """

    def __init__(self, momentum: Momentum) -> None:
        self.momentum, self.stream = momentum, torch.cuda.Stream(momentum.finite.device)
        for name, weight in momentum.compute_weights.items():
            # A weight's layer has used it for both its gradients when the hook is called.
            if name not in momentum.never:
                weight.register_post_accumulate_grad_hook(partial(self.update, name))

    def begin(self, rates: LearningRates) -> None:
        """Keep the rates, and the stream of the backward pass."""
        self.rates, self.main = rates, torch.cuda.current_stream()
        self.momentum.begin()

    def update(self, name: str, weight: Tensor) -> None:
        """Update a parameter, beside the rest of the backward pass."""
        gradient = weight.grad
        assert gradient is not None
        self.stream.wait_stream(self.main)
        with torch.cuda.stream(self.stream):
            self.momentum.update(name, self.rates, gradient)

    def finish(self, rates: LearningRates) -> None:
        """Let the stream of the backward pass wait for the updates."""
        self.main.wait_stream(self.stream)


def updates(momentum: Momentum, gradients: Gradients, alone: bool) -> Updates:
    """Choose when to update: during the backward pass where that was measured to be faster (ops/choices.py).

    `alone` tells whether a parameter has its whole gradient when the backward pass of its layer is over. LARS needs all
    gradients at once.
    """
    device = momentum.finite.device
    early = device.type == "cuda" and alone and momentum.sgd.lars is None and choices(device).early
    return DuringBackward(momentum) if early else AfterBackward(momentum, gradients)
