# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The gradients of a ReLU and of a bias in one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import Part, ceil

PLACES = 32  # of a tile; it has 64 maps, or 32 where that wastes fewer
ROWS, COLUMNS = 256, 8  # of a tile of sums
PROGRAMS = 512  # about as many as a large device runs at once; each adds up the places of several tiles


@triton.jit
def relu_gradient_kernel(
    g, y, dx, sums, places, tiles: constexpr, maps: constexpr, of_g: constexpr, of_y: constexpr, of_dx: constexpr,
    width: constexpr, P: constexpr, M: constexpr,
):  # fmt: skip
    """Compute dx = g where y > 0, if there is a y, and the sums of dx over this program's places."""
    map = tl.program_id(1) * M + tl.arange(0, M)
    total = tl.full((P, M), 0.0, tl.float32)
    for i in range(tiles):
        place = (tl.program_id(0).to(tl.int64) * tiles + i) * P + tl.arange(0, P)
        ok = (place < places)[:, None] & (map < maps)[None, :]
        d = tl.load(g + place[:, None] * of_g + map[None, :], mask=ok, other=0).to(tl.float32)
        if y is not None:
            on = tl.load(y + place[:, None] * of_y + map[None, :], mask=ok, other=0).to(tl.float32)
            d = tl.where(on <= 0, 0.0, d)
            tl.store(dx + place[:, None] * of_dx + map[None, :], d.to(dx.dtype.element_ty), mask=ok)
        total += d
    tl.store(sums + tl.program_id(0) * width + map, tl.sum(total, 0), mask=map < maps)


@triton.jit
def total_kernel(sums, out, rows: constexpr, width: constexpr, P: constexpr, M: constexpr):
    """Compute out, the sum of the rows of `sums`."""
    map = tl.program_id(0) * M + tl.arange(0, M)
    total = tl.full((P, M), 0.0, tl.float32)
    for first in range(0, rows, P):
        row = first + tl.arange(0, P)
        ok = (row < rows)[:, None] & (map < width)[None, :]
        total += tl.load(sums + row[:, None] * width + map[None, :], mask=ok, other=0)
    tl.store(out + map, tl.sum(total, 0).to(out.dtype.element_ty), mask=map < width)


def relu_gradient(pairs: list[tuple[Part, Part | None, Part | None]], dtype: torch.dtype) -> Tensor:
    """Compute for each (g, y, dx) dx = g where y > 0, and return the sums of all maps' dx: the gradient of the bias.

    `y` is the output of the ReLU. Without y and dx, the sums are those of g.
    """
    g = pairs[0][0]
    places, width = g.pictures * g.height * g.width, sum(of.maps for of, _, _ in pairs)
    tiles = max(1, ceil(places, PLACES * PROGRAMS))
    programs = ceil(places, PLACES * tiles)
    sums = torch.empty((programs, width), dtype=torch.float32, device=g.memory.device)
    out, first = torch.empty(width, dtype=dtype, device=g.memory.device), 0
    with torch.cuda.device_of(sums):
        for g, y, dx in pairs:
            given = g.memory, y and y.memory, dx and dx.memory, sums[:, first:], places, tiles, g.maps
            strides = g.strides.place, y and y.strides.place, dx and dx.strides.place
            if programs:
                maps = 64 if g.maps % 64 in (0, *range(33, 64)) else 32
                relu_gradient_kernel[(programs, ceil(g.maps, maps))](*given, *strides, width, PLACES, maps)
            first += g.maps
        total_kernel[(ceil(width, COLUMNS),)](sums, out, programs, width, ROWS, COLUMNS)
    return out
