"""A training step: fast and plain arithmetic agree, and its position may be a number or a tensor."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.recorded import Recorded
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.models.build import build
from alexnet.models.network import Network
from alexnet.training import schedule
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates
from alexnet.training.step import CudaGraphStep, Step

CPU = torch.device("cpu")
RATES = LearningRates(1e-4, 2e-4)


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


def made(recipe: Recipe, precision: str) -> tuple[Network, Transform, Momentum, Compute, int]:
    """Make the parts of a step."""
    compute = Compute(CPU, precision)
    net = compute.hold(build(recipe.net, 0)).train()
    side = 64 if isinstance(recipe.net, Net) else 32
    transform = Transform(recipe.views, recipe.net.image_size, torch.full((side, side, 3), 120.0), 20 * torch.eye(3))
    return net, transform, Momentum(net, recipe.sgd, compute.dtype), compute, recipe.seed


def maker(recipe: Recipe, precision: str) -> Step:
    return Step(*made(recipe, precision), label_smoothing=recipe.sgd.label_smoothing)


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


def batches(recipe: Recipe, steps: int, stored: bool = False) -> Iterator[Batch]:
    """Make epochs of 8, 8, 8 and 5 pictures; with `stored`, the batches have those of the whole split."""
    whole = batch_of(recipe, 60).images
    for number in range(steps):
        ids = torch.arange(number, number + (5 if number % 4 == 3 else 8))
        images = whole if stored else whole[ids]
        yield Batch(number, number // 4, 8 * (number % 4), ids, images, ids % 10, stored=stored)


def warming(number: int) -> LearningRates:
    """Give a rate that rises for 10 steps, and falls by ten after 20; from step 36 on, conv1 is frozen."""
    rate = 1e-5 * (number + 1) if number < 10 else 1e-4 if number < 20 else 1e-5
    return LearningRates(rate, 2e-4, 0.0 if number >= 36 else None)


@pytest.mark.parametrize("lars", [None, 0.001])
@pytest.mark.parametrize("stored", [False, True])
def test_steps_by_captured_graphs_are_the_steps_to_the_bit(stored: bool, lars: float | None) -> None:
    """40 steps, with small last batches and many rates, no colour noise from step 30 and conv1 frozen from step 36.

    Each kind of step gets a graph for each batch size that occurs more than three times. Another rate is no other kind:
    8 pictures get a graph with colour noise and one without, 5 pictures one with it. Nothing else is captured, since
    there are only 3 steps of 8 pictures with conv1 frozen.
    """
    recipe = narrow("source").replace(views={"pictures_per_crop": 2})  # so that a batch's position in its epoch matters
    recipe = recipe.replace(sgd={"lars": lars})
    plain, inner = maker(recipe, "fp64"), maker(recipe, "fp64")
    graphs = Recorded(inner.momentum)
    captured = CudaGraphStep(inner, graphs)
    plain.momentum.rule = torch.zeros(len(plain.momentum.parameters), 2, dtype=torch.float64)
    for one, other in zip(batches(recipe, 40), batches(recipe, 40, stored), strict=True):
        rates, colour = warming(one.step), one.step < 30
        plain.momentum.rule.copy_(plain.momentum.factors(rates))
        a, b = plain(one, rates, colour), captured(other, rates, colour)
        assert (b.step, b.pictures, b.rate) == (one.step, len(one.ids), rates.weights)
        for name in ("numbers", "views", "logits"):
            assert torch.equal(getattr(a, name), getattr(b, name)), (one.step, name)
    assert (graphs.captures, graphs.replays, graphs.eager) == (3, 20 + 4 + 1, 15)
    assert all(torch.equal(w, weights(inner)[n]) for n, w in weights(plain).items())


@pytest.mark.parametrize("stored", [False, True])
def test_captured_steps_with_what_came_after_2012_are_the_steps_to_the_bit(stored: bool) -> None:
    """A cosine has another rate at each step, which is no other kind of step; boxes follow the epoch and the ids."""
    recipe = narrow("source").replace(
        views={"pictures_per_crop": 2, "area": [0.3, 1.0], "aspect": 1.5},
        sgd={"label_smoothing": 0.1, "decoupled": True, "weight_decay": 0.1},
        schedule={"kind": "Cosine", "warmup_epochs": 10.0},
        late={"conv1_frozen": None},
    )
    plain, inner = maker(recipe, "fp64"), maker(recipe, "fp64")
    graphs = Recorded(inner.momentum)
    captured = CudaGraphStep(inner, graphs)
    plain.momentum.rule = torch.zeros(len(plain.momentum.parameters), 2, dtype=torch.float64)
    for one, other in zip(batches(recipe, 12), batches(recipe, 12, stored), strict=True):
        rates = schedule.learning_rates(recipe, one.step / 12, ())
        plain.momentum.rule.copy_(plain.momentum.factors(rates))
        a, b = plain(one, rates, True), captured(other, rates, True)
        for name in ("numbers", "views", "logits"):
            assert torch.equal(getattr(a, name), getattr(b, name)), (one.step, name)
    assert (graphs.captures, graphs.replays) == (1, 9 - 3)
    assert all(torch.equal(w, weights(inner)[n]) for n, w in weights(plain).items())


def test_decoupled_decay_read_from_memory_is_the_number_to_rounding() -> None:
    recipe = narrow("source").replace(sgd={"decoupled": True, "weight_decay": 0.5})
    plain, inner, coupled = (maker(each, "fp64") for each in (recipe, recipe, recipe.replace(sgd={"decoupled": False})))
    captured = CudaGraphStep(inner, Recorded(inner.momentum))
    for batch in batches(recipe, 6):
        for step in (plain, captured, coupled):
            step(batch, LearningRates(1e-2, 2e-4), True)
    for name, weight in weights(plain).items():
        torch.testing.assert_close(weights(inner)[name], weight)
    assert not torch.allclose(weights(plain)["fc6.weight"], weights(coupled)["fc6.weight"])


def test_rates_in_memory_are_the_rates_to_rounding() -> None:
    """A captured step multiplies by numbers that it reads; an eager one on a CPU has them in its instructions."""
    recipe = narrow("source")
    plain, inner = maker(recipe, "fp64"), maker(recipe, "fp64")
    captured = CudaGraphStep(inner, Recorded(inner.momentum))
    for batch in batches(recipe, 12):
        rates = warming(batch.step)
        torch.testing.assert_close(captured(batch, rates, True).loss, plain(batch, rates, True).loss)
    for name, weight in weights(plain).items():
        torch.testing.assert_close(weights(inner)[name], weight)


def test_only_kept_views_outlive_the_next_replay() -> None:
    """A graph's own memory holds those of the step that was replayed last."""
    recipe = narrow("source")
    step = maker(recipe, "fp64")
    captured = CudaGraphStep(step, Recorded(step.momentum))
    taken = [(r, r.views.clone(), r.kept()) for r in (captured(b, RATES, True) for b in batches(recipe, 7))]
    (early, early_views, _), (bare, views, kept) = taken[0], taken[4]
    assert early.lasting
    assert early.kept() is early
    assert torch.equal(early.views, early_views)
    assert not bare.lasting
    assert kept.lasting
    assert torch.equal(bare.views, taken[6][1])
    assert not torch.equal(bare.views, views)
    assert torch.equal(kept.views, views)
    assert len({r.loss.item() for r, _, _ in taken}) == 7  # numbers are each step's own


def thawed(recipe: Recipe, precision: str) -> Step:
    """Make a step whose frozen layers have gradients, which its update leaves aside."""
    net, transform, momentum, compute, seed = made(recipe, precision)
    momentum.never = frozenset()
    for weight in [*momentum.parameters.values(), *momentum.compute_weights.values()]:
        weight.requires_grad_()
    return Step(net, transform, momentum, compute, seed)


FROZEN = [
    ("source", ("conv1",)),
    ("source", ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")),
    ("paper", ("conv1", "conv3", "fc7")),
    ("cifar-18", ("conv1", "conv2")),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "layers"), FROZEN)
def test_layers_that_learn_end_with_the_bits_they_had_when_frozen_ones_had_gradients(
    name: str, layers: tuple[str, ...], precision: str
) -> None:
    recipe = narrow(name).replace(sgd={"layer_lr": dict.fromkeys(layers, 0.0)})
    step, other, start = maker(recipe, precision), thawed(recipe, precision), weights(maker(recipe, precision))
    for number in range(3):
        one, two = (each(batch_of(recipe, step=number), RATES, True) for each in (step, other))
        assert torch.equal(one.numbers, two.numbers)
    for parameter, found in weights(step).items():
        assert torch.equal(found, weights(other)[parameter]), parameter
        if parameter.endswith(".weight"):  # a step of a bias may be lost in the rounding of 1
            assert torch.equal(found, start[parameter]) == (parameter.split(".")[0] in layers), parameter


@pytest.mark.parametrize(("name", "layers"), FROZEN)
def test_the_backward_pass_visits_no_frozen_layer_and_none_before_the_first_that_learns(
    name: str, layers: tuple[str, ...]
) -> None:
    recipe = narrow(name).replace(sgd={"layer_lr": dict.fromkeys(layers, 0.0)})
    step, reached = maker(recipe, "bf16"), list[str]()
    learning = [layer for layer in recipe.net.layers if layer not in layers]
    before = step.net.order[: step.net.order.index(learning[0])]
    for module in before:
        step.net.get_submodule(module).register_full_backward_hook(lambda *_, name=module: reached.append(name))
    step(batch_of(recipe), RATES, True)
    assert not reached
    for parameter, weight in step.momentum.compute_weights.items():
        assert (weight.grad is None) == (parameter.split(".")[0] in layers), parameter


@pytest.mark.parametrize("parts", [1, 2])
def test_a_net_whose_every_layer_is_frozen_stays_and_says_its_loss(parts: int) -> None:
    recipe = narrow("source")
    recipe = recipe.replace(sgd={"layer_lr": dict.fromkeys(recipe.net.layers, 0.0), "lars": 0.001})
    step = Step(*made(recipe, "fp32"), parts=parts)
    before = weights(step)
    assert step(batch_of(recipe), RATES, True).loss > 0
    assert all(torch.equal(w, before[n]) for n, w in weights(step).items())


def test_a_captured_step_with_frozen_layers_is_the_step_to_the_bit() -> None:
    recipe = narrow("source").replace(sgd={"layer_lr": {"conv1": 0.0, "conv2": 0.0, "fc7": 0.0}})
    plain, inner = maker(recipe, "fp64"), maker(recipe, "fp64")
    graphs = Recorded(inner.momentum)
    captured = CudaGraphStep(inner, graphs)
    plain.momentum.rule = torch.zeros(len(plain.momentum.parameters), 2, dtype=torch.float64)
    plain.momentum.rule.copy_(plain.momentum.factors(RATES))
    for batch in batches(recipe, 8):
        assert torch.equal(plain(batch, RATES, True).numbers, captured(batch, RATES, True).numbers)
    assert graphs.replays
    assert all(torch.equal(w, weights(inner)[n]) for n, w in weights(plain).items())


def test_a_frozen_weight_that_is_lost_is_seen_at_the_next_step() -> None:
    recipe = narrow("source").replace(sgd={"layer_lr": {"conv3": 0.0}})
    step = maker(recipe, "fp32")
    with torch.no_grad():
        step.momentum.parameters["conv3.weight"][0, 0, 0, 0] = -torch.inf
    finite = step(batch_of(recipe), RATES, True).finite
    assert not finite[list(step.momentum.parameters).index("conv3.weight")]


def weighted(recipe: Recipe, precision: str, parts: int = 1) -> Step:
    """Make a step whose pictures have weights, some of 0."""
    factors = torch.linspace(0, 3, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(2))]
    return Step(*made(recipe, precision), parts=parts, picture_weights=factors)


@pytest.mark.parametrize("parts", [2, 3])
def test_a_weighted_batch_in_parts_is_the_whole_batch(parts: int) -> None:
    """The factors' mean over all pictures is 1, so a batch is divided by its number of pictures, not by its weights."""
    recipe = narrow("source")
    whole, other, plain = weighted(recipe, "fp64"), weighted(recipe, "fp64", parts), maker(recipe, "fp64")
    for batch in batches(recipe, 4):
        one, two, without = (each(batch, RATES, True) for each in (whole, other, plain))
        torch.testing.assert_close(one.numbers, two.numbers, rtol=1e-12, atol=1e-12)
    assert one.loss != without.loss
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(other)[name], weight, rtol=1e-10, atol=1e-14)
    assert not all(torch.equal(w, weights(plain)[n]) for n, w in weights(whole).items())


def test_a_captured_weighted_step_is_the_step_to_the_bit() -> None:
    """A replay gathers the factors of its own pictures."""
    recipe = narrow("source")
    plain, inner = weighted(recipe, "fp64"), weighted(recipe, "fp64")
    graphs = Recorded(inner.momentum)
    captured = CudaGraphStep(inner, graphs)
    plain.momentum.rule = torch.zeros(len(plain.momentum.parameters), 2, dtype=torch.float64)
    plain.momentum.rule.copy_(plain.momentum.factors(RATES))
    for batch in batches(recipe, 8):
        assert torch.equal(plain(batch, RATES, True).numbers, captured(batch, RATES, True).numbers)
    assert graphs.replays
    assert all(torch.equal(w, weights(inner)[n]) for n, w in weights(plain).items())
