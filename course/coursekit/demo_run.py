"""The run of `alexnet demo`, made at first use and kept in the user's cache for all notebooks."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import marimo as mo

from alexnet.cli.demo import PICTURES
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import digest, lock_file, read_signed, sign, user_cache, write_json
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store, verify
from alexnet.runs.folder import is_run
from alexnet.runs.run import Run
from alexnet.training.train import train
from alexnet.version import __version__

SHORT_PICTURES, SHORT_EPOCHS = 100, 1
MADE = "made.json"  # the digests of the finished run
BUSY = "another notebook makes the run"
WAIT = 600  # seconds for another notebook that makes the run
SAYING = (
    "The demo net is being trained, once, in about a minute. / "
    "第一次使用：正在訓練示範網路，大約需要一分鐘，之後會保存在快取中。"
)


def demo_run(short: bool = False) -> tuple[Run, Store]:
    """Return the run of `alexnet demo` and its store, and make them if they are missing.

    They are made again if they are damaged, or of another version of alexnet. What an interrupted call has left is
    continued.

    Args:
        short: Whether to take fewer pictures and steps, for tests.

    Raises:
        InputError: The cache cannot be written or locked, or another process has held it for ten minutes.
        WorkFailed: The disk is full.
    """
    with _said():
        return _demo_run(short)


def _demo_run(short: bool) -> tuple[Run, Store]:
    home = _home(short)
    with _lock(home):
        if found := _sound(home):
            return found
        with mo.status.spinner(title=SAYING):
            print(SAYING, file=sys.stderr)
            if (home / MADE).exists():  # it was finished, and is damaged
                _remove(home)
            try:
                _make(home, short)
            except InputError:  # what an interrupted call has left is damaged: resuming refuses it
                _remove(home)
                _make(home, short)
        found = _sound(home)
        if found is None:
            raise InputError(f"{home} was just made and cannot be read; check the disk")
        return found


@contextmanager
def _said() -> Iterator[None]:
    """Show the line of an error in the page, where `marimo run` would show nothing at all."""
    try:
        yield
    except (InputError, WorkFailed, OSError) as error:
        if mo.app_meta().mode in ("run", "edit"):
            mo.stop(True, mo.callout(str(error), kind="danger"))
        raise


def _lock(home: Path) -> AbstractContextManager[Any]:
    """Lock the folder, and wait for another process that has it."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return lock_file(home / ".lock", BUSY)
        except OSError as error:
            raise InputError(
                f"{home} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that can"
            ) from None
        except InputError as error:
            if str(error) != BUSY or time.monotonic() > until:
                raise
            time.sleep(0.5)


def _sound(home: Path) -> tuple[Run, Store] | None:
    """Open the run and its store if they are whole: every byte is checked. None if anything is missing or damaged."""
    try:
        if read_signed(home / MADE) != _digests(home / "run") or verify(home / "store"):
            return None
        run, store = Run(home / "run"), Store(home / "store")
        return (run, store) if run.environment["store_digest"] == store.digest else None
    except (OSError, ValueError):  # InputError is a ValueError
        return None


def _digests(run: Path) -> dict[str, str | None]:
    """Compute the SHA-256 of each file of the run, but for TensorBoard's."""
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(run).as_posix(): digest(path) for path in files if "tensorboard" not in path.parts}


def _make(home: Path, short: bool) -> None:
    """Do what `alexnet demo` does, without its figures and report, or continue it."""
    store, run = home / "store", home / "run"
    if not store.exists():
        prepare(f"builtin:{SHORT_PICTURES if short else PICTURES}", store)
    recipe = RECIPES["demo"].replace(epochs=SHORT_EPOCHS) if short else RECIPES["demo"]
    if not is_run(run):
        shutil.rmtree(run, ignore_errors=True)
    train(store, run, recipe, name="demo", resume=is_run(run), quiet=True)
    write_json(home / MADE, sign(_digests(run)))


def _remove(home: Path) -> None:
    for name in ("store", "run"):
        shutil.rmtree(home / name, ignore_errors=True)
    (home / MADE).unlink(missing_ok=True)


def small_store(short: bool = False) -> Store:
    """Return a store of the same pictures with 32 pixels a side, for nets that train in seconds.

    Args:
        short: Whether to take fewer pictures, for tests.
    """
    home = _home(short)
    store = home / "store-32"
    with _said(), _lock(home):
        try:
            sound = not verify(store)
        except InputError:
            sound = False
        if not sound:
            shutil.rmtree(store, ignore_errors=True)
            prepare(f"builtin:{SHORT_PICTURES if short else PICTURES}", store, side=32)
        return Store(store)


def _home(short: bool) -> Path:
    form = "short" if short else "demo"
    return user_cache() / "course" / f"{__version__}-{RECIPES['demo'].digest}-{form}"
