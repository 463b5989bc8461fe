"""What a CUDA device does is what the CPU does, to the arithmetic's last digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet import checkpoint, optim
from alexnet import run as run_folder
from alexnet.data.loader import Batch
from alexnet.data.store import Store
from alexnet.data.views import Viewer
from alexnet.device import place
from alexnet.nets import build
from alexnet.ops.dropout import dropout
from alexnet.recipe import RECIPES, Recipe
from alexnet.step import Captured, Step
from alexnet.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
CUDA = torch.device("cuda")


def test_views_are_drawn_alike_on_both_devices(run: Path, store: Path) -> None:
    viewer = run_folder.viewer_of(run, run_folder.recipe_of(run)[1])
    ids = torch.arange(12)
    images = torch.from_numpy(Store(store)["val"].read(ids.numpy()))
    here = viewer.training(images, ids, seed=3, epoch=5)
    there = viewer.to(CUDA).training(images.to(CUDA), ids.to(CUDA), seed=3, epoch=5)
    assert torch.allclose(here, there.cpu(), atol=1e-3)  # grey levels; the colours pass a 3 x 3 product
    assert torch.equal(viewer.ten(images), viewer.to(CUDA).ten(images.to(CUDA)).cpu())


def test_dropout_drops_the_same_units_on_both_devices() -> None:
    x = torch.ones(16, 1000)
    assert torch.equal(dropout(x, 0.5, 1, "fc6", 7, 32), dropout(x.to(CUDA), 0.5, 1, "fc6", 7, 32).cpu())


@pytest.mark.parametrize("name", ["source", "paper", "cifar-11", "cifar-18"])
def test_a_training_step_in_fp32_is_that_of_the_cpu(name: str) -> None:
    recipe = RECIPES[name].but(net={"classes": 10})
    x, labels = 60 * torch.randn(4, 3, recipe.net.input, recipe.net.input), torch.tensor([1, 2, 3, 4])
    after = []
    for device in (torch.device("cpu"), CUDA):
        net = build(recipe.net, 0).to(device).train()
        momentum = optim.Momentum(net, recipe.sgd)
        torch.nn.functional.cross_entropy(net.at(0)(x.to(device)), labels.to(device)).backward()
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        momentum.step(optim.rates(recipe, 0.0, ()), gradients)
        after.append({n: v.cpu() for n, v in momentum.velocity.items()})
    for n, here in after[0].items():
        assert (here - after[1][n]).norm() <= 2e-3 * here.norm() + 1e-12, n  # cuDNN sums in another order, and in TF32


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_captured_steps_are_the_steps(precision: str) -> None:
    """Replays with another batch, a smaller one, another rate: what eager steps do, to the order of cuDNN's sums."""
    recipe = RECIPES["source"].but(net={"classes": 10})
    where = place("cuda", precision)
    viewer = Viewer(recipe.views, 224, torch.full((256, 256, 3), 120.0), 20 * torch.eye(3)).to(CUDA)
    ends, losses = [], []
    for captured in (False, True):
        net = where.hold(build(recipe.net, 0)).train()
        step: Step | Captured = Step(net, viewer, optim.Momentum(net, recipe.sgd, where.dtype), where, 0)
        take = Captured(step) if captured and isinstance(step, Step) else step
        random = torch.Generator().manual_seed(1)
        for number in range(12):
            pictures = 5 if number % 4 == 3 else 8
            images = torch.randint(0, 256, (pictures, 256, 256, 3), dtype=torch.uint8, generator=random).to(CUDA)
            ids = torch.arange(number, number + pictures, device=CUDA)
            batch = Batch(number, number // 4, 8 * (number % 4), ids, images, ids % 10)
            outcome = take(batch, optim.Rates(0.01 if number < 9 else 0.001, 0.02), True)
            losses.append(outcome.loss.item())
        ends.append({n: p.detach().clone() for n, p in net.named_parameters()})
    close = 2e-2 if precision == "bf16" else 2e-3
    np.testing.assert_allclose(losses[12:], losses[:12], rtol=close)
    for name, weight in ends[0].items():
        assert (weight - ends[1][name]).norm() <= close * weight.norm() + 1e-6, name


@pytest.mark.parametrize("cache", ["device", "ram", "none"])
def test_where_the_pictures_are_kept_changes_little(store: Path, small: Recipe, tmp_path: Path, cache: str) -> None:
    """The pictures are the same; cuDNN's sums may come in another order."""
    here = train(store, tmp_path / "here", small, device="cpu", precision="fp32", quiet=True)
    there = train(store, tmp_path / "there", small, device="cuda", precision="fp32", cache=cache, quiet=True)
    assert abs(here.errors.nats - there.errors.nats) < 0.1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_device_predicts_on_the_cpu(store: Path, small: Recipe, tmp_path: Path, precision: str) -> None:
    train(store, tmp_path / "run", small, device="cuda", precision=precision, quiet=True)
    net = checkpoint.load(tmp_path / "run")
    pictures = torch.from_numpy(Store(store)["val"].read(np.arange(12)))
    assert torch.isfinite(net(net.viewer.centre(pictures))).all()


def test_a_run_begun_on_the_device_goes_on_on_the_cpu(store: Path, small: Recipe, tmp_path: Path) -> None:
    short = small.but(epochs=1)
    train(store, tmp_path / "run", short, device="cuda", precision="fp32", quiet=True)
    again = train(store, tmp_path / "run", device="cpu", resume=True, quiet=True)
    assert again.errors.images == 12
