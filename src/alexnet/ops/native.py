"""The fast CPU forms: native.cpp, compiled once on this machine by its own C++ compiler and kept in the user's cache.

Nothing needs them: where there is no compiler the plain forms serve, and one line says so. ALEXNET_NATIVE=off switches
them off; any other value is an architecture for the compiler's -march ("x86-64-v3" has no AVX-512) instead of this
machine's own. CXX names the compiler.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import POINTER, Structure, byref, c_float, c_int, c_int64, c_uint32, c_uint64, c_void_p
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("native.cpp")
# No -ffast-math: it would take NaN and infinity for impossible.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared", "-w")
RELU = {"": 0, "before": 1, "after": 2}
WIDEST = 9  # maps or units in a window: with 4 lanes a wider one would reach past the neighbouring vector


class Across(Structure):
    """As in native.cpp."""

    _fields_ = [
        ("rows", c_int64), ("channels", c_int), ("towers", c_int), ("n", c_int), ("k", c_float), ("a", c_float),
        ("beta", c_float), ("relu", c_int), ("threads", c_int),
    ]  # fmt: skip


class Within(Structure):
    """As in native.cpp."""

    _fields_ = [
        ("pictures", c_int64), ("height", c_int), ("width", c_int), ("channels", c_int), ("n", c_int), ("k", c_float),
        ("a", c_float), ("beta", c_float), ("threads", c_int),
    ]  # fmt: skip


class Cut(Structure):
    """As in native.cpp."""

    _fields_ = [
        ("pictures", c_int64), ("side", c_int), ("size", c_int), ("place", c_int), ("factor", c_float),
        ("threads", c_int),
    ]  # fmt: skip


SIGNATURES = {
    "norm_forward": (c_int, c_void_p, c_void_p, POINTER(Across)),
    "norm_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Across)),
    "within_forward": (c_int, c_void_p, c_void_p, POINTER(Within)),
    "within_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Within)),
    "momentum": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_float, c_float, c_float, c_int),
    "cut": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Cut)),
    "kept": (c_void_p, c_int64, c_int64, c_int64, c_uint64, c_uint32, c_uint32, c_uint64, c_int),
}


def norm_forward(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """As plain.norm_forward, for beta 0.75 and x in channels-last memory."""
    y = torch.empty_like(x)
    _call("norm_forward", _narrow(x), x, y, byref(_across(x, towers, n, k, a, beta, relu)))
    return y


def norm_backward(g: Tensor, x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Tensor:
    """As plain.norm_backward."""
    dx = torch.empty_like(x)
    _call("norm_backward", _narrow(x), g, x, dx, byref(_across(x, towers, n, k, a, beta, relu)))
    return dx


def within_forward(x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """As plain.within_forward, for beta 0.75 and x in channels-last memory."""
    y = torch.empty_like(x)
    _call("within_forward", _narrow(x), x, y, byref(_within(x, n, k, a, beta)))
    return y


def within_backward(g: Tensor, x: Tensor, n: int, k: float, a: float, beta: float) -> Tensor:
    """As plain.within_backward."""
    dx = torch.empty_like(x)
    _call("within_backward", _narrow(x), g, x, dx, byref(_within(x, n, k, a, beta)))
    return dx


def momentum(w: Tensor, v: Tensor, g: Tensor, shadow: Tensor | None, rate: float, mu: float, decay: float) -> None:
    """As plain.momentum, in one pass; all of one dense layout."""
    threads = torch.get_num_threads()
    _call("momentum", _narrow(g), w, v, g, shadow, w.numel(), rate, mu, decay, threads)


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """As plain.cut, in one pass."""
    n, side = images.shape[:2]
    views = torch.empty(n, size, size, 3, dtype=dtype)
    images, top, left, mirrored, mean = (t.contiguous() for t in (images, top, left, mirrored, mean))
    shift = None if shift is None else shift.contiguous()
    how = Cut(n, side, size, place, factor, torch.get_num_threads())
    _call("cut", _narrow(views), images, top, left, mirrored, mean, shift, views, byref(how))
    return views.permute(0, 3, 1, 2)


def kept(rows: int, units: int, position: int, step: int, seed: int, purpose: int, least: int) -> Tensor:
    """bool (rows, units): whether the unit's Philox word is at least `least`, as ops.dropout says it."""
    mask = torch.empty(rows, units, dtype=torch.bool)
    _call("kept", mask, rows, units, position, step, seed, purpose, least, torch.get_num_threads())
    return mask


def _call(name: str, *arguments: object) -> None:
    found = library()
    assert found is not None
    getattr(found, f"alexnet_{name}")(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))


def _narrow(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16


def _across(x: Tensor, towers: int, n: int, k: float, a: float, beta: float, relu: str) -> Across:
    pixels, channels = x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]
    return Across(pixels, channels, towers, n, k, a, beta, RELU[relu], torch.get_num_threads())


def _within(x: Tensor, n: int, k: float, a: float, beta: float) -> Within:
    return Within(x.shape[0], x.shape[2], x.shape[3], x.shape[1], n, k, a, beta, torch.get_num_threads())


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled forms, made at the first call on a machine; None where they are off or cannot be made."""
    wanted = os.environ.get("ALEXNET_NATIVE", "native")
    if wanted == "off":
        return None
    try:
        loaded = ctypes.CDLL(str(_built(wanted)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        logging.getLogger("alexnet").warning(
            "the fast CPU forms cannot be compiled (%s); PyTorch's serve, and training takes about a third longer. "
            "Install a C++ compiler (CXX names it), or set ALEXNET_NATIVE=off to hear no more of it",
            reason.strip().splitlines()[0] if reason.strip() else type(error).__name__,
        )
        return None
    for name, arguments in SIGNATURES.items():
        function = getattr(loaded, f"alexnet_{name}")
        function.argtypes, function.restype = arguments, None
    return loaded


def name() -> str:
    """What the CPU computes with: "native", an architecture, or "pytorch"."""
    return os.environ.get("ALEXNET_NATIVE", "native") if library() else "pytorch"


def _built(architecture: str) -> Path:
    """The shared library for this source, compiler and processor; compiled if the cache has none yet."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        raise OSError("no c++, g++ or clang++ found")
    tune = "-mcpu" if platform.machine() in ("arm64", "aarch64") else "-march"
    command = [compiler, *FLAGS, f"{tune}={architecture}"]
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    key = hashlib.sha256("\0".join((*command, version, _processor(), SOURCE.read_text())).encode()).hexdigest()[:20]
    for home in (Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"), Path(tempfile.mkdtemp())):
        made = home / "alexnet" / f"native-{key}.so"
        if made.exists():
            return made
        try:
            made.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=made.parent)) / made.name  # two processes may be at it
        except OSError:
            continue  # a home that cannot be written
        try:
            subprocess.run([*command, "-o", part, SOURCE], capture_output=True, text=True, check=True, timeout=300)
            os.replace(part, made)
        finally:
            shutil.rmtree(part.parent, ignore_errors=True)
        return made
    raise OSError("neither the cache nor the temporary folder can be written")


def _processor() -> str:
    """What the processor can do: a cache may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
