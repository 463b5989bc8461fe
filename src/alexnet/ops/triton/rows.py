# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Rows: how a kernel reads maps in channels-last memory, and the constants of a norm.

Maps are adjacent there. So a kernel reads a tensor in rows of V maps at one place: one row per thread, in one load of
up to 16 bytes. A kernel takes some of a tensor's maps, such as those of one tower: `Part` says which, and where.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

BLOCK = 128  # rows per program, one per thread
STRIP = 4  # most pools that a thread computes downwards; it normalises a line that two of them share once


@dataclass(frozen=True)
class Strides:
    """The numbers between two neighbours in memory: two pictures, two places of a map, two maps at a place."""

    picture: int
    place: int
    map: int = 1


@dataclass(frozen=True)
class Part:
    """Some maps of a tensor: its memory from the first of them on, how many maps, and how they lie."""

    memory: Tensor
    pictures: int
    maps: int
    height: int
    width: int
    strides: Strides

    @staticmethod
    def of(x: Tensor, first: int = 0, maps: int | None = None) -> "Part":
        """Take maps of x, (N, C, H, W), which is copied to channels-last memory unless it is there."""
        pictures, all_, height, width = x.shape
        memory = last(x).permute(0, 2, 3, 1).flatten()[first:]
        kept = all_ - first if maps is None else maps
        return Part(memory, pictures, kept, height, width, Strides(height * width * all_, all_))

    @staticmethod
    def towers(x: Tensor, towers: int) -> "list[Part]":
        """Take each tower's maps of x."""
        each = x.shape[1] // towers
        return [Part.of(x, t * each, each) for t in range(towers)]

    @staticmethod
    def flat(x: Tensor, first: int, maps: int, height: int, width: int) -> "Part":
        """Take maps of x, (N, C * H * W), whose units are in the order of a fully connected layer: map by map."""
        return Part(
            x.flatten()[first * height * width :], len(x), maps, height, width, Strides(x.shape[1], 1, height * width)
        )


@dataclass(frozen=True)
class Form:
    """The constants that a kernel is compiled for: section 3.3's symbols, and the sizes of x and of its pools.

    Without a norm, n is 0.
    """

    n: int
    k: float
    a: float
    beta: float
    relu: str
    V: int  # maps per row
    tower: int  # rows per tower and place
    T: int  # rows per place
    height: int
    width: int
    size: int = 1
    stride: int = 1
    down: int = 0  # pools along the height
    across: int = 0  # pools along the width
    strip: int = 1  # pools, or lines, that a thread computes downwards

    @property
    def reach(self) -> int:
        """The number of maps in a window on either side."""
        return self.n // 2

    @property
    def near(self) -> int:
        """The number of rows on either side that a window reaches."""
        return ceil(self.reach, self.V)

    @property
    def far(self) -> int:
        """The number of rows on either side that the windows of a window's maps reach."""
        return ceil(2 * self.reach, self.V)

    @property
    def rows(self) -> int:
        """The number of rows per picture."""
        return self.height * self.width * self.T

    @property
    def strips(self) -> int:
        """The number of rows of a picture's strips of pools."""
        return ceil(self.down, self.strip) * self.across * self.T

    @property
    def columns(self) -> int:
        """The number of rows of a picture's strips of lines."""
        return ceil(self.height, self.strip) * self.width * self.T

    @property
    def square_columns(self) -> int:
        """The number of squares of stride x stride units along the width."""
        return ceil(self.width, self.stride)

    @property
    def squares(self) -> int:
        """The number of rows of a picture's squares."""
        return ceil(self.height, self.stride) * self.square_columns * self.T

    @property
    def windows(self) -> int:
        """The largest number of pools that hold a unit, along one axis."""
        return ceil(self.size, self.stride)


def ceil(a: int, b: int) -> int:
    """Divide, and round up."""
    return -(-a // b)


@triton.jit
def mine(rows: constexpr, B: constexpr):
    """Find this program's picture and rows, and which of the rows exist."""
    blocks: constexpr = (rows + B - 1) // B
    row = tl.program_id(0) % blocks * B + tl.arange(0, B)
    return (tl.program_id(0) // blocks).to(tl.int64), row, row < rows


@triton.jit
def raw(x, at, ok, V: constexpr, map: constexpr = 1):
    """Load the rows that begin at `at`; zeros where not ok."""
    return tl.load(x + at[:, None] + tl.arange(0, V)[None, :] * map, mask=ok[:, None], other=0)


@triton.jit
def load(x, at, ok, V: constexpr, map: constexpr = 1):
    """Load rows as float32; zeros where not ok."""
    return raw(x, at, ok, V, map).to(tl.float32)


@triton.jit
def store(y, at, value, ok, V: constexpr, map: constexpr = 1):
    """Store rows, rounded to the dtype of y."""
    tl.store(y + at[:, None] + tl.arange(0, V)[None, :] * map, value.to(y.dtype.element_ty), mask=ok[:, None])


@triton.jit
def positive(t):
    """Apply a ReLU that keeps NaN."""
    return tl.maximum(t, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def powers(s, beta: constexpr):
    """Compute s^-beta and 1 / s; for 0.75 by roots, as on the CPU."""
    if beta == 0.75:
        root = tl.rsqrt(s)
        return root * tl.sqrt(root), root * root
    else:
        return tl.exp2(-beta * tl.log2(s)), 1.0 / s


def form(
    x: Part, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 1, stride: int = 1
) -> Form:
    """Work out the constants for a norm of x, under pools of size x size units at a stride."""
    if n and n % 2 == 0:
        raise ValueError(f"n is {n}; it must be odd, so that the window has a centre")
    V = math.gcd(x.maps // towers, 16 // x.memory.element_size())
    rows = x.maps // towers // V, x.maps // V
    down, across = (pooled_side(side, size, stride) for side in (x.height, x.width))
    strip = ceil(down, ceil(down, STRIP))  # strips as equal as possible
    return Form(n, k, a, beta, relu, V, *rows, x.height, x.width, size, stride, down, across, strip)


def pooled_side(side: int, size: int, stride: int) -> int:
    """Count the pools along one axis, including one that hangs over the border but starts inside."""
    if side + stride <= size:
        raise ValueError(f"a map of {side} units a side is too small for pools of side {size} at stride {stride}")
    pools = ceil(side - size, stride) + 1
    return pools - 1 if (pools - 1) * stride >= side else pools


def last(x: Tensor) -> Tensor:
    """Copy x to channels-last memory, unless it is there."""
    return x.contiguous(memory_format=torch.channels_last)


def launch(kernel: Any, pictures: int, rows: int, *args: Any, B: int = BLOCK, **constants: Any) -> None:
    """Run a kernel over `rows` rows of each picture, B rows per program; its first argument says on which device."""
    with torch.cuda.device_of(args[0]):
        kernel[(pictures * ceil(rows, B),)](*args, B=B, **constants)
