"""Compile the folder `native` once on this machine, with its C++ compiler, into the user's cache.

The kernels are optional: without a compiler, reference.py computes everything. ALEXNET_NATIVE=off switches them off;
any other value is the compiler's -march instead of this machine's ("x86-64-v3" has no AVX-512). CXX names the compiler.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from ctypes import POINTER, Structure, c_float, c_int, c_int64, c_uint32, c_uint64, c_void_p
from pathlib import Path

from alexnet.core.files import user_cache

SOURCE = Path(__file__).with_name("native") / "kernels.cpp"
# No -ffast-math: it assumes that NaN and infinity never occur, but training must notice them.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared", "-w")


class Across(Structure):
    """The struct Across of native/norms.h, field by field."""

    _fields_ = [
        ("rows", c_int64), ("channels", c_int), ("towers", c_int), ("n", c_int), ("k", c_float), ("a", c_float),
        ("beta", c_float), ("relu", c_int), ("threads", c_int),
    ]  # fmt: skip


class Within(Structure):
    """The struct Within of native/norms.h, field by field."""

    _fields_ = [
        ("pictures", c_int64), ("height", c_int), ("width", c_int), ("channels", c_int), ("n", c_int), ("k", c_float),
        ("a", c_float), ("beta", c_float), ("threads", c_int),
    ]  # fmt: skip


class Pools(Structure):
    """The struct Pools of native/pools.h, field by field."""

    _fields_ = [
        ("pictures", c_int64), ("height", c_int), ("width", c_int), ("channels", c_int), ("down", c_int),
        ("across", c_int), ("size", c_int), ("relu", c_int), ("threads", c_int),
    ]  # fmt: skip


class Cut(Structure):
    """The struct Cut of native/views.h, field by field."""

    _fields_ = [
        ("pictures", c_int64), ("side", c_int), ("size", c_int), ("place", c_int), ("factor", c_float),
        ("threads", c_int),
    ]  # fmt: skip


SIGNATURES = {
    "norm_forward": (c_int, c_void_p, c_void_p, POINTER(Across)),
    "norm_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Across)),
    "within_forward": (c_int, c_void_p, c_void_p, POINTER(Within)),
    "within_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Within)),
    "pool_forward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Pools)),
    "pool_backward": (c_int, *[c_void_p] * 4, POINTER(Pools)),
    "norm_pool_forward": (c_int, *[c_void_p] * 3, POINTER(Across), POINTER(Pools)),
    "norm_pool_backward": (c_int, *[c_void_p] * 4, POINTER(Across), POINTER(Pools)),
    "within_pool_forward": (c_int, *[c_void_p] * 3, POINTER(Within), POINTER(Pools)),
    "within_pool_backward": (c_int, *[c_void_p] * 4, POINTER(Within), POINTER(Pools)),
    "momentum": (c_int, *[c_void_p] * 5, c_int64, c_float, c_float, c_float, c_int),
    "product": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int),
    "cut": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Cut)),
    "cut_scaled": (c_int, *[c_void_p] * 8, POINTER(Cut)),
    "resize": (c_void_p, c_int, c_int, c_int, c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_int, c_void_p),
    "kept": (c_void_p, c_int64, c_int64, c_int64, c_int64, c_uint64, c_uint32, c_uint32, c_uint64, c_int),
}


def architecture() -> str:
    """Return the architecture to compile for: ALEXNET_NATIVE, or "native"."""
    return os.environ.get("ALEXNET_NATIVE") or "native"


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the compiled kernels, and compile them at the first call on a machine; None if they are switched off.

    Raise OSError, with the reason in one line, if they cannot be compiled.
    """
    if architecture() == "off":
        return None
    try:
        try:
            loaded = ctypes.CDLL(str(built(architecture())))
        except OSError:  # a truncated file, or a home without permission to execute
            loaded = ctypes.CDLL(str(built(architecture(), anew=True)))
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise OSError(said.splitlines()[0] if said else type(error).__name__) from None
    for name, arguments in SIGNATURES.items():
        function = getattr(loaded, f"alexnet_{name}", None)
        if function is None:  # `resize` needs AVX-512
            continue
        function.argtypes, function.restype = arguments, None
    return loaded


def built(architecture: str, anew: bool = False) -> Path:
    """Return the path of the library for this source, compiler and processor; compile it if the cache has none.

    With `anew`, always compile, into a temporary folder. Raise OSError or subprocess.SubprocessError on failure.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or [c for c in ("c++", "g++") if shutil.which(c)][:1]
    if not compiler:
        raise OSError("no c++ or g++ found")
    tune = "-mcpu" if platform.machine() in ("arm64", "aarch64") else "-march"
    command = [*compiler, *FLAGS, f"{tune}={architecture}"]
    version = _run([*compiler, "--version"])
    texts = (path.read_text() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h"))))
    key = hashlib.sha256("\0".join((*command, version, _processor(), *texts)).encode()).hexdigest()[:20]
    for home in (_temporary,) if anew else (user_cache, _temporary):
        try:
            folder = home()
            made = folder / f"native-{key}.so"
            if made.exists():
                return made
            folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=folder)) / made.name  # two processes may compile at once
        except (OSError, RuntimeError):
            continue  # a home that is read-only, or no home at all
        try:
            _run([*command, "-o", str(part), str(SOURCE)])
            os.replace(part, made)
        finally:
            shutil.rmtree(part.parent, ignore_errors=True)
        return made
    raise OSError("cannot write to the cache or to the temporary folder")


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="alexnet-"))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=300)
    return done.stdout


def _processor() -> str:
    """Read the features of the processor: machines that differ may share a cache."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
