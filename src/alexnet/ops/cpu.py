"""The kernels of native/, called on tensors. They compute the functions of reference.py in one pass, on all threads."""

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from ctypes import byref
from typing import Any

import torch
from torch import Tensor

from alexnet.ops import cpu_build
from alexnet.ops.cpu_build import Across, Cut, Pools, Within

RELU = {"": 0, "before": 1, "after": 2}
LARGEST = 5  # units along a pool
WIDEST = 9  # units in a window: with 4 lanes, a wider one would reach past the neighbouring vector


def supports(n: int, beta: float) -> bool:
    """Tell whether the kernels of the norms compute windows of n with this power."""
    return beta == 0.75 and n <= WIDEST


def supports_pools(size: int) -> bool:
    """Tell whether the kernels compute pools of this side."""
    return 2 <= size <= LARGEST


def norm_forward(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute reference.norm_forward, for beta 0.75 only; the result is in channels-last memory."""
    x = _last(x)
    y = torch.empty_like(x)
    _call("norm_forward", _narrow(x), x, y, byref(_across(x, towers, n, k, a, beta, relu)))
    return y


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """Compute reference.norm_backward, for beta 0.75 only."""
    g, x = _last(g), _last(x)
    dx = torch.empty_like(x)
    _call("norm_backward", _narrow(x), g, x, dx, byref(_across(x, towers, n, k, a, beta, relu)))
    return dx


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute reference.within_forward, for beta 0.75 only; the result is in channels-last memory."""
    x = _last(x)
    y = torch.empty_like(x)
    _call("within_forward", _narrow(x), x, y, byref(_within(x, n, k, a, beta)))
    return y


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """Compute reference.within_backward, for beta 0.75 only."""
    g, x = _last(g), _last(x)
    dx = torch.empty_like(x)
    _call("within_backward", _narrow(x), g, x, dx, byref(_within(x, n, k, a, beta)))
    return dx


def pool_forward(x: Tensor, size: int, ceil: bool, relu: bool, index: bool = True) -> tuple[Tensor, Tensor | None]:
    """Compute reference.pool_forward; without `index`, None in place of the units that were chosen."""
    x = _last(x)
    y, chosen = _pools_of(x, size, ceil, index)
    _call("pool_forward", _narrow(x), x, y, chosen, byref(_pools(x, y, size, relu)))
    return y, chosen


def pool_backward(
    g: Tensor, index: Tensor, y: Tensor, shape: tuple[int, ...], size: int, ceil: bool, relu: bool
) -> Tensor:
    """Compute reference.pool_backward."""
    g, index, y = _last(g), _last(index), _last(y)
    dx = torch.empty(shape, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)
    _call("pool_backward", _narrow(g), g, index, y if relu else None, dx, byref(_pools(dx, g, size, relu)))
    return dx


def norm_pool_forward(x: Tensor, *numbers: Any, index: bool = True) -> tuple[Tensor, Tensor | None]:
    """Compute reference.norm_pool_forward, for beta 0.75 only."""
    return _normed_pools("norm", _across, x, numbers, index)


def norm_pool_backward(g: Tensor, index: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute reference.norm_pool_backward, for beta 0.75 only."""
    return _normed_pools_gradient("norm", _across, g, index, x, numbers)


def within_pool_forward(x: Tensor, *numbers: Any, index: bool = True) -> tuple[Tensor, Tensor | None]:
    """Compute reference.within_pool_forward, for beta 0.75 only."""
    return _normed_pools("within", _within, x, numbers, index)


def within_pool_backward(g: Tensor, index: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute reference.within_pool_backward, for beta 0.75 only."""
    return _normed_pools_gradient("within", _within, g, index, x, numbers)


def momentum(
    w: Tensor, v: Tensor, g: Tensor, shadow: Tensor | None, finite: Tensor, rate: float, mu: float, decay: float
) -> None:
    """Apply reference.momentum in one pass; all tensors must share one dense layout."""
    threads = torch.get_num_threads()
    _call("momentum", _narrow(g), w, v, g, shadow, finite, w.numel(), rate, mu, decay, threads)


def product(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Compute w x + b for x (1, inputs), w (outputs, inputs) and b (outputs,), all of one dtype: (1, outputs)."""
    y = x.new_empty(1, len(w))
    _call("product", _narrow(x), x, w, b, y, *w.shape, torch.get_num_threads())
    return y


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
    """Compute reference.cut in one pass."""
    n, side = images.shape[:2]
    views = torch.empty(n, size, size, 3, dtype=dtype, device=images.device)
    images, top, left, mirrored, mean = (t.contiguous() for t in (images, top, left, mirrored, mean))
    shift = None if shift is None else shift.contiguous()
    how = Cut(n, side, size, place, factor, torch.get_num_threads())
    _call("cut", _narrow(views), images, top, left, mirrored, mean, shift, views, byref(how))
    return views.permute(0, 3, 1, 2)


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
) -> Tensor:
    """Compute reference.cut_scaled in one pass."""
    n, side = images.shape[:2]
    views = torch.empty(n, size, size, 3, dtype=dtype, device=images.device)
    images, mean, *where = (t.contiguous() for t in (images, mean, *lines, *columns))
    shift = None if shift is None else shift.contiguous()
    how = Cut(n, side, size, place, factor, torch.get_num_threads())
    _call("cut_scaled", _narrow(views), images, *where, mean, shift, views, byref(how))
    return views.permute(0, 3, 1, 2)


def kept(rows: int, units: int, quad: int, position: int, step: int, seed: int, purpose: int, least: int) -> Tensor:
    """Draw dropout's mask: bool (rows, units), True where the unit's Philox word is at least `least`.

    Column 0 is unit 4 * quad of the layer; see ops.dropout.
    """
    mask = torch.empty(rows, units, dtype=torch.bool, device="cpu")  # on the CPU even if the default device is another
    _call("kept", mask, rows, units, quad, position, step, seed, purpose, least, torch.get_num_threads())
    return mask


def _call(name: str, *arguments: object) -> None:
    found = library()
    assert found is not None
    getattr(found, f"alexnet_{name}")(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _narrow(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16


def _across(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Across:
    pixels, channels = x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]
    return Across(pixels, channels, towers, n, k, a, beta, RELU[relu], torch.get_num_threads())


def _normed_pools(
    what: str, struct: Callable[..., Any], x: Tensor, numbers: Sequence[Any], index: bool
) -> tuple[Tensor, Tensor | None]:
    x, (*of_norm, size) = _last(x), numbers
    y, chosen = _pools_of(x, size, True, index)
    _call(
        f"{what}_pool_forward", _narrow(x), x, y, chosen, byref(struct(x, *of_norm)), byref(_pools(x, y, size, False))
    )
    return y, chosen


def _normed_pools_gradient(
    what: str, struct: Callable[..., Any], g: Tensor, index: Tensor, x: Tensor, numbers: Sequence[Any]
) -> Tensor:
    g, index, x, (*of_norm, size) = _last(g), _last(index), _last(x), numbers
    dx = torch.empty_like(x)
    how = byref(struct(x, *of_norm)), byref(_pools(x, g, size, False))
    _call(f"{what}_pool_backward", _narrow(x), g, index, x, dx, *how)
    return dx


def _pools_of(x: Tensor, size: int, ceil: bool, index: bool) -> tuple[Tensor, Tensor | None]:
    """Allocate pools of x, and the unit that each chooses."""
    down, across = (pools(side, size, ceil) for side in x.shape[2:])
    y = x.new_empty((x.shape[0], down, across, x.shape[1])).permute(0, 3, 1, 2)
    return y, torch.empty_like(y, dtype=torch.uint8) if index else None


def pools(side: int, size: int, ceil: bool) -> int:
    """Count the pools at stride 2 along a side that is at least as long as a pool."""
    return (side - size + ceil) // 2 + 1


def _pools(x: Tensor, y: Tensor, size: int, relu: bool) -> Pools:
    n, channels, height, width = x.shape
    return Pools(n, height, width, channels, *y.shape[2:], size, relu, torch.get_num_threads())


def _within(x: Tensor, n: int, k: float, a: float, beta: float) -> Within:
    return Within(x.shape[0], x.shape[2], x.shape[3], x.shape[1], n, k, a, beta, torch.get_num_threads())


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the compiled kernels; return None, after one warning, if they cannot be compiled."""
    try:
        return cpu_build.library()
    except OSError as error:
        logging.getLogger("alexnet").warning(
            "the fast CPU kernels cannot be compiled (%s); alexnet uses PyTorch's instead, and training takes about a "
            "third longer; install a C++ compiler (CXX names it), or set ALEXNET_NATIVE=off to hide this warning",
            error,
        )
        return None


def name() -> str:
    """Name the CPU's implementation: "native", the architecture in ALEXNET_NATIVE, or "pytorch"."""
    return cpu_build.architecture() if library() else "pytorch"
