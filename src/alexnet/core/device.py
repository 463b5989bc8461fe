"""Where and how precisely the arithmetic is done: neither changes the recipe, both are recorded in the run."""

import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from alexnet.core.errors import InputError
from alexnet.core.launch import launch

Module = TypeVar("Module", bound=torch.nn.Module)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h
PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp64")


@dataclass(frozen=True)
class Compute:
    """A device and a precision."""

    device: torch.device
    # bf16 keeps float32 weights, velocities, norms and loss; tf32 is fp32 but for products' 10-bit mantissas, on CUDA;
    # fp64 is for proofs: it shows what is rounding and what is not
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """What activations are held in, and the weights that a forward pass reads."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}.get(self.precision, torch.float32)

    @property
    def ahead(self) -> int:
        """Steps that the host may be ahead of what it has read: reading the last one would make a GPU wait."""
        return 1 if self.device.type == "cuda" else 0

    def hold(self, net: Module) -> Module:
        """The net on the device, in channels-last memory: the layout of the views and of the fast convolutions."""
        dtype = torch.float64 if self.precision == "fp64" else torch.float32
        return net.to(device=self.device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def serve(self, net: Module) -> Module:
        """The same for a net that is trained no more: its weights rounded once, not at every batch."""
        return self.hold(net).to(self.dtype)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The context in which the net runs."""
        if self.precision != "bf16":
            return nullcontext()
        # No cache: each weight is used once in a pass, and a captured graph could not look into it.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)


def choose_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """The device of that name, or the best there is; bf16 where the hardware has it, unless told otherwise."""
    if precision not in PRECISIONS:
        raise InputError(f"--precision {precision}; it must be {', '.join(PRECISIONS)}")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name == "cuda" and launch().world > 1:
        name = f"cuda:{launch().local}"  # each process of a machine has its own
    try:
        chosen = torch.device(name)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError
        if chosen.type == "cuda" and chosen.index is None:
            chosen = torch.device("cuda", torch.cuda.current_device())  # a device without a number cannot be set
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError):
        have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        advice = "; each process of a machine takes its own, so start no more than there are" if name != device else ""
        raise InputError(f"--device {name} is not to be had here; there is {have}{advice}") from None
    if precision == "auto":
        precision = "bf16" if has_bf16(chosen) else "fp32"
    if precision == "tf32" and chosen.type != "cuda":
        raise InputError(f"--precision tf32 on {chosen}: only CUDA devices have it; give fp32, bf16 or auto")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # streams and graphs are the current device's
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sums of products in float32
        torch.backends.cudnn.benchmark = True  # the shapes stay; the first steps find the fastest convolutions
    return Compute(chosen, precision)


def enter(device: torch.device) -> None:
    """Make the device this thread's own: a thread begins on the first, and pinning memory takes half a GB there."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; PyTorch emulates it elsewhere, slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    found = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(device.type == "cpu" and found and found())


def keep_pages() -> bool:
    """Have glibc keep freed memory: else every step maps and zeroes its activations' pages anew. No-op elsewhere.

    The process then stays as large as it ever was; ALEXNET_KEEP_PAGES=0 leaves malloc as it is. Returns whether freed
    memory is kept now.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("ALEXNET_KEEP_PAGES", "1") == "0":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if not mallopt(M_MMAP_THRESHOLD, 2**31 - 1):  # some releases take 32 MiB at most
        mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return True
