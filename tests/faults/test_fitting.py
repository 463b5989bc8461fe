"""A fit that is killed or stopped at any moment, also while it measures: the same command goes on to the same bits."""

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.lives import Lives
from tests.fitting.test_fit import EPOCHS, begun
from tests.trained import alike

from alexnet.config.recipes import RECIPES
from alexnet.fitting.fit import MEASURED
from alexnet.fitting.record import NAME
from alexnet.training.train import train

Count = Callable[..., None]


@pytest.mark.torture
def test_a_fit_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_is_not(
    lives: Lives, pictures: Path, tmp_path: Path, count: Count
) -> None:
    out, chance, killed = tmp_path / "out", random.Random(2012), 0
    command = ["fit", pictures, out, "--minutes", "10", "--json"]
    begun(pictures, out)
    moments = [(out / "store.part").exists, (out / "run/log.jsonl").exists, *[lambda: True] * 20]
    for number, there in enumerate(moments):
        life = lives.begin(command)
        life.until(there)
        time.sleep(chance.random() * (0.4 if number > 1 else 0.02))
        life.kill(signal.SIGKILL if number % 2 == 0 else signal.SIGINT)
        ended = life.end()
        assert ended.status in (-signal.SIGKILL, 130, 0), ended
        assert "Traceback" not in ended.err
        killed += ended.status != 0
    ended = lives(*command)
    assert ended.status == 0, ended
    train(out / "store", tmp_path / "run", RECIPES["tiny"].replace(epochs=EPOCHS), quiet=True)
    good = alike(out / "run", tmp_path / "run")
    count("SIGKILL and Ctrl-C of a fit", injected=killed, survived=killed * good)


def test_a_second_fit_is_refused_while_one_measures_and_after_its_death_nothing_of_it_stays(
    lives: Lives, pictures: Path, tmp_path: Path, count: Count
) -> None:
    out = tmp_path / "out"
    first = lives.begin(["fit", pictures, out, "--minutes", "10"])
    assert first.until(lambda: any(out.glob(f"{MEASURED}/run-*/recipe.json")))
    second = lives("fit", pictures, out, "--minutes", "10")
    assert (second.status, second.line.strip()) == (
        2,
        f"{out} is in use by another alexnet fit; wait for it, or stop it",
    )
    first.kill()
    assert first.end().status == -signal.SIGKILL
    assert not (out / NAME).exists()
    again = lives("fit", pictures, out, "--minutes", "0.01")
    assert again.status == 2
    assert "alexnet: --minutes 0.01 is too little" in again.err
    assert sorted(path.name for path in out.iterdir()) == [".lock"]
    count("two fits of one folder, and SIGKILL of one that measures", injected=2, survived=2)


@pytest.mark.torture
@pytest.mark.parametrize("lost", ["run/recipe.json", "run/checkpoints", "store", "store/meta.json"])
def test_a_fit_whose_parts_were_removed_makes_them_again_or_says_so(
    lives: Lives, pictures: Path, tmp_path: Path, count: Count, lost: str
) -> None:
    out = tmp_path / "out"
    begun(pictures, out, epochs=1)
    command = ["fit", pictures, out, "--minutes", "10", "--json"]
    life = lives.begin(command)
    life.until(lambda: any(out.glob("run/checkpoints/0*/state.json")))
    life.kill()
    life.end()
    path = out / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    ended = lives(*command)
    assert ended.status == 0 or (ended.status in (1, 2) and "Traceback" not in ended.err), ended
    count(f"a fit without its {lost}", injected=1, survived=1)
