# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Views of stored pictures in one pass (sections 2 and 4.1)."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import launch, mine

PIXELS = 1024  # numbers of views per program


@triton.jit
def cut_kernel(images, top, left, mirrored, mean, shift, views, factor, side: constexpr, size: constexpr,
               place: constexpr, B: constexpr):  # fmt: skip
    """Compute views; a program writes consecutive numbers: red, green and blue of each pixel."""
    picture, i, ok = mine(size * size * 3, B)
    y, x, colour = i // (size * 3), i // 3 % size, i % 3
    along = tl.where(tl.load(mirrored + picture) != 0, size - 1 - x, x)
    pixel = (tl.load(top + picture).to(tl.int32) + y) * side + tl.load(left + picture).to(tl.int32) + along
    if place:
        middle = pixel
    else:
        middle = ((side - size) // 2 + y) * side + (side - size) // 2 + x
    v = tl.load(images + picture * (side * side * 3) + pixel * 3 + colour, mask=ok, other=0).to(tl.float32)
    v -= tl.load(mean + middle * 3 + colour, mask=ok, other=0)
    if shift is not None:
        v += tl.load(shift + picture * 3 + colour, mask=ok, other=0)
    tl.store(views + picture * (size * size * 3) + i, (v * factor).to(views.dtype.element_ty), mask=ok)


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """Compute ((crop - mean) + shift) * factor, (N, 3, size, size) in channels-last memory; see ops.crop.cut."""
    views = images.new_empty((len(images), size, size, 3), dtype=dtype)
    inputs = images, top, left, mirrored.view(torch.uint8), mean, shift
    small = [t if t is None else t.contiguous() for t in inputs]
    launch(cut_kernel, len(images), size * size * 3, *small, views, factor, side=images.shape[1], size=size, place=place, B=PIXELS)
    return views.permute(0, 3, 1, 2)
