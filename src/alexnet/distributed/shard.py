"""The part of a net that one process holds: it builds the whole net, cuts it, and joins its layers by hooks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from alexnet.core.launch import bounds
from alexnet.models.layers import Dropout, Grouped, Place, ResponseNorm, Runs
from alexnet.models.network import Network

Exchange = Callable[[Tensor, Runs], Tensor]  # of a tensor of this process, and all replicas' pictures


@dataclass(frozen=True)
class ModelShard:
    """The part of a net that one process holds, and how it gets the rest; by default, all of it (section 3.2).

    `towers` processes share the maps of conv1 to conv5; this one has part `tower`. `units` processes share the units of
    fc6 and fc7; this one has part `unit`. With `fc8_apart` they also share the units of fc8.

    Attributes:
        before: For a layer, what makes its input of the outputs that this process holds.
        after: For a layer, what makes the outputs for this process's pictures of those that it computes.
        gathers: Whether fc6 to fc8 see the pictures of all replicas.
    """

    towers: int = 1
    tower: int = 0
    units: int = 1
    unit: int = 0
    fc8_apart: bool = False
    before: Mapping[str, Exchange] = field(default_factory=dict)
    after: Mapping[str, Exchange] = field(default_factory=dict)
    gathers: bool = False

    def bounds_of(self, layer: str, outputs: int) -> tuple[int, int]:
        """Return the range (begin, end) of a layer's outputs that this process holds."""
        of, number = (self.towers, self.tower) if layer.startswith("conv") else (self.units, self.unit)
        if layer == "fc8" and not self.fc8_apart:
            of, number = 1, 0
        return bounds(outputs, of)[number]


def shard(net: Network, of: ModelShard) -> Network:
    """Cut a whole net to the part that this process holds, and join its layers to those of other processes.

    Each layer keeps its share of outputs. Where the towers are apart, a layer in groups keeps one group. A norm stays
    within its tower, and dropout drops the units that it drops in the whole net.
    """
    for name, layer in net.named_children():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            cut(layer, *of.bounds_of(name, len(layer.weight)), of.towers)
        elif isinstance(layer, ResponseNorm):
            layer.towers //= of.towers
        elif isinstance(layer, Dropout):
            width = next(each.maps * each.side**2 for each in net.layers if each.name == layer.layer)
            layer.first, _ = of.bounds_of(layer.layer, width)
    for name, exchange in of.before.items():
        net.get_submodule(name).register_forward_pre_hook(Before(exchange, net.place))
    for name, exchange in of.after.items():
        net.get_submodule(name).register_forward_hook(After(exchange, net.place))
    return net


def cut(layer: nn.Conv2d | nn.Linear, first: int, end: int, towers: int) -> None:
    """Cut a layer to the outputs first to end - 1, and to the groups of one of the towers."""
    for name, whole in list(layer.named_parameters()):
        part = whole if end - first == len(whole) else whole.detach()[first:end].clone()
        setattr(layer, name, nn.Parameter(part.detach(), whole.requires_grad))
    if isinstance(layer, nn.Conv2d):
        layer.out_channels = end - first
        if layer.groups > 1:
            layer.groups //= towers
            layer.in_channels //= towers
    else:
        layer.out_features = end - first
        if isinstance(layer, Grouped):
            layer.groups //= towers


@dataclass(frozen=True, eq=False)
class Before:
    """A hook that makes the input of a layer of what this process holds, before each call."""

    exchange: Exchange
    place: Place

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Exchange the input."""
        return (self.exchange(inputs[0], self.place.runs),)


@dataclass(frozen=True, eq=False)
class After:
    """A hook that makes the output of a layer of what this process computes, after each call."""

    exchange: Exchange
    place: Place

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Exchange the output."""
        return self.exchange(output, self.place.runs)
