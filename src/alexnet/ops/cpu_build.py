"""cpu.cpp, compiled once on this machine by its own C++ compiler and kept in the user's cache.

Nothing needs it: where there is no compiler, reference.py computes. ALEXNET_NATIVE=off switches it off; any other value
is an architecture for the compiler's -march ("x86-64-v3" has no AVX-512) instead of this machine's own. CXX names the
compiler.
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

SOURCE = Path(__file__).with_name("cpu.cpp")
# No -ffast-math: it would take NaN and infinity for impossible.
FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared", "-w")


class Across(Structure):
    """As in cpu.cpp."""

    _fields_ = [
        ("rows", c_int64), ("channels", c_int), ("towers", c_int), ("n", c_int), ("k", c_float), ("a", c_float),
        ("beta", c_float), ("relu", c_int), ("threads", c_int),
    ]  # fmt: skip


class Within(Structure):
    """As in cpu.cpp."""

    _fields_ = [
        ("pictures", c_int64), ("height", c_int), ("width", c_int), ("channels", c_int), ("n", c_int), ("k", c_float),
        ("a", c_float), ("beta", c_float), ("threads", c_int),
    ]  # fmt: skip


class Cut(Structure):
    """As in cpu.cpp."""

    _fields_ = [
        ("pictures", c_int64), ("side", c_int), ("size", c_int), ("place", c_int), ("factor", c_float),
        ("threads", c_int),
    ]  # fmt: skip


SIGNATURES = {
    "norm_forward": (c_int, c_void_p, c_void_p, POINTER(Across)),
    "norm_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Across)),
    "within_forward": (c_int, c_void_p, c_void_p, POINTER(Within)),
    "within_backward": (c_int, c_void_p, c_void_p, c_void_p, POINTER(Within)),
    "momentum": (c_int, *[c_void_p] * 5, c_int64, c_float, c_float, c_float, c_int),
    "product": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int),
    "cut": (c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Cut)),
    "resize": (c_void_p, c_int, c_int, c_int, c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_int, c_void_p),
    "kept": (c_void_p, c_int64, c_int64, c_int64, c_int64, c_uint64, c_uint32, c_uint32, c_uint64, c_int),
}


def architecture() -> str:
    """What is compiled for: "native" unless ALEXNET_NATIVE says otherwise."""
    return os.environ.get("ALEXNET_NATIVE") or "native"


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled forms, made at the first call on a machine; None where they are switched off.

    Raises OSError, with the reason in one line, where they cannot be made.
    """
    if architecture() == "off":
        return None
    try:
        try:
            loaded = ctypes.CDLL(str(built(architecture())))
        except OSError:  # a file that was cut short, or a home that nothing may be run from
            loaded = ctypes.CDLL(str(built(architecture(), anew=True)))
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise OSError(said.splitlines()[0] if said else type(error).__name__) from None
    for name, arguments in SIGNATURES.items():
        function = getattr(loaded, f"alexnet_{name}", None)
        if function is None:  # resize, without AVX-512
            continue
        function.argtypes, function.restype = arguments, None
    return loaded


def built(architecture: str, anew: bool = False) -> Path:
    """The shared library for this source, compiler and processor; compiled if the user's cache has none yet.

    `anew`: compiled in any case, into a temporary folder. Raises OSError or subprocess.SubprocessError.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or [c for c in ("c++", "g++") if shutil.which(c)][:1]
    if not compiler:
        raise OSError("no c++ or g++ found")
    tune = "-mcpu" if platform.machine() in ("arm64", "aarch64") else "-march"
    command = [*compiler, *FLAGS, f"{tune}={architecture}"]
    version = _run([*compiler, "--version"])
    key = hashlib.sha256("\0".join((*command, version, _processor(), SOURCE.read_text())).encode()).hexdigest()[:20]
    for home in (_temporary,) if anew else (_cache, _temporary):
        try:
            folder = home()
            made = folder / f"native-{key}.so"
            if made.exists():
                return made
            folder.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=folder)) / made.name  # two processes may be at it
        except (OSError, RuntimeError):
            continue  # a home that cannot be written, or none at all
        try:
            _run([*command, "-o", str(part), str(SOURCE)])
            os.replace(part, made)
        finally:
            shutil.rmtree(part.parent, ignore_errors=True)
        return made
    raise OSError("neither the cache nor the temporary folder can be written")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="alexnet-"))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=300)
    return done.stdout


def _processor() -> str:
    """What the processor can do: a cache may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
