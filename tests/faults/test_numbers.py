"""Losses and weights that are no numbers."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.faults.lives import Lives
from tests.ranks import Ranks, poisoned
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
        assert re.search(r"(the loss is (nan|-?inf)|holds? NaN or infinity) at step \d+ ", ended.line)
        assert f"Try --set sgd.rate={rate / 3:.2g} in a new run folder" in ended.line
        good = [weights(run)] if checkpoint.found(run) else []
        survived += all(tensor.isfinite().all() for tensors in good for tensor in tensors.values())
    count(f"a rate too high, {precision}", injected=len(rates), survived=survived, figure="stopped at that step")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("every", "last"), [(0, 5), (600, 6)])
@pytest.mark.parametrize("part", ["weights", "velocity"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_number_that_is_lost_in_training_stops_it_at_that_step_and_is_never_saved(
    store: Path, small: Recipe, tmp_path: Path, count: Count, value: float, part: str, every: int, last: int,
    frozen: bool,
) -> None:  # fmt: skip
    """As a fault of the memory or of the arithmetic would: a single weight, or a velocity, after the fifth step.

    The save after that step finds it. Without one the sixth step does, whose update looks at every weight: the loss
    would show it later, or never (minus infinity before a ReLU). The velocity of a frozen layer is not used.
    """
    if frozen:
        small = small.but(sgd={"layer_rate": {"conv3": 0.0}})
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

        said = r"the loss is (nan|inf) at step 5 \(" if every else "a^"
        if frozen and part == "velocity" and every:
            last, said = 8, "the velocity of conv3.weight holds NaN or infinity at step 8"
        with pytest.raises(FailedError, match=rf"{said}|conv\d.weight.* holds? NaN or infinity at step {last} \("):
            loop(training, log, poison, every, 2)
        assert training.step == last
    newest = checkpoint.found(run)[-1]
    kept = (checkpoint.read_tensors(newest, name) for name in checkpoint.FILES)
    assert all(tensor.isfinite().all() for tensors in kept for tensor in tensors.values())
    assert all(math.isfinite(line.get("loss", 0.0)) for line in runlog.read(run))
    count(f"{value} in {part} after step 5", injected=1, survived=1, figure=f"stopped at step {training.step}")


@pytest.mark.parametrize("step", [5, 7])
@pytest.mark.parametrize("way", ["data", "towers", "hybrid"])
def test_a_number_that_one_process_loses_ends_all_with_one_line(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, count: Count, way: str, step: int
) -> None:
    """It is heard a step later, as a signal is, so that no step waits for the question; an epoch's last step waits."""
    given = (small.but(epochs=40), way, step, -math.inf)
    (words, told, at), (_, again, other) = ranks(2, poisoned, store, tmp_path / "run", *given)
    assert re.match(rf"conv\d.weight( and \d more hold| holds) NaN or infinity at step {step + 1} \(", words)
    assert words.count("--set") == 1
    assert (told, again) == (True, False)
    assert at == other == {5: 7, 7: 8}[step]
    assert [checkpoint.place(path)[0] for path in checkpoint.found(tmp_path / "run")] == [4]
    assert [line["epoch"] for line in runlog.read(tmp_path / "run") if line["kind"] == "epoch"] == [1]
    count("-inf in weights of one of two processes", injected=1, survived=1, figure=f"after step {step} at step {at}")
