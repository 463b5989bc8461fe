"""What becomes of a training that is killed, stopped, cut off, or whose disk fails: any moment, any call."""

import errno
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.faults.faulty import KILLED, Faulty, calls
from tests.faults.lives import Lives
from tests.trained import Whole, alike, epochs, past, step, training

from alexnet.runs import log

Count = Callable[..., None]


def test_a_training_killed_again_and_again_at_random_moments_ends_with_the_same_bits(
    lives: Lives,
    store: Path,
    whole: Whole,
    tmp_path: Path,
    torture: bool,
    count: Count,
) -> None:
    kills, of = (50, 120) if torture else (5, 40)
    run, chance, saving = tmp_path / "run", random.Random(2012), 0
    command, killed = training(store, run, whole.recipe(of)), 0
    while killed < kills:
        life = lives.begin(command)
        life.until(partial(past, run, step(run)))  # so that each life comes further
        time.sleep(chance.random() * 0.15)
        life.kill()
        if life.end().status == 0:
            break
        killed += 1
        saving += any((run / "checkpoints").glob(".*.part"))
    assert lives(*command).status == 0
    assert killed == kills  # else the training was too short
    count(
        "SIGKILL at random moments of one training",
        injected=killed,
        survived=killed * (alike(whole.run(of), run) and epochs(whole.run(of)) == epochs(run)),
        figure=f"{saving} of them in a save",
    )


def chosen(calls: int, most: int | None) -> Sequence[int]:
    """The numbers of the calls to disturb: all of them, or some all over."""
    return range(1, calls + 1) if most is None else sorted(random.Random(2012).sample(range(1, calls + 1), most))


@pytest.fixture(scope="module")
def changes(doomed: Lives, faulty: Faulty, store: Path, whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls of a training of one epoch change a file."""
    home = tmp_path_factory.mktemp("changes")
    found = doomed(
        *training(store, home / "run", whole.recipe(1)), environment=faulty.counting(home / "run", home / "seen")
    )
    assert found.status == 0, found.err
    return len(calls(home / "seen"))


def test_a_training_killed_at_any_call_that_changes_a_file_ends_with_the_same_bits(
    doomed: Lives,
    faulty: Faulty,
    changes: int,
    store: Path,
    whole: Whole,
    tmp_path: Path,
    torture: bool,
    count: Count,
) -> None:
    killed = survived = 0
    for at in chosen(changes, None if torture else 6):
        run = tmp_path / str(at)
        command = training(store, run, whole.recipe(1))
        died = doomed(*command, environment=faulty.environment(run, at, KILLED)).status == -signal.SIGKILL
        again = doomed(*command)
        assert again.status == 0, again.err
        killed += died
        survived += died and alike(whole.run(1), run) and not list(run.glob("**/*.tmp"))
        shutil.rmtree(run)
    count(
        "SIGKILL at a call that changes a file, training",
        injected=killed,
        survived=survived,
        figure=f"of {changes} calls",
    )


@pytest.mark.parametrize(
    "error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO], ids=errno.errorcode.get
)
def test_a_disk_that_fails_at_any_call_costs_one_line_and_nothing_that_was_saved(
    doomed: Lives,
    faulty: Faulty,
    changes: int,
    store: Path,
    whole: Whole,
    tmp_path: Path,
    torture: bool,
    count: Count,
    error: int,
) -> None:
    """At that call and all that follow, or at it alone. TensorBoard's copy of the log may end alone."""
    injected = survived = ended = 0
    calls = chosen(changes, 1 if not torture else None if error == errno.ENOSPC else 25)
    for at, stays in itertools.product(calls, (True, False) if torture else (True,)):
        run = tmp_path / f"{at}-{stays}"
        command = training(store, run, whole.recipe(1))
        found = doomed(*command, environment=faulty.environment(run, at, error, stays))
        saved = step(run)
        told = found.status == 0 or (found.status == 1 and os.strerror(error) in found.line and "\n" not in found.line)
        again = doomed(*command)
        assert told, f"call {at}: {found}"
        assert again.status == 0, f"call {at}: {again}"
        resumed = [line["step"] for line in log.read(run) if line["kind"] == "resumed"]
        injected, ended = injected + 1, ended + (found.status == 1)
        survived += alike(whole.run(1), run) and all(at >= saved for at in resumed)
        shutil.rmtree(run)
    count(
        f"{errno.errorcode[error]} at a call that changes a file, training",
        injected=injected,
        survived=survived,
        figure=f"{ended} ended with a line, the others went on",
    )
