"""Losses and weights that are no numbers."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.faults.lives import Lives
from tests.trained import Whole, training, weights

from alexnet import checkpoint, runlog
from alexnet.device import place
from alexnet.errors import FailedError
from alexnet.mesh import Mesh
from alexnet.recipe import Recipe
from alexnet.training import Given, begin, loop

Count = Callable[..., None]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_rate_too_high_stops_the_run_with_what_to_try_and_nothing_that_is_no_number_is_saved(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count, precision: str
) -> None:
    rates, survived = (1e6, 1e9), 0
    for rate in rates:
        run = tmp_path / f"{rate}"
        command = [*training(store, run, whole.recipe(20)), "--set", f"sgd.rate={rate}"]
        command[command.index("fp32")] = precision
        ended = lives(*command)
        assert ended.status == 1, (rate, ended)
        assert "is no number at step" in ended.line or "the loss is" in ended.line
        assert f"Try --set sgd.rate={rate / 3:.2g} in a new run folder" in ended.line
        good = [weights(run)] if checkpoint.found(run) else []
        survived += all(tensor.isfinite().all() for tensors in good for tensor in tensors.values())
    count(f"a rate too high, {precision}", injected=len(rates), survived=survived, figure="stopped at that step")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("part", "every", "last"), [("weights", 0, 5), ("velocity", 0, 5), ("weights", 600, 6),
                                                     ("velocity", 600, 7)])  # fmt: skip
def test_a_number_that_is_lost_in_training_stops_it_by_the_next_use_and_is_never_saved(
    store: Path, small: Recipe, tmp_path: Path, count: Count, value: float, part: str, every: int, last: int
) -> None:
    """As a fault of the memory or of the arithmetic would: a single weight, or a velocity, after the fifth step.

    The save after that step finds it. Without one the next step's loss does; of a velocity, which becomes a weight in
    the sixth step, the seventh's.
    """
    given, where = Given(store, small.but(epochs=40), None, False), place("cpu", "fp32")
    run = tmp_path / "run"
    with (
        begin(Mesh(), given, run, where, "fp32", "data", 1, 1, "none") as training,
        training.log(quiet=True) as log,
    ):

        def poison(*_: object) -> None:
            if training.step == 5:
                found = training.net.state_dict() if part == "weights" else training.momentum.velocity
                with torch.no_grad():
                    found["conv3.weight"][0, 0, 0, 0] = value

        with pytest.raises(FailedError, match=r"no number|the loss is"):
            loop(training, log, poison, every, 2)
        assert last <= training.step <= last + (value == -math.inf and every > 0)  # a ReLU hides it for a step
    newest = checkpoint.found(run)[-1]
    kept = (checkpoint.read_tensors(newest, name) for name in checkpoint.FILES)
    assert all(tensor.isfinite().all() for tensors in kept for tensor in tensors.values())
    assert all(math.isfinite(line.get("loss", 0.0)) for line in runlog.read(run))
    count(f"{value} in {part} after step 5", injected=1, survived=1, figure=f"stopped at step {training.step}")
