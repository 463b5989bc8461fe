"""A long training: its memory, open files, log and pace at the end are those of the beginning."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image
from tests.faults.lives import Life, Lives
from tests.trained import past, step

from alexnet import checkpoint, runlog
from alexnet.data.prepare import prepare
from alexnet.recipe import Recipe

Count = Callable[..., None]
SIDE, EACH, BATCH = 8, 505, 4  # a thousand training pictures: 250 steps an epoch


@dataclass(frozen=True)
class Sample:
    """What a process held when it had come to a step."""

    step: int
    megabytes: float
    files: int
    seconds: float  # of CPU time

    @staticmethod
    def of(life: Life, run: Path) -> "Sample":
        proc = Path(f"/proc/{life.pid}")
        words = proc.joinpath("stat").read_text().rpartition(")")[2].split()
        pages, ticks = int(proc.joinpath("statm").read_text().split()[1]), int(words[11]) + int(words[12])
        return Sample(
            step(run), pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir(proc / "fd")),
            ticks / os.sysconf("SC_CLK_TCK"),
        )  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A store of noise in two classes."""
    noise = np.random.default_rng(7)
    for name in ("black", "white"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(EACH):
            pixels = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    prepare(tmp_path / "pictures", tmp_path / "store", side=SIDE, val_fraction=0.01, jobs=1)
    return tmp_path / "store"


def test_a_long_training_keeps_its_memory_its_files_its_log_and_its_pace(
    lives: Lives, tiny: Path, tmp_path: Path, torture: bool, count: Count
) -> None:
    """A million steps of a tiny net, with four thousand validations and checkpoints, are more than a 90-epoch run's."""
    epochs, run, samples = 4000 if torture else 12, tmp_path / "run", list[Sample]()
    net = {"kind": "MlpNet", "input": SIDE, "classes": 2, "hidden": [4], "std": [0.01, 0.01], "dropout": 0.0}
    recipe = Recipe.of(
        {"net": net, "schedule": {"kind": "Steps"}, "sgd": {"batch": BATCH, "rate": 1e-5}, "epochs": epochs}
    )
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.plain()))
    life = lives.begin(["train", tiny, run, "--recipe", tmp_path / "recipe.json", "--precision", "fp32", "--json"])
    while life.until(partial(past, run, samples[-1].step + epochs * 250 // 100 if samples else 0)):
        samples.append(Sample.of(life, run))
    assert life.end().status == 0
    assert len(samples) >= 10
    steps = 250 * epochs
    assert [checkpoint.place(path)[0] for path in checkpoint.found(run)] == [steps - 250, steps]
    tenth = len(samples) // 10 + 1
    early, late = samples[1 : 1 + tenth], samples[-tenth:]
    first, last = (median(s.megabytes for s in part) for part in (early, late))
    paces = [(b.seconds - a.seconds) / (b.step - a.step) for a, b in pairwise(samples[1:])]
    slow = median(paces[-tenth:]) / median(paces[:tenth])
    log = (run / "log.jsonl").stat().st_size
    board = sum(path.stat().st_size for path in (run / "tensorboard").iterdir())
    assert last - first < 20, (first, last)
    assert max(s.files for s in late) <= max(s.files for s in early)
    assert len(runlog.read(run)) < 2 * epochs + 2 + life_seconds(run) / runlog.LINE_SECONDS
    assert slow < 1.5 if torture else slow < 4, paces  # other processes' caches count
    figure = f"{first:.0f} MB, {last:.0f} MB at the end; {late[-1].files} files open; "
    figure += f"log {log / 1e6:.2f} MB, TensorBoard {board / 1e6:.2f} MB; CPU time a step {slow:.2f} of the beginning's"
    count(f"{steps:,} steps of training", injected=1, survived=1, figure=figure)


def life_seconds(run: Path) -> float:
    """How long it took."""
    return runlog.seconds(runlog.read(run))
