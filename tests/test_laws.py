"""Laws of the whole: what may be changed without changing a bit of the result."""

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.ranks import Ranks, counted, evaluated, evaluated_again, evaluated_apart, predicted, trained
from tests.rounding import TOLERANCE, apart, assert_near_in_bf16
from tests.trained import epochs, same, weights
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.core.errors import Stopped
from alexnet.distributed.estimate import traffic
from alexnet.inference.evaluate import validate
from alexnet.runs import checkpoint
from alexnet.runs import log as runlog
from alexnet.training.train import train


def test_the_same_run_twice_is_the_same_to_the_bit(run: Path, store: Path, small: Recipe, tmp_path: Path) -> None:
    train(store, tmp_path / "again", small, precision="fp32", quiet=True)
    assert same(weights(run), weights(tmp_path / "again"))


def test_another_seed_is_another_run(run: Path, store: Path, small: Recipe, tmp_path: Path) -> None:
    train(store, tmp_path / "other", small.replace(seed=1), precision="fp32", quiet=True)
    assert not same(weights(run), weights(tmp_path / "other"))


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_readers_changes_nothing(
    run: Path, store: Path, small: Recipe, tmp_path: Path, workers: int
) -> None:
    train(store, tmp_path / "run", small, precision="fp32", quiet=True, workers=workers)
    assert same(weights(run), weights(tmp_path / "run"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 6, 12])
def test_a_run_stopped_by_a_signal_and_resumed_equals_an_uninterrupted_run(
    run: Path,
    store: Path,
    small: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    step: int,
) -> None:
    """The signal comes while that step is logged: within an epoch, before a validation, before the ten views."""
    log_step = runlog.RunLog.step

    def log_and_signal(log: runlog.RunLog, at: int, **seen: Any) -> None:
        log_step(log, at, **seen)
        if at == step:
            os.kill(os.getpid(), number)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(runlog.RunLog, "step", log_and_signal)
        with pytest.raises(Stopped, match=f"saved at step {step} of 12"):
            train(store, folder, small, precision="fp32", quiet=True)
    train(store, folder, small, precision="fp32", quiet=True, resume=True)
    assert same(weights(run), weights(folder))
    assert epochs(run) == epochs(folder)


def test_a_run_stopped_in_its_last_validation_and_again_in_its_ten_views_equals_an_uninterrupted_run(
    run: Path, store: Path, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def stop(*_: object, **__: object) -> Any:
        raise Stopped("stopped by SIGTERM", signal.SIGTERM)

    with monkeypatch.context() as patch:
        calls = iter([validate, validate, stop])
        patch.setattr("alexnet.training.trainer.validate", lambda *given: next(calls)(*given))
        with pytest.raises(Stopped, match="saved at step 12 of 12"):
            train(store, folder, small, precision="fp32", quiet=True)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr("alexnet.training.trainer.evaluate_on_mesh", stop)
            with pytest.raises(Stopped, match="saved at step 12 of 12"):
                train(store, folder, small, precision="fp32", quiet=True, resume=True)
    train(store, folder, small, precision="fp32", quiet=True, resume=True)
    assert same(weights(run), weights(folder))
    assert epochs(run) == epochs(folder)
    assert sum(line["kind"] == "final" for line in runlog.read(folder)) == 1


def test_resume_with_no_checkpoint_yet_starts_at_step_0(run: Path, store: Path, small: Recipe, tmp_path: Path) -> None:
    train(store, tmp_path / "run", small, precision="fp32", quiet=True, resume=True)
    assert same(weights(run), weights(tmp_path / "run"))


def test_resuming_a_finished_run_changes_nothing(store: Path, small: Recipe, tmp_path: Path) -> None:
    first = train(store, tmp_path / "run", small, precision="fp32", quiet=True)
    before = weights(tmp_path / "run")
    again = train(store, tmp_path / "run", precision="fp32", quiet=True, resume=True)
    assert same(before, weights(tmp_path / "run"))
    assert first.errors == again.errors
    assert sum(line["kind"] == "final" for line in runlog.read(tmp_path / "run")) == 1


def end(run: Path) -> dict[str, Tensor]:
    """All that a run comes to: weights, velocities, and the loss of every step."""
    losses = [line["loss"] for line in runlog.read(run) if line["kind"] == "step"]
    return weights(run) | {"losses": torch.tensor(losses, dtype=torch.float64)}


@pytest.fixture(scope="module")
def one(ranks: Ranks, store: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of one process, by precision: twelve steps with dropout, momentum, crops, mirrors and colour noise."""
    assert isinstance(small.net, Net)
    assert (small.net.dropout, small.views.colour, small.sgd.momentum) == (0.5, 0.1, 0.9)
    folders = {p: tmp_path_factory.mktemp("one") / p for p in ("fp64", "fp32", "bf16")}
    for precision, folder in folders.items():
        assert ranks(1, trained, store, folder, small, precision=precision) == ["done"]
    return folders


WAYS = [(2, "towers", 1), (4, "towers", 1), (2, "data", 1), (4, "data", 1), (2, "hybrid", 1), (4, "hybrid", 1)]


@pytest.mark.parametrize("precision", ["fp64", "fp32"])
@pytest.mark.parametrize(("processes", "strategy", "parts"), [*WAYS, (1, "data", 3), (2, "data", 2), (2, "hybrid", 3)])
def test_a_training_is_the_same_however_it_is_spread(
    ranks: Ranks,
    one: dict[str, Path],
    store: Path,
    small: Recipe,
    tmp_path: Path,
    processes: int,
    strategy: str,
    parts: int,
    precision: str,
) -> None:
    """Towers apart, replicas, both, the hybrid, and a batch taken in parts: each is one process and one big batch."""
    said = ranks(
        processes, trained, store, tmp_path / "run", small, precision=precision, strategy=strategy, accumulate=parts
    )
    assert said == ["done"] * processes
    assert apart(end(one[precision]), end(tmp_path / "run")) < TOLERANCE[precision]
    before, after = epochs(one[precision]), epochs(tmp_path / "run")
    assert [line["top1"] for line in before] == [line["top1"] for line in after]


@pytest.mark.parametrize(("processes", "strategy"), [(2, "towers"), (2, "hybrid")])
def test_rates_scaled_by_a_layers_norm_see_the_whole_layer(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, processes: int, strategy: str
) -> None:
    """LARS: a process that holds a part of a layer scales it as one that holds all."""
    recipe = small.replace(sgd={"lars": 0.01}, epochs=1)
    ranks(1, trained, store, tmp_path / "one", recipe, precision="fp64")
    ranks(processes, trained, store, tmp_path / "run", recipe, precision="fp64", strategy=strategy)
    assert apart(end(tmp_path / "one"), end(tmp_path / "run")) < TOLERANCE["fp64"]


@pytest.mark.parametrize(
    ("processes", "strategy", "parts"),
    [(2, "towers", 1), (2, "hybrid", 2), pytest.param(2, "data", 2, marks=pytest.mark.torture)],
)
def test_what_came_after_2012_is_the_same_however_it_is_spread(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, processes: int, strategy: str, parts: int
) -> None:
    """A cosine, smoothed labels, scaled crops, He's weights, decoupled decay, and an average that is gathered.

    The training goes on from a checkpoint.
    """
    recipe = small.replace(
        net={"init": "he"},
        views={"area": [0.3, 1.0], "aspect": 1.5, "scale": 1 / 58},
        sgd={"label_smoothing": 0.1, "decoupled": True, "weight_decay": 0.1, "average": 0.5},
        schedule={"kind": "Cosine", "warmup_epochs": 10.0},
        epochs=2,
    )
    ranks(1, trained, store, tmp_path / "one", recipe, precision="fp64")
    how: dict[str, Any] = {"precision": "fp64", "strategy": strategy, "accumulate": parts, "resume": True}
    ranks(processes, trained, store, tmp_path / "run", recipe, stop_at=3, **how)
    ranks(processes, trained, store, tmp_path / "run", recipe, **how)
    assert apart(end(tmp_path / "one"), end(tmp_path / "run")) < TOLERANCE["fp64"]
    both = [
        checkpoint.read_tensors(checkpoint.list_checkpoints(tmp_path / name)[-1], checkpoint.UNAVERAGED)
        for name in ("one", "run")
    ]
    assert apart(both[0], both[1]) < TOLERANCE["fp64"]
    assert not same(
        both[0], checkpoint.read_tensors(checkpoint.list_checkpoints(tmp_path / "one")[-1], checkpoint.FILES[0])
    )


@pytest.mark.parametrize(("processes", "strategy"), [(4, "towers"), (4, "data"), (4, "hybrid")])
def test_a_process_that_has_no_picture_of_a_batch_does_its_part(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, processes: int, strategy: str
) -> None:
    """Thirty pictures in batches of 29: the last batch of an epoch is a single one."""
    recipe = small.replace(sgd={"batch": 29}, epochs=2)
    ranks(1, trained, store, tmp_path / "one", recipe, precision="fp64")
    ranks(processes, trained, store, tmp_path / "run", recipe, precision="fp64", strategy=strategy, accumulate=2)
    assert apart(end(tmp_path / "one"), end(tmp_path / "run")) < TOLERANCE["fp64"]


def test_a_run_goes_on_with_other_processes_than_it_was_begun_with(
    ranks: Ranks, one: dict[str, Path], store: Path, small: Recipe, tmp_path: Path
) -> None:
    """Two towers, then four hybrid replicas, then one process; each stop comes from the last process alone."""
    begun = {"precision": "fp64", "resume": True}
    for processes, strategy, step in ((2, "towers", 3), (4, "hybrid", 7), (1, "data", 0)):
        said = ranks(processes, trained, store, tmp_path / "run", small, strategy=strategy, stop_at=step, **begun)
        assert len({words.split(" in ")[0] for words in said}) == 1
        if step:
            # Said at the step itself, heard with the next one.
            assert re.match(rf"stopped by SIGTERM: saved at step ({step}|{step + 1}|{step + 2}) of 12", said[0])
    assert said == ["done"]
    found = end(tmp_path / "run")
    assert apart(end(one["fp64"]), found) < TOLERANCE["fp64"]


def test_the_same_processes_leave_the_same_bits(
    ranks: Ranks, one: dict[str, Path], store: Path, small: Recipe, tmp_path: Path
) -> None:
    """In bf16: and they are near those of one process."""
    for name in ("run", "again"):
        ranks(4, trained, store, tmp_path / name, small, precision="bf16", strategy="towers")
    assert same(end(tmp_path / "run"), end(tmp_path / "again"))
    assert_near_in_bf16(weights(one["bf16"]), weights(tmp_path / "run"))


@pytest.mark.parametrize("processes", [2, 3])
def test_evaluating_and_predicting_with_more_processes_gives_the_same_bits(
    ranks: Ranks, run: Path, store: Path, pictures: Path, processes: int
) -> None:
    for act, given in ((evaluated, (store, run)), (predicted, (run, pictures))):
        alone = ranks(1, act, *given)
        assert ranks(processes, act, *given) == alone * processes


@pytest.mark.parametrize("shape", [{"cross_tower": False}, {"conv6": 12}, {"skip": (3,)}], ids=str)
def test_towers_of_other_nets_lie_apart_as_well(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, shape: dict[str, Any]
) -> None:
    recipe = small.replace(net=shape, epochs=1)
    ranks(1, trained, store, tmp_path / "one", recipe, precision="fp64")
    ranks(2, trained, store, tmp_path / "two", recipe, precision="fp64", strategy="towers")
    assert apart(end(tmp_path / "one"), end(tmp_path / "two")) < TOLERANCE["fp64"]
    found = ranks(2, counted, store, tmp_path / "run", recipe, "towers", 1)
    total = sum(map(Counter, found), Counter[str]())
    total.pop("shown", 0)
    assert total == Counter(traffic(recipe.net, "towers", 1, 8, 4))


def test_processes_may_meet_again_and_again(ranks: Ranks, run: Path, store: Path) -> None:
    """Each meeting finds the processes that are there, not those of the one before."""
    first, second = ranks(2, evaluated_again, store, run, 3)
    assert first == second == [first[0]] * 3


def test_processes_that_would_evaluate_other_weights_are_refused(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path
) -> None:
    """A run in training, or a disk that shows one machine what it was: their mean would be of no net."""
    for seed in (0, 1):
        ranks(1, trained, store, tmp_path / str(seed) / "run", small.replace(seed=seed, epochs=1), precision="fp32")
    found = ranks(2, evaluated_apart, store, [tmp_path / str(seed) / "run" for seed in (0, 1)])
    assert found[0] == found[1]
    assert re.match("rank 1: newest checkpoint of run on shared storage is", found[0])


@pytest.mark.parametrize(("processes", "strategy"), [(strategy[0], strategy[1]) for strategy in WAYS])
def test_the_bytes_that_a_step_sends_are_those_of_the_formula(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path, processes: int, strategy: str
) -> None:
    """Batches of 8, 8, 8 and 6 pictures, which four replicas cannot share evenly."""
    found = ranks(processes, counted, store, tmp_path / "run", small, strategy, 4)
    replicas = processes // 2 if strategy == "towers" else processes
    expected = Counter[str]()
    for batch in (8, 8, 8, 6):
        expected += Counter(traffic(small.net, strategy, replicas, batch, 4))
    total = sum(map(Counter, found), Counter[str]())
    shown = total.pop("shown", 0)  # the loss and the wrong answers, float64
    assert shown == 2 * 16 * (replicas - 1) * (1 if strategy != "towers" else 2) * 4
    assert total == expected
