# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# mypy: disable-error-code=assignment
"""The norm across maps (section 3.3), alone and with the pool that follows it, each in one pass over memory.

`norm`, `norm_gradient`, `pool` and `pool_gradient` write some maps of a tensor, such as one tower's, from some maps of
another, so that towers can lie together or apart. The functions below them are for whole tensors.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import Form, Part, form, launch, load, mine, positive, powers, raw, store

NOWHERE = constexpr(255)  # index of a pool that hands no gradient down


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
def biases(bias, r, ok, F: constexpr):
    """Load the biases of the rows around a row, if there are any: a tuple. `r` is the row's number in its tower."""
    far: constexpr = F.far
    found = ()
    if bias is not None:
        for o in tl.static_range(-far, far + 1):
            inside = ok & (r + o >= 0) & (r + o < F.tower)
            found += (load(bias, (r + o) * F.V, inside, F.V),)
    return found


@triton.jit
def activity(x, bias, c, at, r, ok, o: constexpr, F: constexpr):
    """Load b of the row at offset o: x with its bias, and after a ReLU that comes before the norm.

    `at` is where the row lies to which o counts, and `r` its number in its tower. With a `bias`, c has those around it.
    """
    far: constexpr = F.far
    b = load(x, at + o * F.V, ok & (r + o >= 0) & (r + o < F.tower), F.V)
    if bias is not None:
        b += c[o + far]
    if F.relu == "before":
        b = positive(b)
    return b


@triton.jit
def terms(x, bias, c, at, r, ok, o: constexpr, F: constexpr):
    """Compute b and s of the row at offset o; if o is not 0, s only of the maps that this row's windows reach."""
    near: constexpr = F.near
    total = tl.full((r.shape[0], F.V), 0.0, tl.float32)
    own = total
    for q in tl.static_range(-near, near + 1):
        if o + q >= -F.far and o + q <= F.far:
            b = activity(x, bias, c, at, r, ok, o + q, F)
            if q == 0:
                own = b
            total += from_row(b * b, q, F)
    return own, F.k + F.a * total


@triton.jit
def normed(x, bias, c, at, r, ok, F: constexpr):
    """Normalise rows of x (section 3.3), each the row with number `r` of its tower."""
    if F.n == 0:
        y = activity(x, bias, c, at, r, ok, 0, F)
    else:
        b, s = terms(x, bias, c, at, r, ok, 0, F)
        power, _ = powers(s, F.beta)
        y = b * power
    if F.relu == "after":
        y = positive(y)
    return y


@triton.jit
def norm_kernel(x, bias, y, F: constexpr, X: constexpr, Y: constexpr, B: constexpr):
    """Compute y = normed(x)."""
    picture, row, ok = mine(F.rows, B)
    place, r = row // F.T, row % F.T
    c = biases(bias, r % F.tower, ok, F)
    value = normed(x, bias, c, picture * X.picture + place * X.place + r * F.V, r % F.tower, ok, F)
    store(y, picture * Y.picture + place * Y.place + r * F.V, value, ok, F.V)


@triton.jit
def larger(best, at, y, i):
    """Choose as PyTorch's pool does: the first maximum, or the last NaN."""
    take = (y > best) | (y != y)
    return tl.where(take, y, best), tl.where(take, i, at)


@triton.jit
def line(x, bias, c, at, r, column, ok, F: constexpr, X: constexpr):
    """Find the maximum of a pool's normalised units along one line, and its index."""
    size: constexpr = F.size
    best = tl.full((r.shape[0], F.V), float("-inf"), tl.float32)
    index = tl.full((r.shape[0], F.V), 0, tl.int32)
    for i in tl.static_range(size):
        inside = ok & (column + i < F.width)
        y = normed(x, bias, c, at + i * X.place, r, inside, F)
        y = y.to(x.dtype.element_ty).to(tl.float32)  # rounded as the norm's output would be, so that ties are the same
        best, index = larger(best, index, tl.where(inside[:, None], y, float("-inf")), i)
    return best, index


@triton.jit
def pool_kernel(
    x, bias, p, index, F: constexpr, X: constexpr, P: constexpr, K: constexpr, alive: constexpr, B: constexpr
):  # fmt: skip
    """Compute strips of pools, each a column of pools of normalised units."""
    size: constexpr = F.size
    picture, row, ok = mine(F.strips, B)
    r, number = row % F.T, row % F.tower
    column = row // F.T % F.across * F.stride
    down = row // (F.T * F.across) * F.strip
    y = down * F.stride
    top = picture * X.picture + column * X.place + r * F.V  # in the first line
    c = biases(bias, number, ok, F)
    shared, at = line(x, bias, c, top + y * (F.width * X.place), number, column, ok, F, X)
    for _ in range(F.strip):
        best, index_of_best = shared, at
        for i in tl.static_range(1, size):
            below = ok & (y + i < F.height)
            shared, at = line(x, bias, c, top + (y + i) * (F.width * X.place), number, column, below, F, X)
            best, index_of_best = larger(best, index_of_best, shared, at + i * F.size)
        there = ok & (down < F.down)
        place = down * F.across + column // F.stride
        store(p, picture * P.picture + place * P.place + r * (F.V * P.map), best, there, F.V, P.map)
        if alive:
            index_of_best = tl.where(best <= 0, NOWHERE, index_of_best)
        store(index, picture * K.picture + place * K.place + r * F.V, index_of_best, there, F.V)
        down += 1
        y += F.stride
        if F.size != F.stride + 1:  # pools do not share a line
            shared, at = line(x, bias, c, top + y * (F.width * X.place), number, column, ok & (y < F.height), F, X)


@triton.jit
def gradient_kernel(g, x, bias, dx, F: constexpr, G: constexpr, X: constexpr, D: constexpr, B: constexpr):
    """Compute dx = g s^-beta - 2 a beta b window(g b s^-(beta + 1))."""
    picture, row, ok = mine(F.rows, B)
    place, r = row // F.T, row % F.T
    number = r % F.tower
    here = picture * X.picture + place * X.place + r * F.V
    near: constexpr = F.near
    c = biases(bias, number, ok, F)
    through = tl.full((B, F.V), 0.0, tl.float32)
    direct, own = through, through
    for o in tl.static_range(-near, near + 1):
        inside = ok & (number + o >= 0) & (number + o < F.tower)
        d = load(g, picture * G.picture + place * G.place + (r + o) * F.V, inside, F.V)
        b, s = terms(x, bias, c, here, number, ok, o, F)
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
    store(dx, picture * D.picture + place * D.place + r * F.V, slope, ok, F.V)


@triton.jit
def square_of(F: constexpr, B: constexpr):
    """Find this program's picture, squares of stride x stride units, and rows."""
    picture, row, ok = mine(F.squares, B)
    square = row // F.T
    return picture, square // F.square_columns, square % F.square_columns, row % F.T, ok


@triton.jit
def pools_over(g, index, picture, down, across, r, ok, F: constexpr, G: constexpr, K: constexpr):
    """Load the pools over a square of stride x stride units: tuples of their gradients, and of the units they chose."""
    windows: constexpr = F.windows
    gradients = ()
    chosen = ()
    for i in tl.static_range(windows):
        for j in tl.static_range(windows):
            y, x = down - i, across - j
            inside = ok & (y >= 0) & (y < F.down) & (x >= 0) & (x < F.across)
            pool = y * F.across + x
            gradients += (load(g, picture * G.picture + pool * G.place + r * (F.V * G.map), inside, F.V, G.map),)
            units = raw(index, picture * K.picture + pool * K.place + r * F.V, inside, F.V)
            chosen += (tl.where(inside[:, None], units, NOWHERE),)
    return gradients, chosen


@triton.jit
def to_unit(gradients, chosen, y: constexpr, x: constexpr, F: constexpr):
    """Sum the gradients that the pools over a square hand down to its unit (y, x)."""
    windows: constexpr = F.windows
    total = tl.zeros_like(gradients[0])
    for i in tl.static_range(windows):
        for j in tl.static_range(windows):
            if (y + i * F.stride < F.size) and (x + j * F.stride < F.size):
                unit = (y + i * F.stride) * F.size + x + j * F.stride
                total += tl.where(chosen[i * windows + j] == unit, gradients[i * windows + j], 0.0)
    return total


@triton.jit
def pool_gradient_kernel(
    g, index, x, bias, dx, F: constexpr, G: constexpr, K: constexpr, X: constexpr, D: constexpr, B: constexpr
):  # fmt: skip
    """Compute gradient_kernel's dx from the pools; a thread does the units of a square, which share their pools."""
    near: constexpr = F.near
    far: constexpr = F.far
    stride: constexpr = F.stride
    picture, down, across, r, ok = square_of(F, B)
    number = r % F.tower
    c = biases(bias, number, ok, F)
    gradients = ()
    chosen = ()
    for o in tl.static_range(-near, near + 1):
        inside = ok & (number + o >= 0) & (number + o < F.tower)
        made, units = pools_over(g, index, picture, down, across, r + o, inside, F, G, K)
        gradients += (made,)
        chosen += (units,)
    for y in tl.static_range(stride):
        for x_ in tl.static_range(stride):
            here = ok & (down * stride + y < F.height) & (across * stride + x_ < F.width)
            place = (down * stride + y) * F.width + across * stride + x_
            at = picture * X.picture + place * X.place + r * F.V
            b = ()
            for o in tl.static_range(-far, far + 1):
                b += (activity(x, bias, c, at, number, here, o, F),)
            through = tl.full((B, F.V), 0.0, tl.float32)
            direct = through
            for o in tl.static_range(-near, near + 1):
                total = tl.full((B, F.V), 0.0, tl.float32)
                for q in tl.static_range(-near, near + 1):
                    if o + q >= -far and o + q <= far:
                        total += from_row(b[o + q + far] * b[o + q + far], q, F)
                power, inverse = powers(F.k + F.a * total, F.beta)
                d = to_unit(gradients[o + near], chosen[o + near], y, x_, F)
                if F.relu == "after":
                    d = tl.where(b[o + far] <= 0, 0.0, d)
                d *= power
                through += from_row(d * b[o + far] * inverse, o, F)
                if o == 0:
                    direct = d
            slope = direct - 2 * F.a * F.beta * b[far] * through
            if F.relu == "before":
                slope = tl.where(b[far] <= 0, 0.0, slope)
            store(dx, picture * D.picture + place * D.place + r * F.V, slope, here, F.V)


@triton.jit
def unpool_kernel(g, index, dx, F: constexpr, G: constexpr, K: constexpr, D: constexpr, B: constexpr):
    """Compute the gradient of a pool's input: of each unit, the gradients of the pools that chose it."""
    stride: constexpr = F.stride
    picture, down, across, r, ok = square_of(F, B)
    gradients, chosen = pools_over(g, index, picture, down, across, r, ok, F, G, K)
    for y in tl.static_range(stride):
        for x in tl.static_range(stride):
            here = ok & (down * stride + y < F.height) & (across * stride + x < F.width)
            place = (down * stride + y) * F.width + across * stride + x
            d = to_unit(gradients, chosen, y, x, F)
            store(dx, picture * D.picture + place * D.place + r * F.V, d, here, F.V)


def norm(x: Part, y: Part, F: Form, bias: Tensor | None = None) -> None:
    """Compute y, the norm of x, or of x + bias."""
    launch(norm_kernel, x.pictures, F.rows, x.memory, bias, y.memory, F=F, X=x.strides, Y=y.strides)


def norm_gradient(g: Part, x: Part, dx: Part, F: Form, bias: Tensor | None = None) -> None:
    """Compute dx, the gradient of x, from that of its norm."""
    strides: dict[str, Any] = {"G": g.strides, "X": x.strides, "D": dx.strides}
    launch(gradient_kernel, x.pictures, F.rows, g.memory, x.memory, bias, dx.memory, F=F, **strides)


def pool(x: Part, p: Part, index: Part, F: Form, alive: bool = False, bias: Tensor | None = None) -> None:
    """Compute p, the pools of the norm of x, or of x + bias, and the unit that each pool chose.

    Without a norm, they are those of x itself. If `alive`, a pool whose maximum is not above 0 chooses none: the ReLU
    under it hands no gradient down.
    """
    strides: dict[str, Any] = {"X": x.strides, "P": p.strides, "K": index.strides}
    launch(pool_kernel, x.pictures, F.strips, x.memory, bias, p.memory, index.memory, F=F, alive=alive, **strides)


def pool_gradient(g: Part, index: Part, x: Part | None, dx: Part, F: Form, bias: Tensor | None = None) -> None:
    """Compute dx, the gradient of x under its norm and pools; without a norm, `x` is not needed."""
    strides: dict[str, Any] = {"G": g.strides, "K": index.strides, "D": dx.strides}
    if x is None:
        launch(unpool_kernel, g.pictures, F.squares, g.memory, index.memory, dx.memory, F=F, **strides)
        return
    strides["X"] = x.strides
    given = g.memory, index.memory, x.memory, bias, dx.memory
    launch(pool_gradient_kernel, g.pictures, F.squares, *given, F=F, **strides)


def norm_forward(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute b / (k + a * sum of b^2 over n maps)^beta with ReLU "before" it, "after" it or "" (section 3.3).

    x is (N, C, H, W) in channels-last memory, like all maps here; the result has its dtype.
    """
    of = Part.of(x)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    norm(of, Part.of(y), form(of, towers, n, k, a, beta, relu))
    return y


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute the gradient of x from g, that of `norm_forward`."""
    of = Part.of(x)
    dx = torch.empty_like(x, memory_format=torch.channels_last)
    norm_gradient(Part.of(g), of, Part.of(dx), form(of, towers, n, k, a, beta, relu))
    return dx


def norm_pool_forward(
    x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str, size: int = 3, stride: int = 2
) -> tuple[Tensor, Tensor]:
    """Compute `norm_forward`, then max_pool2d(size, stride, ceil_mode=True); also return the unit each pool chose."""
    of = Part.of(x)
    F = form(of, towers, n, k, a, beta, relu, size, stride)
    p = x.new_empty((x.shape[0], F.down, F.across, x.shape[1])).permute(0, 3, 1, 2)
    index = torch.empty_like(p, dtype=torch.uint8)
    pool(of, Part.of(p), Part.of(index), F)
    return p, index


def norm_pool_backward(
    g: Tensor, index: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str,
    size: int = 3, stride: int = 2,
) -> Tensor:  # fmt: skip
    """Compute the gradient of x from g, that of `norm_pool_forward`; each unit gathers from the pools over it."""
    of = Part.of(x)
    dx = torch.empty_like(x, memory_format=torch.channels_last)
    F = form(of, towers, n, k, a, beta, relu, size, stride)
    pool_gradient(Part.of(g), Part.of(index), of, Part.of(dx), F)
    return dx
