"""Record the environment of a run: store, device, versions, commit and command."""

import hashlib
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from alexnet.core.device import Compute
from alexnet.data.store import Store
from alexnet.ops import dispatch
from alexnet.version import __version__


def environment(store: Store, compute: Compute, processes: str = "1 process") -> dict[str, Any]:
    """Collect the store, device, versions, commit and command of this process, as JSON types."""
    return {
        "store": str(store.path.resolve()),
        "store_digest": store.digest,
        "store_kind": store.kind,
        "subset": store.drawn or None,
        "images": {name: len(split) for name, split in store.splits.items()},
        "classes": len(store.classes),
        "precision": compute.precision,
        "kernels": dispatch.name(compute.device),
        "device": torch.cuda.get_device_name(compute.device) if compute.device.type == "cuda" else processor(),
        "processes": processes,
    } | this_process()


def this_process() -> dict[str, Any]:
    """Collect the threads, versions, commit, command and time of this process, as JSON types."""
    return {
        "threads": torch.get_num_threads(),
        "versions": {"alexnet": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "commit": commit(),
        "command": shlex.join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def processor() -> str:
    """Find the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def code() -> str:
    """Hash the package's source code to twelve hexadecimal digits."""
    total = hashlib.sha256()
    for path in sorted(p for p in Path(__file__).parents[1].rglob("*") if p.suffix in (".py", ".cpp")):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def commit() -> str | None:
    """Find the commit of the checkout that the package runs from, with "+" if it was changed; None if installed."""
    here = Path(__file__).parents[1] / "__init__.py"
    # The first command fails for an installed copy inside another project's checkout.
    questions = (
        ["ls-files", "--error-unmatch", here.name],
        ["rev-parse", "--short=12", "HEAD"],
        ["status", "--porcelain", "--", "."],
    )
    try:
        _, head, changed = (
            subprocess.run(["git", *q], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10).stdout
            for q in questions
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.strip() + ("+" if changed.strip() else "")
