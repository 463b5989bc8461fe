"""All operations in plain PyTorch: they run on every device, and are the reference for the fast kernels.

A norm divides by s^beta, with s = k + a * window_sum(b^2). The sum over a symmetric window is its own adjoint, so the
gradient is g s^-beta - 2 a beta b window_sum(g b s^-(beta + 1)), and needs only x. Everything is computed in float32 or
wider, for any dtype of x.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.core import rng

PART = 2**17  # numbers per chunk on a CPU: half a megabyte of float32, well inside a core's cache


def norm(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute b / (k + a sum b^2)^beta, with the sum over n maps of a tower (section 3.3).

    b is ReLU(x) if `relu` is "before", else x. With "after", the result is rectified. x is (N, C, H, W) of float32 or
    wider, and so is the result. PyTorch can differentiate and trace it.
    """
    b = F.relu(x) if relu == "before" else x
    y = b * power(across_maps(b.square(), band(x, n, towers)).mul(a).add(k), beta)
    return F.relu(y) if relu == "after" else y


def norm_gradient(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute the gradient of `norm` from g, that of its result; PyTorch can differentiate it too."""
    near = band(x, n, towers)
    b = F.relu(x) if relu == "before" else x
    # the result has the sign of x, since s > 0
    dx = _gradient(lambda t: across_maps(t, near), g.where(~(x <= 0), 0) if relu == "after" else g, b, k, a, beta)
    return dx.where(~(x <= 0), 0) if relu == "before" else dx


def within(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute x / (k + a sum x^2)^beta, with the sum over n x n units of a map, clipped at its border."""
    return x * power(within_map(x.square(), n).mul(a).add(k), beta)


def within_gradient(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute the gradient of `within` from g, that of its result."""
    return _gradient(lambda t: within_map(t, n), g, x, k, a, beta)


def norm_forward(x: Tensor, *numbers: Any) -> Tensor:
    """Compute `norm` of x of any float dtype, without a record for autograd."""
    return _by_parts(lambda x: norm(x, *numbers), x)


def norm_backward(g: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute the gradient of x from g, that of the result; s is recomputed, to save memory."""
    return _by_parts(lambda g, x: norm_gradient(g, x, *numbers), g, x)


def within_forward(x: Tensor, *numbers: Any) -> Tensor:
    """Compute `within` of x of any float dtype, without a record for autograd."""
    return _by_parts(lambda x: within(x, *numbers), x)


def within_backward(g: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute the gradient of x from g, that of the result."""
    return _by_parts(lambda g, x: within_gradient(g, x, *numbers), g, x)


def norm_pool_forward(x: Tensor, *numbers: Any) -> tuple[Tensor, Tensor]:
    """Compute pools of a side, the last number, at stride 2 over `norm_forward`, clipped at the border.

    Also return the place in its window that each pool chose, line by line, as uint8.
    """
    *of_norm, size = numbers
    return pool_forward(norm_forward(x, *of_norm), size, True, False)


def norm_pool_backward(g: Tensor, index: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute the gradient of x from g, that of the pools; a unit adds up what the pools that chose it hand down."""
    *of_norm, size = numbers
    return norm_backward(unpool(g, index, x.shape, size), x, *of_norm).contiguous(memory_format=torch.channels_last)


def within_pool_forward(x: Tensor, *numbers: Any) -> tuple[Tensor, Tensor]:
    """Compute pools over `within_forward`; see `norm_pool_forward`."""
    *of_norm, size = numbers
    return pool_forward(within_forward(x, *of_norm), size, True, False)


def within_pool_backward(g: Tensor, index: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute the gradient of x from g, that of the pools."""
    *of_norm, size = numbers
    return within_backward(unpool(g, index, x.shape, size), x, *of_norm).contiguous(memory_format=torch.channels_last)


def pool_forward(x: Tensor, size: int, ceil: bool, relu: bool) -> tuple[Tensor, Tensor]:
    """Compute pools of a side at stride 2, with a ReLU before them or without.

    Also return the place in its window that each pool chose, line by line, as uint8.
    """
    x = F.relu(x) if relu else x
    pools, flat = F.max_pool2d(x, size, 2, ceil_mode=ceil, return_indices=True)
    first = _first_units(pools, x.shape[3])
    index = (flat - first) // x.shape[3] * size + (flat - first) % x.shape[3]
    last = torch.channels_last
    return pools.contiguous(memory_format=last), index.to(torch.uint8).contiguous(memory_format=last)


def pool_backward(
    g: Tensor, index: Tensor, y: Tensor, shape: tuple[int, ...], size: int, ceil: bool, relu: bool
) -> Tensor:
    """Compute the gradient of what was pooled, of a shape, from g, that of the pools y; it can be differentiated."""
    return unpool(g.where(~(y <= 0), 0) if relu else g, index, shape, size)


def unpool(g: Tensor, index: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """Add up, at each unit of maps of a shape, what the pools that chose it hand down."""
    index = index.long()
    flat = index // size * shape[3] + index % size + _first_units(g, shape[3])
    return g.new_zeros(shape).flatten(2).scatter_add(2, flat.flatten(2), g.flatten(2)).view(shape)


def _first_units(pools: Tensor, width: int) -> Tensor:
    """Compute the number of the first unit of each pool's window in a map, line by line."""
    down, across = (2 * torch.arange(side, device=pools.device) for side in pools.shape[2:])
    return down[:, None] * width + across


def across_maps(x: Tensor, near: Tensor) -> Tensor:
    """Sum x over the neighbouring maps in a tower; `near` is the matrix of `band`."""
    maps = x.permute(0, 2, 3, 1)  # N H W C: in channels-last memory, neighbouring maps are adjacent
    with torch.autocast(x.device.type, enabled=False):  # it would compute this product in bfloat16
        total = maps.reshape(-1, near.shape[0]) @ near
    return total.view(maps.shape).permute(0, 3, 1, 2)


def band(x: Tensor, n: int, towers: int) -> Tensor:
    """Build a matrix of ones within n/2 of the diagonal, for the maps of one tower: a product with it sums windows.

    Each call builds it anew: one cached under export or inference mode could not be used elsewhere.
    """
    places = torch.arange(x.shape[1] // towers, device=x.device)
    return ((places[:, None] - places).abs() <= n // 2).to(wider(x))


def within_map(x: Tensor, n: int) -> Tensor:
    """Sum x over n x n units, clipped at the border of the map."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        return F.avg_pool2d(x, n, 1, n // 2) * n**2  # exporters to ONNX lose a divisor without an error
    return F.avg_pool2d(x, n, 1, n // 2, count_include_pad=True, divisor_override=1)


def power(s: Tensor, beta: float) -> Tensor:
    """Compute s^-beta; for 0.75 by square roots, several times faster than a power."""
    if beta == 0.75:
        root = s.rsqrt()
        return root * root.sqrt()
    return s.pow(-beta)


def momentum(
    w: Tensor,
    v: Tensor,
    g: Tensor,
    shadow: Tensor | None,
    finite: Tensor,
    rate: float | Tensor,
    mu: float,
    decay: float,
) -> None:
    """Update in place: v <- mu v - decay rate w - rate g, w <- w + v, shadow <- w rounded (section 5).

    As printed, the rate is inside the velocity, and multiplies the decay as well as the gradient. torch.optim.SGD keeps
    it outside. `finite`, a bool (), becomes False if a weight is now NaN or infinite; otherwise it does not change.

    `rate` is a number, or a tensor (2,) of w's dtype with -decay rate and -rate. A captured CUDA graph reads a tensor's
    current value; `decay` then only tells whether there is one.
    """
    v.mul_(mu)
    if isinstance(rate, Tensor):
        pull, push = rate.unbind()
        if decay:
            v.addcmul_(w, pull)
        v.addcmul_(g, push)
    else:
        if decay:
            v.add_(w, alpha=-decay * rate)
        v.add_(g, alpha=-rate)
    w.add_(v)
    if shadow is not None:
        shadow.copy_(w)
    check_finite(w, finite)


def check_finite(w: Tensor, finite: Tensor) -> None:
    """Set `finite` to False if a number of w is NaN or infinite, without waiting for the device."""
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
    rows: Tensor | None = None,
) -> Tensor:
    """Compute views; see crop.cut."""
    along = torch.arange(size, device=images.device)
    ys = top[:, None] + along
    xs = left[:, None] + torch.where(mirrored[:, None], along.flip(0), along)
    ys, xs = ys[:, :, None], xs[:, None, :]
    pictures = torch.arange(len(images), device=images.device) if rows is None else rows
    x = images[pictures[:, None, None], ys, xs].float()
    margin = (images.shape[1] - size) // 2
    x -= mean[ys, xs] if place else mean[margin : margin + size, margin : margin + size]
    if shift is not None:
        x += shift[:, None, None]
    return (x if factor == 1 else x.mul_(factor)).to(dtype).permute(0, 3, 1, 2)


def cut_scaled(
    images: Tensor,
    lines: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    mean: Tensor,
    size: int,
    place: bool,
    shift: Tensor | None,
    factor: float,
    dtype: torch.dtype,
    rows: Tensor | None = None,
) -> Tensor:
    """Compute views of boxes; see crop.cut_scaled. `lines` and `columns` are as crop.places finds them."""
    (top, down), (left, across) = lines, columns
    last, margin = images.shape[1] - 1, (images.shape[1] - size) // 2
    pictures = (torch.arange(len(images), device=images.device) if rows is None else rows)[:, None, None]

    def read(ys: Tensor, xs: Tensor) -> Tensor:
        ys, xs = ys[:, :, None], xs[:, None, :]
        pixels = images[pictures, ys, xs].float()
        return pixels - mean[ys, xs] if place else pixels

    # At the last pixel the part beyond it is 0, so any pixel may stand there.
    low, right = (top + 1).clamp(max=last), (left + 1).clamp(max=last)
    part = across[:, None, :, None]
    upper = torch.lerp(read(top, left), read(top, right), part)
    lower = torch.lerp(read(low, left), read(low, right), part)
    x = torch.lerp(upper, lower, down[:, :, None, None])
    if not place:
        x -= mean[margin : margin + size, margin : margin + size]
    if shift is not None:
        x += shift[:, None, None]
    return (x if factor == 1 else x.mul_(factor)).to(dtype).permute(0, 3, 1, 2)


def pack(x: Tensor, side: int, blocks: int) -> Tensor:
    """Return pixels (N, 3, H, W) in blocks of side x side, (N, 3 * side^2, blocks, blocks); see crop.cut."""
    x = F.pad(x, (0, blocks * side - x.shape[3], 0, blocks * side - x.shape[2]))
    apart = x.unflatten(3, (blocks, side)).unflatten(2, (blocks, side)).permute(0, 2, 4, 3, 5, 1)
    return apart.flatten(3).permute(0, 3, 1, 2)  # N, line of blocks, column of blocks, (line, column, colour)


def draw(
    ids: Tensor,
    seed: int,
    epoch: int | Tensor,
    first: int | Tensor,
    margin: int,
    pictures_per_crop: int,
    crops: bool,
    mirror: bool,
    colour: float,
    components: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Draw views; see crop.draw."""
    n = len(ids)
    who = ids
    if pictures_per_crop > 1:
        who = (torch.arange(n, device=ids.device) + first) // pictures_per_crop
    top = left = torch.full((n,), margin // 2, device=ids.device)
    mirrored = torch.zeros(n, dtype=torch.bool, device=ids.device)
    four = rng.words(seed, "crop", who, epoch)
    if crops:
        top, left = rng.below(four[:, 0], margin + 1), rng.below(four[:, 1], margin + 1)
    if mirror:
        mirrored = four[:, 2] >= 1 << 31  # true for half of all 32-bit words
    if not colour:
        return top, left, mirrored, None
    # One alpha per component and picture, equal for all its pixels: it changes the colour of the light.
    alpha = colour * rng.normals(rng.words(seed, "colour", ids, epoch))[:, :3]
    return top, left, mirrored, colour_shift(alpha, components)


def colour_shift(alpha: Tensor, components: Tensor) -> Tensor:
    """Compute the colour shift of each picture, the sum of alpha times component (section 4.1): float64 (N, 3)."""
    # Not a matrix product: the bits of one of its rows may depend on the number of rows.
    a, c = alpha.double(), components.double()
    return a[:, :1] * c[:, 0] + a[:, 1:2] * c[:, 1] + a[:, 2:] * c[:, 2]


def _gradient(window: Callable[[Tensor], Tensor], g: Tensor, b: Tensor, k: float, a: float, beta: float) -> Tensor:
    s = window(b.square()).mul(a).add(k)
    direct = g * power(s, beta)
    through = window(direct * b / s) * b
    return direct.sub(through, alpha=2 * a * beta)


def _by_parts(form: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Run `form` in float32 or wider; on a CPU a few pictures at a time, so that temporaries stay in the cache."""
    x, wide = inputs[-1], wider(inputs[-1])
    pictures = max(1, PART // max(1, x[:1].numel())) if x.device.type == "cpu" else max(1, len(x))
    result = torch.empty_like(x)
    for part, *some in zip(*(t.split(pictures) for t in (result, *inputs)), strict=True):
        part.copy_(form(*(t.to(wide) for t in some)))
    return result


def wider(x: Tensor) -> torch.dtype:
    """Return the dtype of sums and powers: float32, or float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
