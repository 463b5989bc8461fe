"""The device and the precision of the arithmetic. They are not part of the recipe; the run records both."""

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
    # bf16 keeps weights, velocities, norms and loss in float32. tf32 is fp32 with 10-bit mantissas in matrix products,
    # on CUDA only. fp64 is for proofs: it tells rounding from a real difference.
    precision: str

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of activations, and of the weights that a forward pass reads."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}.get(self.precision, torch.float32)

    @property
    def ahead(self) -> int:
        """Number of steps that the host runs ahead of the losses it reads; reading the latest would stall a GPU."""
        return 1 if self.device.type == "cuda" else 0

    def hold(self, net: Module) -> Module:
        """Move a net to the device, in channels-last memory: the views and the fast convolutions use that layout."""
        dtype = torch.float64 if self.precision == "fp64" else torch.float32
        return net.to(device=self.device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def serve(self, net: Module) -> Module:
        """Move a net that only predicts to the device, and round its weights once instead of at every batch."""
        return self.hold(net).to(self.dtype)

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Return the context in which the net runs: autocast for bf16, else nothing."""
        if self.precision != "bf16":
            return nullcontext()
        # No cache: a pass uses each weight once, and a captured CUDA graph could not read the cache.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)


def choose_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """Choose the device and the precision, and make the device PyTorch's current one.

    Args:
        device: "cpu", "cuda", "cuda:N" or "auto". "auto" takes CUDA where there is a CUDA device. "cuda" takes the
            current device; with a launcher, each process of a machine takes the device of its own local rank.
        precision: "fp32", "tf32" (CUDA only), "bf16", "fp64" or "auto". "auto" takes bf16 where the hardware
            multiplies it, and else fp32.

    Returns:
        The device, always with its number if it is a CUDA device, and the precision.

    Raises:
        InputError: The device does not exist here, or it lacks the precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"--precision is {precision}; it must be one of {', '.join(PRECISIONS)}")
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if name == "cuda" and launch().world > 1:
        name = f"cuda:{launch().local}"  # one device for each process of the machine
    try:
        chosen = torch.device(name)
        if chosen.type not in ("cpu", "cuda"):
            raise RuntimeError
        if chosen.type == "cuda" and chosen.index is None:
            chosen = torch.device("cuda", torch.cuda.current_device())  # torch.cuda.set_device needs the number
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError):
        have = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        advice = "; each process needs its own device, so start at most one per device" if name != device else ""
        raise InputError(f"--device {name} is not available here; this machine has {have}{advice}") from None
    if precision == "auto":
        precision = "bf16" if has_bf16(chosen) else "fp32"
    if precision == "tf32" and chosen.type != "cuda":
        raise InputError(f"--precision is tf32 on {chosen}; only CUDA devices have it: use fp32, bf16 or auto")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # streams and CUDA graphs belong to the current device
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False  # sum products in float32
        torch.backends.cudnn.benchmark = True  # shapes never change: let the first steps find the fastest convolutions
    return Compute(chosen, precision)


def enter(device: torch.device) -> None:
    """Make the device this thread's own. A new thread uses device 0, where pinning memory would take half a GB."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def has_bf16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 in hardware; elsewhere PyTorch emulates it, slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    found = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(device.type == "cpu" and found and found())


def keep_pages() -> bool:
    """Make glibc keep freed memory, so that a step need not map and zero new pages for its activations.

    The process then never shrinks. ALEXNET_KEEP_PAGES=0 leaves malloc alone, and so does any other C library.

    Returns:
        Whether this process keeps freed memory from now on.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("ALEXNET_KEEP_PAGES", "1") == "0":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    if not mallopt(M_MMAP_THRESHOLD, 2**31 - 1):  # some releases accept at most 32 MiB
        mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    return True
