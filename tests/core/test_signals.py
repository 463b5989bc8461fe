"""A second signal in a process that goes on afterwards: a notebook, a service, a user's own study."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from tests.trained import alike

from alexnet.config.recipe import Recipe
from alexnet.core.signals import Signals, deliver_again

NUMBERS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def insisted(place: str, *given: Any) -> dict[str, Any]:
    """Train with two signals at a place, and collect what was raised and what is left over. Then train to the end."""
    import torch

    from alexnet.inference import evaluate
    from alexnet.runs import checkpoint, log
    from alexnet.training.train import train

    torch.set_num_threads(1)
    of: Any = {"step": log.RunLog, "save": checkpoint, "errors": evaluate}[place]
    kept, sent = getattr(of, place), list[int]()

    def twice(*arguments: Any, **named: Any) -> Any:
        if place != "step" or arguments[1] == 6:
            for number in (signal.SIGINT, signal.SIGTERM):
                sent.append(number)
                os.kill(os.getpid(), number)
        return kept(*arguments, **named)

    handlers, threads = [signal.getsignal(n) for n in NUMBERS], set(threading.enumerate())
    files = set(os.listdir("/proc/self/fd"))
    setattr(of, place, twice)
    try:
        train(*given, precision="fp32", quiet=True)
    except BaseException as error:
        found: dict[str, Any] = {"raised": type(error).__name__, "sent": list(sent)}
        # While the exception is still referenced, as a notebook does.
        found["threads"] = [t.name for t in set(threading.enumerate()) - threads if not t.name.startswith("Thread-")]
        found["handlers"] = [signal.getsignal(n) for n in NUMBERS] == handlers and signal.set_wakeup_fd(-1) == -1
        setattr(of, place, kept)
        final = train(*given, precision="fp32", quiet=True, resume=True)
        found["images"] = final.errors.images
    found["files"] = len(set(os.listdir("/proc/self/fd")) - files)
    return found


@pytest.mark.parametrize("place", ["step", "save", "errors"])
def test_a_second_signal_raises_in_the_caller_who_goes_on_in_the_same_process(
    store: Path, small: Recipe, run: Path, tmp_path: Path, place: str
) -> None:
    """In a step, in a save and in a validation; the lock, the readers and the handlers are released."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(insisted, place, store, tmp_path / "run", small).result(timeout=120)
    assert found == {
        "raised": "KeyboardInterrupt", "sent": [signal.SIGINT, signal.SIGTERM], "threads": [], "handlers": True,
        "images": 12, "files": 0,
    }  # fmt: skip
    assert alike(run, tmp_path / "run")


def test_the_first_signal_is_said_once_with_what_a_second_one_does(capfd: pytest.CaptureFixture[str]) -> None:
    said = SimpleQueue[str]()
    with Signals(doing="saving") as signals:
        signals.say = said.put
        os.kill(os.getpid(), signal.SIGTERM)
        assert said.get(timeout=10) == "SIGTERM: saving; a second SIGTERM stops without saving"
        os.kill(os.getpid(), signal.SIGHUP)  # does not count as a second one
    assert said.empty()
    assert capfd.readouterr() == ("", "")


def test_two_signals_that_come_as_one_are_two() -> None:
    """Python calls the handler once for both, after the main thread's current operation."""
    with Signals() as signals:
        os.write(signals.told, bytes([signal.SIGINT, signal.SIGINT]))  # as Python's C handler does
        signals.caught = signal.SIGINT
        while not signals.insisted:
            time.sleep(0.001)
        with pytest.raises(KeyboardInterrupt):
            signals.poll()
        os.kill(os.getpid(), signal.SIGINT)  # a third one changes nothing


def test_another_thread_may_enter_and_leaves_all_as_it_was() -> None:
    before = [signal.getsignal(n) for n in NUMBERS]
    thread = threading.Thread(target=lambda: Signals().__enter__().__exit__(None, None, None))
    thread.start()
    thread.join()
    assert [signal.getsignal(n) for n in NUMBERS] == before


class Dropped:
    """An object in whose destructor Ctrl-C arrives."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_an_interrupt_that_python_drops_in_a_destructor_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back afterwards
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    deliver_again()
    try:
        Dropped()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)
