"""What part of a net one process holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from alexnet.core.launch import bounds

Runs = Sequence[tuple[int, int]]  # (position in the global batch, pictures)


def unchanged(x: Tensor) -> Tensor:
    """The join between towers in one process, which holds them all."""
    return x


def own(x: Tensor, runs: Runs) -> Tensor:
    """The join between replicas where each keeps its own pictures."""
    return x


@dataclass(frozen=True)
class ModelShard:
    """What of a net a process holds, and how it comes by what the others hold; as it stands it holds all (section 3.2).

    The maps of conv1 to conv5 are shared out to `towers` processes, of which it is number `tower`; the units of fc6
    and fc7 to `units`, of which it is number `unit`; and so those of fc8, if `fc8_apart`.
    """

    towers: int = 1
    tower: int = 0
    units: int = 1
    unit: int = 0
    fc8_apart: bool = False
    conv3: Callable[[Tensor], Tensor] = unchanged  # what makes the input of conv3 of the maps that are held,
    conv6: Callable[[Tensor], Tensor] = unchanged  # and of conv6, where there is one,
    fc7: Callable[[Tensor], Tensor] = unchanged  # those of fc7 and fc8 of the units that are held,
    fc8: Callable[[Tensor], Tensor] = unchanged
    fc6: Callable[[Tensor, Runs], Tensor] = own  # that of fc6, given what pictures there are elsewhere,
    out: Callable[[Tensor, Runs], Tensor] = own  # and the logits of this process's pictures
    gathers: bool = False  # whether fc6 and what follows see the pictures of all replicas

    def bounds_of(self, layer: str, outputs: int) -> tuple[int, int]:
        """Which of a layer's outputs are held: from the first to before the second number."""
        of, number = (self.towers, self.tower) if layer.startswith("conv") else (self.units, self.unit)
        if layer == "fc8" and not self.fc8_apart:
            of, number = 1, 0
        return bounds(outputs, of)[number]
