"""The command that serves the lab: serve."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from alexnet.cli.console import bar
from alexnet.cli.options import Checkpoint, Device, Precision, Threads, begin_threads, number


def serve(
    run: Path,
    /,
    *,
    store: Path | None = None,
    checkpoint: Checkpoint = None,
    port: Annotated[int, number(0, 65_535)] = 8012,
    host: str = "127.0.0.1",
    open_: Annotated[bool, Parameter(name="--open", negative=())] = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    threads: Threads = None,
) -> None:
    """Serve a trained net on this machine: a page to look at pictures with, and a URL for programs.

    Ctrl-C stops it. POST a picture's bytes to /api/predict and get what predict --json prints of it. It needs the extra
    lab, as docs/lab.md says.

    Example: alexnet serve run --open

    Example: alexnet serve run --store store

    Example: curl --data-binary @holiday.jpg http://127.0.0.1:8012/api/predict?views=1

    Parameters
    ----------
    run
        Run folder.
    store
        Store whose held-out pictures can be picked on the page. The nearest pictures are sought among its training
        pictures: 10,000 of them at most, evenly apart.
    port
        Port to bind to; 0 takes a free one.
    host
        Address to bind to. By default requests from other machines are not taken; SECURITY.md says what changes.
    open_
        Open the page in the browser.
    """
    from alexnet.lab.serve import serve

    begin_threads(threads)
    with bar("compare", "pictures") as progress:
        serve(
            run,
            store=store,
            checkpoint=checkpoint,
            host=host,
            port=port,
            open_browser=open_,
            device=device,
            precision=precision,
            progress=progress,
        )
