"""The average of the weights (`sgd.average`): its formula, and its place in checkpoints, validation and evaluation."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.trained import alike, resign

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.core.files import digest
from alexnet.distributed.mesh import Mesh
from alexnet.runs import checkpoint
from alexnet.runs.run import Run
from alexnet.training.average import judged_weights
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.train import train


@pytest.mark.parametrize(("part", "horizon"), [(0.3, 6.0), (0.01, 1.0), (1.0, 20.0)])
def test_the_average_is_that_of_a_loop_over_steps_and_numbers(part: float, horizon: float) -> None:
    """a_t = a_(t-1) + (w_t - a_(t-1)) / min(t, horizon): while t <= horizon, the mean of all weights so far."""
    random = torch.Generator().manual_seed(2)
    weights = {"fc.weight": torch.randn(3, 2, generator=random), "fc.bias": torch.randn(3, generator=random)}
    judged = judged_weights(weights, part, 20)
    expected = {name: w.double().flatten().tolist() for name, w in weights.items()}
    for t in range(1, 21):
        for name, w in weights.items():
            w.add_(torch.randn(w.shape, generator=random))
            for i, number in enumerate(w.double().flatten().tolist()):
                expected[name][i] += (number - expected[name][i]) / min(t, horizon)
        judged.update(t)
    for name, numbers in expected.items():
        assert judged.tensors[name].flatten().tolist() == pytest.approx(numbers, rel=1e-5, abs=1e-5)


def test_without_an_average_a_run_is_judged_by_the_weights_that_it_trains() -> None:
    weights = {"fc.bias": torch.zeros(3)}
    judged = judged_weights(weights, 0.0, 20)
    weights["fc.bias"].add_(1)
    judged.update(1)
    assert judged.tensors["fc.bias"] is weights["fc.bias"]


@pytest.fixture(scope="module")
def averaged(store: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with an average over half of it, and keep every step."""
    folder = tmp_path_factory.mktemp("average") / "run"
    recipe = small.replace(sgd={"average": 0.5}, epochs=2)
    train(store, folder, recipe, precision="fp32", keep=0, save_every=0, quiet=True)
    return folder


def test_checkpoints_hold_the_average_of_the_weights_that_the_same_run_without_one_has(
    averaged: Path, store: Path, small: Recipe, tmp_path: Path
) -> None:
    """The average changes no step of training: evaluation, best, exports and predictions read weights.safetensors."""
    train(store, tmp_path / "plain", small.replace(epochs=2), precision="fp32", keep=0, save_every=0, quiet=True)
    both = [{checkpoint.step_and_attempt(p)[0]: p for p in Run(f).checkpoints} for f in (averaged, tmp_path / "plain")]
    assert list(both[0]) == list(both[1]) == list(range(1, 9))
    mean: dict[str, torch.Tensor] = {}
    for step, path in both[1].items():
        now = checkpoint.read_tensors(path, checkpoint.FILES[0])
        kept = checkpoint.read_tensors(both[0][step], checkpoint.UNAVERAGED)
        assert all(torch.equal(kept[name], w) for name, w in now.items())
        for name, w in now.items():
            before = mean.get(name, w.double())
            mean[name] = before + (w.double() - before) / min(step, 4)
        judged = checkpoint.read_tensors(both[0][step], checkpoint.FILES[0])
        for name, w in judged.items():
            torch.testing.assert_close(w.double(), mean[name], rtol=1e-5, atol=1e-6)
    assert all(torch.equal(w, judged[name]) for name, w in Run(averaged).net().state_dict().items())


def test_validation_and_the_best_checkpoint_are_of_the_average(averaged: Path, store: Path, small: Recipe) -> None:
    """A trainer that stands at the end of the run has its average to validate with, which gives the logged loss."""
    request = Request(store, averaged, None, TrainOptions(resume=True, workers=1, cache="none"))
    line = [line for line in Run(averaged).log if line["kind"] == "epoch"][-1]
    with begin(Mesh(), request, choose_compute("cpu", "fp32")) as trainer:
        trainer.errors.pop()
        trainer.tally.add(0.0, 0, 1)
        found = trainer.validate(lambda *_: None)
        weights = {name: w.clone() for name, w in trainer.judged.tensors.items()}
    assert found["nats"] == pytest.approx(line["nats"], rel=1e-6)
    last = checkpoint.read_tensors(Run(averaged).checkpoints[-1], checkpoint.FILES[0])
    assert all(torch.equal(w, last[name]) for name, w in weights.items())
    best = averaged / "checkpoints" / Run(averaged).resolve("best")
    at = checkpoint.step_and_attempt(best)[0]
    same = next(p for p in Run(averaged).checkpoints if checkpoint.step_and_attempt(p)[0] == at)
    one, other = (checkpoint.read_tensors(p, checkpoint.FILES[0]) for p in (best, same))
    assert all(torch.equal(w, other[name]) for name, w in one.items())


@pytest.mark.parametrize("kind", ["a bit turned", "cut short", "gone", "of another step", "unnamed"])
def test_weights_to_go_on_from_that_are_damaged_are_refused_in_a_line_that_offers_the_last_whole_checkpoint(
    averaged: Path, store: Path, tmp_path: Path, kind: str
) -> None:
    cut = shutil.copytree(averaged, tmp_path / "cut")
    before, last = Run(cut).checkpoints[-2:]
    file = last / checkpoint.UNAVERAGED
    data = file.read_bytes()
    if kind == "unnamed":
        resign(last / "state.json", sha256={name: digest(last / name) for name in checkpoint.FILES})
    elif kind == "gone":
        file.unlink()
    else:
        turned = bytes([data[-1] ^ 1])
        changed = {"a bit turned": data[:-1] + turned, "cut short": data[:-9]}
        file.write_bytes(changed.get(kind) or (before / checkpoint.UNAVERAGED).read_bytes())
    with pytest.raises(InputError) as refused:
        train(store, cut, resume=True, precision="fp32", quiet=True)
    said = f"checkpoint file {file} is damaged; delete {last} to continue from {before.name}"
    assert str(refused.value) == said
    assert Run(cut).net()  # predictions need the average alone


def test_a_run_with_an_average_resumes_to_the_same_bits(averaged: Path, store: Path, tmp_path: Path) -> None:
    """From within an epoch, and beyond the horizon of four steps."""
    cut = shutil.copytree(averaged, tmp_path / "cut")
    for path in (*checkpoint.list_checkpoints(cut), *checkpoint.list_best(cut)):
        if checkpoint.step_and_attempt(path)[0] > 5:
            shutil.rmtree(path)
    train(store, cut, resume=True, precision="fp32", quiet=True)
    assert alike(cut, averaged)
    one, other = (checkpoint.read_tensors(Run(f).checkpoints[-1], checkpoint.UNAVERAGED) for f in (cut, averaged))
    assert all(torch.equal(w, other[name]) for name, w in one.items())
