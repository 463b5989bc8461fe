"""Losses and weights that are no numbers."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.faults.lives import Lives
from tests.ranks import Ranks, poisoned
from tests.trained import Whole, training, weights

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import WorkFailed
from alexnet.distributed.mesh import Mesh
from alexnet.runs import checkpoint
from alexnet.runs import log as runlog
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.step import StepResult
from alexnet.training.train import loop

Count = Callable[..., None]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_rate_too_high_stops_the_run_with_what_to_try_and_nothing_that_is_no_number_is_saved(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count, precision: str
) -> None:
    rates, survived = (1e6, 1e9), 0
    for rate in rates:
        run = tmp_path / f"{rate}"
        command = [*training(store, run, whole.recipe(20)), "--set", f"sgd.lr={rate}"]
        command[command.index("fp32")] = precision
        ended = lives(*command)
        assert ended.status == 1, (rate, ended)
        assert re.search(r"(the loss is (nan|-?inf)|holds? NaN or infinity) at step \d+ ", ended.line)
        assert f"Try --set sgd.lr={rate / 3:.2g} in a new run folder" in ended.line
        good = [weights(run)] if checkpoint.list_checkpoints(run) else []
        survived += all(tensor.isfinite().all() for tensors in good for tensor in tensors.values())
    count(f"a rate too high, {precision}", injected=len(rates), survived=survived, figure="stopped at that step")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("every", "last"), [(0, 5), (600, 6)])
@pytest.mark.parametrize("part", ["weights", "velocity"])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_number_that_is_lost_in_training_stops_it_at_that_step_and_is_never_saved(
    store: Path,
    small: Recipe,
    tmp_path: Path,
    count: Count,
    value: float,
    part: str,
    every: int,
    last: int,
    frozen: bool,
) -> None:
    """As a fault of the memory or of the arithmetic would: a single weight, or a velocity, after the fifth step.

    The save after that step finds it. Without one the sixth step does, whose update looks at every weight: the loss
    would show it later, or never (minus infinity before a ReLU). The velocity of a frozen layer is not used: the next
    save finds it, at the end of some epoch.
    """
    if frozen:
        small = small.replace(sgd={"layer_lr": {"conv3": 0.0}})
    compute = choose_compute("cpu", "fp32")
    run = tmp_path / "run"
    request = Request(store, run, small.replace(epochs=40), TrainOptions(workers=1, cache="none", save_every=every))
    with (
        begin(Mesh(), request, compute) as training,
        training.log(quiet=True) as log,
    ):

        def poison(*_: object) -> None:
            if training.step == 5:
                found = training.net.state_dict() if part == "weights" else training.momentum.velocity
                with torch.no_grad():
                    found["conv3.weight"][0, 0, 0, 0] = value

        said = r"the loss is (nan|inf) at step 5 \(" if every else "a^"
        if frozen and part == "velocity" and every:
            last, said = 0, r"the velocity of conv3.weight holds NaN or infinity at step \d"
        with pytest.raises(WorkFailed, match=rf"{said}|conv\d.weight.* holds? NaN or infinity at step {last} \("):
            loop(training, log, poison)
        assert training.step == last if last else training.step > 5 and training.step % 4 == 0
    newest = checkpoint.list_checkpoints(run)[-1]
    kept = (checkpoint.read_tensors(newest, name) for name in checkpoint.FILES)
    assert all(tensor.isfinite().all() for tensors in kept for tensor in tensors.values())
    assert all(math.isfinite(line.get("loss", 0.0)) for line in runlog.read(run))
    count(f"{value} in {part} after step 5", injected=1, survived=1, figure=f"stopped at step {training.step}")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_the_run_at_its_step(
    store: Path, small: Recipe, tmp_path: Path, count: Count, value: float
) -> None:
    """2012 code, convnet.py:138-142: exit on NaN or infinity."""
    compute = choose_compute("cpu", "fp32")
    request = Request(store, tmp_path / "run", small, TrainOptions(workers=1, cache="none"))
    with (
        begin(Mesh(), request, compute) as training,
        training.log(quiet=True) as log,
    ):
        take = training.take

        def lost(*of: Any) -> StepResult:
            seen = take(*of)
            return replace(seen, numbers=torch.cat((torch.tensor([value]), seen.numbers[1:])))

        training.take = lost  # type: ignore[assignment]
        with pytest.raises(WorkFailed, match=rf"the loss is {value} at step 0 \(.*; there is no good checkpoint\."):
            loop(training, log, lambda *_: None)
    assert not checkpoint.list_checkpoints(tmp_path / "run")
    count(f"a loss of {value}", injected=1, survived=1)


@pytest.mark.parametrize(("epoch", "good"), [(1, ""), (2, "00000004")])
def test_an_epoch_whose_validation_is_no_number_is_no_checkpoint_and_none_of_its_steps_is_offered(
    lives: Lives, store: Path, small: Recipe, tmp_path: Path, count: Count, epoch: int, good: str
) -> None:
    """Weights and losses may all be numbers still, and the logits of other pictures are not.

    A signal in the validation saves before its result is known. What was saved within the epoch stays, to be looked
    at, and says what it is.
    """
    compute = choose_compute("cpu", "fp32")
    run = tmp_path / "run"
    request = Request(store, run, small.replace(epochs=40), TrainOptions(workers=1, cache="none", keep=0))
    with (
        begin(Mesh(), request, compute) as training,
        training.log(quiet=True) as log,
    ):

        def astray(*_: object) -> None:
            if training.step in (4 * epoch - 1, 4 * epoch):
                weight = training.net.state_dict()["fc8.weight"]
                kept = weight.clone()
                weight.fill_(3e38)
                training.save()
                if training.step < 4 * epoch:
                    weight.copy_(kept)

        words = rf"the validation loss of epoch {epoch} is nan at step {4 * epoch} \(.*\); "
        words += f"the last good checkpoint is {good}" if good else "there is no good checkpoint"
        with pytest.raises(WorkFailed, match=words):
            loop(training, log, astray)
    assert [path.name for path in checkpoint.list_checkpoints(run)] == [
        *([good] if good else []),
        f"{4 * epoch - 1:08d}",
    ]
    assert [line["epoch"] for line in runlog.read(run) if line["kind"] == "epoch"] == list(range(1, epoch))
    ended = lives("evaluate", store, run, "--precision", "fp32")
    assert (ended.status, ended.line.partition(":")[0]) == (1, f"{run} gives NaN or infinity for 12 of 12 pictures")
    picture = next(iter(sorted((store.parent / "folders").rglob("*.png"))))
    ended = lives("predict", run, picture, "--precision", "fp32", "--json")
    assert (ended.status, ended.line) == (1, f"{picture}: the run's net gives NaN for it; its training diverged")
    count("an epoch that goes astray", injected=1, survived=1, figure="stopped at its validation")


@pytest.mark.parametrize("step", [5, 7])
@pytest.mark.parametrize("strategy", ["data", "towers", "hybrid"])
def test_a_number_that_one_process_loses_ends_all_with_one_line(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, count: Count, strategy: str, step: int
) -> None:
    """It is heard a step later, as a signal is, so that no step waits for the question; an epoch's last step waits."""
    given = (small.replace(epochs=40), strategy, step, -math.inf)
    (words, told, at), (_, again, other) = ranks(2, poisoned, store, tmp_path / "run", *given)
    assert re.match(rf"conv\d.weight( and \d more hold| holds) NaN or infinity at step {step + 1} \(", words)
    assert words.count("--set") == 1
    assert (told, again) == (True, False)
    assert at == other == {5: 7, 7: 8}[step]
    assert [checkpoint.step_and_attempt(path)[0] for path in checkpoint.list_checkpoints(tmp_path / "run")] == [4]
    assert [line["epoch"] for line in runlog.read(tmp_path / "run") if line["kind"] == "epoch"] == [1]
    count("-inf in weights of one of two processes", injected=1, survived=1, figure=f"after step {step} at step {at}")
