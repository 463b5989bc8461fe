# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Triton kernels for CUDA devices, each in one pass over memory: norms, norm with pool, the update rule, views.

In channels-last memory, maps are adjacent. So a kernel reads a tensor in rows of V maps of one tower at one place: one
row per thread, in one load of up to 16 bytes. Arithmetic is in float32 for any input and output dtype. Nothing waits
for the device. A kernel is compiled when a shape first occurs, so a CUDA graph can be captured from the second call on.
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
UPDATE = PIXELS = 1024  # numbers per program, of weights and of views


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


@triton.jit
def from_row(t, o: constexpr, F: constexpr):
    """Sum, for each map of a row, the maps of t within its reach; t is the row at offset o.

    This is fast because the compiler knows every index: it reduces V * V selections to a few additions of registers.
    Shifted loads would be single and unaligned. It selects instead of multiplying by ones, since zero times infinity is
    NaN. It reshapes, since indexing with None would spread a row over threads.
    """
    i = tl.arange(0, F.V)
    within = tl.abs(o * F.V + i[:, None] - i[None, :]) <= F.reach
    return tl.sum(tl.where(within[None, :, :], tl.reshape(t, (t.shape[0], F.V, 1)), 0.0), 1)


@triton.jit
def terms(x, row, place, ok, o: constexpr, F: constexpr):
    """Compute b and s of the row at offset o; if o is not 0, s only of the maps that this row's windows reach."""
    near: constexpr = F.near
    total = tl.full((row.shape[0], F.V), 0.0, tl.float32)
    own = total
    for q in tl.static_range(-near, near + 1):
        if o + q >= -F.far and o + q <= F.far:
            inside = ok & (place + (o + q) >= 0) & (place + (o + q) < F.tower)
            b = load(x, row + (o + q), inside, F.V)
            if F.relu == "before":
                b = positive(b)
            if q == 0:
                own = b
            total += from_row(b * b, q, F)
    return own, F.k + F.a * total


@triton.jit
def normed(x, row, place, ok, F: constexpr):
    """Normalise rows of x (section 3.3); `place` is a row's number in its tower."""
    b, s = terms(x, row, place, ok, 0, F)
    power, _ = powers(s, F.beta)
    y = b * power
    if F.relu == "after":
        y = positive(y)
    return y


@triton.jit
def norm_kernel(x, y, F: constexpr, B: constexpr):
    """Compute y = normed(x)."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    store(y, here, normed(x, here, row % F.tower, ok, F), ok, F.V)


@triton.jit
def larger(best, at, y, i):
    """Choose as PyTorch's pool does: the first maximum, or the last NaN."""
    take = (y > best) | (y != y)
    return tl.where(take, y, best), tl.where(take, i, at)


@triton.jit
def line(x, row, place, column, ok, F: constexpr):
    """Find the maximum of a pool's normalised units along one line, and its index."""
    size: constexpr = F.size
    best = tl.full((row.shape[0], F.V), float("-inf"), tl.float32)
    at = tl.full((row.shape[0], F.V), 0, tl.int32)
    for i in tl.static_range(size):
        inside = ok & (column + i < F.width)
        y = normed(x, row + i * F.T, place, inside, F)
        y = y.to(x.dtype.element_ty).to(tl.float32)  # rounded as the norm's output would be, so that ties are the same
        best, at = larger(best, at, tl.where(inside[:, None], y, float("-inf")), i)
    return best, at


@triton.jit
def pool_kernel(x, p, index, F: constexpr, B: constexpr):
    """Compute strips of pools, each a column of pools of normalised units."""
    size: constexpr = F.size
    picture, row, ok = mine(F.strips, B)
    place = row % F.tower
    column = row // F.T % F.across * F.stride
    down = row // (F.T * F.across) * F.strip
    y = down * F.stride
    top = picture * F.rows + column * F.T + row % F.T  # in the first line
    shared, at = line(x, top + y * (F.width * F.T), place, column, ok, F)
    for _ in range(F.strip):
        best, index_of_best = shared, at
        for i in tl.static_range(1, size):
            shared, at = line(x, top + (y + i) * (F.width * F.T), place, column, ok & (y + i < F.height), F)
            best, index_of_best = larger(best, index_of_best, shared, at + i * F.size)
        out = picture * F.pooled + down * (F.across * F.T) + row % (F.across * F.T)
        store(p, out, best, ok & (down < F.down), F.V)
        store(index, out, index_of_best, ok & (down < F.down), F.V)
        down += 1
        y += F.stride
        if F.size != F.stride + 1:  # pools do not share a line
            shared, at = line(x, top + y * (F.width * F.T), place, column, ok & (y < F.height), F)


@triton.jit
def handed_down(g, index, picture, row, o: constexpr, ok, F: constexpr):
    """Sum the gradients of the pools over the row at offset o, each for the units that the pool chose."""
    windows: constexpr = F.windows
    y, x = row // (F.T * F.width), row // F.T % F.width
    total = tl.full((row.shape[0], F.V), 0.0, tl.float32)
    for i in tl.static_range(windows):
        for j in tl.static_range(windows):
            down, across = y // F.stride - i, x // F.stride - j
            dy, dx = y - down * F.stride, x - across * F.stride
            inside = ok & (dy < F.size) & (dx < F.size)
            inside &= (down >= 0) & (down < F.down) & (across >= 0) & (across < F.across)
            pool = picture * F.pooled + (down * F.across + across) * F.T + row % F.T + o
            chosen = raw(index, pool, inside, F.V) == (dy * F.size + dx)[:, None]
            total += tl.where(chosen, load(g, pool, inside, F.V), 0.0)
    return total


@triton.jit
def gradient_kernel(g, index, x, dx, F: constexpr, B: constexpr):
    """Compute dx = g s^-beta - 2 a beta b window(g b s^-(beta + 1)); g is the norm's or, with an index, the pools'."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    near: constexpr = F.near
    through = tl.full((B, F.V), 0.0, tl.float32)
    direct, own = through, through
    for o in tl.static_range(-near, near + 1):
        inside = ok & (row % F.tower + o >= 0) & (row % F.tower + o < F.tower)
        if index is None:
            d = load(g, here + o, inside, F.V)
        else:
            d = handed_down(g, index, picture, row, o, inside, F)
        b, s = terms(x, here, row % F.tower, ok, o, F)
        power, inverse = powers(s, F.beta)
        if F.relu == "after":
            d = tl.where(b <= 0, 0.0, d)
        d *= power
        through += from_row(d * b * inverse, o, F)
        if o == 0:
            direct, own = d, b
    slope = direct - 2 * F.a * F.beta * own * through
    if F.relu == "before":
        slope = tl.where(own <= 0, 0.0, slope)
    store(dx, here, slope, ok, F.V)


@triton.jit
def around(t, here, row, ok, square: constexpr, F: constexpr):
    """Sum t, or its squares, over n x n units of the same map, clipped at its border."""
    n: constexpr = F.n
    y, x = row // (F.T * F.width), row // F.T % F.width
    total = tl.full((row.shape[0], F.V), 0.0, tl.float32)
    for i in range(n):
        for j in tl.static_range(n):
            dy, dx = i - F.reach, j - F.reach
            inside = ok & (y + dy >= 0) & (y + dy < F.height) & (x + dx >= 0) & (x + dx < F.width)
            v = load(t, here + (dy * F.width + dx) * F.T, inside, F.V)
            if square:
                v *= v
            total += v
    return total


@triton.jit
def within_kernel(x, g, y, u, F: constexpr, B: constexpr):
    """Compute y = x s^-beta; or, if there is a g, y = g s^-beta and u = g x s^-(beta + 1)."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    power, inverse = powers(F.k + F.a * around(x, here, row, ok, True, F), F.beta)
    b = load(x, here, ok, F.V)
    if g is None:
        store(y, here, b * power, ok, F.V)
    else:
        d = load(g, here, ok, F.V) * power
        store(y, here, d, ok, F.V)
        store(u, here, d * b * inverse, ok, F.V)


@triton.jit
def within_gradient_kernel(x, direct, u, dx, F: constexpr, B: constexpr):
    """Compute dx = direct - 2 a beta x window(u)."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    through = 2 * F.a * F.beta * load(x, here, ok, F.V) * around(u, here, row, ok, False, F)
    store(dx, here, load(direct, here, ok, F.V) - through, ok, F.V)


@triton.jit
def momentum_kernel(w, v, g, shadow, finite, mu, pull, push, numbers, decays: constexpr, B: constexpr):
    """Update v <- mu v + pull w + push g, then w <- w + v."""
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    ok = i < numbers
    weight = tl.load(w + i, mask=ok, other=0)
    velocity = tl.load(v + i, mask=ok, other=0) * mu
    if decays:
        velocity += pull * weight
    velocity += push * tl.load(g + i, mask=ok, other=0).to(tl.float32)
    weight += velocity
    tl.store(v + i, velocity, mask=ok)
    tl.store(w + i, weight, mask=ok)
    if shadow is not None:
        tl.store(shadow + i, weight.to(shadow.dtype.element_ty), mask=ok)
    # 0 * weight is NaN if the weight is not finite; otherwise no thread writes anything.
    tl.store(finite + i * 0, tl.zeros_like(i).to(tl.uint8), mask=ok & (weight * 0 != 0))


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


def norm_forward(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute b / (k + a * sum of b^2 over n maps)^beta with ReLU "before" it, "after" it or "" (section 3.3).

    x is (N, C, H, W) in channels-last memory, like all maps here; the result has its dtype.
    """
    x = last(x)
    y = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu)
    launch(norm_kernel, F.rows, x, y, F=F)
    return y


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute the gradient of x from g, that of `norm_forward`."""
    g, x = last(g), last(x)
    dx = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu)
    launch(gradient_kernel, F.rows, g, None, x, dx, F=F)
    return dx


def norm_pool_forward(
    x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 3, stride: int = 2
) -> tuple[Tensor, Tensor]:
    """Compute `norm_forward`, then max_pool2d(size, stride, ceil_mode=True); also return the unit each pool chose."""
    x = last(x)
    F = form(x, towers, n, k, a, beta, relu, size, stride)
    p = x.new_empty((x.shape[0], F.down, F.across, x.shape[1])).permute(0, 3, 1, 2)
    index = torch.empty_like(p, dtype=torch.uint8)
    launch(pool_kernel, F.strips, x, p, index, F=F)
    return p, index


def norm_pool_backward(
    g: Tensor, index: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str,
    size: int = 3, stride: int = 2,
) -> Tensor:  # fmt: skip
    """Compute the gradient of x from g, that of `norm_pool_forward`; each unit gathers from the pools over it."""
    g, index, x = last(g), last(index), last(x)
    dx = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu, size, stride)
    launch(gradient_kernel, F.rows, g, index, x, dx, F=F)
    return dx


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute x / (k + a * sum of x^2 over n x n units of its map)^beta."""
    x = last(x)
    y = torch.empty_like(x)
    F = form(x, 1, n, k, a, beta, "")
    launch(within_kernel, F.rows, x, None, y, None, F=F)
    return y


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute the gradient of x from g, that of `within_forward`, in two passes: a unit needs s of its neighbours."""
    g, x = last(g), last(x)
    dx, direct = torch.empty_like(x), torch.empty_like(x, dtype=torch.float32)
    u = torch.empty_like(direct)
    F = form(x, 1, n, k, a, beta, "")
    launch(within_kernel, F.rows, x, g, direct, u, F=F)
    launch(within_gradient_kernel, F.rows, x, direct, u, dx, F=F)
    return dx


def momentum(
    w: Tensor, v: Tensor, g: Tensor, shadow: Tensor | None, finite: Tensor, rate: float, mu: float, decay: float
) -> None:
    """Update in place: v <- mu v - decay rate w - rate g, then w <- w + v; shadow <- w, rounded (section 5).

    `finite`, a bool (), becomes False if a weight is now NaN or infinite; otherwise it does not change. A captured CUDA
    graph keeps the rate it was captured with. Autograd does not see that w changes.
    """
    alike = [t for t in (w, v, g, shadow) if t is not None]
    if any(layout(t) != layout(w) for t in alike) or not dense(w):
        raise ValueError(
            f"all tensors must share one dense layout; their strides are {', '.join(str(t.stride()) for t in alike)}"
        )
    programs, scalars = ceil(w.numel(), UPDATE), (mu, -decay * rate, -rate, w.numel())
    with torch.cuda.device_of(w):
        momentum_kernel[(programs,)](w, v, g, shadow, finite.view(torch.uint8), *scalars, decays=decay != 0, B=UPDATE)


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """Compute ((crop - mean) + shift) * factor, (N, 3, size, size) in channels-last memory; see ops.crop.cut."""
    views = images.new_empty((len(images), size, size, 3), dtype=dtype)
    inputs = images, top, left, mirrored.view(torch.uint8), mean, shift
    small = [t if t is None else t.contiguous() for t in inputs]
    launch(cut_kernel, size * size * 3, *small, views, factor, side=images.shape[1], size=size, place=place, B=PIXELS)
    return views.permute(0, 3, 1, 2)


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


def layout(t: Tensor) -> list[tuple[int, int]]:
    """List the sizes and strides of t that say where its numbers lie: those of sides over 1."""
    return [(size, stride) for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1]


def dense(t: Tensor) -> bool:
    """Tell whether the numbers of t fill its memory without gaps."""
    return t.numel() in (0, 1 + sum((size - 1) * stride for size, stride in layout(t)))


def launch(kernel: Any, rows: int, x: Any, *args: Any, B: int = BLOCK, **constants: Any) -> None:
    """Run a kernel over `rows` rows of each picture of x, B rows per program."""
    with torch.cuda.device_of(x):
        kernel[(len(x) * ceil(rows, B),)](x, *args, B=B, **constants)
