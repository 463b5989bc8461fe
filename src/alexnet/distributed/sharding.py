"""Shard a net and its gradient over the processes of a mesh.

There are three strategies. "data" gives each process a replica of the whole net. "towers" gives each process one tower
(section 3.2). "hybrid" gives each process all convolutions and a part of the fully connected layers (Krizhevsky 2014,
"One weird trick").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from alexnet.config.recipe import AnyNet, Net
from alexnet.core.errors import InputError
from alexnet.core.launch import bounds
from alexnet.distributed.mesh import Axis, Mesh
from alexnet.distributed.shard import ModelShard
from alexnet.distributed.strategy import refusal
from alexnet.models.layers import Runs


@dataclass(frozen=True)
class Sharding:
    """The distribution of a net over a mesh.

    `split` lists the layers that no process holds whole, each with its number of outputs and the axis that shares it.
    """

    strategy: str = "data"
    mesh: Mesh = field(default_factory=Mesh)
    model_shard: ModelShard = field(default_factory=ModelShard)
    split: Mapping[str, tuple[int, Axis]] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The number and arrangement of the processes, as the console and environment.json show it."""
        replicas, towers = self.mesh.replicas.size, self.mesh.towers.size
        if self.strategy == "data":
            return f"{replicas} process{'es' * (replicas > 1)}"
        if self.strategy == "towers":
            return f"{replicas} x {towers} processes, towers apart"
        return f"{replicas} process{'es' * (replicas > 1)}, fully connected layers shared out"

    def gather(self, tensors: Mapping[str, Tensor], what: str = "whole") -> dict[str, Tensor]:
        """Gather whole tensors, named as in a state_dict, from the parts; every process must call it."""
        return {name: self._gathered(name, tensor, what) for name, tensor in tensors.items()}

    def shard(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut from whole tensors the parts that this process holds."""
        parts = {}
        for name, tensor in tensors.items():
            first, end = self.model_shard.bounds_of(layer_of(name), len(tensor))
            parts[name] = tensor[first:end]
        return parts

    def sum_over_parts(self, squares: Tensor, names: Sequence[str]) -> Tensor:
        """Add the other processes' parts to sums over a layer's units; `squares` has a column for each name."""
        if not self.split:
            return squares
        _, axis = next(iter(self.split.values()))
        shared = squares.clone()
        if work := axis.all_reduce(shared, "norms"):
            work.wait()
        apart = torch.tensor([layer_of(name) in self.split for name in names], device=squares.device)
        return torch.where(apart, shared, squares)

    def _gathered(self, name: str, tensor: Tensor, what: str) -> Tensor:
        if layer_of(name) not in self.split:
            return tensor
        outputs, axis = self.split[layer_of(name)]
        return axis.all_gather(tensor.detach(), 0, what, [end - first for first, end in bounds(outputs, axis.size)])


def sharding(mesh: Mesh, strategy: str, net: AnyNet) -> Sharding:
    """Choose the sharding of a net; raise InputError if the net does not support the strategy."""
    if words := refusal(net, strategy, mesh.replicas.size):
        raise InputError(words)
    if strategy == "data" or not isinstance(net, Net):
        return Sharding(strategy, mesh)
    if strategy == "towers":
        return Sharding(strategy, mesh, *towers_apart(mesh.towers, net))
    return Sharding(strategy, mesh, *units_shared(mesh.replicas, net))


def towers_apart(axis: Axis, net: Net) -> tuple[ModelShard, dict[str, tuple[int, Axis]]]:
    """Give each process one tower, and all of fc8 (section 3.2)."""
    # Only some layers read both towers, so that communication stays a small part of a step (section 3.2).
    before = {
        # Every process holds all of fc8, so each computes the whole gradient of its input.
        read(name): partial(joined, axis, f"join {name}", alike=name == "fc8")
        for name in net.meet
    }
    shard = ModelShard(axis.size, axis.index, axis.size, axis.index, before=before)
    return shard, {name: (n, axis) for name, n in net.widths.items() if name != "fc8"}


def units_shared(axis: Axis, net: Net) -> tuple[ModelShard, dict[str, tuple[int, Axis]]]:
    """Give each process all convolutions, and its units of the fully connected layers (Krizhevsky 2014)."""
    shard = ModelShard(
        units=axis.size,
        unit=axis.index,
        fc8_apart=True,
        gathers=True,
        before={read(name): partial(joined, axis, f"join {name}", pictures=name == "fc6") for name in net.layers[-3:]},
        after={net.layers[-1]: lambda x, runs: logits(axis, x, [n for _, n in runs], net.classes)},
    )
    return shard, {name: (n, axis) for name, n in net.widths.items() if name.startswith("fc")}


def read(layer: str) -> str:
    """Name the module that reads a layer's input: fc6's maps are joined before they become one row."""
    return "flatten" if layer == "fc6" else layer


def joined(axis: Axis, what: str, x: Tensor, runs: Runs, *, alike: bool = False, pictures: bool = False) -> Tensor:
    """Gather a layer's input: the maps or units of all towers, or the `pictures` of all replicas."""
    return join(axis, what, x, 0, [n for _, n in runs]) if pictures else join(axis, what, x, alike=alike)


def layer_of(name: str) -> str:
    """Return the layer of a parameter: "conv1" for "conv1.bias"."""
    return name.split(".")[0]


def join(axis: Axis, what: str, x: Tensor, dim: int = 1, sizes: Sequence[int] = (), *, alike: bool = False) -> Tensor:
    """Gather the maps or units of all towers (section 3.2), or with `dim` 0 the pictures of all replicas."""
    return Join.apply(x, axis, dim, what, sizes, alike)  # type: ignore[no-untyped-call]


def logits(axis: Axis, x: Tensor, pictures: Sequence[int], classes: int) -> Tensor:
    """Exchange logits: from this process's classes for all `pictures` to all classes for its own pictures."""
    return Logits.apply(x, axis, pictures, classes)  # type: ignore[no-untyped-call]


class Join(torch.autograd.Function):
    """An all-gather along a dimension, with its backward.

    In backward each process has a gradient for the whole tensor, from the units that it holds. The gradient is their
    sum. If all processes compute the same from the whole (`alike`), each already has that sum.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: Axis, dim: int, what: str, sizes: Sequence[int], alike: bool) -> Tensor:
        ctx.given = axis, dim, what, sizes, alike, x.shape[dim]
        if axis.size == 1:
            return x.view_as(x)
        return axis.all_gather(x, dim, what, sizes)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        axis, dim, what, sizes, alike, own = ctx.given
        if alike:
            return g.narrow(dim, axis.index * own, own), *[None] * 5
        return axis.reduce_scatter(g, dim, what, sizes), *[None] * 5


class Logits(torch.autograd.Function):
    """An all-to-all from (all pictures, own classes) to (own pictures, all classes), with its backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: Axis, pictures: Sequence[int], classes: int) -> Tensor:
        shares = [end - first for first, end in bounds(classes, axis.size)]
        ctx.given = axis, pictures, shares
        if axis.size == 1:
            return x.view_as(x)
        own = pictures[axis.index]
        return torch.cat(axis.all_to_all(x.split(list(pictures)), [(own, n) for n in shares], "logits"), 1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        axis, pictures, shares = ctx.given
        if axis.size > 1:
            own = shares[axis.index]
            g = torch.cat(axis.all_to_all(g.split(shares, 1), [(n, own) for n in pictures], "logits"))
        return g, None, None, None


class Gradients(Mapping[str, Tensor]):
    """The gradients of a step, by parameter, summed over its parts and over the replicas.

    The all-reduce of a parameter starts as soon as backward has its gradient in the last part, so it overlaps with the
    rest of backward. The order is the same in every process. `wait` waits for all of them. Parts are summed in float32
    or wider, and sent in the dtype of the gradient.
    """

    def __init__(self, weights: Mapping[str, Tensor], sharding: Sharding, parts: int = 1) -> None:
        self.seen, self.parts, self.to_come = weights, parts, 0
        self.parts_sum: dict[str, Tensor] = {}
        self.sent: dict[str, Tensor] = {}
        self.works: list[dist.Work | None] = []
        for name, w in weights.items():
            # A layer that is split over the replicas sees the pictures of all of them: its gradient is complete.
            shared = sharding.model_shard.gathers and layer_of(name) in sharding.split
            axis = Axis() if shared else sharding.mesh.replicas
            if parts > 1 or axis.size > 1:
                w.register_post_accumulate_grad_hook(partial(self._made, name, axis))

    def clear(self) -> None:
        """Forget the gradients of the last step."""
        self.to_come = self.parts
        self.parts_sum, self.sent, self.works = {}, {}, []
        for w in self.seen.values():
            w.grad = None

    def backward(self, loss: Tensor) -> None:
        """Run backward on the loss of one part, and add its gradient."""
        self.to_come -= 1
        if loss.requires_grad:  # not if every layer is frozen
            loss.backward()

    def wait(self) -> None:
        """Wait until every all-reduce is done."""
        for work in self.works:
            if work:
                work.wait()

    def _made(self, name: str, axis: Axis, w: Tensor) -> None:
        gradient = w.grad
        assert gradient is not None
        if gradient.stride() != w.stride():  # strides depend on the batch size, the order sent must not
            gradient = torch.empty_like(w).copy_(gradient)
        if self.parts > 1:
            w.grad = None
            wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
            self.parts_sum[name] = self.parts_sum[name].add_(wide) if name in self.parts_sum else wide
            gradient = self.parts_sum[name]
        if self.to_come == 0:
            self.sent[name] = gradient if axis.size == 1 else gradient.to(w.dtype)
            self.works.append(axis.all_reduce(self.sent[name], "gradients"))

    def __getitem__(self, name: str) -> Tensor:
        if name in self.sent:
            return self.sent[name]
        gradient = self.seen[name].grad
        assert gradient is not None  # every parameter that learns has one
        return gradient

    def __iter__(self) -> Any:
        return iter(self.seen)

    def __len__(self) -> int:
        return len(self.seen)
