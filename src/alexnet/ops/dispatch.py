"""Which form computes an operation: Triton's on a CUDA device, the compiled one on a CPU, else PyTorch's (reference).

The fast forms are for float32 and bfloat16: float64 is always computed by reference.
"""

import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from alexnet.ops import cpu, cpu_build, reference

NARROW = (torch.float32, torch.bfloat16)


def best(*tensors: Tensor) -> Any:
    """The module whose forms are fastest for tensors on one device: `reference`, or one with the same functions."""
    if watched():
        return reference
    device = tensors[0].device
    if all(t.device == device and (t.dtype in NARROW or not t.is_floating_point()) and addressed(t) for t in tensors):
        if device.type == "cpu" and cpu.library():
            return cpu
        if device.type == "cuda" and (found := gpu()):
            return found
    return reference


def watched() -> bool:
    """Whether something must see each of PyTorch's operations: what traces, exports, counts or differentiates forwards.

    It would see nothing of ours, which are calls with addresses.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def addressed(t: Tensor) -> bool:
    """Whether the numbers of t lie at its address, as its type, shape and strides say.

    Those of a subclass (quantised, fake, distributed), of a transform (vmap), or of a sparse or a lazily negated tensor
    do not.
    """
    if type(t) not in (Tensor, nn.Parameter) or t.layout != torch.strided or t.is_quantized or t.is_neg():
        return False
    try:
        return t.data_ptr() != 0 or not t.numel()
    except RuntimeError:  # it has no address at all
        return False


@functools.cache
def gpu() -> ModuleType | None:
    """Triton's forms; None where Triton is not installed, or ALEXNET_NATIVE=off switches the fast forms off."""
    if cpu_build.architecture() == "off":
        return None
    try:
        from alexnet.ops import triton
    except ImportError:
        return None
    return triton


def name(device: torch.device) -> str:
    """What computes there: "native" (or an architecture that was asked for), "triton" or "pytorch"."""
    if device.type == "cpu":
        return cpu.name()
    return "triton" if gpu() else "pytorch"
