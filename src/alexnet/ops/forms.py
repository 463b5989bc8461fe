"""Which form computes an operation: Triton's on a CUDA device, the compiled one on a CPU, else PyTorch's."""

import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from alexnet.ops import compiled, native, plain

NARROW = (torch.float32, torch.bfloat16)


def best(*tensors: Tensor) -> Any:
    """The module whose forms are fastest for tensors on one device: `plain`, or one with the same functions."""
    # What traces a net must see PyTorch's operations; ours are addresses to it.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        return plain
    if all(t.dtype in NARROW for t in tensors if t.is_floating_point()):
        kind = tensors[0].device.type
        if kind == "cpu" and native.library():
            return native
        if kind == "cuda" and (found := gpu()):
            return found
    return plain


@functools.cache
def gpu() -> ModuleType | None:
    """Triton's forms; None where Triton is not installed, or ALEXNET_NATIVE=off switches the fast forms off."""
    if compiled.architecture() == "off":
        return None
    try:
        from alexnet.ops import gpu
    except ImportError:
        return None
    return gpu


def name(device: torch.device) -> str:
    """What computes there: "native" (or an architecture that was asked for), "triton" or "pytorch"."""
    if device.type == "cpu":
        return native.name()
    return "triton" if gpu() else "pytorch"
