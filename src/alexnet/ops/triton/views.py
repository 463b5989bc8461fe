# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Views of stored pictures in one pass (sections 2 and 4.1), and pixels in blocks, as conv1 reads them here.

A convolution of few channels is slow on a GPU. One of size 11 and stride 4 over 3 channels is one of size 3 and stride
1 over the 48 channels of blocks of 4 x 4 pixels, if zeros complete its kernel to 12 x 12.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import ceil, launch, mine

PIXELS = 1024  # numbers of views per program


@triton.jit
def pixel_of(i, blocks: constexpr, side: constexpr):
    """Find the line, column and colour of the number i of a picture in blocks of side x side pixels."""
    inside, block = i % (side * side * 3), i // (side * side * 3)
    y, x = block // blocks * side + inside // (side * 3), block % blocks * side + inside // 3 % side
    return y, x, inside % 3


@triton.jit
def cut_kernel(images, rows, top, left, mirrored, mean, shift, views, factor, side: constexpr, size: constexpr,
               place: constexpr, blocks: constexpr, block: constexpr, B: constexpr):  # fmt: skip
    """Compute views; a program writes consecutive numbers: red, green and blue of each pixel."""
    numbers: constexpr = blocks * blocks * block * block * 3
    picture, i, ok = mine(numbers, B)
    y, x, colour = pixel_of(i, blocks, block)
    there = ok & (y < size) & (x < size)
    along = tl.where(tl.load(mirrored + picture) != 0, size - 1 - x, x)
    pixel = (tl.load(top + picture).to(tl.int32) + y) * side + tl.load(left + picture).to(tl.int32) + along
    if place:
        middle = pixel
    else:
        middle = ((side - size) // 2 + y) * side + (side - size) // 2 + x
    stored = picture
    if rows is not None:
        stored = tl.load(rows + picture)
    v = tl.load(images + stored * (side * side * 3) + pixel * 3 + colour, mask=there, other=0).to(tl.float32)
    v -= tl.load(mean + middle * 3 + colour, mask=there, other=0)
    if shift is not None:
        v += tl.load(shift + picture * 3 + colour, mask=ok, other=0)
    v = tl.where(there, v * factor, 0.0)
    tl.store(views + picture * numbers + i, v.to(views.dtype.element_ty), mask=ok)


@triton.jit
def pack_kernel(x, y, height: constexpr, width: constexpr, blocks: constexpr, block: constexpr,
                B: constexpr):  # fmt: skip
    """Compute y, the pixels of x in blocks; zeros complete the last ones."""
    numbers: constexpr = blocks * blocks * block * block * 3
    picture, i, ok = mine(numbers, B)
    line, column, colour = pixel_of(i, blocks, block)
    there = ok & (line < height) & (column < width)
    v = tl.load(x + picture * (height * width * 3) + (line * width + column) * 3 + colour, mask=there, other=0)
    tl.store(y + picture * numbers + i, v, mask=ok)


@triton.jit
def unpack_kernel(y, x, height: constexpr, width: constexpr, blocks: constexpr, block: constexpr,
                  B: constexpr):  # fmt: skip
    """Compute x, the pixels of blocks y."""
    picture, i, ok = mine(height * width * 3, B)
    line, column, colour = i // 3 // width, i // 3 % width, i % 3
    at = ((line // block * blocks + column // block) * (block * block) + line % block * block + column % block) * 3
    v = tl.load(y + picture * (blocks * blocks * block * block * 3) + at + colour, mask=ok, other=0)
    tl.store(x + picture * (height * width * 3) + i, v, mask=ok)


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype, rows: Tensor | None = None,
    block: int = 1, blocks: int = 0,
) -> Tensor:  # fmt: skip
    """Compute ((crop - mean) + shift) * factor, (N, 3, size, size) in channels-last memory; see ops.crop.cut.

    With `blocks`, they are packed as `pack` does.
    """
    blocks, pictures = blocks or size, len(top)
    views = images.new_empty((pictures, blocks, blocks, 3 * block * block), dtype=dtype)
    inputs = images, rows, top, left, mirrored.view(torch.uint8), mean, shift
    small = [t if t is None else t.contiguous() for t in inputs]
    constants = {"side": images.shape[1], "size": size, "place": place, "blocks": blocks, "block": block, "B": PIXELS}
    launch(cut_kernel, pictures, blocks * blocks * block * block * 3, *small, views, factor, **constants)
    return views.permute(0, 3, 1, 2)


def pack(x: Tensor, block: int, blocks: int) -> Tensor:
    """Return pixels (N, 3, H, W) in blocks of `block` x `block`: (N, 3 * block^2, blocks, blocks), channels-last.

    Zeros complete the picture to the right and below.
    """
    pictures, _, height, width = x.shape
    laid = x.contiguous(memory_format=torch.channels_last)
    y = x.new_empty((pictures, blocks, blocks, 3 * block * block))
    constants = {"height": height, "width": width, "blocks": blocks, "block": block, "B": PIXELS}
    launch(pack_kernel, pictures, blocks * blocks * block * block * 3, laid, y, **constants)
    return y.permute(0, 3, 1, 2)


def unpack(y: Tensor, block: int, side: int) -> Tensor:
    """Return the pixels (N, 3, side, side) of blocks, channels-last: what `pack` packed."""
    laid, blocks = y.contiguous(memory_format=torch.channels_last), y.shape[3]
    x = y.new_empty((len(y), side, side, 3))
    constants = {"height": side, "width": side, "blocks": blocks, "block": block, "B": PIXELS}
    launch(unpack_kernel, len(y), side * side * 3, laid, x, **constants)
    return x.permute(0, 3, 1, 2)


def blocks_of(side: int, size: int, stride: int) -> int:
    """Count the blocks of stride x stride pixels, along one axis, that a convolution reads without padding."""
    return ceil(side - size, stride) + ceil(size, stride)
