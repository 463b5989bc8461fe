"""The demo: prepare pictures drawn by program, train, evaluate, draw figures, write the report."""

import time
from pathlib import Path
from typing import Any

from alexnet.cli.console import bar
from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.figures.catalogue import draw
from alexnet.reporting.report import report
from alexnet.runs.folder import is_run
from alexnet.training.train import train

PICTURES = 1500


def demo(out: Path, quiet: bool = False, leave: bool = False) -> dict[str, Any]:
    """Run everything in the folder `out`, and continue what an interrupted demo has left there.

    Args:
        out: Folder for the store, the run and report.html; made if missing.
        quiet: Whether to print no progress.
        leave: As `train` takes it.

    Returns:
        "top1", the ten-view top-1 error, 0 to 1; "seconds" of this call; "report", the path of the page.

    Raises:
        InputError: `out` is a file.
    """
    begun = time.monotonic()
    store, trained = out / "store", out / "run"
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder; name another")
    out.mkdir(parents=True, exist_ok=True)
    if not store.exists():
        with bar("draw and prepare", "pictures", quiet) as progress:
            prepare(f"builtin:{PICTURES}", store, progress=progress)
    final = train(store, trained, "demo", resume=is_run(trained), quiet=quiet, leave=leave)
    draw(trained, trained / "figures")
    page = report(out)
    return {"top1": final.errors.top1, "seconds": round(time.monotonic() - begun, 1), "report": str(page)}
