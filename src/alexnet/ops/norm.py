"""Response normalisation, across the maps of a tower (section 3.3) and within a map (2012 code).

Both divide x by s^beta, s = k + a * window_sum(x^2); they differ in the window alone. A symmetric window's sum is its
own adjoint, so one analytic gradient serves both: dx = g s^-beta - 2 a beta x window_sum(g x s^-(beta + 1)). Only x is
kept for it; everything is computed in float32 at least, whatever the dtype of x.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.recipe import LRN, WithinMap

Window = Callable[[Tensor], Tensor]
PART = 2**17  # numbers worked on at a time on a CPU: half a megabyte of float32, well inside a core's cache


def response_norm(x: Tensor, norm: LRN, towers: int) -> Tensor:
    """x (N, C, H, W) normalised across maps; a tower's windows end at its own first and last map.

    ``b_i = a_i / (k + alpha sum_j a_j^2)^beta``, j within n/2 maps of i; alpha is divided by n if ``norm.share``.
    """
    a = norm.alpha / norm.n if norm.share else norm.alpha
    return _norm(x, lambda t: across_maps(t, norm.n, towers), norm.k, a, norm.beta)


def within_map_norm(x: Tensor, norm: WithinMap) -> Tensor:
    """x (N, C, H, W) normalised over a window of n x n units of its own map, clipped at the border."""
    return _norm(x, lambda t: within_map(t, norm.n), norm.k, norm.alpha / norm.n**2, norm.beta)


def across_maps(x: Tensor, n: int, towers: int) -> Tensor:
    """Sums of x over n neighbouring maps of one tower: i - n/2 .. i - n/2 + n - 1, clipped (an odd n is centred)."""
    if n % 2 == 0:
        raise ValueError(f"n is {n}; the gradient needs a centred window, an odd n")
    maps = x.permute(0, 2, 3, 1)  # N H W C: neighbouring maps lie side by side in channels-last memory
    total = maps.reshape(-1, x.shape[1] // towers) @ band(x.shape[1] // towers, n, x.dtype, x.device)
    return total.view(maps.shape).permute(0, 3, 1, 2)


@functools.lru_cache(maxsize=16)
def band(maps: int, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The maps x maps matrix of ones within n/2 of the diagonal: a matrix product with it is the window's sum."""
    places = torch.arange(maps, device=device)
    return ((places[:, None] - places).abs() <= n // 2).to(dtype)


def within_map(x: Tensor, n: int) -> Tensor:
    """Sums of x over n x n units, clipped at the border of the map."""
    return F.avg_pool2d(x, n, 1, n // 2, count_include_pad=True, divisor_override=1)


def _norm(x: Tensor, window: Window, k: float, a: float, beta: float) -> Tensor:
    return ResponseNorm.apply(x, window, k, a, beta)  # type: ignore[no-untyped-call]


class ResponseNorm(torch.autograd.Function):
    """x / (k + a window(x^2))^beta with its analytic gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window, k: float, a: float, beta: float) -> Tensor:
        """x of any float dtype; the result has the same."""
        ctx.save_for_backward(x)
        ctx.window, ctx.k, ctx.a, ctx.beta = window, k, a, beta

        def normalised(x: Tensor) -> Tensor:
            return x * power(window(x.square()).mul_(a).add_(k), beta)

        return _by_parts(normalised, x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """The gradient for x; s is computed again rather than kept."""

        def gradient(x: Tensor, g: Tensor) -> Tensor:
            s = ctx.window(x.square()).mul_(ctx.a).add_(ctx.k)
            direct = g * power(s, ctx.beta)
            through = ctx.window((direct * x).div_(s)).mul_(x)
            return direct.sub_(through, alpha=2 * ctx.a * ctx.beta)

        return _by_parts(gradient, *ctx.saved_tensors, g), None, None, None, None


def _by_parts(form: Callable[..., Tensor], x: Tensor, *others: Tensor) -> Tensor:
    """`form` in float32 or wider; on a CPU a few pictures at a time, so that its temporaries stay in the cache.

    Autocast is off inside: it would round the matrix product that is a window's sum to bfloat16.
    """
    wide = x.dtype if x.dtype == torch.float64 else torch.float32
    pictures = max(1, PART // max(1, x[:1].numel())) if x.device.type == "cpu" else max(1, len(x))
    result = torch.empty_like(x)
    with torch.autocast(x.device.type, enabled=False):
        for part, *inputs in zip(*(t.split(pictures) for t in (result, x, *others)), strict=True):
            part.copy_(form(*(t.to(wide) for t in inputs)))
    return result


def power(s: Tensor, beta: float) -> Tensor:
    """s^-beta; 0.75 by two reciprocal roots, several times faster than a power."""
    if beta == 0.75:
        root = s.rsqrt()
        return root.mul_(root.sqrt())
    return s.pow(-beta)
