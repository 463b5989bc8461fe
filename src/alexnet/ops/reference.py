"""The forms in PyTorch's own operations: what every device runs, and what the fast forms are held against.

A norm divides by s^beta, s = k + a * window_sum(b^2). A symmetric window's sum is its own adjoint, so its gradient is
g s^-beta - 2 a beta b window_sum(g b s^-(beta + 1)): only x is kept for it. Everything is computed in float32 at least,
whatever the dtype of x.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PART = 2**17  # numbers worked on at a time on a CPU: half a megabyte of float32, well inside a core's cache


def norm_forward(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """b / (k + a sum b^2)^beta over n maps of a tower; b is x, or ReLU(x) where `relu` is "before".

    "after": ReLU of the result. x (N, C, H, W) of any float dtype; the result has the same.
    """

    near = band(x, n, towers)

    def normalised(x: Tensor) -> Tensor:
        b = F.relu(x) if relu == "before" else x
        y = b * power(across_maps(b.square(), near).mul_(a).add_(k), beta)
        return F.relu(y) if relu == "after" else y

    return _by_parts(normalised, x)


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """The gradient for x, given that of the result; s is computed again rather than kept."""

    near = band(x, n, towers)

    def slope(g: Tensor, x: Tensor) -> Tensor:
        b = F.relu(x) if relu == "before" else x
        # s > 0: the result is positive where x is
        dx = _gradient(lambda t: across_maps(t, near), g.where(~(x <= 0), 0) if relu == "after" else g, b, k, a, beta)
        return dx.where(~(x <= 0), 0) if relu == "before" else dx

    return _by_parts(slope, g, x)


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """x / (k + a sum x^2)^beta over n x n units of a map, clipped at its border."""
    return _by_parts(lambda x: x * power(within_map(x.square(), n).mul_(a).add_(k), beta), x)


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """The gradient for x, given that of the result."""
    return _by_parts(lambda g, x: _gradient(lambda t: within_map(t, n), g, x, k, a, beta), g, x)


def across_maps(x: Tensor, near: Tensor) -> Tensor:
    """Sums of x over the neighbouring maps of one tower, which `near` names (see `band`)."""
    maps = x.permute(0, 2, 3, 1)  # N H W C: neighbouring maps lie side by side in channels-last memory
    total = maps.reshape(-1, len(near)) @ near
    return total.view(maps.shape).permute(0, 3, 1, 2)


def band(x: Tensor, n: int, towers: int) -> Tensor:
    """A matrix of ones within n/2 of the diagonal, as wide as a tower of x has maps: a product with it sums windows.

    It is made at each call: one that was kept from an export or from inference mode would serve nothing else.
    """
    places = torch.arange(x.shape[1] // towers, device=x.device)
    return ((places[:, None] - places).abs() <= n // 2).to(_wide(x))


def within_map(x: Tensor, n: int) -> Tensor:
    """Sums of x over n x n units, clipped at the border of the map."""
    return F.avg_pool2d(x, n, 1, n // 2, count_include_pad=True, divisor_override=1)


def power(s: Tensor, beta: float) -> Tensor:
    """s^-beta; 0.75 by two reciprocal roots, several times faster than a power."""
    if beta == 0.75:
        root = s.rsqrt()
        return root.mul_(root.sqrt())
    return s.pow(-beta)


def momentum(
    w: Tensor, v: Tensor, g: Tensor, shadow: Tensor | None, finite: Tensor, rate: float, mu: float, decay: float
) -> None:
    """v <- mu v - decay rate w - rate g, w <- w + v, shadow <- w rounded, all in place (section 5).

    `finite`, a bool (), becomes False where a weight is NaN or infinite now, and else stays.
    """
    v.mul_(mu)
    if decay:
        v.add_(w, alpha=-decay * rate)
    w.add_(v.add_(g, alpha=-rate))
    if shadow is not None:
        shadow.copy_(w)
    check_finite(w, finite)


def check_finite(w: Tensor, finite: Tensor) -> None:
    """Set `finite` to False where a number of w is NaN or infinite; no device waits for the answer."""
    if w.numel():
        low, high = torch.aminmax(w)
        finite.logical_and_(low.isfinite() & high.isfinite())


def cut(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    mirrored: Tensor,
    mean: Tensor,
    size: int,
    place: bool,
    shift: Tensor | None,
    factor: float,
    dtype: torch.dtype,
) -> Tensor:
    """As crop.cut says."""
    along = torch.arange(size, device=images.device)
    ys = top[:, None] + along
    xs = left[:, None] + torch.where(mirrored[:, None], along.flip(0), along)
    ys, xs = ys[:, :, None], xs[:, None, :]
    pictures = torch.arange(len(images), device=images.device)[:, None, None]
    x = images[pictures, ys, xs].float()
    margin = (images.shape[1] - size) // 2
    x -= mean[ys, xs] if place else mean[margin : margin + size, margin : margin + size]
    if shift is not None:
        x += shift[:, None, None]
    return (x if factor == 1 else x.mul_(factor)).to(dtype).permute(0, 3, 1, 2)


def _gradient(window: Callable[[Tensor], Tensor], g: Tensor, b: Tensor, k: float, a: float, beta: float) -> Tensor:
    s = window(b.square()).mul_(a).add_(k)
    direct = g * power(s, beta)
    through = window((direct * b).div_(s)).mul_(b)
    return direct.sub_(through, alpha=2 * a * beta)


def _by_parts(form: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`form` in float32 or wider; on a CPU a few pictures at a time, so that its temporaries stay in the cache.

    Autocast is off inside: it would round the matrix product that is a window's sum to bfloat16. A trace gets all
    pictures in one part: it would take the number of parts for that of every batch.
    """
    x, wide = inputs[-1], _wide(inputs[-1])
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return form(*(t.to(wide) for t in inputs)).to(x.dtype)
    pictures = max(1, PART // max(1, x[:1].numel())) if x.device.type == "cpu" else max(1, len(x))
    result = torch.empty_like(x)
    with torch.autocast(x.device.type, enabled=False):
        for part, *some in zip(*(t.split(pictures) for t in (result, *inputs)), strict=True):
            part.copy_(form(*(t.to(wide) for t in some)))
    return result


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
