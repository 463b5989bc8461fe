# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Views of stored pictures in one pass (sections 2 and 4.1), and pixels in blocks, as conv1 reads them here.

A convolution of few channels is slow on a GPU. One of size 11 and stride 4 over 3 channels is one of size 3 and stride
1 over the 48 channels of blocks of 4 x 4 pixels, if zeros complete its kernel to 12 x 12.
"""

import functools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import BLOCK, launch, mine

PIXELS = 1024  # numbers of views per program


@triton.jit
def pixel_of(i, blocks: constexpr, side: constexpr):
    """Find the line, column and colour of the number i of a picture in blocks of side x side pixels."""
    inside, block = i % (side * side * 3), i // (side * side * 3)
    y, x = block // blocks * side + inside // (side * 3), block % blocks * side + inside // 3 % side
    return y, x, inside % 3


@triton.jit
def cut_kernel(images, rows, top, left, mirrored, mean, shift, table, views, factor, side: constexpr, size: constexpr,
               place: constexpr, blocks: constexpr, block: constexpr, V: constexpr, B: constexpr):  # fmt: skip
    """Compute views; a thread writes V consecutive numbers of a block: red, green and blue of each pixel.

    `table` has for each number of a block its line, column and colour, and where it lies in a stored picture, counted
    from the block's first pixel: as stored, and mirrored. So no thread divides.
    """
    numbers: constexpr = block * block * 3
    each: constexpr = numbers // V  # threads of a block
    picture, row, ok = mine(blocks * blocks * each, B)
    at = row // each
    down, across, own = at // blocks * block, at % blocks * block, row % each * V
    number = own[:, None] + tl.arange(0, V)[None, :]
    flipped = tl.load(mirrored + picture) != 0
    plain = tl.load(table + 3 * numbers + number)
    other = tl.load(table + 4 * numbers + number)
    colour = tl.load(table + 2 * numbers + number)
    first = tl.load(top + picture).to(tl.int32) * side + tl.load(left + picture).to(tl.int32) + down * side
    pixel = 3 * (first + tl.where(flipped, size - 1 - across, across))[:, None] + tl.where(flipped, other, plain)
    if place:
        middle = pixel
    else:
        margin: constexpr = (side - size) // 2
        middle = 3 * ((margin + down) * side + margin + across)[:, None] + plain
    there = ok[:, None]
    if size % block == 0:  # a block is whole, or not there
        there &= ((down < size) & (across < size))[:, None]
    else:
        there &= down[:, None] + tl.load(table + number) < size
        there &= across[:, None] + tl.load(table + numbers + number) < size
    stored = picture
    if rows is not None:
        stored = tl.load(rows + picture)
    v = tl.load(images + stored * (side * side * 3) + pixel, mask=there, other=0).to(tl.float32)
    v -= tl.load(mean + middle, mask=there, other=0)
    if shift is not None:
        light = shift + picture * 3
        v += tl.where(colour == 0, tl.load(light), tl.where(colour == 1, tl.load(light + 1), tl.load(light + 2)))
    v = tl.where(there, v * factor, 0.0)
    to = views + picture * (blocks * blocks * numbers) + at[:, None] * numbers + number
    tl.store(to, v.to(views.dtype.element_ty), mask=ok[:, None])


@triton.jit
def scaled_kernel(images, rows, lines, down, columns, across, mean, shift, views, factor, side: constexpr,
                  size: constexpr, place: constexpr, blocks: constexpr, block: constexpr, B: constexpr):  # fmt: skip
    """Compute views of boxes, scaled bilinearly: a number of a view per thread, from four stored pixels."""
    numbers: constexpr = blocks * blocks * block * block * 3
    picture, i, ok = mine(numbers, B)
    y, x, colour = pixel_of(i, blocks, block)
    there = ok & (y < size) & (x < size)
    v = tl.zeros_like(i).to(tl.float32)
    stored = picture
    if rows is not None:
        stored = tl.load(rows + picture)
    line = tl.load(lines + picture * size + y, mask=there, other=0).to(tl.int32)
    column = tl.load(columns + picture * size + x, mask=there, other=0).to(tl.int32)
    beyond = tl.load(down + picture * size + y, mask=there, other=0)
    right = tl.load(across + picture * size + x, mask=there, other=0)
    for low in tl.static_range(2):  # the line at or before a pixel's centre, and the next
        at = tl.minimum(line + low, side - 1) * side
        one, other = (at + column) * 3 + colour, (at + tl.minimum(column + 1, side - 1)) * 3 + colour
        a = tl.load(images + stored * (side * side * 3) + one, mask=there, other=0).to(tl.float32)
        b = tl.load(images + stored * (side * side * 3) + other, mask=there, other=0).to(tl.float32)
        if place:
            a -= tl.load(mean + one, mask=there, other=0)
            b -= tl.load(mean + other, mask=there, other=0)
        a += right * (b - a)
        v = a if low == 0 else v + beyond * (a - v)
    if not place:
        margin: constexpr = (side - size) // 2
        v -= tl.load(mean + ((margin + y) * side + margin + x) * 3 + colour, mask=there, other=0)
    if shift is not None:
        v += tl.load(shift + picture * 3 + colour, mask=there, other=0)
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
    blocks, pictures, side = blocks or size, len(top), images.shape[1]
    views = images.new_empty((pictures, blocks, blocks, 3 * block * block), dtype=dtype)
    inputs = images, rows, top, left, mirrored.view(torch.uint8), mean, shift
    given = [t if t is None else t.contiguous() for t in inputs]
    V = math.gcd(3 * block * block, 16 // views.element_size())
    threads = blocks * blocks * 3 * block * block // V
    constants = {"side": side, "size": size, "place": place, "blocks": blocks, "block": block, "V": V, "B": BLOCK}
    launch(cut_kernel, pictures, threads, *given, table_of(side, block, images.device), views, factor, **constants)
    return views.permute(0, 3, 1, 2)


def cut_scaled(
    images: Tensor, lines: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype, rows: Tensor | None = None,
    block: int = 1, blocks: int = 0,
) -> Tensor:  # fmt: skip
    """Compute views of boxes, (N, 3, size, size) in channels-last memory; see ops.crop.cut_scaled.

    With `blocks`, they are packed as `pack` does.
    """
    blocks, pictures, side = blocks or size, len(lines[0]), images.shape[1]
    views = images.new_empty((pictures, blocks, blocks, 3 * block * block), dtype=dtype)
    inputs = images, rows, *lines, *columns, mean, shift
    given = [t if t is None else t.contiguous() for t in inputs]
    constants = {"side": side, "size": size, "place": place, "blocks": blocks, "block": block, "B": PIXELS}
    launch(scaled_kernel, pictures, blocks * blocks * 3 * block * block, *given, views, factor, **constants)
    return views.permute(0, 3, 1, 2)


@functools.cache
def table_of(side: int, block: int, device: torch.device) -> Tensor:
    """Make the table of `cut_kernel` for stored pictures of a side: int32 (5, 3 * block^2)."""
    number = torch.arange(3 * block * block, dtype=torch.int32)
    y, x, colour = number // (3 * block), number // 3 % block, number % 3
    plain, mirrored = 3 * (y * side + x) + colour, 3 * (y * side - x) + colour
    return torch.stack((y, x, colour, plain, mirrored)).to(device)


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
