"""What a CUDA device does is what the CPU does.

Whole steps and runs are compared in float64, where both have PyTorch's operations: rounding of 1e-16 then decides no
ReLU and no maximum. In fewer digits it does, a gradient is another, and a correct run goes another way. Triton's forms
are compared one by one in tests/ops/triton.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from tests import trained
from tests.trained import weights

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import Stopped
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import Batch, training_batches
from alexnet.data.store import Store
from alexnet.data.transforms import Transform
from alexnet.inference.evaluate import Evaluation, evaluate
from alexnet.models.build import build
from alexnet.ops.dropout import dropout
from alexnet.runs import log as runlog
from alexnet.runs.run import Run
from alexnet.training import optimizer, schedule
from alexnet.training.step import EAGER, CudaGraphStep, Graphs, Step
from alexnet.training.train import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
T = TypeVar("T")

CUDA = torch.device("cuda", 0)
# Noise of 1e-15 in what layers give moves a step's velocities by 4e-15 and a short run's weights by 2e-9 at most; a
# wrong picture, label or rate moves them by more than 1e-3. Probabilities are kept in float32.
CLOSE, NATS_CLOSE = 1e-7, 1e-6


def test_views_are_drawn_alike_on_both_devices(run: Path, store: Path) -> None:
    """To the bit: colours come of correctly rounded operations alone."""
    transform = Run(run).transform
    ids = torch.arange(12)
    images = torch.from_numpy(Store(store)["val"].read(ids.numpy()))
    for colour in (True, False):
        here = transform.augment(images, ids, seed=3, epoch=5, colour=colour)
        there = transform.to(CUDA).augment(images.to(CUDA), ids.to(CUDA), seed=3, epoch=5, colour=colour)
        assert torch.equal(here, there.cpu())
    assert torch.equal(transform.ten_crop(images), transform.to(CUDA).ten_crop(images.to(CUDA)).cpu())


def test_dropout_drops_the_same_units_on_both_devices() -> None:
    x = torch.ones(16, 1000)
    dropped = dropout(x, 0.5, 1, "fc6", 7, 32)
    assert 0.4 < float(dropped.count_nonzero()) / x.numel() < 0.6
    assert torch.equal(dropped, dropout(x.to(CUDA), 0.5, 1, "fc6", 7, 32).cpu())


@pytest.mark.parametrize("name", ["source", "paper", "cifar-11", "cifar-18"])
def test_a_training_step_is_that_of_the_cpu(name: str) -> None:
    recipe = RECIPES[name].replace(net={"classes": 10})
    random = torch.Generator().manual_seed(1)
    shape = 4, 3, recipe.net.image_size, recipe.net.image_size
    x, labels = 60 * torch.randn(shape, generator=random, dtype=torch.float64), torch.tensor([1, 2, 3, 4])
    after = []
    for device in ("cpu", "cuda"):
        compute = choose_compute(device, "fp64")
        net = compute.hold(build(recipe.net, 0)).train()
        momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
        logits = net.at(0)(x.to(compute.device))
        torch.nn.functional.cross_entropy(logits, labels.to(compute.device)).backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        momentum.step(schedule.learning_rates(recipe, 0.0, ()), gradients)
        after.append({n: v.cpu() for n, v in momentum.velocity.items()})
    for n, here in after[0].items():
        assert here.any()
        assert (here - after[1][n]).norm() <= CLOSE * here.norm(), n


class Counted(Graphs):
    """CUDA's graphs, with the number of captures."""

    captures = 0

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        self.captures += 1
        return super().capture(work)


def step_of(precision: str) -> Step:
    recipe = RECIPES["source"].replace(net={"classes": 10})
    compute = choose_compute("cuda", precision)
    transform = Transform(recipe.views, 224, torch.full((256, 256, 3), 120.0), 20 * torch.eye(3)).to(compute.device)
    net = compute.hold(build(recipe.net, 0)).train()
    return Step(net, transform, optimizer.Momentum(net, recipe.sgd, compute.dtype), compute, 0)


def noise(pictures: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (pictures, 256, 256, 3), dtype=torch.uint8, generator=random).to(CUDA)


def steps_of(captured: bool, precision: str, stored: bool = False) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and weights of 28 steps of batches of 8, 8, 8 and 5 pictures; the rate rises, and falls after 20.

    A graph is captured at the fourth batch of its size: of 8 pictures at step 4, of 5 at step 15. Each is replayed
    later with other pictures and rates, at another place of another epoch.
    """
    step, graphs, split, losses = step_of(precision), Counted(), noise(40), []
    take = CudaGraphStep(step, graphs) if captured else step
    for number in range(28):
        ids = torch.arange(number, number + (5 if number % 4 == 3 else 8), device=CUDA)
        images = split if stored else split[ids]
        batch = Batch(number, number // 4, 8 * (number % 4), ids, images, ids % 10, stored=stored)
        rate = 1e-4 * min(1.0, (number + 1) / 8) if number < 20 else 1e-5
        outcome = take(batch, schedule.LearningRates(rate, 2e-4), True)
        losses.append(outcome.loss.item())
        assert outcome.finite.all()
    assert graphs.captures == (2 if captured else 0)
    return losses, {n: p.detach().clone() for n, p in step.momentum.parameters.items()}


@pytest.mark.parametrize("stored", [False, True])
def test_captured_steps_are_the_steps(stored: bool) -> None:
    """Replays of each graph: losses and weights of the same steps made one operation after the other."""
    plain, captured = steps_of(False, "fp64"), steps_of(True, "fp64", stored)
    np.testing.assert_allclose(captured[0], plain[0], rtol=CLOSE)
    assert apart(plain[1], captured[1]) < CLOSE


def test_reading_a_step_does_not_wait_for_the_step_after_it() -> None:
    take = CudaGraphStep(step_of("bf16"))
    batch = Batch(0, 0, 0, torch.arange(8, device=CUDA), noise(8), torch.arange(8, device=CUDA))
    rates = schedule.LearningRates(1e-5, 2e-5)
    earlier = [take(batch, rates, True) for _ in range(2 * EAGER)]
    earlier[-1].read()
    del earlier  # leaves pinned memory for the steps below: new memory could make the host wait
    first = take(batch, rates, True)
    torch.cuda._sleep(2 * 10**9)  # cycles: about a second
    second = take(batch, rates, True)
    assert first.loss.isfinite()
    assert second.arrived is not None
    assert not second.arrived.query()
    assert second.loss.isfinite()


@pytest.mark.parametrize("cache", ["device", "ram", "none"])
def test_batches_hold_their_pictures_while_the_device_is_busy(store: Path, cache: str) -> None:
    """Copies overtake the arithmetic, and no later batch takes the memory of one that is still to be read."""
    split = Store(store)["train"]
    kept, expected, seen = CachedPictures(split, CUDA, cache), split.read(np.arange(len(split))), []
    how: dict[str, Any] = {"epochs": 20, "seed": 0, "reshuffle": True, "first_step": 0, "device": CUDA, "workers": 4}
    for batch in training_batches(kept, 8, **how):
        torch.cuda._sleep(10**7)
        taken = batch.images.index_select(0, batch.ids) if batch.stored else batch.images + 0
        assert batch.stored == (cache == "device")
        seen.append((batch.ids + 0, batch.labels + 0, taken))
    assert len(seen) == 80
    for ids, labels, images in seen:
        numbers = ids.cpu().numpy()
        np.testing.assert_array_equal(images.cpu().numpy(), expected[numbers])
        np.testing.assert_array_equal(labels.cpu().numpy(), split.labels[numbers])


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_captured_steps_by_tritons_forms_have_the_losses_of_the_steps(precision: str) -> None:
    """Losses alone, at a low rate: weights that rest on few gradients go apart, as cuDNN may add in another order.

    Noise of a step of bf16 (4e-3) in what every layer gives moved no loss by more than 2e-3, on a CPU; the losses of
    two batches differ by a tenth.
    """
    np.testing.assert_allclose(steps_of(True, precision)[0], steps_of(False, precision)[0], rtol=1e-2)


@pytest.mark.parametrize("cache", ["device", "ram", "none"])
def test_wherever_the_pictures_are_kept_a_run_is_that_of_the_cpu(
    store: Path, small: Recipe, tmp_path: Path, cache: str
) -> None:
    here = train(store, tmp_path / "here", small, device="cpu", precision="fp64", quiet=True)
    there = train(store, tmp_path / "there", small, device="cuda", precision="fp64", cache=cache, quiet=True)
    assert apart(weights(tmp_path / "here"), weights(tmp_path / "there")) < CLOSE
    assert there.errors.nats == pytest.approx(here.errors.nats, rel=NATS_CLOSE)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_made_on_the_device_is_evaluated_alike_on_both(
    store: Path, small: Recipe, tmp_path: Path, precision: str
) -> None:
    train(store, tmp_path / "run", small, device="cuda", precision=precision, quiet=True)
    here, there = evaluated(store, tmp_path / "run", "cpu"), evaluated(store, tmp_path / "run", "cuda")
    assert here.errors.images == there.errors.images == 12
    assert there.errors.nats == pytest.approx(here.errors.nats, rel=NATS_CLOSE)


def test_a_run_begun_on_the_device_goes_on_on_the_cpu(
    store: Path, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of an epoch; it ends where one made on the CPU does."""
    train(store, tmp_path / "whole", small, device="cpu", precision="fp64", quiet=True)
    log_step = runlog.RunLog.step

    def stop(log: runlog.RunLog, at: int, **seen: Any) -> None:
        log_step(log, at, **seen)
        if at == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(runlog.RunLog, "step", stop)
        with pytest.raises(Stopped):
            train(store, tmp_path / "run", small, device="cuda", precision="fp64", quiet=True)
    assert 6 <= trained.step(tmp_path / "run") < 12
    train(store, tmp_path / "run", device="cpu", resume=True, quiet=True)
    assert apart(weights(tmp_path / "whole"), weights(tmp_path / "run")) < CLOSE


def evaluated(store: Path, run: Path, device: str) -> Evaluation:
    return evaluate(store, run, device=device, precision="fp64")


def apart(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest distance of two tensors, as a part of the length of one."""
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).norm() / a[n].norm().clamp(min=1e-30)) for n in a)
