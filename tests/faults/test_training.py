"""What becomes of a training that is killed, stopped, cut off, or whose disk fails: any moment, any call."""

import errno
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.faults.faulty import KILLED, Faulty, calls
from tests.faults.lives import Lives
from torch import Tensor

from alexnet import checkpoint, runlog
from alexnet.recipe import Recipe

Count = Callable[..., None]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def end(run: Path) -> dict[str, Tensor]:
    """Weights and velocities of the newest checkpoint."""
    newest = checkpoint.found(run)[-1]
    return {f"{f}:{n}": t for f in checkpoint.FILES for n, t in checkpoint.read_tensors(newest, f).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def epochs(run: Path) -> list[dict[str, object]]:
    """The log's epochs without the clock."""
    return [line | {"seconds": None} for line in runlog.read(run) if line["kind"] == "epoch"]


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    with Lives() as made:
        yield made


@pytest.fixture(scope="module")
def doomed(faulty: Faulty) -> Iterator[Lives]:
    """Lives whose calls may fail."""
    with Lives(faulty.library) as made:
        yield made


@pytest.fixture(scope="module")
def recipe(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Files with the small recipe for so many epochs, of four steps each."""
    folder = tmp_path_factory.mktemp("recipes")

    def of(epochs: int) -> Path:
        path = folder / f"{epochs}.json"
        path.write_text(json.dumps(small.but(epochs=epochs).plain()))
        return path

    return of


def training(store: Path, run: Path, recipe: Path, *more: object) -> list[object]:
    """The command, which saves after each step."""
    always = ["--precision", "fp32", "--save-every", "0", "--resume", "--json"]
    return ["train", store, run, "--recipe", recipe, *always, *more]


Whole = Callable[[int], Path]


@pytest.fixture(scope="module")
def undisturbed(
    lives: Lives, store: Path, recipe: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    """Runs of so many epochs that nothing happens to."""
    home, made = tmp_path_factory.mktemp("undisturbed"), dict[int, Path]()

    def of(epochs: int) -> Path:
        if epochs not in made:
            assert lives(*training(store, home / str(epochs), recipe(epochs))).status == 0
            made[epochs] = home / str(epochs)
        return made[epochs]

    return of


def test_a_training_killed_again_and_again_at_random_moments_ends_with_the_same_bits(
    lives: Lives, store: Path, recipe: Callable[[int], Path], undisturbed: Whole, tmp_path: Path, torture: bool,
    count: Count,
) -> None:  # fmt: skip
    kills, of = (50, 40) if torture else (5, 6)
    run, chance, saving = tmp_path / "run", random.Random(2012), 0
    command, killed = training(store, run, recipe(of)), 0
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
    assert killed >= kills // 2
    count("SIGKILL at random moments of one training", injected=killed,
          survived=killed * (same(end(undisturbed(of)), end(run)) and epochs(undisturbed(of)) == epochs(run)),
          figure=f"{saving} of them in a save")  # fmt: skip


def past(run: Path, before: int) -> bool:
    return step(run) > before


def step(run: Path) -> int:
    """The newest checkpoint's, if there is one."""
    try:
        return max((checkpoint.place(path)[0] for path in checkpoint.found(run)), default=0)
    except FileNotFoundError:  # going just now
        return 0


def chosen(calls: int, most: int | None) -> Sequence[int]:
    """The numbers of the calls to disturb: all of them, or some all over."""
    return range(1, calls + 1) if most is None else sorted(random.Random(2012).sample(range(1, calls + 1), most))


@pytest.fixture(scope="module")
def changes(
    doomed: Lives, faulty: Faulty, store: Path, recipe: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory
) -> int:
    """How many calls of a training of one epoch change a file."""
    home = tmp_path_factory.mktemp("changes")
    found = doomed(*training(store, home / "run", recipe(1)), environment=faulty.counting(home / "run", home / "seen"))
    assert found.status == 0, found.err
    return len(calls(home / "seen"))


def test_a_training_killed_at_any_call_that_changes_a_file_ends_with_the_same_bits(
    doomed: Lives, faulty: Faulty, changes: int, store: Path, recipe: Callable[[int], Path], undisturbed: Whole,
    tmp_path: Path, torture: bool, count: Count,
) -> None:  # fmt: skip
    killed = survived = 0
    for at in chosen(changes, None if torture else 6):
        run = tmp_path / str(at)
        command = training(store, run, recipe(1))
        died = doomed(*command, environment=faulty.environment(run, at, KILLED)).status == -signal.SIGKILL
        again = doomed(*command)
        assert again.status == 0, again.err
        killed += died
        survived += died and same(end(undisturbed(1)), end(run)) and not list(run.glob("**/*.tmp"))
        shutil.rmtree(run)
    count("SIGKILL at a call that changes a file, training", injected=killed, survived=survived,
          figure=f"of {changes} calls")  # fmt: skip


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "passes"])
@pytest.mark.parametrize(
    "error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO], ids=errno.errorcode.get
)
def test_a_disk_that_fails_at_any_call_costs_one_line_and_nothing_that_was_saved(
    doomed: Lives, faulty: Faulty, changes: int, store: Path, recipe: Callable[[int], Path], undisturbed: Whole,
    tmp_path: Path, torture: bool, count: Count, error: int, stays: bool,
) -> None:  # fmt: skip
    """TensorBoard's copy of the log may end without ending the training."""
    injected = survived = ended = 0
    for at in chosen(changes, None if torture and error == errno.ENOSPC else 40 if torture else 1):
        run = tmp_path / str(at)
        command = training(store, run, recipe(1))
        found = doomed(*command, environment=faulty.environment(run, at, error, stays))
        saved = step(run)
        told = found.status == 0 or (found.status == 1 and os.strerror(error) in found.line and "\n" not in found.line)
        again = doomed(*command)
        assert told, f"call {at}: {found}"
        assert again.status == 0, f"call {at}: {again}"
        resumed = [line["step"] for line in runlog.read(run) if line["kind"] == "resumed"]
        injected, ended = injected + 1, ended + (found.status == 1)
        survived += same(end(undisturbed(1)), end(run)) and all(at >= saved for at in resumed)
        shutil.rmtree(run)
    name = f"{errno.errorcode[error]} at a call that changes a file, training, {'staying' if stays else 'once'}"
    count(name, injected=injected, survived=survived, figure=f"{ended} ended with a line, the others went on")
