# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The norm across maps (section 3.3), alone and with the pool that follows it, each in one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import form, last, launch, load, mine, positive, powers, raw, store


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
