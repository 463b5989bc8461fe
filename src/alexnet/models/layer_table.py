"""The size, weights and multiply-adds of every layer, from the recipe alone (figure 2)."""

import math
from dataclasses import dataclass
from itertools import pairwise

from alexnet.config.recipe import AnyNet, CifarNet, MlpNet, Net


@dataclass(frozen=True)
class Layer:
    """One layer: its output (maps x side x side), its weights, and its multiply-adds for one picture."""

    name: str
    working: str  # the size formula with its numbers filled in
    maps: int
    side: int
    weights: int = 0  # biases included
    multiply_adds: int = 0

    @property
    def units(self) -> int:
        """The number of units; 0 for pools and norms, which have no weights."""
        return self.maps * self.side**2 if self.weights else 0


def output_side(width: int, size: int, stride: int, padding: int = 0) -> int:
    """Compute (W + 2P - F) / S + 1, rounded up: a window may hang over the right and bottom border."""
    return math.ceil((width + 2 * padding - size) / stride) + 1


def overhang(width: int, size: int, stride: int, padding: int = 0) -> int:
    """Count the columns of zeros that the last window needs past the border (3 for 224, 11, 4)."""
    return (output_side(width, size, stride, padding) - 1) * stride + size - width - 2 * padding


def formula(width: int, size: int, stride: int, padding: int = 0) -> str:
    """Write out the size formula with its numbers."""
    side, over = output_side(width, size, stride, padding), overhang(width, size, stride, padding)
    end = f", {over} zero columns over the edge" if over else ""
    return f"({width} + 2*{padding} - {size})/{stride} + 1 = {side}{end}"


def layers_of(net: AnyNet) -> list[Layer]:
    """List the layers that change the shape, first to last."""
    if isinstance(net, Net):
        return alexnet_walk(net)
    return cifar_walk(net) if isinstance(net, CifarNet) else mlp_walk(net)


def alexnet_walk(net: Net) -> list[Layer]:
    """List the layers of figure 2; conv2, conv4 and conv5 read only the maps of their own tower (section 3.5)."""
    layers: list[Layer] = []
    side, seen = net.image_size, 3
    for i, (maps, size) in enumerate(
        zip((*net.channels, net.conv6), (*net.kernel_sizes, net.kernel_sizes[4]), strict=True), 1
    ):
        name = f"conv{i}"
        if name in net.layers:
            stride, padding = (net.stride, 0) if i == 1 else (1, size // 2)
            layers.append(_shared(name, side, seen, maps, size, stride, padding, groups(net, name)))
            side, seen = layers[-1].side, maps
        if i in (1, 2, 5):
            layers.append(_pool(f"pool{i}", side, seen, net.pool))
            side = layers[-1].side
    units = seen * side * side
    for name, outputs in (("fc6", net.hidden), ("fc7", net.hidden), ("fc8", net.classes)):
        layers.append(_full(name, units, outputs, groups(net, name)))
        units = outputs
    return layers


def groups(net: Net, layer: str) -> int:
    """Count the groups of a layer: 1 where the towers meet, else one for each tower (section 3.2)."""
    return 1 if layer == "conv1" or layer in net.meet else net.towers


def cifar_walk(net: CifarNet) -> list[Layer]:
    """List the layers of a CIFAR-10 net of the 2012 code."""
    layers: list[Layer] = []
    side, seen = net.image_size, 3
    for i, maps in enumerate(net.channels, 1):
        layers.append(_shared(f"conv{i}", side, seen, maps, 5, 1, 2, 1))
        layers.append(_pool(f"pool{i}", layers[-1].side, maps, 3))
        side, seen = layers[-1].side, maps
    for i, maps in enumerate(net.local, len(net.channels) + 1):
        fan_in = 9 * seen
        words = f"{formula(side, 3, 1, 1)}, weights not shared"
        layers.append(
            Layer(f"local{i}", words, maps, side, side * side * maps * (fan_in + 1), side * side * maps * fan_in)
        )
        seen = maps
    layers.append(_full("fc", seen * side * side, net.classes))
    return layers


def mlp_walk(net: MlpNet) -> list[Layer]:
    """List the layers of a fully connected net; the first reads every pixel in three colours."""
    widths = (3 * net.image_size**2, *net.hidden, net.classes)
    return [_full(name, *pair) for name, pair in zip(net.layers, pairwise(widths), strict=True)]


def _shared(name: str, side: int, seen: int, maps: int, size: int, stride: int, padding: int, groups: int) -> Layer:
    out, fan_in = output_side(side, size, stride, padding), seen // groups * size * size
    return Layer(name, formula(side, size, stride, padding), maps, out, maps * (fan_in + 1), out * out * maps * fan_in)


def _pool(name: str, side: int, maps: int, size: int) -> Layer:
    return Layer(name, formula(side, size, 2), maps, output_side(side, size, 2))


def _full(name: str, inputs: int, outputs: int, groups: int = 1) -> Layer:
    words, fan_in = f"{inputs} -> {outputs}" + (f" in {groups} groups" if groups > 1 else ""), inputs // groups
    return Layer(name, words, outputs, 1, outputs * (fan_in + 1), outputs * fan_in)


def notes(net: AnyNet) -> list[str]:
    """Explain the numbers of this net that differ from the paper's, or surprise its reader."""
    conv1 = layers_of(net)[0]
    if not isinstance(net, Net) or conv1.units != 290_400:
        return []
    return [
        "conv1 has 55 x 55 x 96 = 290,400 units; figure 2's caption says 253,440, a slip: that is 55 x 48 x 96.",
        "224 gives 55 because the last window hangs 3 columns over the edge, where the 2012 code reads zeros.",
    ]
