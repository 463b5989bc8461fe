"""Two trainings of one run folder, and two prepares of one store."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.faults.lives import Lives
from tests.prepared import SIDE, SMALL, begin, end, fingerprint
from tests.trained import Whole, alike, past, step, training

from alexnet.core.errors import InputError
from alexnet.core.files import lock_file
from alexnet.runs import folder as runs

Count = Callable[..., None]
LONG = 200  # epochs that nobody waits for


def test_a_second_training_of_a_run_is_refused_and_a_killed_ones_lock_is_stale(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count
) -> None:
    run = tmp_path / "run"
    first = lives.begin(training(store, run, whole.recipe(LONG)))
    first.until(partial(past, run, 0))
    second = lives(*training(store, run, whole.recipe(LONG)))
    assert (second.status, second.line) == (
        2,
        f"run {run} is being trained by another process; wait for it, or stop it",
    )
    first.kill()
    assert first.end().status == -signal.SIGKILL
    assert (run / ".lock").exists()
    third = lives.begin(training(store, run, whole.recipe(LONG)))
    third.until(partial(past, run, step(run)))
    third.kill(signal.SIGTERM)
    assert third.end().status == 143
    count("a second training of a run; a lock whose process was killed", injected=2, survived=2)


def test_a_training_removes_what_a_killed_one_left_and_nothing_of_anyone_else(tmp_path: Path) -> None:
    """Not even where another command is about to write there: a picture, a report."""
    ours = [tmp_path / name for name in ("recipe.json.7.tmp", "log.jsonl.7.tmp", "pictures.safetensors.7.tmp")]
    others = [tmp_path / name for name in ("notes.tmp", "report.html.7.tmp")]
    for path in ours:
        path.touch()
    assert not runs.in_use(tmp_path)
    for path in others:
        path.touch()
    assert runs.in_use(tmp_path)
    with runs.locked(tmp_path):
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / ".lock", *others])


def test_of_trainings_begun_at_once_one_makes_the_run_and_none_breaks_it(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, torture: bool, count: Count
) -> None:
    times, survived, refusals = (20, 0, 0) if torture else (2, 0, 0)
    for number in range(times):
        run = tmp_path / str(number)
        ended = [life.end() for life in lives.race([training(store, run, whole.recipe(1))] * 3)]
        assert all(e.status in (0, 2) and "\n" not in e.line for e in ended), ended
        refusals += sum(e.status == 2 for e in ended)
        survived += any(e.status == 0 for e in ended) and alike(whole.run(1), run)
        shutil.rmtree(run)
        time.sleep(0.01)
    count(
        "three trainings of a run begun at once",
        injected=times,
        survived=survived,
        figure=f"{refusals} of {3 * times} refused in a line",
    )


def test_a_second_prepare_on_one_store_is_refused_in_a_line(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Count
) -> None:
    """And the lock of one that was killed holds nobody up: it is a file like another."""
    store = tmp_path / "store"
    given = ["prepare", source, store, "--side", str(SIDE), "--jobs", "1"]
    before = len(os.listdir("/proc/self/fd"))
    with lock_file(tmp_path / "store.part/.lock", "held"):
        words = f"alexnet: store '{store}' is being prepared by another process; wait for it, or stop it"
        assert end(begin(given)) == (2, [words])
        for _ in range(3):
            with pytest.raises(InputError, match="held"):
                lock_file(tmp_path / "store.part/.lock", "held")
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "store.part/.lock").exists()
    assert end(begin(given)) == (0, [])
    assert fingerprint(store) == undisturbed
    assert not (tmp_path / "store.part").exists()
    count("two prepares on one store: second refused", injected=1, survived=1)
    count("prepare: a stale lock", injected=1, survived=1)


def test_of_prepares_started_at_one_instant_one_makes_the_store(
    lives: Lives, source: Path, undisturbed: dict[str, str], tmp_path: Path, torture: bool, count: Count
) -> None:
    races, runners = (200, 4) if torture else (20, 2)
    for n in range(races):
        store = tmp_path / str(n)
        command = ["prepare", source, store, "--side", SIDE, "--jobs", 1]
        ended = [life.end() for life in lives.race([command] * runners, before=SMALL)]
        assert sorted(e.status for e in ended) == [0] + [2] * (runners - 1), ended
        refused = [e.line for e in ended if e.status]
        assert all("by another process" in line or "already exists" in line for line in refused), ended
        assert fingerprint(store) == undisturbed
        assert not (tmp_path / f"{n}.part").exists()
    count("prepares started at one instant", injected=races, survived=races, figure=f"{runners} at a time")
