"""The kernels of native/, called on tensors. They compute the functions of reference.py in one pass, on all threads."""

import ctypes
import functools
import logging
from ctypes import byref

import torch
from torch import Tensor

from alexnet.ops import cpu_build
from alexnet.ops.cpu_build import Across, Cut, Within

RELU = {"": 0, "before": 1, "after": 2}
WIDEST = 9  # units in a window: with 4 lanes, a wider one would reach past the neighbouring vector


def supports(n: int, beta: float) -> bool:
    """Tell whether the kernels of the norms compute windows of n with this power."""
    return beta == 0.75 and n <= WIDEST


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
