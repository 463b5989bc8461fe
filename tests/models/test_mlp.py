"""The fully connected net against loops in plain Python and NumPy."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.ranks import Ranks, trained
from tests.rounding import TOLERANCE, reach
from torch import Tensor

from alexnet.config.recipe import MlpNet, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core import rng
from alexnet.core.errors import InputError
from alexnet.distributed.strategy import refusal
from alexnet.figures import catalogue
from alexnet.inference.layer_names import last_hidden
from alexnet.models import layer_table
from alexnet.models.build import build
from alexnet.models.mlp import Mlp
from alexnet.runs import checkpoint
from alexnet.runs.run import load
from alexnet.training.train import train

NET = MlpNet(image_size=3, classes=4, hidden=(6, 5), dropout=0.4, std=(0.02, 0.3, 0.4))
NAMES = ["flatten", "fc1", "relu1", "drop1", "fc2", "relu2", "drop2", "fc3"]
ACTIVATE: dict[str, Any] = {
    "relu": lambda v: max(v, 0.0), "tanh": math.tanh, "logistic": lambda v: 1 / (1 + math.exp(-v))
}  # fmt: skip


def views(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).normal(0, 60, (count, 3, 3, 3)))


def made(net: MlpNet = NET, seed: int = 0) -> Mlp:
    return Mlp(net, seed).double()


def stays(seed: int, layer: str, step: int, picture: int, unit: int, p: float) -> float:
    """Return 1.0 if a unit stays (section 4.2): each unit of each picture has its own word, a function of place."""
    word = rng.words(seed, f"dropout {layer}", unit // 4, picture, step, 0)[unit % 4]
    return float(int(word) >= round(p * 2**32))


def reference(model: Mlp, x: Tensor, step: int | None, position: int = 0) -> dict[str, np.ndarray]:
    """Compute every layer for each picture, unit by unit; in training at `step`, in testing if it is None."""
    net, w = model.net, {name: value.numpy() for name, value in model.state_dict().items()}
    out: dict[str, list[list[float]]] = {name: [] for name in NAMES}
    for n, picture in enumerate(x.numpy()):
        seen = [
            picture[c, row, column]
            for c in range(3)
            for row in range(net.image_size)
            for column in range(net.image_size)
        ]
        out["flatten"].append(seen)
        for i, (layer, width) in enumerate(zip(net.layers, (*net.hidden, net.classes), strict=True), 1):
            weight, bias = w[f"{layer}.weight"], w[f"{layer}.bias"]
            seen = [sum(weight[u, v] * s for v, s in enumerate(seen)) + bias[u] for u in range(width)]
            out[layer].append(seen)
            if i == len(net.layers):
                break
            seen = [ACTIVATE[net.activation](v) for v in seen]
            out[f"relu{i}"].append(seen)
            factors = [1 - net.dropout] * width
            if step is not None:
                factors = [stays(model.seed, layer, step, position + n, u, net.dropout) for u in range(width)]
            seen = [v * factor for v, factor in zip(seen, factors, strict=True)]
            out[f"drop{i}"].append(seen)
    return {name: np.array(value) for name, value in out.items()}


@pytest.mark.parametrize("activation", list(ACTIVATE))
@pytest.mark.parametrize("step", [None, 2, 2**31])
def test_the_net_is_what_loops_compute(activation: str, step: int | None) -> None:
    model, x = made(MlpNet(3, 4, (6, 5), activation, 0.4, (0.02, 0.3, 0.4)), seed=7), views(3)  # type: ignore[arg-type]
    model.train(step is not None).at(step or 0, 11)
    expected = reference(model, x, step, 11)

    def layers() -> dict[str, Tensor]:
        return {name: value.detach() for name, value in model.at(step or 0, 11).walk(x)}

    found = {name: value.numpy() for name, value in layers().items()}
    assert list(found) == list(expected) == NAMES
    rooms = reach(lambda: list(layers().values()), torch.float64)
    for (name, value), room in zip(expected.items(), rooms, strict=True):
        assert room < 1e-12 * np.abs(value).max(), name
        np.testing.assert_allclose(found[name], value, rtol=0, atol=2 * room, err_msg=name)  # both in float64
        np.testing.assert_array_equal(model.features(x, name).detach().numpy(), found[name])
    assert torch.equal(model(x), model.at(step or 0, 11).features(x, "fc3"))


def test_some_units_are_dropped_and_a_probability_of_zero_drops_none() -> None:
    model, x = made().train(), views(8)
    assert (model.at(1).features(x, "drop1") != model.features(x, "relu1")).any()
    free = made(MlpNet(3, 4, (6, 5), dropout=0.0, std=NET.std))
    assert torch.equal(free.train()(x), free.eval()(x))


def test_training_moves_on_a_step_a_forward_and_testing_does_not() -> None:
    model, x = made(), views(1)
    model.train().at(6)(x)
    assert model.step == 7
    model.eval()(x)
    model.features(x, "fc2")
    assert model.step == 7


def test_a_step_has_its_masks_and_another_step_or_seed_others() -> None:
    """So a run resumed at a step drops the same units as an uninterrupted run."""
    model, x = made().train(), views(8)
    first, second = model.at(2)(x), model(x)
    assert torch.equal(model.at(2)(x), first)
    assert torch.equal(model.at(3)(x), second)
    assert torch.equal(model.at(torch.tensor(3))(x), second)
    assert not torch.equal(first, second)
    other = made(seed=1).train()
    other.load_state_dict(model.state_dict())
    assert not torch.equal(other.at(2)(x), first)


def test_a_share_of_the_batch_drops_what_the_whole_batch_drops() -> None:
    model, x = made().train(), views(6)
    whole = model.at(2)(x)
    parts = torch.cat([model.at(2, first)(x[first : first + 2]) for first in (0, 2, 4)])
    (room,) = reach(lambda: [model.at(2)(x).detach()], torch.float64)
    torch.testing.assert_close(parts, whole, rtol=0, atol=2 * room)  # other batch sizes sum in another order


def test_initial_weights_are_normal_of_the_stated_deviation_and_fc2_has_biases_of_one() -> None:
    model = Mlp(MlpNet(image_size=16, hidden=(200, 100), std=(0.02, 0.3, 0.4)), seed=2)
    for name, std in zip(model.net.layers, model.net.std, strict=True):
        weight, bias = (model.get_submodule(name).get_parameter(n).detach() for n in ("weight", "bias"))
        assert float(weight.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * weight.numel())), name
        assert bool((bias == float(name == "fc2")).all()), name


@pytest.mark.parametrize("hidden", [(7,), (6, 5), (9, 8, 7)])
def test_the_shape_walk_counts_what_the_net_holds(hidden: tuple[int, ...]) -> None:
    net = MlpNet(image_size=5, classes=3, hidden=hidden, std=(0.1,) * (len(hidden) + 1))
    model = build(net, 0)
    assert isinstance(model, Mlp)
    table = layer_table.layers_of(net)
    assert [layer.name for layer in table] == list(net.layers)
    for layer in table:
        held = model.get_submodule(layer.name)
        assert layer.weights == sum(p.numel() for p in held.parameters())
        assert layer.multiply_adds == held.get_parameter("weight").numel()
        assert layer.units == len(held.get_parameter("bias"))
    assert layer_table.notes(net) == []
    assert last_hidden(model) == f"relu{len(hidden)}"


@pytest.mark.parametrize("layer", ["relu3", "conv1", "fc4", ""])
def test_a_layer_that_is_not_there_is_refused_with_the_names_that_are(layer: str) -> None:
    with pytest.raises(InputError, match=r"fc1, relu1, drop1, fc2.*fc3"):
        made().features(views(1), layer)


@pytest.mark.parametrize("strategy", ["towers", "hybrid"])
def test_only_replicas_are_for_it(strategy: str) -> None:
    assert (
        refusal(NET, strategy, 2) == f"--strategy {strategy} is for AlexNet only; train a MlpNet with --strategy data"
    )
    assert refusal(NET, "data", 2) == ""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Make a recipe with four steps per epoch, the last one smaller."""
    net = MlpNet(image_size=56, classes=3, hidden=(8, 6), std=(0.002, 0.3, 0.3))
    return RECIPES["tiny"].replace(net=net, sgd={"batch": 8, "lr": 0.001}, views={"pictures_per_crop": 2}, epochs=2)


def weights(run: Path) -> dict[str, Tensor]:
    return checkpoint.read_tensors(checkpoint.list_checkpoints(run)[-1], checkpoint.FILES[0])


def test_a_run_stopped_and_resumed_or_spread_over_replicas_is_the_uninterrupted_run_of_one(
    ranks: Ranks, store: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """The order of sums over replicas differs, within TOLERANCE of float64."""
    for folder, processes, given in (("one", 1, {}), ("two", 2, {"accumulate": 2}), ("stopped", 1, {"stop_at": 3})):
        said = ranks(processes, trained, store, tmp_path / folder, recipe, precision="fp64", **given)
        assert said == ["done"] * processes or folder == "stopped"
    assert "saved at step 3 of 8" in said[0]
    assert ranks(1, trained, store, tmp_path / "stopped", recipe, precision="fp64", resume=True) == ["done"]
    one, two, resumed = (weights(tmp_path / folder) for folder in ("one", "two", "stopped"))
    for name, value in one.items():
        assert torch.equal(resumed[name], value)
        torch.testing.assert_close(two[name], value, rtol=0, atol=TOLERANCE["fp64"] * float(value.abs().max()))


def test_a_run_has_every_figure_but_those_of_convolutions(store: Path, recipe: Recipe, tmp_path: Path) -> None:
    train(store, tmp_path / "run", recipe, precision="fp32", quiet=True)
    assert isinstance(load(tmp_path / "run"), Mlp)
    _, left = catalogue.draw(tmp_path / "run", tmp_path / "figures")
    words = "a net of fully connected layers alone has neither kernels nor maps to show"
    assert left == {"kernels": words, "maps": words}
