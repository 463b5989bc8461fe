"""A long training: its memory, open files, log and pace at the end are those of the beginning."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from PIL import Image

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.data.prepare.prepare import prepare
from alexnet.distributed.mesh import Mesh
from alexnet.runs import checkpoint
from alexnet.runs import log as runlog
from alexnet.training.setup import Request, begin
from alexnet.training.train import loop

Count = Callable[..., None]
SIDE, EACH, BATCH = 8, 505, 4  # a thousand training pictures: 250 steps an epoch


@dataclass(frozen=True)
class Sample:
    """What this process holds when a training in it has come to a step."""

    step: int
    megabytes: float
    files: int
    seconds: float  # of CPU time

    @staticmethod
    def at(step: int) -> "Sample":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return Sample(step, megabytes, len(os.listdir("/proc/self/fd")), time.process_time())


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
    tiny: Path, tmp_path: Path, torture: bool, count: Count
) -> None:
    """A million steps of a tiny net, with four thousand validations, are more than a 90-epoch run's.

    It is looked at between two steps, so that no save is in the way.
    """
    epochs, run, samples = 4000 if torture else 20, tmp_path / "run", list[Sample]()
    steps = 250 * epochs
    net = {"kind": "MlpNet", "image_size": SIDE, "classes": 2, "hidden": [4], "std": [0.01, 0.01], "dropout": 0.0}
    recipe = Recipe.of(
        {"net": net, "schedule": {"kind": "Steps"}, "sgd": {"batch": BATCH, "lr": 1e-5}, "epochs": epochs}
    )
    request, compute = Request(tiny, run, recipe), choose_compute("cpu", "fp32")
    with (
        begin(Mesh(), request, compute) as training,
        training.log(quiet=True) as log,
    ):

        def look(*_: object) -> None:
            if training.step == (len(samples) + 1) * steps // 50:
                samples.append(Sample.at(training.step))

        loop(training, log, look)
    assert len(samples) == 50
    before, after = (checkpoint.step_and_attempt(path)[0] for path in checkpoint.list_checkpoints(run))
    assert before < after == steps
    early, late = samples[5:10], samples[-5:]  # what comes before is warming up
    first, last = (median(s.megabytes for s in part) for part in (early, late))
    paces = [(b.seconds - a.seconds) / (b.step - a.step) for a, b in pairwise(samples)]
    slow = median(paces[-5:]) / median(paces[5:10])
    size = (run / "log.jsonl").stat().st_size
    board = sum(path.stat().st_size for path in (run / "tensorboard").iterdir())
    assert last - first < 20, (first, last)
    left_open = max(s.files for s in late) - max(s.files for s in early)
    assert left_open <= 2, [s.files for s in samples]  # one an epoch would be far more
    assert len(runlog.read(run)) < 2 * epochs + 2 + runlog.total_seconds(runlog.read(run)) / runlog.LINE_SECONDS
    assert slow < 1.5 if torture else slow < 4, paces  # other processes' caches count
    figure = f"{first:.0f} MB, {last:.0f} MB at the end; {left_open} more files open; log {size / 1e6:.2f} MB, "
    figure += f"TensorBoard {board / 1e6:.2f} MB; CPU time a step {slow:.2f} of the beginning's"
    count(f"{steps:,} steps of training", injected=1, survived=1, figure=figure)
