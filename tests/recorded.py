"""A stand-in for CUDA's graphs, for tests on a CPU."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from alexnet.training.optimizer import Momentum
from alexnet.training.step import Graphs

T = TypeVar("T")


class Recorded(Graphs):
    """A stand-in for CUDA's graphs on a CPU: it records the work, and each replay runs it again on the same memory.

    A capture does no work, so it puts back what the recorded work changed.
    """

    def __init__(self, momentum: Momentum) -> None:
        self.held = [*momentum.parameters.values(), *momentum.velocity.values()]
        self.captures = self.replays = self.eager = 0

    def warm_up(self, work: Callable[[], T]) -> T:
        self.eager += 1
        return work()

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        self.captures += 1
        before = [t.detach().clone() for t in self.held]
        result = work()
        for t, value in zip(self.held, before, strict=True):
            t.data.copy_(value)

        def replay() -> None:
            self.replays += 1
            for name, made in vars(work()).items():
                if isinstance(made, Tensor):
                    getattr(result, name).copy_(made)

        return result, replay
