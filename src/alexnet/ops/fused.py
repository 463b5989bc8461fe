"""Layers of AlexNet with all that follows them, as few passes over a GPU's memory, with their gradients.

Maps of two towers lie apart, a tensor for each, where only their own tower reads them: a convolution in groups is slow
on a GPU, and two convolutions are not. So a block takes and gives lists of tensors, and its last kernel writes the maps
where the next layer reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import dispatch


def kernels() -> Any:
    """Return the package of Triton's kernels."""
    return dispatch.gpu()


Place = Literal["apart", "together", "units"]


@dataclass(frozen=True)
class Block:
    """A convolution without its weights, and what follows it: a ReLU, and with a `pool` the norms and the pool.

    Attributes:
        towers: Number of towers of the output.
        groups: Number of groups of the convolution.
        stride: Stride of the convolution.
        padding: Padding of the convolution.
        to: Where the result lies: each tower's maps "apart", all "together", or as the "units" of fc6.
        norm: The norm across maps before the pool.
        norm_first: Whether the norm comes before the ReLU.
        within: The norm within a map after it.
        pool: Side of the pools; None for none.
        apart: Whether groups are convolutions of their own, each of a tensor.
    """

    towers: int
    groups: int
    stride: int
    padding: int
    to: Place
    norm: LRN | None = None
    norm_first: bool = False
    within: SpatialLRN | None = None
    pool: int | None = None
    apart: bool = True

    @property
    def convolutions(self) -> int:
        """The number of convolutions that read tensors of their own."""
        return self.groups if self.apart else 1

    @property
    def bias_later(self) -> bool:
        """True if the norm adds the bias: a convolution can add one and apply the ReLU, but not one of the two."""
        return self.norm is not None and self.norm_first


def block(of: Block, weight: Tensor, bias: Tensor, *x: Tensor) -> tuple[Tensor, ...]:
    """Apply a block.

    Args:
        of: The block.
        weight: (C, maps of a group, size, size).
        bias: (C,).
        x: Maps (N, C, H, W): one tensor, or one for each group.

    Returns:
        A tensor for each tower, (N, C / towers, H', W'); one, (N, C, H', W'); or the units of fc6, (N, C * H' * W').
    """
    made: tuple[Tensor, ...] = BlockFunction.apply(of, weight, bias, *x)  # type: ignore[no-untyped-call]
    return made


def convolve(of: Block, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute a convolution with its bias and ReLU; without both if they come later."""
    how, groups = ([of.stride] * 2, [of.padding] * 2, [1, 1]), of.groups // of.convolutions
    if of.bias_later:
        return torch.conv2d(x, weight, None, *how, groups)
    if x.is_cuda and groups == 1:  # one kernel: PyTorch would add the bias and apply the ReLU in two more passes
        return torch.cudnn_convolution_relu(x, weight, bias, *how, groups)
    return torch.conv2d(x, weight, bias, *how, groups).relu_()


class BlockFunction(torch.autograd.Function):
    """A block with its gradient. It keeps its inputs, what the convolution gave, and the units that pools chose."""

    @staticmethod
    def forward(ctx: Any, of: Block, weight: Tensor, bias: Tensor, *x: Tensor) -> tuple[Tensor, ...]:
        """Compute the block's output."""
        pieces = of.towers if of.convolutions > 1 or (of.pool is None and of.to == "apart") else 1
        parts = zip(weight.chunk(pieces), bias.chunk(pieces), strict=True)
        inputs = x if len(x) == pieces else x * pieces
        ys = [convolve(of, i, w, b) for i, (w, b) in zip(inputs, parts, strict=True)]
        ctx.of, ctx.sources = of, len(x)
        if of.pool is None:
            ctx.save_for_backward(weight, bias, *x, *ys)
            return tuple(ys)
        made, kept = pooled(of, ys, bias)
        ctx.save_for_backward(weight, bias, *x, *ys, *kept)
        ctx.made = len(ys)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *g: Tensor) -> Any:
        """Compute the gradients of weight, bias and x."""
        of: Block = ctx.of
        weight, bias, *rest = ctx.saved_tensors
        x, rest = rest[: ctx.sources], rest[ctx.sources :]
        if of.pool is None:
            dys, db = relu_gradient(of, g, rest)
        else:
            dys, db = pooled_gradient(of, g, rest[: ctx.made], rest[ctx.made :], bias)
        wanted = [ctx.needs_input_grad[3], ctx.needs_input_grad[1], False]
        groups = of.groups // of.convolutions
        how: tuple[Any, ...] = [of.stride] * 2, [of.padding] * 2, [1, 1], False, [0, 0], groups, wanted
        pairs = zip(dys, x, weight.chunk(len(dys)), strict=True)
        back = [torch.ops.aten.convolution_backward(d, i, w, None, *how) for d, i, w in pairs]
        dw = None
        if ctx.needs_input_grad[1]:  # not if the layer is frozen
            dw = back[0][1] if len(back) == 1 else torch.cat([made[1] for made in back])
        return None, dw, db, *(made[0] for made in back)


def gradients_of(of: Block, ys: Sequence[Tensor]) -> tuple[list[Tensor], list[Any]]:
    """Allocate the gradients of what the convolution gives, a tensor for each group, and each tower's part."""
    rows = kernels().rows
    whole = ys[0].shape[1] * len(ys)
    if of.convolutions > 1:
        dys = [torch.empty_like(y) for y in ys]
        return dys, [rows.Part.of(d) for d in dys]
    shape = ys[0].shape[0], whole, *ys[0].shape[2:]
    dy = torch.empty(shape, dtype=ys[0].dtype, device=ys[0].device, memory_format=torch.channels_last)
    return [dy], rows.Part.towers(dy, of.towers)


def relu_gradient(of: Block, g: Sequence[Tensor], ys: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Compute the gradients of what the convolution gives and of the bias, where only a ReLU follows."""
    form = kernels()
    dys, to = gradients_of(of, ys)
    towers = [part for tensors in (g, ys) for part in (parts(of, tensors),)]
    triples = list(zip(*towers, to, strict=True))
    return dys, form.relu.relu_gradient(triples, ys[0].dtype)


def parts(of: Block, tensors: Sequence[Tensor]) -> list[Any]:
    """Return each tower's part of maps that lie together or apart."""
    rows = kernels().rows
    if len(tensors) == of.towers:
        return [rows.Part.of(t) for t in tensors]
    found: list[Any] = rows.Part.towers(tensors[0], of.towers)
    return found


def forms(of: Block, y: Any) -> tuple[Any, Any, Any]:
    """Return the constants of a tower's norm (with the pool, if the pool follows it), norm within a map, and pool."""
    form, size = kernels().rows.form, of.pool
    pool = form(y, 1, 0, 0.0, 0.0, 0.75, "", size, 2)
    if of.norm is None:
        return None, None, pool
    numbers = of.norm.n, of.norm.k, of.norm.a, of.norm.beta
    norm = form(y, 1, *numbers, "after" if of.norm_first else "before", size, 2)
    if of.within is None:
        return norm, None, pool
    return norm, form(y, 1, of.within.n, of.within.k, of.within.a, of.within.beta, "", size, 2), pool


def pooled(of: Block, ys: Sequence[Tensor], bias: Tensor) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Compute norms and pools of what the convolution gave; return them, and what the gradient needs besides."""
    form = kernels()
    towers = parts(of, ys)
    norm, within, pool = forms(of, towers[0])
    maps, sides = towers[0].maps, (pool.down, pool.across)
    shape = of.towers, len(ys[0]), *sides, maps
    index = torch.empty(shape, dtype=torch.uint8, device=ys[0].device).permute(0, 1, 4, 2, 3)
    made, to = outputs(of, ys[0], maps, sides)
    kept = [index]
    for y, p, i, b in zip(towers, to, index, bias.chunk(of.towers), strict=True):
        chosen = form.rows.Part.of(i)
        later = b if of.bias_later else None
        if within is None:
            form.norm.pool(y, p, chosen, norm or pool, norm is None, later)
            continue
        z, spread = (torch.empty(shape_of(y), dtype=b.dtype, device=b.device).permute(0, 3, 1, 2) for _ in range(2))
        form.norm.norm(y, form.rows.Part.of(z), norm, later)
        form.within.within(form.rows.Part.of(z), form.rows.Part.of(spread), within)
        form.norm.pool(form.rows.Part.of(spread), p, chosen, pool)
        kept.append(z)
    return made, kept


def shape_of(part: Any) -> tuple[int, int, int, int]:
    """Return the shape of a part in channels-last order."""
    return part.pictures, part.height, part.width, part.maps


def outputs(of: Block, like: Tensor, maps: int, sides: tuple[int, int]) -> tuple[tuple[Tensor, ...], list[Any]]:
    """Allocate a block's output, where `of.to` says; and each tower's part of it."""
    rows, pictures = kernels().rows, len(like)
    if of.to == "units":
        units = like.new_empty((pictures, of.towers * maps * sides[0] * sides[1]))
        return (units,), [rows.Part.flat(units, t * maps, maps, *sides) for t in range(of.towers)]
    if of.to == "together":
        whole = like.new_empty((pictures, *sides, of.towers * maps)).permute(0, 3, 1, 2)
        return (whole,), rows.Part.towers(whole, of.towers)
    apart = [like.new_empty((pictures, *sides, maps)).permute(0, 3, 1, 2) for _ in range(of.towers)]
    return tuple(apart), [rows.Part.of(t) for t in apart]


def pooled_gradient(
    of: Block, g: Sequence[Tensor], ys: Sequence[Tensor], kept: Sequence[Tensor], bias: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Compute the gradients of what the convolution gives and of the bias, from those of the pools."""
    form, (index, *normed) = kernels(), kept
    towers = parts(of, ys)
    norm, within, pool = forms(of, towers[0])
    dys, to = gradients_of(of, ys)
    if of.to == "units":
        maps, sides = towers[0].maps, (pool.down, pool.across)
        units = g[0].contiguous()
        pools = [form.rows.Part.flat(units, t * maps, maps, *sides) for t in range(of.towers)]
    else:
        pools = parts(of, g)
    for t, (p, i, y, d, b) in enumerate(zip(pools, index, towers, to, bias.chunk(of.towers), strict=True)):
        chosen, later = form.rows.Part.of(i), b if of.bias_later else None
        if within is not None:
            dz = torch.empty(shape_of(y), dtype=b.dtype, device=b.device).permute(0, 3, 1, 2)
            form.within.within_gradient(p, chosen, form.rows.Part.of(normed[t]), form.rows.Part.of(dz), within)
            form.norm.norm_gradient(form.rows.Part.of(dz), y, d, norm, later)
        elif norm is not None:
            form.norm.pool_gradient(p, chosen, y, d, norm, later)
        else:
            form.norm.pool_gradient(p, chosen, None, d, pool)
    return dys, form.relu.relu_gradient([(form.rows.Part.of(d), None, None) for d in dys], bias.dtype)


def packed(x: Tensor, size: int, blocks: int) -> Tensor:
    """Return pixels (N, 3, H, W) in blocks of size x size, (N, 3 * size^2, blocks, blocks), with their gradient."""
    made: Tensor = Packed.apply(x, size, blocks)  # type: ignore[no-untyped-call]
    return made


class Packed(torch.autograd.Function):
    """Pixels in blocks; the gradient puts them back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, blocks: int) -> Tensor:
        """Pack pixels."""
        ctx.size, ctx.side = size, x.shape[3]
        made: Tensor = kernels().views.pack(x, size, blocks)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        """Unpack the gradient."""
        return kernels().views.unpack(g, ctx.size, ctx.side), None, None


@dataclass(frozen=True)
class Dropout:
    """Dropout in training: its probability, and the place that it is a function of (see ops.dropout)."""

    p: float
    seed: int
    layer: str
    step: int | Tensor
    position: int


def full(x: Tensor, weight: Tensor, bias: Tensor, dropout: Dropout | None) -> Tensor:
    """Apply a fully connected layer, its ReLU and dropout: (N, inputs) to (N, outputs)."""
    made: Tensor = FullFunction.apply(x, weight, bias, dropout)  # type: ignore[no-untyped-call]
    return made


class FullFunction(torch.autograd.Function):
    """A fully connected layer, ReLU and dropout. A unit of the output is above 0 exactly where a gradient passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dropout: Dropout | None) -> Tensor:
        """Compute the layer's output."""
        y = torch.addmm(bias, x, weight.t())
        if dropout is None:
            y = y.relu_()
        else:
            given = dropout.p, dropout.seed, dropout.layer, dropout.step, dropout.position
            y = kernels().random.dropout(y, *given, relu=True)
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        """Compute the gradients of x, weight and bias."""
        x, weight, y = ctx.saved_tensors
        dz = torch.empty_like(y)
        of = kernels().rows.Part.of  # units are adjacent, like the maps at a place
        db = kernels().relu.relu_gradient([tuple(of(t[:, :, None, None]) for t in (g, y, dz))], y.dtype)
        below, own = ctx.needs_input_grad[:2]  # the layers before may be frozen, or this one
        return dz @ weight if below else None, dz.t() @ x if own else None, db, None
