# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The norm within a map (2012 code; not in the paper)."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import form, last, launch, load, mine, powers, store


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
