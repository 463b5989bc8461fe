"""The command that opens the course, or writes it to a folder: course."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar
from alexnet.cli.options import number
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.signals import SIGHUP
from alexnet.core.sockets import bind

GRACE = 5  # seconds that marimo has to end


def course(
    out: Path | None = None,
    /,
    *,
    to: Annotated[Literal["copy", "html", "ipynb"] | None, Parameter(show_default=False)] = None,
    lang: Literal["en", "zh"] = "en",
    part: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1, show_default=False)] = (),
    port: Annotated[int, number(0, 65_535)] = 2718,
    open_: Annotated[bool, Parameter(name="--open", negative=())] = False,
) -> None:
    """Open the course: ten notebooks, a part of the paper each, in English and traditional Chinese.

    Without --to it serves them on this machine, until Ctrl-C. With --to it writes a folder. It needs the extra course,
    as course/README.md says.

    Example: alexnet course --open

    Example: alexnet course my-course --to copy

    Example: alexnet course handout --to html --lang zh --part 01 --part 05

    Parameters
    ----------
    out
        Folder to write with --to. It is made if it is missing, and no file of yours is replaced.
    to
        Form to write: copy (notebooks to edit with `marimo edit`), html (one page each, which needs no network; its
        sliders stand still), or ipynb (for Jupyter, with their outputs).
    lang
        Language to start with: en or zh. The switch of a notebook changes it.
    part
        Notebook, by its two digits: --part 01. May be repeated; all by default.
    port
        Port to bind to; 0 takes a free one.
    open_
        Open the course in the browser.
    """
    check_installed()
    folder = course_folder()
    names = chosen_parts(folder, part)
    if to is None and out is not None:
        raise InputError(f"{out} is a folder to write; add --to copy, html or ipynb, or leave it out")
    if to is not None and out is None:
        raise InputError(f"--to {to} needs a folder to write; give one")
    if to is None or out is None:
        _serve(folder, names, lang, port, open_)
        return
    sys.path.insert(0, str(folder))  # where the notebooks find coursekit, too
    handout = importlib.import_module("coursekit.handout")
    with bar(f"write {to}", "notebooks") as progress:
        handout.write_course(folder, out, to, names, lang, progress)


def check_installed() -> None:
    """Raise InputError unless what the extra installs is there."""
    for name in ("marimo", "latex2mathml", "nbformat"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"alexnet course needs {name}; pip install 'alexnet[course]'")


def course_folder() -> Path:
    """Return the folder of the notebooks, of a clone or of an installed package; raise InputError if it is missing."""
    package = Path(__file__).parents[1]
    for folder in (package / "course", package.parents[1] / "course"):
        if (folder / "coursekit").is_dir():
            return folder
    raise InputError(f"the notebooks are not beside {package}; install alexnet again")


def chosen_parts(folder: Path, parts: tuple[str, ...]) -> list[str]:
    """Return the names of notebooks by their digits, all if none is given; raise InputError if there is no such one."""
    names = sorted(path.stem for path in folder.glob("[0-9][0-9]_*.py"))
    known = {name[:2]: name for name in names}
    for part in parts:
        if part not in known:
            raise InputError(f"--part {part}; the parts are {', '.join(known)}")
    return [known[part] for part in sorted(set(parts))] if parts else names


def _serve(folder: Path, names: list[str], lang: str, port: int, open_browser: bool) -> None:
    """Run marimo's server on the notebooks, until it ends or a signal stops both."""
    with bind("127.0.0.1", port) as taken:  # marimo has no clear line for a port that is in use
        port = taken.getsockname()[1]
    files = [str(folder / f"{name}.py") for name in names]
    command = [sys.executable, "-m", "marimo", "-q", "run", *files, "--include-code", "--no-sandbox"]
    command += ["--port", str(port)] + ["--headless"] * (not open_browser) + ["--", "--lang", lang]

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    heard = [number for number in (signal.SIGTERM, SIGHUP) if number and signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    environment = os.environ | {"MARIMO_ANCESTOR_PID": str(os.getpid())}  # marimo ends when this process is gone
    # A Ctrl-C of the terminal is not for marimo, which prints a traceback. SIGTERM ends it without a word.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, env=environment)
    try:
        while server.poll() is None and not _answers(port):
            time.sleep(0.1)
        if server.returncode is None:
            print(f"the course is at http://127.0.0.1:{port} (Ctrl-C stops it)", flush=True)
        if status := server.wait():
            raise WorkFailed(f"marimo ended with status {status}; try another --port")
    except KeyboardInterrupt:
        return
    finally:
        server.terminate()
        try:
            server.wait(GRACE)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            server.kill()
            server.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _answers(port: int) -> bool:
    """Tell whether a server listens at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
