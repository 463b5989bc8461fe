# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# mypy: disable-error-code=assignment
"""The norm within a map (2012 code; not in the paper).

A thread goes down a column of places and keeps the sums of the last n lines: so it reads n rows a line, not n x n.
"""

from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import Form, Part, ceil, form, launch, load, mine, powers, raw, store

STRIP = 9  # most lines that a thread computes: it reads n - 1 more


@triton.jit
def across(t, at, y, x, ok, square: constexpr, F: constexpr, S: constexpr):
    """Sum t, or its squares, over n units of a line, clipped at its ends. `at` is where line 0 begins."""
    n: constexpr = F.n
    total = tl.full((x.shape[0], F.V), 0.0, tl.float32)
    for j in tl.static_range(n):
        beside = x + (j - F.reach)
        inside = ok & (y >= 0) & (y < F.height) & (beside >= 0) & (beside < F.width)
        v = load(t, at + (y * F.width + beside) * S.place, inside, F.V)
        if square:
            v *= v
        total += v
    return total


@triton.jit
def strip_of(F: constexpr, B: constexpr):
    """Find this program's picture, rows, columns and first lines."""
    picture, row, ok = mine(F.columns, B)
    return picture, row % F.T, row // F.T % F.width, row // (F.T * F.width) * F.strip, ok


@triton.jit
def pool_line(g, index, picture, down, column, r, ok, F: constexpr, G: constexpr, K: constexpr):
    """Load the pools of a line that a column of units may lie under: tuples of their gradients, and of keys.

    A key is the first unit, of the line of the pool that it chose from, that it could have chosen; it is -1 if the pool
    chose a unit of another column.
    """
    windows: constexpr = F.windows
    gradients = ()
    keys = ()
    for j in tl.static_range(windows):
        across = column // F.stride - j
        dx = column - across * F.stride
        inside = ok & (down >= 0) & (down < F.down) & (across >= 0) & (across < F.across) & (dx < F.size)
        pool = down * F.across + across
        gradients += (load(g, picture * G.picture + pool * G.place + r * (F.V * G.map), inside, F.V, G.map),)
        chosen = raw(index, picture * K.picture + pool * K.place + r * F.V, inside, F.V).to(tl.int32)
        keys += (tl.where(inside[:, None], chosen - dx[:, None], -1),)
    return gradients, keys


@triton.jit
def handed_down(gradients, keys, y: constexpr, F: constexpr):
    """Sum what pools hand down to a unit, y lines below the first line of the last line of pools in the tuples."""
    windows: constexpr = F.windows
    total = tl.zeros_like(gradients[0])
    for i in tl.static_range(windows):
        if y + i * F.stride < F.size:
            for j in tl.static_range(windows):
                key = keys[(windows - 1 - i) * windows + j]
                d = gradients[(windows - 1 - i) * windows + j]
                total += tl.where(key == (y + i * F.stride) * F.size, d, 0.0)
    return total


@triton.jit
def within_kernel(
    x, g, index, y, u, F: constexpr, X: constexpr, G: constexpr, K: constexpr, Y: constexpr, B: constexpr
):  # fmt: skip
    """Compute y = x s^-beta; or, if there is a g, y = g s^-beta and u = g x s^-(beta + 1).

    With an index, g is the gradient of the pools over y.
    """
    n: constexpr = F.n
    strip: constexpr = F.strip
    picture, r, column, first, ok = strip_of(F, B)
    base = picture * X.picture + r * F.V
    lines = (tl.full((B, F.V), 0.0, tl.float32),)
    windows: constexpr = F.windows
    gradients = ()
    keys = ()
    if index is not None:  # the lines of pools over the first line, but the last
        for i in tl.static_range(windows - 1):
            down = first // F.stride - (windows - 1) + i
            made, keyed = pool_line(g, index, picture, down, column, r, ok, F, G, K)
            gradients += made
            keys += keyed
    for i in tl.static_range(n - 1):
        lines += (across(x, base, first + (i - F.reach), column, ok, True, F, X),)
    for i in tl.static_range(strip):
        lines = lines[1:] + (across(x, base, first + (i + F.reach), column, ok, True, F, X),)  # noqa: RUF005 (Triton has no unpacking)
        total = lines[0]
        for j in tl.static_range(1, n):
            total += lines[j]
        power, inverse = powers(F.k + F.a * total, F.beta)
        here = ok & (first + i < F.height)
        place = (first + i) * F.width + column
        b = load(x, base + place * X.place, here, F.V)
        to = picture * Y.picture + place * Y.place + r * F.V
        if g is None:
            store(y, to, b * power, here, F.V)
        else:
            if index is None:
                d = load(g, picture * G.picture + place * G.place + r * F.V, here, F.V)
            else:
                if i % F.stride == 0:
                    made, keyed = pool_line(
                        g, index, picture, first // F.stride + i // F.stride, column, r, ok, F, G, K
                    )
                    if i > 0:
                        gradients = gradients[windows:]
                        keys = keys[windows:]
                    gradients += made
                    keys += keyed
                d = handed_down(gradients, keys, i % F.stride, F)
            d *= power
            store(y, to, d, here, F.V)
            store(u, to, d * b * inverse, here, F.V)


@triton.jit
def within_gradient_kernel(x, direct, u, dx, F: constexpr, X: constexpr, U: constexpr, D: constexpr, B: constexpr):
    """Compute dx = direct - 2 a beta x window(u)."""
    n: constexpr = F.n
    strip: constexpr = F.strip
    picture, r, column, first, ok = strip_of(F, B)
    base = picture * U.picture + r * F.V
    lines = (tl.full((B, F.V), 0.0, tl.float32),)
    for i in tl.static_range(n - 1):
        lines += (across(u, base, first + (i - F.reach), column, ok, False, F, U),)
    for i in tl.static_range(strip):
        lines = lines[1:] + (across(u, base, first + (i + F.reach), column, ok, False, F, U),)  # noqa: RUF005 (Triton has no unpacking)
        total = lines[0]
        for j in tl.static_range(1, n):
            total += lines[j]
        here = ok & (first + i < F.height)
        place = (first + i) * F.width + column
        through = 2 * F.a * F.beta * load(x, picture * X.picture + place * X.place + r * F.V, here, F.V) * total
        d = load(direct, base + place * U.place, here, F.V) - through
        store(dx, picture * D.picture + place * D.place + r * F.V, d, here, F.V)


def strips(F: Form) -> Form:
    """Return the form with strips of lines, in place of strips of pools: as equal as whole pools allow."""
    lines = ceil(F.height, ceil(F.height, STRIP))
    return replace(F, strip=ceil(lines, F.stride) * F.stride)


def launch_strips(kernel, x: Part, F: Form, *args, **constants) -> None:
    """Run a kernel over the strips of each picture of x."""
    launch(kernel, x.pictures, F.columns, *args, F=F, **constants)


def within(x: Part, y: Part, F: Form) -> None:
    """Compute y = x / (k + a * sum of x^2 over n x n units of its map)^beta."""
    launch_strips(
        within_kernel, x, strips(F), x.memory, None, None, y.memory, None, X=x.strides, G=None, K=None, Y=y.strides
    )


def within_gradient(g: Part, index: Part | None, x: Part, dx: Part, F: Form) -> None:
    """Compute dx, the gradient of x, in two passes: a unit needs s of its neighbours.

    `g` is the gradient of the norm, or with an `index` that of the pools over it.
    """
    shape = x.pictures, x.height, x.width, x.maps
    made = [torch.empty(shape, dtype=x.memory.dtype, device=x.memory.device).permute(0, 3, 1, 2) for _ in range(2)]
    direct, u = (Part.of(t) for t in made)
    F = strips(F)
    gathered: dict[str, Any] = {"G": g.strides, "K": index.strides if index else None}
    given = x.memory, g.memory, index.memory if index else None
    launch_strips(within_kernel, x, F, *given, direct.memory, u.memory, X=x.strides, Y=u.strides, **gathered)
    launch_strips(
        within_gradient_kernel, x, F, x.memory, direct.memory, u.memory, dx.memory,
        X=x.strides, U=u.strides, D=dx.strides,
    )  # fmt: skip


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute x / (k + a * sum of x^2 over n x n units of its map)^beta."""
    y = torch.empty_like(x, memory_format=torch.channels_last)
    of = Part.of(x)
    within(of, Part.of(y), form(of, 1, n, k, a, beta, ""))
    return y


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute the gradient of x from g, that of `within_forward`."""
    dx = torch.empty_like(x, memory_format=torch.channels_last)
    of = Part.of(x)
    within_gradient(Part.of(g), None, of, Part.of(dx), form(of, 1, n, k, a, beta, ""))
    return dx
