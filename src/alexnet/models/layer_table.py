"""The layers of a net in order, from the recipe alone: what each computes, and its size, weights and multiply-adds.

`alexnet` reads like figure 2. The modules of a net, the table of `alexnet summary`, the figure, and the estimates of
time and traffic all come from these lists.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from alexnet.config.recipe import LRN, AnyNet, CifarNet, MlpNet, Net, SpatialLRN


@dataclass(frozen=True)
class Pad:
    """Columns and rows of zeros at the right and bottom."""

    over: int


@dataclass(frozen=True)
class Convolution:
    """A convolution; with `groups`, each group of maps reads only its own tower's maps (section 3.5)."""

    maps: int
    size: int
    stride: int
    padding: int
    groups: int = 1
    ceil: bool = True  # the last window may hang over the edge


@dataclass(frozen=True)
class Local:
    """A 3 x 3 convolution with other weights at each place (2012 code)."""

    maps: int


@dataclass(frozen=True)
class Full:
    """A fully connected layer; with `groups`, each group of units reads only its own tower."""

    units: int
    groups: int = 1


@dataclass(frozen=True)
class Activation:
    """An activation: relu, tanh or logistic (section 3.1)."""

    kind: str


@dataclass(frozen=True)
class Norm:
    """Response normalisation: across the maps of each of the towers (section 3.3), or within a map (2012 code)."""

    numbers: LRN | SpatialLRN
    towers: int = 1


@dataclass(frozen=True)
class Pool:
    """Pools of a side at stride 2, clipped at the border (section 3.4) unless not `ceil`; kind max or avg."""

    size: int
    kind: str = "max"
    ceil: bool = True


@dataclass(frozen=True)
class Flatten:
    """Maps as one row of units for each picture, map by map."""


@dataclass(frozen=True)
class Dropout:
    """Dropout of a layer's units with probability p (section 4.2), scaled in testing or in training."""

    p: float
    layer: str
    scale: str = "testing"


Op = Pad | Convolution | Local | Full | Activation | Norm | Pool | Flatten | Dropout


@dataclass(frozen=True)
class Layer:
    """One layer: its input (seen x width x width) and its output (maps x side x side)."""

    name: str
    op: Op
    seen: int
    width: int
    maps: int
    side: int

    @property
    def working(self) -> str:
        """The size formula with its numbers filled in; "" if the size stays."""
        if isinstance(self.op, Convolution):
            return formula(self.width, self.op.size, self.op.stride, self.op.padding, self.op.ceil)
        if isinstance(self.op, Local):
            return f"{formula(self.width, 3, 1, 1)}, weights not shared"
        if isinstance(self.op, Full):
            return f"{self.inputs} -> {self.maps}" + (f" in {self.op.groups} groups" if self.op.groups > 1 else "")
        return formula(self.width, self.op.size, 2, ceil=self.op.ceil) if isinstance(self.op, Pool) else ""

    @property
    def over(self) -> int:
        """The number of columns that the last window of a convolution or pool has past the border; 0 if not `ceil`."""
        if not isinstance(self.op, (Convolution, Pool)) or not self.op.ceil:
            return 0
        stride, padding = (self.op.stride, self.op.padding) if isinstance(self.op, Convolution) else (2, 0)
        return overhang(self.width, self.op.size, stride, padding)

    @property
    def inputs(self) -> int:
        """The number of inputs for one picture."""
        return self.seen * self.width**2

    @property
    def fan_in(self) -> int:
        """The number of inputs that a unit reads; 0 for layers without weights."""
        if isinstance(self.op, Convolution):
            return self.seen // self.op.groups * self.op.size**2
        return 9 * self.seen if isinstance(self.op, Local) else self.inputs // self.groups if self.weighted else 0

    @property
    def groups(self) -> int:
        """The number of parts that read only their own tower; 1 where the towers meet."""
        return self.op.groups if isinstance(self.op, (Convolution, Full)) else 1

    @property
    def weighted(self) -> bool:
        """True for a layer with weights."""
        return isinstance(self.op, (Convolution, Local, Full))

    @property
    def weights(self) -> int:
        """The number of weights, biases included."""
        each = self.maps * (self.fan_in + 1) if self.weighted else 0
        return each * self.side**2 if isinstance(self.op, Local) else each

    @property
    def units(self) -> int:
        """The number of units; 0 for layers without weights."""
        return self.maps * self.side**2 if self.weighted else 0

    @property
    def multiply_adds(self) -> int:
        """The number of multiply-adds for one picture; 0 for layers without weights."""
        return self.units * self.fan_in

    @property
    def sized(self) -> bool:
        """True for a layer with weights and for a pool."""
        return self.weighted or isinstance(self.op, Pool)


def output_side(width: int, size: int, stride: int, padding: int = 0, ceil: bool = True) -> int:
    """Compute (W + 2P - F) / S + 1, rounded up: a window may hang over the right and bottom border, if `ceil`."""
    return (math.ceil if ceil else math.floor)((width + 2 * padding - size) / stride) + 1


def overhang(width: int, size: int, stride: int, padding: int = 0) -> int:
    """Count the columns of zeros that the last window needs past the border (3 for 224, 11, 4)."""
    return (output_side(width, size, stride, padding) - 1) * stride + size - width - 2 * padding


def formula(width: int, size: int, stride: int, padding: int = 0, ceil: bool = True) -> str:
    """Write out the size formula with its numbers; what hangs over the edge is the summand after the padding."""
    side, over = output_side(width, size, stride, padding, ceil), overhang(width, size, stride, padding)
    more = f" + {over}" if over and ceil else ""
    end = f" = {(width + 2 * padding - size) / stride + 1:g}, rounded down:" if over and not ceil else " ="
    return f"({width} + 2*{padding}{more} - {size})/{stride} + 1{end} {side}"


def layers_of(net: AnyNet) -> list[Layer]:
    """List the layers that change the shape, first to last."""
    return [layer for layer in describe(net) if layer.sized]


def describe(net: AnyNet) -> list[Layer]:
    """List all layers, first to last."""
    if isinstance(net, Net):
        ops = alexnet(net)
    else:
        ops = cifar(net) if isinstance(net, CifarNet) else mlp(net)
    layers, maps, side = [], 3, net.image_size
    for name, op in ops:
        seen, across = maps, side
        if isinstance(op, Convolution):
            maps, side = op.maps, output_side(side, op.size, op.stride, op.padding, op.ceil)
        elif isinstance(op, Pool):
            side = output_side(side, op.size, 2, ceil=op.ceil)
        elif isinstance(op, Local):
            maps = op.maps
        elif isinstance(op, Full):
            maps, side = op.units, 1
        elif isinstance(op, Flatten):
            maps, side = maps * side * side, 1
        # A convolution's formula starts from the side before the pad: its last window hangs over the edge.
        layers.append(Layer(name, op, seen, across, maps, side + op.over if isinstance(op, Pad) else side))
    return layers


Ops = Iterator[tuple[str, Op]]  # of the layers in order, each with its name


def alexnet(net: Net) -> Ops:
    """List the layers of figure 2; conv2, conv4 and conv5 read only the maps of their own tower (section 3.5)."""
    relu, pool = Activation(net.activation), Pool(net.pool, ceil=net.pool_ceil)

    def groups(name: str) -> int:
        return 1 if name in net.meet else net.towers  # 1: the layer reads both towers

    def convolution(name: str, i: int) -> Convolution:
        size = net.kernel_sizes[i - 1]
        if net.padding:  # as in Caffe and torchvision, whose sizes round down
            return Convolution(net.widths[name], size, 1, net.padding[i - 1], groups(name), ceil=False)
        return Convolution(net.widths[name], size, 1, size // 2, groups(name))  # its maps have the side of its input

    def norms_and_pool(i: int) -> Ops:
        if net.pool_first:  # CaffeNet
            yield f"pool{i}", pool
        if net.lrn and not (i == 1 and net.lrn1_first):
            yield f"norm{i}", norm(net.lrn)
        if net.spatial_lrn and i == 2:
            yield "within2", Norm(net.spatial_lrn)
        if not net.pool_first:
            yield f"pool{i}", pool

    def norm(numbers: LRN) -> Norm:
        return Norm(numbers, net.towers if numbers.across == "tower" else 1)

    def dropout(name: str) -> Ops:
        if name in net.dropped:
            yield f"drop{name[-1]}", Dropout(net.dropout, name, net.dropout_scale)

    # (224 - 11) / 4 + 1 is 54.25. The 2012 code takes 55: the last window hangs over the right and bottom edge, and
    # reads zeros there. 227-pixel crops or a padding of 2, the usual repairs, compute something else.
    size = net.kernel_sizes[0]
    if net.padding:
        yield "conv1", Convolution(net.widths["conv1"], size, net.stride, net.padding[0], ceil=False)
    else:
        if over := overhang(net.image_size, size, net.stride):
            yield "pad1", Pad(over)
        yield "conv1", Convolution(net.widths["conv1"], size, net.stride, 0)
    if net.lrn and net.lrn1_first:  # net 145 has the norm before the ReLU
        yield "norm1", norm(net.lrn)
    yield "relu1", relu
    yield from norms_and_pool(1)
    # conv2 reads only its own tower. Each GPU of 2012 held one, and reading the other's maps costs time (3.2).
    yield "conv2", convolution("conv2", 2)
    yield "relu2", relu
    yield from norms_and_pool(2)
    for name in ("conv3", "conv4", "conv5"):  # the first of them reads both towers (3.2)
        if name in net.layers:
            yield name, convolution(name, int(name[-1]))
            yield f"relu{name[-1]}", relu
    # 2012 code has the ReLU of conv1 and conv5 after the pool: the maximum and its gradient are the same.
    yield "pool5", pool
    if "conv6" in net.layers:  # in the pre-trained nets of table 2 (CNN*)
        yield "conv6", convolution("conv6", 5)
        yield "relu_conv6", relu  # relu6 is fc6's
    yield "flatten", Flatten()
    yield from dropout("pool5")
    for name in ("fc6", "fc7"):  # these read both towers, and so does fc8
        yield name, Full(net.hidden, groups(name))
        yield f"relu{name[-1]}", relu
        yield from dropout(name)
    yield "fc8", Full(net.classes, groups("fc8"))


def cifar(net: CifarNet) -> Ops:
    """List the layers of a CIFAR-10 net of the 2012 code. They differ in the places of norms and first activation."""
    activation = Activation(net.activation)
    for i, maps in enumerate(net.channels, 1):
        relu: tuple[str, Op] = f"relu{i}", activation
        pool: tuple[str, Op] = f"pool{i}", Pool(3, net.pools[i - 1])
        norm: list[tuple[str, Op]] = [(f"norm{i}", Norm(net.norm))] if net.norm and i <= 2 else []
        yield f"conv{i}", Convolution(maps, 5, 1, 2)
        if i == 1 and net.pool1_first:
            yield from (pool, relu, *norm)
        elif i == 2 and net.norm2_first:
            yield from (relu, *norm, pool)
        else:
            yield from (relu, pool, *norm)
    for i, maps in enumerate(net.local, len(net.channels) + 1):
        yield f"local{i}", Local(maps)
        yield f"relu{i}", activation
    yield "flatten", Flatten()
    yield "fc", Full(net.classes)


def mlp(net: MlpNet) -> Ops:
    """List the layers of a fully connected net; the first reads every pixel in three colours."""
    yield "flatten", Flatten()
    for i, units in enumerate(net.hidden, 1):
        yield f"fc{i}", Full(units)
        yield f"relu{i}", Activation(net.activation)
        yield f"drop{i}", Dropout(net.dropout, f"fc{i}")
    yield net.layers[-1], Full(net.classes)


def notes(net: AnyNet) -> list[str]:
    """Explain the numbers of this net that differ from the paper's, or surprise its reader."""
    conv1 = layers_of(net)[0]
    if not isinstance(net, Net) or conv1.units != 290_400:
        return []
    slip = "conv1 has 55 x 55 x 96 = 290,400 units; figure 2's caption says 253,440, a slip: that is 55 x 48 x 96."
    if net.padding or net.image_size != 224:
        return [slip]
    return [
        slip,
        "224 gives 55 because the last window hangs 3 columns over the edge, where the 2012 code reads zeros.",
    ]
