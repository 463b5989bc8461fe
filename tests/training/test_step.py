"""A training step: fast and plain arithmetic agree, and its position may be a number or a tensor."""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.models.build import AnyModel, build
from alexnet.training import schedule
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates
from alexnet.training.step import CudaGraphStep, Step, StepResult

CPU = torch.device("cpu")


def narrow(name: str) -> Recipe:
    """Shrink a named recipe to few maps; norms, pools and dropout stay."""
    recipe = RECIPES[name]
    if not isinstance(recipe.net, Net):
        return recipe
    return recipe.replace(
        net={"channels": (16, 16, 16, 16, 16), "hidden": 32, "classes": 10, "image_size": 63}, epochs=2
    )


def batch_of(recipe: Recipe, pictures: int = 6, step: int = 5) -> Batch:
    side = 64 if isinstance(recipe.net, Net) else 32
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (pictures, side, side, 3), dtype=torch.uint8, generator=random)
    return Batch(step, 3, 32, torch.arange(40, 40 + pictures), images, torch.arange(pictures) % 10)


def made(recipe: Recipe, precision: str) -> tuple[AnyModel, Transform, Momentum, Compute, int]:
    """Make the parts of a step."""
    compute = Compute(CPU, precision)
    net = compute.hold(build(recipe.net, 0)).train()
    side = 64 if isinstance(recipe.net, Net) else 32
    transform = Transform(recipe.views, recipe.net.image_size, torch.full((side, side, 3), 120.0), 20 * torch.eye(3))
    return net, transform, Momentum(net, recipe.sgd, compute.dtype), compute, recipe.seed


def maker(recipe: Recipe, precision: str) -> Step:
    return Step(*made(recipe, precision))


def weights(step: Step) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in step.momentum.parameters.items()}


@pytest.mark.parametrize("name", ["source", "paper", "cifar-18"])
def test_computing_with_rounded_copies_is_autocast_to_the_bit(name: str) -> None:
    """The bf16 copies that the update writes equal the ones that autocast would make at every step.

    The local layers of cifar-11 are an exception: autocast would leave their biases in float32.
    """
    recipe = narrow(name)
    fast = maker(recipe, "bf16")
    plain = copy.deepcopy(fast.net)
    momentum = Momentum(plain, recipe.sgd)
    rates = schedule.learning_rates(recipe, 0.0, ())
    for number in range(3):
        batch = batch_of(recipe, step=number)
        outcome = fast(batch, rates, True)
        views = fast.transform.augment(batch.images, batch.ids, seed=recipe.seed, epoch=3, first=32)
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
        assert torch.equal(fast.momentum.compute_weights[name], weight.bfloat16()), name


def test_in_fp32_the_weights_themselves_are_seen() -> None:
    step = maker(narrow("source"), "fp32")
    assert all(step.momentum.compute_weights[n] is p for n, p in step.net.named_parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_place_in_tensors_is_the_place_in_numbers(precision: str) -> None:
    """A captured graph reads step, epoch and position from the device, for dropout and views."""
    recipe = narrow("source")
    numbers, tensors = maker(recipe, precision), maker(recipe, precision)
    rates = schedule.learning_rates(recipe, 0.0, ())
    for step in (0, 1, 2**33 + 1):
        batch = replace(batch_of(recipe), step=step)
        one = numbers(batch, rates, True)
        place = [torch.tensor(n) for n in (batch.step, batch.epoch, batch.first)]
        other = tensors.run(batch, place[0], place[1], place[2], rates, True)
        assert torch.equal(one.views, other.views)
        assert one.loss == other.loss
    assert all(torch.equal(w, weights(tensors)[n]) for n, w in weights(numbers).items())


@pytest.mark.parametrize("name", ["source", "paper"])
def test_the_gradient_of_the_views_is_never_computed(name: str) -> None:
    """Nothing needs it. It would cost a fifth of the multiply-adds of conv1's three passes, and much memory."""
    outcome = maker(narrow(name), "fp32")(batch_of(narrow(name)), schedule.learning_rates(narrow(name), 0.0, ()), True)
    assert not outcome.views.requires_grad
    assert outcome.views.grad is None


class Graph:
    """A fake CUDA graph: capture records a step, and each replay runs it and writes to the same outputs."""

    capturing: "Graph | None" = None
    again: Callable[[], StepResult]
    made: StepResult

    def __init__(self, graph: "Graph | None" = None, capture_error_mode: str = "") -> None:
        self.graph = graph

    def __enter__(self) -> None:
        Graph.capturing = self.graph

    def __exit__(self, *_: object) -> None:
        Graph.capturing = None

    def replay(self) -> None:
        for name, shown in vars(self.again()).items():
            if isinstance(shown, Tensor):
                getattr(self.made, name).copy_(shown)


class Recorded(Step):
    """A step that the fake graph can capture, with counts of captures and replays."""

    captures = replays = 0

    def run(self, *given: Any) -> StepResult:
        graph = Graph.capturing
        if graph is None:
            return super().run(*given)
        self.captures += 1
        held = [*self.momentum.parameters.values(), *self.momentum.velocity.values()]
        before = [t.detach().clone() for t in held]
        graph.made = super().run(*given)
        for t, value in zip(held, before, strict=True):
            t.data.copy_(value)

        def again() -> StepResult:
            self.replays += 1
            return super(Recorded, self).run(*given)

        graph.again = again
        return graph.made


class Stream:
    """A fake CUDA stream: on a CPU everything runs in order."""

    def wait_stream(self, other: "Stream") -> None:
        pass


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace CUDA's graphs and streams with the fakes."""
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    yield
    assert Graph.capturing is None


@pytest.mark.usefixtures("graphs")
def test_steps_by_captured_graphs_are_the_steps_to_the_bit() -> None:
    """40 steps, with small last batches, another rate from step 20 and no colour noise from step 30.

    Each kind of step gets a graph for each batch size that occurs more than three times: 8 pictures for each of the
    three kinds, and 5 for the first.
    """
    recipe = narrow("source").replace(views={"pictures_per_crop": 2})  # so that a batch's position in its epoch matters
    plain, recorded = maker(recipe, "fp64"), Recorded(*made(recipe, "fp64"))
    captured = CudaGraphStep(recorded)
    for number in range(40):
        whole = batch_of(recipe, 5 if number % 4 == 3 else 8, number)
        ids, images = whole.ids + number, whole.images.roll(number, 1)
        batch = Batch(number, number // 4, 8 * (number % 4), ids, images, ids % 10)
        rates, colour = LearningRates(1e-4 if number < 20 else 1e-5, 2e-4), number < 30
        one, other = plain(batch, rates, colour), captured(batch, rates, colour)
        assert (other.step, other.pictures, other.rate) == (number, len(batch.ids), rates.weights)
        for name in ("loss", "wrong", "finite", "views", "logits"):
            assert torch.equal(getattr(one, name), getattr(other, name)), (number, name)
    assert (recorded.captures, recorded.replays) == (4, 23)
    assert all(torch.equal(w, weights(recorded)[n]) for n, w in weights(plain).items())
