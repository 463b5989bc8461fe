# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""What a CUDA device does in one pass each: norms, norm with pool, the update rule, cutting views (Triton kernels).

Maps lie side by side in channels-last memory, so a tensor is read in rows of V maps of one tower at one place: a row to
a thread, in one load of up to 16 bytes. Arithmetic is in float32, whatever goes in and comes out. Nothing waits for the
device, and a kernel is compiled when a shape first comes: a CUDA graph can be captured from the second call on.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

BLOCK = 128  # rows a program, one to a thread
STRIP = 4  # pools that a thread goes down, at most: the line that two of them share is normalised once
UPDATE = PIXELS = 1024  # numbers a program, of weights and of views


@dataclass(frozen=True)
class Form:
    """What a kernel is compiled for; section 3.3's symbols, sizes of the input x and of the pools above it."""

    n: int
    k: float
    a: float
    beta: float
    relu: str
    V: int  # maps in a row
    tower: int  # rows of one tower at a place
    T: int  # rows at a place
    height: int
    width: int
    size: int = 1
    stride: int = 1
    down: int = 0  # pools
    across: int = 0
    strip: int = 1  # pools that a thread goes down

    @property
    def reach(self) -> int:
        """Maps on either side in a window."""
        return self.n // 2

    @property
    def near(self) -> int:
        """Rows on either side that a window reaches into."""
        return ceil(self.reach, self.V)

    @property
    def far(self) -> int:
        """Rows on either side that the windows of its maps reach into."""
        return ceil(2 * self.reach, self.V)

    @property
    def rows(self) -> int:
        """Rows of a picture."""
        return self.height * self.width * self.T

    @property
    def pooled(self) -> int:
        """Rows of a picture's pools."""
        return self.down * self.across * self.T

    @property
    def strips(self) -> int:
        """Rows of a picture's strips of pools."""
        return ceil(self.down, self.strip) * self.across * self.T

    @property
    def windows(self) -> int:
        """Pools that a unit can be in, along one axis."""
        return ceil(self.size, self.stride)


def ceil(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


@triton.jit
def mine(rows: constexpr, B: constexpr):
    """The picture of this program, and which of its rows are the program's."""
    blocks: constexpr = (rows + B - 1) // B
    row = tl.program_id(0) % blocks * B + tl.arange(0, B)
    return (tl.program_id(0) // blocks).to(tl.int64), row, row < rows


@triton.jit
def raw(x, row, ok, V: constexpr):
    """Rows of x, zeros where not ok."""
    return tl.load(x + row[:, None] * V + tl.arange(0, V)[None, :], mask=ok[:, None], other=0)


@triton.jit
def load(x, row, ok, V: constexpr):
    """The same as float32."""
    return raw(x, row, ok, V).to(tl.float32)


@triton.jit
def store(y, row, value, ok, V: constexpr):
    """Rows of y, rounded to its dtype."""
    tl.store(y + row[:, None] * V + tl.arange(0, V)[None, :], value.to(y.dtype.element_ty), mask=ok[:, None])


@triton.jit
def positive(t):
    """ReLU; NaN stays."""
    return tl.maximum(t, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def powers(s, beta: constexpr):
    """s^-beta and 1 / s; 0.75 by roots, as on the CPU."""
    if beta == 0.75:
        root = tl.rsqrt(s)
        return root * tl.sqrt(root), root * root
    else:
        return tl.exp2(-beta * tl.log2(s)), 1.0 / s


@triton.jit
def from_row(t, o: constexpr, F: constexpr):
    """For each map of a row: the sum of t, which is the row o further on, over its maps that are in reach of that map.

    Fast because the compiler knows every index: of V * V selections it keeps a few additions of registers, where
    shifted loads would be single and unaligned. Selected, not multiplied by ones, as zero times infinity is NaN; and
    reshaped, as indexing with None would spread a row over threads.
    """
    i = tl.arange(0, F.V)
    within = tl.abs(o * F.V + i[:, None] - i[None, :]) <= F.reach
    return tl.sum(tl.where(within[None, :, :], tl.reshape(t, (t.shape[0], F.V, 1)), 0.0), 1)


@triton.jit
def terms(x, row, place, ok, o: constexpr, F: constexpr):
    """b and s of the row o further on; where o is not 0, s of those of its maps alone that this row's windows reach."""
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
    """Rows of x normalised (section 3.3); `place` is a row's number in its tower."""
    b, s = terms(x, row, place, ok, 0, F)
    power, _ = powers(s, F.beta)
    y = b * power
    if F.relu == "after":
        y = positive(y)
    return y


@triton.jit
def norm_kernel(x, y, F: constexpr, B: constexpr):
    """y = normed(x)."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    store(y, here, normed(x, here, row % F.tower, ok, F), ok, F.V)


@triton.jit
def larger(best, at, y, i):
    """What a pool chooses: the first maximum, but the last NaN, as PyTorch does."""
    take = (y > best) | (y != y)
    return tl.where(take, y, best), tl.where(take, i, at)


@triton.jit
def line(x, row, place, column, ok, F: constexpr):
    """The maximum of as many normalised units along a line as a pool is wide, and which of them it is."""
    size: constexpr = F.size
    best = tl.full((row.shape[0], F.V), float("-inf"), tl.float32)
    at = tl.full((row.shape[0], F.V), 0, tl.int32)
    for i in tl.static_range(size):
        inside = ok & (column + i < F.width)
        y = normed(x, row + i * F.T, place, inside, F)
        y = y.to(x.dtype.element_ty).to(tl.float32)  # as the norm's own output would be: ties are decided there
        best, at = larger(best, at, tl.where(inside[:, None], y, float("-inf")), i)
    return best, at


@triton.jit
def pool_kernel(x, p, index, F: constexpr, B: constexpr):
    """Strips of pools, one below the other, of normalised units."""
    size: constexpr = F.size
    picture, row, ok = mine(F.strips, B)
    place = row % F.tower
    column = row // F.T % F.across * F.stride
    down = row // (F.T * F.across) * F.strip
    y = down * F.stride
    top = picture * F.rows + column * F.T + row % F.T  # in line 0
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
        if F.size != F.stride + 1:  # the next pool's first line is not this one's last
            shared, at = line(x, top + y * (F.width * F.T), place, column, ok & (y < F.height), F)


@triton.jit
def handed_down(g, index, picture, row, o: constexpr, ok, F: constexpr):
    """The gradient for the row o further on: that of each pool above it, for the units which the pool chose."""
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
    """dx = g s^-beta - 2 a beta b window(g b s^-(beta + 1)); g is the norm's or, with an index, its pools'."""
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
    """Sums of t, or of its squares, over n x n units of the same map, clipped at its border."""
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
    """y = x s^-beta; or, if there is a g, y = g s^-beta and u = g x s^-(beta + 1)."""
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
    """dx = direct - 2 a beta x window(u)."""
    picture, row, ok = mine(F.rows, B)
    here = picture * F.rows + row
    through = 2 * F.a * F.beta * load(x, here, ok, F.V) * around(u, here, row, ok, False, F)
    store(dx, here, load(direct, here, ok, F.V) - through, ok, F.V)


@triton.jit
def momentum_kernel(w, v, g, shadow, finite, mu, pull, push, numbers, decays: constexpr, B: constexpr):
    """v <- mu v + pull w + push g, then w <- w + v."""
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
    # 0 * weight is NaN where the weight is not finite; else nothing is written at all.
    tl.store(finite + i * 0, tl.zeros_like(i).to(tl.uint8), mask=ok & (weight * 0 != 0))


@triton.jit
def cut_kernel(images, top, left, mirrored, mean, shift, views, factor, side: constexpr, size: constexpr,
               place: constexpr, B: constexpr):  # fmt: skip
    """Numbers of views: red, green, blue of one pixel after the other."""
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
    """b / (k + a * sum of b^2 over n maps)^beta with ReLU "before" it, "after" it or "" (section 3.3).

    x is (N, C, H, W) in channels-last memory, as are all tensors of maps here; the result has its dtype.
    """
    x = last(x)
    y = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu)
    launch(norm_kernel, F.rows, x, y, F=F)
    return y


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """The gradient for x of `norm_forward`."""
    g, x = last(g), last(x)
    dx = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu)
    launch(gradient_kernel, F.rows, g, None, x, dx, F=F)
    return dx


def norm_pool_forward(
    x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 3, stride: int = 2
) -> tuple[Tensor, Tensor]:
    """`norm_forward`, then max_pool2d(size, stride, ceil_mode=True); and which unit of its window each pool chose."""
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
    """The gradient for x of `norm_pool_forward`; every unit gathers what the pools above it hand down."""
    g, index, x = last(g), last(index), last(x)
    dx = torch.empty_like(x)
    F = form(x, towers, n, k, a, beta, relu, size, stride)
    launch(gradient_kernel, F.rows, g, index, x, dx, F=F)
    return dx


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """x / (k + a * sum of x^2 over n x n units of its map)^beta."""
    x = last(x)
    y = torch.empty_like(x)
    F = form(x, 1, n, k, a, beta, "")
    launch(within_kernel, F.rows, x, None, y, None, F=F)
    return y


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """The gradient for x of `within_forward`: in two passes, for a unit needs s of all its neighbours."""
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
    """v <- mu v - decay rate w - rate g, then w <- w + v, in place (section 5); `shadow` gets w, rounded to its dtype.

    `finite`, a bool (), becomes False where a weight is NaN or infinite now, and else stays. A captured CUDA graph
    keeps the rate it was captured with. Autograd is not told that w changes.
    """
    alike = [t for t in (w, v, g, shadow) if t is not None]
    if any(layout(t) != layout(w) for t in alike) or not dense(w):
        raise ValueError(f"one dense layout for all is needed, not {', '.join(str(t.stride()) for t in alike)}")
    programs, scalars = ceil(w.numel(), UPDATE), (mu, -decay * rate, -rate, w.numel())
    with torch.cuda.device_of(w):
        momentum_kernel[(programs,)](w, v, g, shadow, finite.view(torch.uint8), *scalars, decays=decay != 0, B=UPDATE)


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """((crop - mean) + shift) * factor, (N, 3, size, size) in channels-last memory: `Transform.augment` in one pass.

    images: uint8 (N, side, side, 3). top, left: int64 (N,). mirrored: bool (N,). mean: float32 (side, side, 3), taken
    where the crop lies and mirrored with it if `place`, else that of the central crop. shift: float32 (N, 3), or none.
    """
    views = images.new_empty((len(images), size, size, 3), dtype=dtype)
    inputs = images, top, left, mirrored.view(torch.uint8), mean, shift
    small = [t if t is None else t.contiguous() for t in inputs]
    launch(cut_kernel, size * size * 3, *small, views, factor, side=images.shape[1], size=size, place=place, B=PIXELS)
    return views.permute(0, 3, 1, 2)


def form(
    x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 1, stride: int = 1
) -> Form:
    """The form of a norm of x under pools of size x size units that move by stride."""
    if n % 2 == 0:
        raise ValueError(f"n is {n}; the gradient needs a centred window, an odd n")
    _, maps, height, width = x.shape
    V = math.gcd(maps // towers, 16 // x.element_size())
    rows = maps // towers // V, maps // V
    down, across = (pooled_side(side, size, stride) for side in (height, width))
    strip = ceil(down, ceil(down, STRIP))  # all alike
    return Form(n, k, a, beta, relu, V, *rows, height, width, size, stride, down, across, strip)


def pooled_side(side: int, size: int, stride: int) -> int:
    """Pools along one axis, with those that hang over the border but begin inside."""
    if side + stride <= size:
        raise ValueError(f"a map of {side} units a side has no pool of {size} that moves by {stride}")
    pools = ceil(side - size, stride) + 1
    return pools - 1 if (pools - 1) * stride >= side else pools


def last(x: Tensor) -> Tensor:
    """x in channels-last memory."""
    return x.contiguous(memory_format=torch.channels_last)


def layout(t: Tensor) -> list[tuple[int, int]]:
    """Where the numbers of t lie: the strides that mean something."""
    return [(size, stride) for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1]


def dense(t: Tensor) -> bool:
    """Whether the numbers of t fill its memory without gaps."""
    return t.numel() in (0, 1 + sum((size - 1) * stride for size, stride in layout(t)))


def launch(kernel: Any, rows: int, x: Any, *args: Any, B: int = BLOCK, **constants: Any) -> None:
    """Run a kernel over so many rows of each picture of x, B rows a program."""
    with torch.cuda.device_of(x):
        kernel[(len(x) * ceil(rows, B),)](x, *args, B=B, **constants)
