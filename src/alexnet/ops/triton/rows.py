# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Rows: how a kernel reads maps in channels-last memory, and the constants of a norm.

Maps are adjacent there. So a kernel reads a tensor in rows of V maps of one tower at one place: one row per thread, in
one load of up to 16 bytes.
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
class Form:
    """The constants that a kernel is compiled for: section 3.3's symbols, and the sizes of x and of its pools."""

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
    strip: int = 1  # pools that a thread computes downwards

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
    def pooled(self) -> int:
        """The number of rows of a picture's pools."""
        return self.down * self.across * self.T

    @property
    def strips(self) -> int:
        """The number of rows of a picture's strips of pools."""
        return ceil(self.down, self.strip) * self.across * self.T

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
def raw(x, row, ok, V: constexpr):
    """Load rows of x; zeros where not ok."""
    return tl.load(x + row[:, None] * V + tl.arange(0, V)[None, :], mask=ok[:, None], other=0)


@triton.jit
def load(x, row, ok, V: constexpr):
    """Load rows of x as float32; zeros where not ok."""
    return raw(x, row, ok, V).to(tl.float32)


@triton.jit
def store(y, row, value, ok, V: constexpr):
    """Store rows of y, rounded to its dtype."""
    tl.store(y + row[:, None] * V + tl.arange(0, V)[None, :], value.to(y.dtype.element_ty), mask=ok[:, None])


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
    x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 1, stride: int = 1
) -> Form:
    """Work out the constants for a norm of x, under pools of size x size units at a stride."""
    if n % 2 == 0:
        raise ValueError(f"n is {n}; it must be odd, so that the window has a centre")
    _, maps, height, width = x.shape
    V = math.gcd(maps // towers, 16 // x.element_size())
    rows = maps // towers // V, maps // V
    down, across = (pooled_side(side, size, stride) for side in (height, width))
    strip = ceil(down, ceil(down, STRIP))  # strips as equal as possible
    return Form(n, k, a, beta, relu, V, *rows, height, width, size, stride, down, across, strip)


def pooled_side(side: int, size: int, stride: int) -> int:
    """Count the pools along one axis, including one that hangs over the border but starts inside."""
    if side + stride <= size:
        raise ValueError(f"a map of {side} units a side is too small for pools of side {size} at stride {stride}")
    pools = ceil(side - size, stride) + 1
    return pools - 1 if (pools - 1) * stride >= side else pools


def last(x: Tensor) -> Tensor:
    """Copy x to channels-last memory, unless it is there."""
    return x.contiguous(memory_format=torch.channels_last)


def launch(kernel: Any, rows: int, x: Any, *args: Any, B: int = BLOCK, **constants: Any) -> None:
    """Run a kernel over `rows` rows of each picture of x, B rows per program."""
    with torch.cuda.device_of(x):
        kernel[(len(x) * ceil(rows, B),)](x, *args, B=B, **constants)
