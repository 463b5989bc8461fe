"""The layers of a foreign net as one chain, and the recipe's net that computes the same, or the first that differs.

The readers of Caffe and ONNX files make a chain of what a file lists. `net_of` walks it as figure 2 goes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from alexnet.config.recipe import LRN, Net, SpatialLRN
from alexnet.core.errors import InputError
from alexnet.interop.foreign import image_size_for, side_of_maps
from alexnet.models import layer_table as table


@dataclass(frozen=True)
class Part:
    """A layer of a foreign net, with its name in the file."""

    name: str


@dataclass(frozen=True, eq=False)
class Convolution(Part):
    """A convolution: weight (maps, seen / groups, size, size), and zeros at the top, left, bottom and right."""

    weight: Tensor
    bias: Tensor
    stride: int
    pads: tuple[int, int, int, int]
    groups: int


@dataclass(frozen=True)
class Relu(Part):
    """A ReLU."""


@dataclass(frozen=True)
class Norm(Part):
    """Response normalisation over n maps; alpha is divided by n. `towers` parts are normalised each by itself."""

    n: int
    k: float
    alpha: float
    beta: float
    towers: int = 1


@dataclass(frozen=True)
class Pool(Part):
    """A maximum over windows; `ceil`: those that hang over the right and bottom border count too, clipped."""

    size: int
    stride: int
    ceil: bool


@dataclass(frozen=True, eq=False)
class Full(Part):
    """A fully connected layer: weight (units, inputs)."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Drop(Part):
    """Dropout: its probability if the file says it, and the factor of units in testing."""

    p: float | None = None
    testing: float = 1.0


P = TypeVar("P", bound=Part)
WORDS = {
    Convolution: "a convolution",
    Relu: "a ReLU",
    Norm: "a response norm",
    Pool: "a pool",
    Full: "a fully connected layer",
    Drop: "dropout",
}


def single(value: float) -> float:
    """Return the shortest decimal of a single-precision number: 0.0001, where Python reads 0.00009999999747."""
    return float(str(np.float32(value)))


class Walk:
    """A walk along a chain, which takes the layers in order."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts, self.place = parts, 0

    def next(self, kind: type[P]) -> P | None:
        """Take the next layer if it is of a kind."""
        part = self.parts[self.place] if self.place < len(self.parts) else None
        if not isinstance(part, kind):
            return None
        self.place += 1
        return part

    def need(self, kind: type[P], after: str) -> P:
        """Take the next layer; raise InputError if it is of another kind."""
        if part := self.next(kind):
            return part
        if self.place == len(self.parts):
            raise InputError(f"{WORDS[kind]} is missing after {after}, the end of the net")
        other = self.parts[self.place]
        raise InputError(f"{other.name} is {WORDS[type(other)]}, where AlexNet has {WORDS[kind]} after {after}")

    def end(self) -> None:
        """Raise InputError if layers are left."""
        if self.place < len(self.parts):
            other = self.parts[self.place]
            raise InputError(f"{other.name} is {WORDS[type(other)]} after fc8, AlexNet's last layer")


def net_of(parts: Sequence[Part], base: Net, image_size: int | None = None) -> tuple[Net, dict[str, Tensor]]:
    """Find the net that computes what a chain of layers does, and its weights by our names.

    Args:
        parts: The layers in order.
        base: The net whose other settings to take, such as those of initial weights.
        image_size: Side of the views in pixels, if the file says it; otherwise the size that fc6 needs.

    Raises:
        InputError: The chain is not an AlexNet's; the message names the first layer that does not fit.
    """
    walk, found = Walk(parts), dict[str, Any]()
    convolutions, pools, norms = list[Convolution](), list[Pool](), list[Norm]()
    orders = list[str]()
    for i in range(1, 6):
        before = f"conv{i - 1}" if i > 1 else "the input"
        convolutions.append(walk.need(Convolution, before))
        here, order = convolutions[-1].name, ""
        if i == 1 and (norm := walk.next(Norm)):
            norms.append(norm)
            found["lrn1_first"] = True
        walk.need(Relu, here)
        if i in (1, 2, 5):
            for _ in range(2):
                if i < 5 and (norm := walk.next(Norm)):
                    norms.append(norm)
                    order += "norm"
                elif "pool" not in order and (pool := walk.next(Pool)):
                    pools.append(pool)
                    order += "pool"
            if "pool" not in order:
                pools.append(walk.need(Pool, here))
            orders += [order] if i < 5 else []
    fulls, drops = list[Full](), dict[str, Drop]()
    for name, before in (("fc6", "pool5"), ("fc7", "fc6"), ("fc8", "fc7")):
        if drop := walk.next(Drop):
            drops[before] = drop
        fulls.append(walk.need(Full, before))
        if name != "fc8":
            walk.need(Relu, fulls[-1].name)
    walk.end()
    lrn = _lrn(norms, orders, convolutions)
    widths = tuple(c.weight.shape[0] for c in convolutions)
    if fulls[0].weight.shape[0] != fulls[1].weight.shape[0]:
        units = [f.weight.shape[0] for f in fulls]
        raise InputError(f"fc6 has {units[0]} units and fc7 {units[1]}; equal numbers are needed")
    change = found | {
        "lrn": lrn,
        "pool_first": orders[0] == "poolnorm",
        "channels": widths,
        "kernel_sizes": tuple(c.weight.shape[2] for c in convolutions),
        "towers": _towers(convolutions),
        "stride": convolutions[0].stride,
        "hidden": fulls[0].weight.shape[0],
        "classes": fulls[2].weight.shape[0],
        "spatial_lrn": None,
    }
    change |= _pools(pools) | _dropout(drops, base)
    net = _sized(replace(base, image_size=512, padding=(), **change), convolutions, fulls[0], image_size)
    _check_windows(pools, net)
    names = [f"conv{i}" for i in range(1, 6)] + ["fc6", "fc7", "fc8"]
    weights = dict[str, Tensor]()
    layers: list[Convolution | Full] = [*convolutions, *fulls]
    for name, part in zip(names, layers, strict=True):
        weights |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
    return net, weights


def _towers(convolutions: Sequence[Convolution]) -> int:
    groups = [c.groups for c in convolutions]
    for i, (part, own) in enumerate(zip(convolutions, groups, strict=True), 1):
        wanted = groups[1] if i in (2, 4, 5) else 1
        if own != wanted:
            raise InputError(f"{part.name} has {own} groups, where AlexNet has {wanted}")
        height, width = part.weight.shape[2:]
        if height != width:
            raise InputError(f"{part.name} has kernels of {height} x {width}; square ones are needed")
        if i > 1 and part.stride != 1:
            raise InputError(f"{part.name} has stride {part.stride}, where AlexNet has 1")
    return groups[1]


def _lrn(norms: Sequence[Norm], orders: Sequence[str], convolutions: Sequence[Convolution]) -> LRN | None:
    if not norms:
        return None
    first = norms[0]
    if len(norms) != 2:
        raise InputError(f"{first.name} is one of {len(norms)} norms; AlexNet has two, after conv1 and conv2, or none")
    if replace(norms[1], name="") != replace(first, name=""):
        raise InputError(f"{norms[1].name} differs from {first.name}; both norms need the same numbers")
    expected = {"pool"} if "norm" not in orders[0] else {orders[0]}
    if orders[0] != "pool" and set(orders) != expected:
        raise InputError(
            f"{norms[1].name} stands elsewhere than {first.name}: before the pool in one, after in the other"
        )
    towers = convolutions[1].groups
    if first.towers not in (1, towers):
        raise InputError(f"{first.name} is cut in {first.towers} parts, and conv2 in {towers}")
    across = "all" if first.towers < towers else "tower"
    return LRN(first.n, first.k, first.alpha, first.beta, divide_alpha_by_n=True, across=across)  # type: ignore[arg-type]


def _pools(pools: Sequence[Pool]) -> dict[str, Any]:
    for pool in pools:
        if (pool.size, pool.stride) != (pools[0].size, 2):
            raise InputError(f"{pool.name} has side {pool.size} and stride {pool.stride}; equal sides and 2 are needed")
    return {"pool": pools[0].size, "pool_ceil": any(pool.ceil for pool in pools)}


def _check_windows(pools: Sequence[Pool], net: Net) -> None:
    """Raise InputError if a pool rounds down and another up, unless that makes no difference at their sizes."""
    sides = [layer.width for layer in table.describe(net) if isinstance(layer.op, table.Pool)]
    for pool, side in zip(pools, sides, strict=True):
        if pool.ceil != net.pool_ceil and (side - pool.size) % 2:
            raise InputError(f"{pool.name} leaves out the last column of its {side}, where other pools clip a window")


def _dropout(drops: Mapping[str, Drop], base: Net) -> dict[str, Any]:
    if not drops:
        return {}
    first = next(iter(drops.values()))
    for drop in drops.values():
        if replace(drop, name="") != replace(first, name=""):
            raise InputError(f"{drop.name} differs from {first.name}; one probability of dropout is needed")
    if first.testing == 1:
        p = base.dropout if first.p is None else first.p
        return {"dropped": tuple(drops), "dropout": p, "dropout_scale": "training"}
    return {"dropped": tuple(drops), "dropout": round(1 - first.testing, 6), "dropout_scale": "testing"}


def _sized(net: Net, convolutions: Sequence[Convolution], fc6: Full, image_size: int | None) -> Net:
    """Complete a net with its paddings, and the size of its views, which may say how to read the paddings."""
    pads = [c.pads for c in convolutions]
    even = all(len(set(four)) == 1 for four in pads)
    inputs, maps = fc6.weight.shape[1], net.channels[-1]
    side = round((inputs / maps) ** 0.5)
    if side * side * maps != inputs:
        raise InputError(f"{fc6.name} reads {inputs} units, not a square of {maps} maps")

    def sized(size: int) -> Net:
        own = replace(net, image_size=size, padding=tuple(four[0] for four in pads) if even else ())
        if not even and pads != _ours(own):
            part = next(c for c, four in zip(convolutions, _ours(own), strict=True) if c.pads != four)
            raise InputError(f"{part.name} has {part.pads} zeros at its sides, which no recipe has")
        return own

    sized(512)  # raises for what no size would mend
    if image_size is None:
        image_size = image_size_for(sized, side, 227 if not any(pads[0]) else 224)
    if image_size is None:
        raise InputError(f"{fc6.name} reads {side} x {side} maps, which views of no size give")
    found = sized(image_size)
    if side_of_maps(found) != side:
        seen, own = side_of_maps(found), image_size
        raise InputError(f"{fc6.name} reads {side} x {side} maps, but views of {own} pixels give {seen} x {seen}")
    return found


def _ours(net: Net) -> list[tuple[int, int, int, int]]:
    """List the zeros at the sides of each convolution's input."""
    over, pads = 0, []
    for layer in table.describe(net):
        if isinstance(layer.op, table.Pad):
            over = layer.op.over
        if isinstance(layer.op, table.Convolution):
            p = layer.op.padding
            pads.append((p, p, p + over, p + over))
            over = 0
    return pads


def behaviour(net: Net) -> list[tuple[Any, ...]]:
    """List what a net computes in testing, layer by layer, so that two ways to write one function are equal."""
    found: list[tuple[Any, ...]] = []
    pads = iter(_ours(net))
    for layer in table.describe(net):
        op = layer.op
        if isinstance(op, table.Convolution):
            found.append(("convolution", op.maps, op.size, op.stride, op.groups, next(pads), layer.side))
        elif isinstance(op, table.Full):
            found.append(("full", op.units, op.groups))
        elif isinstance(op, table.Activation):
            found.append((op.kind,))
        elif isinstance(op, table.Norm):
            numbers = op.numbers
            inside = isinstance(numbers, SpatialLRN)
            settings = (numbers.k, numbers.beta, numbers.a * numbers.n)  # an ONNX file has single precision
            found.append(("norm", inside, numbers.n, *map(single, settings), op.towers))
        elif isinstance(op, table.Pool):
            found.append(("pool", op.size, layer.side))
        elif isinstance(op, table.Dropout) and op.scale == "testing" and op.p:
            found.append(("dropout", single(1 - op.p)))
    return found
