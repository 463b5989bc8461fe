"""Serve a run's net on this machine."""

import webbrowser
from pathlib import Path
from typing import Any

from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.core.sockets import bind
from alexnet.data.store import Store
from alexnet.inference.features import Progress
from alexnet.inference.trained import load_for_inference
from alexnet.lab.facts import facts
from alexnet.lab.stored import Stored
from alexnet.runs.run import Run

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY = ("0.0.0.0", "::", "")
# More than 256 requests at a time get status 503.
SETTINGS: dict[str, Any] = {
    "log_level": "error",
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 256,
    "lifespan": "on",
}


def serve(
    run: str | Path,
    *,
    store: str | Path | None = None,
    checkpoint: str | int | None = None,
    host: str = "127.0.0.1",
    port: int = 8012,
    open_browser: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    say: Any = print,
    progress: Progress = lambda done, of: None,
) -> None:
    """Serve a run's net until the process is stopped: a page, and `POST /api/predict`.

    Args:
        run: A run folder. Its net is loaded once.
        store: A store with pictures to pick, and to compare with: at most 10,000 of its training pictures.
        checkpoint: "last" (the default), "best" (the lowest validation error), or a step.
        host: Address to bind to. The default takes requests of this machine alone.
        port: Port to bind to; 0 takes a free one.
        open_browser: Whether to open the page in the user's browser.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32", "tf32", "bf16" or "fp64"; fp32, since the page works sums out.
        say: Function called with the line that names the address.
        progress: Function called with the numbers of the store's pictures compared and in all.

    Raises:
        InputError: The run or the store cannot be used, the address cannot be bound, or the extra is not installed.
    """
    try:
        import uvicorn

        from alexnet.lab.app import make_app
        from alexnet.lab.timely import Timely
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise InputError(f"alexnet serve needs {error.name}; pip install 'alexnet[lab]'") from None
    compute = choose_compute(device, precision)
    opened = Run(run)
    name = opened.resolve(checkpoint)
    net = load_for_inference(opened.folder, compute, name)
    with bind(host, port) as listening:
        # The port comes first: the pictures may take a minute, and a port in use should be said before.
        title = str(opened.folder)
        stored = Stored(net, Store(Path(store)), compute, title, progress=progress) if store else None
        own = "127.0.0.1" if host in ANY else f"[{host}]" if ":" in host else host.lower()
        at = f"http://{own}:{listening.getsockname()[1]}/"
        hosts = frozenset() if host in ANY else LOOPBACK | {own}
        app = make_app(net, compute, facts(opened, net, name, stored), hosts, stored)
        config = uvicorn.Config(app, http=Timely, **SETTINGS)
        say(f"{opened.folder} is at {at} (Ctrl-C stops it)")
        if open_browser:
            webbrowser.open(at)
        uvicorn.Server(config).run(sockets=[listening])
