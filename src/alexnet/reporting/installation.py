"""Collect the facts for a bug report: versions, devices, forms of the operations, memory, disk, settings.

Each fact is found separately. If one cannot be found, its value says why, and the others are unaffected.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from alexnet.core.files import user_cache
from alexnet.version import __version__

EXTRAS = ("scipy", "simplejpeg", "tensorboard", "triton")  # scipy is required; the others add features or speed
# Settings other than ALEXNET_...: the compiler and its cache, threads, devices and arithmetic.
SETTINGS = (
    *("CXX", "XDG_CACHE_HOME", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY"),
    *("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_MAX_CPU_ISA", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
)


def facts() -> dict[str, Any]:
    """Collect the facts about this machine and installation.

    Returns:
        A text, a number, or a dict of them for each name; None for what is absent. Memory and disk are in bytes. A fact
        that cannot be found is a text that begins with "not known".
    """
    return {name: _value_or_reason(fact) for name, fact in FACTS.items()}


def in_words(found: Mapping[str, Any]) -> list[list[str]]:
    """Write facts as rows (name, value) of a table."""
    rows = []
    for name, value in found.items():
        title = name.replace("_", " ")
        if isinstance(value, dict):
            rows += [[f"{title}: {part}", _in_words(name, each)] for part, each in value.items()] or [[title, "none"]]
        else:
            rows.append([title, _in_words(name, value)])
    return rows


def _in_words(name: str, value: Any) -> str:
    if value is None:
        return "absent" if name == "extras" else "not known"
    return f"{value / 2**30:,.1f} GiB" if name in ("memory", "free_disk") and isinstance(value, int) else str(value)


def _value_or_reason(fact: Callable[[], Any]) -> Any:
    try:
        return fact()
    except Exception as error:  # a broken library can raise anything, and this page is for broken installations
        said = (str(error).splitlines() or [""])[0]
        return f"not known: {type(error).__name__}: {said}"


def _commit() -> str:
    from alexnet.runs import environment

    return environment.commit() or "none: not a checkout"


def _torch() -> str:
    import torch

    return f"{torch.__version__}, CUDA {torch.version.cuda}" if torch.version.cuda else f"{torch.__version__}, no CUDA"


def _processor() -> str:
    from torch.backends import cpu

    from alexnet.runs import environment

    return f"{environment.processor()}, {cpu.get_cpu_capability()}"


def _cores() -> int:
    from alexnet.core.threads import available_cores

    return available_cores()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _devices() -> dict[str, str]:
    """List the CUDA devices, each with its compute capability and memory."""
    import torch

    found = {}
    for i in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(i)
        found[f"cuda:{i}"] = f"{of.name}, capability {of.major}.{of.minor}, {of.total_memory / 2**30:.1f} GiB"
    return found


def _forms() -> dict[str, str]:
    """Name the form of our own operations on each kind of device, and the reason if it is not the fast one."""
    import torch

    from alexnet.ops import cpu_build, dispatch

    try:
        cpu = cpu_build.architecture() if cpu_build.library() else "pytorch: ALEXNET_NATIVE=off"
    except OSError as error:
        cpu = f"pytorch: {error}"
    return {"cpu": cpu} | ({"cuda": dispatch.name(torch.device("cuda"))} if torch.cuda.is_available() else {})


def _compiler() -> str:
    """Find the C++ compiler that cpu_build uses, with its version."""
    named = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++")), None)
    if named is None:
        return "none: no c++ or g++ found"
    done = subprocess.run([*named.split(), "--version"], capture_output=True, text=True, check=True, timeout=10)
    return f"{named}: {done.stdout.splitlines()[0]}"


def _precision() -> str:
    from alexnet.core.device import choose_compute

    compute = choose_compute()
    return f"{compute.precision} on {compute.device}"


def _memory() -> dict[str, int | None]:
    """Measure the machine's memory and what is available to this process, in bytes; None if not known."""
    from alexnet.data.cache import available

    pages = getattr(os, "sysconf", None)  # Windows has none
    return {"all": pages("SC_PHYS_PAGES") * pages("SC_PAGE_SIZE") if pages else None, "available": available()}


def _free_disk() -> dict[str, int]:
    """Measure the bytes free for temporary files and for the cache of compiled forms."""
    cache = user_cache().parent
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    return {"temporary": shutil.disk_usage(tempfile.gettempdir()).free, "cache": shutil.disk_usage(there).free}


def _extras() -> dict[str, str | None]:
    return {name: _version(name) for name in EXTRAS}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _settings() -> dict[str, str]:
    names = sorted(name for name in os.environ if name.startswith("ALEXNET_") or name in SETTINGS)
    return {name: os.environ[name] for name in names}


FACTS: dict[str, Callable[[], Any]] = {
    "alexnet": lambda: __version__,
    "commit": _commit,
    "python": lambda: f"{platform.python_version()} ({platform.python_implementation()})",
    "platform": platform.platform,
    "torch": _torch,
    "processor": _processor,
    "cores": _cores,
    "threads": _threads,
    "devices": _devices,
    "precision_auto": _precision,
    "forms": _forms,
    "compiler": _compiler,
    "memory": _memory,
    "free_disk": _free_disk,
    "extras": _extras,
    "environment": _settings,
}
