"""The threads that read pictures ahead: one whose disk fails, and one whose disk never answers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.trained import Whole, step, training, weights

from alexnet.core.errors import WorkFailed
from alexnet.data import loader
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import batches_in_order
from alexnet.data.split import Split
from alexnet.data.store import Store

Count = Callable[..., None]
# The command, with readers whose disk does not answer after some pictures.
STUCK = """
import os, sys, time
from alexnet.cli import main as cli
from alexnet.data import loader
loader.STALLED = 2.0
read, left = os.preadv, 60
def answers(file, buffers, at):
    global left
    left -= 1
    while left < 0:
        time.sleep(3600)
    return read(file, buffers, at)
os.preadv = answers
cli.main(sys.argv[1:])
"""
# A reader that takes a second, and who waits for it, stopped for longer than a reader may take.
STOPPED = """
import os, sys, time
import torch
from alexnet.data import loader, store
from alexnet.data.cache import CachedPictures
loader.STALLED = 4.0
read = os.preadv
def slow(file, buffers, at):
    print("reading", flush=True)
    time.sleep(1)
    return read(file, buffers, at)
os.preadv = slow
cpu = torch.device("cpu")
pictures = CachedPictures(store.Store(sys.argv[1])["train"], cpu, "none")
next(loader.batches_in_order(pictures, 1, device=cpu, workers=1))
print("read", flush=True)
os._exit(0)
"""


class Stuck(Split):
    """A split whose every read waits for an event."""

    def __init__(self, store: Store) -> None:
        self.__dict__.update(store["train"].__dict__)
        self.answers = threading.Event()

    def read(self, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
        self.answers.wait()
        return super().read(ids, out)


def test_a_reader_that_is_stuck_is_given_up_in_time(store: Path, monkeypatch: pytest.MonkeyPatch, count: Count) -> None:
    monkeypatch.setattr(loader, "STALLED", 0.2)
    split, begun = Stuck(Store(store)), time.monotonic()
    batches = batches_in_order(
        CachedPictures(split, torch.device("cpu"), "none"), 4, device=torch.device("cpu"), workers=2
    )
    with pytest.raises(WorkFailed, match=r"no picture has arrived for 0\.2 s; check that the store's disk resp") as e:
        next(batches)
    assert e.value.stuck
    assert time.monotonic() - begun < 60
    split.answers.set()
    count("a reader that is stuck", injected=1, survived=1, figure="given up after 600 s, here 0.2 s")


def test_a_process_that_was_stopped_for_long_and_goes_on_has_not_waited(store: Path, count: Count) -> None:
    """As by Ctrl-Z, or by a scheduler that lets others have the machine for an hour."""
    process = subprocess.Popen([sys.executable, "-c", STOPPED, str(store)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "reading\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=300)[0].splitlines()[-1] == "read"
    count("a training stopped for longer than a reader may take", injected=1, survived=1)


def test_a_training_whose_disk_never_answers_ends_with_a_line_and_keeps_what_it_saved(
    store: Path, whole: Whole, tmp_path: Path, count: Count
) -> None:
    run = tmp_path / "run"
    words = [sys.executable, "-c", STUCK, *map(str, training(store, run, whole.recipe(9))), "--cache", "none"]
    done = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("alexnet: no picture has arrived for 2 s; check that the store's")
    assert "Traceback" not in done.stderr
    assert step(run) >= 1
    assert all(tensor.isfinite().all() for tensor in weights(run).values())
    count("a training whose disk never answers", injected=1, survived=1, figure="ended, with its threads still waiting")
