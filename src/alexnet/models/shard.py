"""The part of a net that one process holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from alexnet.core.launch import bounds

Runs = Sequence[tuple[int, int]]  # (position in the global batch, pictures)


def unchanged(x: Tensor) -> Tensor:
    """Return x: the exchange between towers, where one process holds both."""
    return x


def own(x: Tensor, runs: Runs) -> Tensor:
    """Return x: the exchange between replicas, where each keeps its own pictures."""
    return x


@dataclass(frozen=True)
class ModelShard:
    """The part of a net that one process holds, and how it gets the rest; by default, all of it (section 3.2).

    `towers` processes share the maps of conv1 to conv5; this one has part `tower`. `units` processes share the units of
    fc6 and fc7; this one has part `unit`. With `fc8_apart` they also share the units of fc8.
    """

    towers: int = 1
    tower: int = 0
    units: int = 1
    unit: int = 0
    fc8_apart: bool = False
    conv3: Callable[[Tensor], Tensor] = unchanged  # from the held maps to the input of conv3
    conv6: Callable[[Tensor], Tensor] = unchanged  # from the held maps to the input of conv6
    fc7: Callable[[Tensor], Tensor] = unchanged  # from the held units to the input of fc7
    fc8: Callable[[Tensor], Tensor] = unchanged  # from the held units to the input of fc8
    fc6: Callable[[Tensor, Runs], Tensor] = own  # from the held maps, and all replicas' pictures, to the input of fc6
    out: Callable[[Tensor, Runs], Tensor] = own  # from the held outputs to the logits of this process's pictures
    gathers: bool = False  # whether fc6 to fc8 see the pictures of all replicas

    @property
    def whole(self) -> bool:
        """True if the process holds the whole net."""
        return self == ModelShard()

    def bounds_of(self, layer: str, outputs: int) -> tuple[int, int]:
        """Return the range (begin, end) of a layer's outputs that this process holds."""
        of, number = (self.towers, self.tower) if layer.startswith("conv") else (self.units, self.unit)
        if layer == "fc8" and not self.fc8_apart:
            of, number = 1, 0
        return bounds(outputs, of)[number]
