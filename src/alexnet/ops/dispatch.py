"""Choose the implementation of an operation: Triton on a CUDA device, native/ on a CPU, or PyTorch (reference.py).

The fast implementations take float32 and bfloat16; reference.py computes float64.
"""

import functools
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from alexnet.ops import cpu, cpu_build, reference

NARROW = (torch.float32, torch.bfloat16)


def best(*tensors: Tensor) -> Any:
    """Return the fastest module for these tensors: `reference`, or one with the same functions."""
    if watched():
        return reference
    device = tensors[0].device
    if all(t.device == device and (t.dtype in NARROW or not t.is_floating_point()) and addressed(t) for t in tensors):
        return kernels_for(device, torch.float32)
    return reference


def kernels_for(device: torch.device, dtype: torch.dtype) -> Any:
    """Return the fastest module for tensors of a device and dtype that have an address."""
    if dtype in NARROW:
        if device.type == "cpu" and cpu.library():
            return cpu
        if device.type == "cuda" and (found := gpu()):
            return found
    return reference


def view_of(x: object) -> Literal["kernel", "operator", "plain", "onnx"]:
    """Choose how an operation on x is carried out, by what x is and who looks.

    "kernel": by the fastest kernel, also under transforms such as vmap. "operator": as `torch.ops.alexnet.*`, for who
    records operators (torch.export, torch.compile, torch.fx, dispatch modes), for subclasses of Tensor and for tensors
    without numbers. "plain": as PyTorch's own operations, for who must see through: torch.jit, autograd in forward
    mode, transforms that are compiled or recorded. "onnx": in operations that ONNX has.
    """
    if torch.jit.is_tracing() or forward_ad._current_level >= 0:  # type: ignore[attr-defined, no-untyped-call]
        return "plain"
    transformed = torch._C._are_functorch_transforms_active()
    if torch.compiler.is_compiling():
        if transformed:
            return "plain"
        to_onnx = not torch.compiler.is_dynamo_compiling() and torch.onnx.is_in_onnx_export()
        return "onnx" if to_onnx else "operator"
    if not isinstance(x, Tensor):  # a proxy of torch.fx
        return "operator"
    recorded = torch._C._len_torch_dispatch_stack() > 0
    if transformed:
        return "plain" if recorded or functionalizing() else "kernel"
    return "operator" if recorded or x.is_meta or type(x) not in (Tensor, nn.Parameter) else "kernel"


def functionalizing() -> bool:
    """Tell whether torch.func.functionalize is the innermost transform."""
    key = torch._C._functorch.peek_interpreter_stack().key()
    return key == torch._C._functorch.TransformType.Functionalize


def hooked(layer: nn.Module) -> bool:
    """Tell whether calling a layer does more than its class's forward: hooks, a forward of its own, a compiled one."""
    hooks = layer._forward_hooks or layer._backward_hooks or layer._forward_pre_hooks or layer._backward_pre_hooks
    return bool(hooks) or "forward" in vars(layer) or layer._compiled_call_impl is not None


def watched() -> bool:
    """Tell whether something watches PyTorch's operations: a tracer, an exporter, a counter, or forward-mode autograd.

    None of them would see our kernels, which are calls with addresses.
    """
    return (
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or forward_ad._current_level >= 0
    )


def addressed(t: Tensor) -> bool:
    """Tell whether the numbers of t lie at its address, laid out by its dtype, shape and strides.

    They do not for a subclass (quantised, fake, distributed), inside a transform (vmap), or for a sparse or lazily
    negated tensor.
    """
    if type(t) not in (Tensor, nn.Parameter) or t.layout != torch.strided or t.is_quantized or t.is_neg():
        return False
    try:
        return t.data_ptr() != 0 or not t.numel()
    except RuntimeError:  # it has no address
        return False


@functools.cache
def gpu() -> ModuleType | None:
    """Import the Triton kernels; None if Triton is not installed, or ALEXNET_NATIVE=off switches them off."""
    if cpu_build.architecture() == "off":
        return None
    try:
        from alexnet.ops import triton
    except ImportError:
        return None
    return triton


def name(device: torch.device) -> str:
    """Name a device's implementation: "native" (or the architecture in ALEXNET_NATIVE), "triton" or "pytorch"."""
    if device.type == "cpu":
        return cpu.name()
    return "triton" if gpu() else "pytorch"
