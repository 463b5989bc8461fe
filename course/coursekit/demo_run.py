"""The run of `alexnet demo`, made at first use and kept in the user's cache for all notebooks."""

import shutil
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import marimo as mo

from alexnet.cli.demo import PICTURES
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.files import lock_file, user_cache
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store, verify
from alexnet.runs.folder import is_run
from alexnet.runs.run import Run, load
from alexnet.training.train import train
from alexnet.version import __version__

SHORT_PICTURES, SHORT_EPOCHS = 160, 2
BUSY = "another notebook makes the run"
WAIT = 600  # seconds for another notebook that makes the run
SAYING = {
    "en": "The first notebook trains the demo net, in about a minute. It stays in your cache.",
    "zh": "第一次使用：正在訓練示範網路，大約需要一分鐘。之後會保存在快取中。",
}


def demo_run(language: str = "en", short: bool = False) -> tuple[Run, Store]:
    """Return the run of `alexnet demo` and its store, and make them if they are missing.

    They are made again if they are damaged, or of another version of alexnet. What an interrupted call has left is
    continued.

    Args:
        language: Language of the line that says that a net is being trained: "en" or "zh".
        short: Whether to take fewer pictures and steps, for tests.

    Raises:
        InputError: The cache cannot be locked, or another process has held it for ten minutes.
    """
    home = _home(short)
    with _lock(home):
        if found := _sound(home):
            return found
        with mo.status.spinner(title=SAYING[language]):
            print(SAYING[language], file=sys.stderr)
            try:
                _make(home, short)
            except InputError:  # damaged: resuming refuses it
                shutil.rmtree(home / "store", ignore_errors=True)
                shutil.rmtree(home / "run", ignore_errors=True)
                _make(home, short)
        found = _sound(home)
        if found is None:
            raise InputError(f"{home} was just made and cannot be read; check the disk")
        return found


def _lock(home: Path) -> AbstractContextManager[Any]:
    """Lock the folder, and wait for another process that has it."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return lock_file(home / ".lock", BUSY)
        except InputError as error:
            if str(error) != BUSY or time.monotonic() > until:
                raise
            time.sleep(0.5)


def _sound(home: Path) -> tuple[Run, Store] | None:
    """Open the run and its store if they are whole: every byte is checked. None if anything is missing or damaged."""
    try:
        if verify(home / "store"):
            return None
        run, store = Run(home / "run"), Store(home / "store")
        load(home / "run")
        whole = run.log[-1]["kind"] == "final" and run.environment["store_digest"] == store.digest
    except (InputError, OSError, IndexError):
        return None
    return (run, store) if whole else None


def _make(home: Path, short: bool) -> None:
    """Do what `alexnet demo` does, without its figures and report."""
    store, run = home / "store", home / "run"
    if not store.exists():
        prepare(f"builtin:{SHORT_PICTURES if short else PICTURES}", store)
    recipe = RECIPES["demo"].replace(epochs=SHORT_EPOCHS) if short else RECIPES["demo"]
    if not is_run(run):
        shutil.rmtree(run, ignore_errors=True)
    train(store, run, recipe, name="demo", resume=is_run(run), quiet=True)


def small_store(short: bool = False) -> Store:
    """Return a store of the same pictures with 32 pixels a side, for nets that train in seconds.

    Args:
        short: Whether to take fewer pictures, for tests.
    """
    home = _home(short)
    store = home / "store-32"
    with _lock(home):
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
