"""A training step: its fast arithmetic is the plain arithmetic, and its place may be a number or a tensor."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet import optim
from alexnet.data.loader import Batch
from alexnet.data.views import Viewer
from alexnet.device import Place
from alexnet.nets import build
from alexnet.optim import Momentum
from alexnet.recipe import RECIPES, Net, Recipe
from alexnet.step import Step

CPU = torch.device("cpu")


def narrow(name: str) -> Recipe:
    """A named recipe's layers with few maps: everything that is normalised, pooled and dropped is still there."""
    recipe = RECIPES[name]
    if not isinstance(recipe.net, Net):
        return recipe
    return recipe.but(net={"kernels": (16, 16, 16, 16, 16), "hidden": 32, "classes": 10, "input": 63}, epochs=2)


def batch_of(recipe: Recipe, pictures: int = 6, step: int = 5) -> Batch:
    side = 64 if isinstance(recipe.net, Net) else 32
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (pictures, side, side, 3), dtype=torch.uint8, generator=random)
    return Batch(step, 3, 32, torch.arange(40, 40 + pictures), images, torch.arange(pictures) % 10)


def maker(recipe: Recipe, precision: str) -> Step:
    where = Place(CPU, precision)
    net = where.hold(build(recipe.net, 0)).train()
    side = 64 if isinstance(recipe.net, Net) else 32
    viewer = Viewer(recipe.views, recipe.net.input, torch.full((side, side, 3), 120.0), 20 * torch.eye(3))
    return Step(net, viewer, Momentum(net, recipe.sgd, where.dtype), where, recipe.seed)


def weights(step: Step) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in step.momentum.parameters.items()}


@pytest.mark.parametrize("name", ["source", "paper", "cifar-18"])
def test_computing_with_rounded_copies_is_autocast_to_the_bit(name: str) -> None:
    """bf16 copies of float32 weights, written by the update, hold what autocast would make of the weights each time.

    Not so the local layers of cifar-11, whose biases autocast would leave in float32: a rounding more.
    """
    recipe = narrow(name)
    fast = maker(recipe, "bf16")
    plain = copy.deepcopy(fast.net)
    momentum = Momentum(plain, recipe.sgd)
    rates = optim.rates(recipe, 0.0, ())
    for number in range(3):
        batch = batch_of(recipe, step=number)
        outcome = fast(batch, rates, True)
        views = fast.viewer.training(batch.images, batch.ids, seed=recipe.seed, epoch=3, first=32)
        with torch.autocast("cpu", torch.bfloat16):
            logits = plain.at(number)(views)
        loss = F.cross_entropy(logits.float(), batch.labels)
        plain.zero_grad()
        loss.backward()
        momentum.step(rates, {name: p.grad for name, p in momentum.parameters.items() if p.grad is not None})
        assert outcome.loss == loss
        assert int(outcome.wrong) == int((logits.argmax(1) != batch.labels).sum())
    for name, weight in weights(fast).items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, momentum.parameters[name]), name
        assert torch.equal(fast.momentum.seen[name], weight.bfloat16()), name


def test_in_fp32_the_weights_themselves_are_seen() -> None:
    step = maker(narrow("source"), "fp32")
    assert all(step.momentum.seen[n] is p for n, p in step.net.named_parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_place_in_tensors_is_the_place_in_numbers(precision: str) -> None:
    """What a captured graph reads from the device: step, epoch and place in the epoch, for dropout and views."""
    recipe = narrow("source")
    numbers, tensors = maker(recipe, precision), maker(recipe, precision)
    rates = optim.rates(recipe, 0.0, ())
    for step in (0, 1, 2**33 + 1):
        batch = replace(batch_of(recipe), step=step)
        one = numbers(batch, rates, True)
        place = [torch.tensor(n) for n in (batch.step, batch.epoch, batch.first)]
        other = tensors.of(batch, place[0], place[1], place[2], rates, True)
        assert torch.equal(one.views, other.views)
        assert one.loss == other.loss
    assert all(torch.equal(w, weights(tensors)[n]) for n, w in weights(numbers).items())


@pytest.mark.parametrize("name", ["source", "paper"])
def test_the_gradient_of_the_views_is_never_computed(name: str) -> None:
    """Nothing asks for it: a fifth of the multiply-adds of conv1's three passes, and the largest activations."""
    outcome = maker(narrow(name), "fp32")(batch_of(narrow(name)), optim.rates(narrow(name), 0.0, ()), True)
    assert not outcome.views.requires_grad
    assert outcome.views.grad is None
