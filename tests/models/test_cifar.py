"""The small nets of 2012 for CIFAR-10 against loops in NumPy (cuda-convnet's layers-18pct, -13pct and -11pct files)."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.rounding import gamma, reach
from torch import Tensor

from alexnet.config.recipe import LRN, CifarNet, Net, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.models.alexnet import AlexNet
from alexnet.models.build import build
from alexnet.models.cifar import Cifar
from alexnet.models.layer_table import Layer, Pool
from alexnet.models.layers import Local, Place, module
from alexnet.ops.norm import response_norm, within_map_norm

Array = np.ndarray[Any, np.dtype[np.float64]]

# the layers in order, and the sides of the pools' outputs, by name
ORDERS = {
    "cifar-18": "conv1 pool1 relu1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 pool3 flatten fc",
    "cifar-13": "conv1 relu1 pool1 conv2 relu2 pool2 local3 relu3 local4 relu4 flatten fc",
    "cifar-11": "conv1 relu1 pool1 norm1 conv2 relu2 norm2 pool2 local3 relu3 local4 relu4 flatten fc",
}
SIDES = {"cifar-18": [16, 8, 4], "cifar-13": [12, 6], "cifar-11": [12, 6]}


def net_of(name: str) -> CifarNet:
    net = RECIPES[name].net
    assert isinstance(net, CifarNet)
    return net


def raw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 60, shape))


def pool_by_loops(x: Array, kind: str) -> Array:
    """Pool as the 2012 code: ceil((side - 3) / 2) + 1 windows of 3; a clipped average counts only the units inside."""
    side = math.ceil((x.shape[2] - 3) / 2) + 1
    out = np.empty((*x.shape[:2], side, side))
    for p, m, r, c in np.ndindex(*out.shape):
        cut = x[p, m, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3]
        out[p, m, r, c] = cut.max() if kind == "max" else cut.sum() / cut.size
    return out


def local_by_loops(x: Array, weight: Array, bias: Array) -> Array:
    """Compute a 3 x 3 convolution, padding 1, with other kernels at each place."""
    pictures, seen, side, _ = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty((pictures, weight.shape[2], side, side))
    for p, m, r, c in np.ndindex(*out.shape):
        kernel = weight[r, c, m].reshape(seen, 3, 3)
        s = bias[r, c, m]
        for f, y, z in np.ndindex(seen, 3, 3):
            s += kernel[f, y, z] * padded[p, f, r + y, c + z]
        out[p, m, r, c] = s
    return out


@pytest.mark.parametrize("name", list(ORDERS))
def test_the_layers_stand_in_the_order_of_the_2012_files(name: str) -> None:
    """Norm 1 follows pool 1; norm 2 precedes pool 2 in the 11 % net and follows it in the 18 % net."""
    model = Cifar(net_of(name))
    x = torch.zeros(1, 3, model.net.image_size, model.net.image_size)
    found = dict(model.walk(x))
    assert list(found) == ORDERS[name].split()
    assert [found[layer].shape[2] for layer in found if layer.startswith("pool")] == SIDES[name]
    assert found["fc"].shape == (1, 10)


def test_the_widths_norms_pools_and_deviations_are_those_of_the_2012_files() -> None:
    thirteen, eleven, eighteen = (net_of(f"cifar-{n}") for n in (13, 11, 18))
    assert (thirteen.channels, thirteen.local, thirteen.norm, thirteen.pools) == (
        (64, 64),
        (32, 32),
        None,
        ("max",) * 2,
    )
    assert (eleven.channels, eleven.local, eleven.pools) == ((64, 64), (64, 32), ("max",) * 2)
    assert eleven.norm == LRN(n=9, k=1.0, alpha=1e-3, beta=0.75, divide_alpha_by_n=True)
    assert thirteen.std == eleven.std == (1e-4, 0.01, 0.04, 0.04, 0.01)
    assert (eighteen.channels, eighteen.local, eighteen.pools) == ((32, 32, 64), (), ("max", "avg", "avg"))
    assert eighteen.norm == SpatialLRN(n=3, k=1.0, alpha=5e-5, beta=0.75)
    assert eighteen.std == (1e-4, 0.01, 0.01, 0.01)
    assert (thirteen.image_size, eleven.image_size, eighteen.image_size) == (24, 24, 32)


@pytest.mark.parametrize("name", list(ORDERS))
def test_the_net_is_its_layers_one_after_the_other(name: str) -> None:
    """Each layer by an operation that the test chooses by name, in float64; the order of sums may differ."""
    net = net_of(name)
    model = Cifar(net).double().eval()
    w = model.state_dict()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
            parameter.add_(torch.from_numpy(np.random.default_rng(1).normal(0, 0.01, parameter.shape)))
    x = expected = raw(2, 3, net.image_size, net.image_size)
    names = ORDERS[name].split()
    rooms = dict(
        zip(names, reach(lambda: [model.features(x, n).detach() for n in names], torch.float64, 1), strict=True)
    )
    for layer in ORDERS[name].split():
        kind, number = layer.rstrip("1234"), layer[-1]
        if kind == "conv":
            expected = F.conv2d(expected, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=2)
        elif kind == "relu":
            expected = expected.clamp(min=0)
        elif kind == "pool":
            kind = "max" if name != "cifar-18" or number == "1" else "avg"
            expected = torch.from_numpy(pool_by_loops(expected.numpy(), kind))
        elif kind == "norm":
            norm = net.norm
            assert norm is not None
            expected = response_norm(expected, norm, 1) if isinstance(norm, LRN) else within_map_norm(expected, norm)
        elif kind == "local":
            side = expected.shape[2]
            padded = F.pad(expected, (1, 1, 1, 1))
            place = torch.empty(2, w[f"{layer}.weight"].shape[2], side, side, dtype=torch.float64)
            for r in range(side):
                for c in range(side):
                    cut = padded[:, :, r : r + 3, c : c + 3].flatten(1)
                    place[:, :, r, c] = F.linear(cut, w[f"{layer}.weight"][r, c], w[f"{layer}.bias"][r, c])
            expected = place
        else:
            expected = expected.flatten(1)
            expected = F.linear(expected, w["fc.weight"], w["fc.bias"]) if kind == "fc" else expected
        found = model.features(x, layer).detach()
        assert rooms[layer] < 1e-11 * expected.abs().max(), layer
        assert (found - expected).abs().max() <= 2 * rooms[layer], layer
    assert torch.equal(model(x), model.features(x, "fc"))


@pytest.mark.parametrize("side", [1, 2, 6])
def test_a_local_layer_has_its_own_kernels_at_every_place(side: int) -> None:
    layer = Local(side, 3, 4).double()
    random = np.random.default_rng(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.from_numpy(random.normal(0, 1, parameter.shape)))
    assert layer.weight.shape == (side, side, 4, 27)
    x = raw(2, 3, side, side)
    expected = local_by_loops(x.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy())
    (room,) = reach(lambda: [layer(x).detach()], torch.float64)  # 27 products and a bias, here and in the loops
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=2 * room)
    laid = x.contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(layer(laid).detach().numpy(), expected, rtol=0, atol=2 * room)


def test_a_local_layer_with_equal_kernels_is_a_convolution() -> None:
    layer = Local(5, 2, 3).double()
    kernel, bias = raw(3, 2, 3, 3), raw(3)
    with torch.no_grad():
        layer.weight.copy_(kernel.flatten(1).expand(5, 5, 3, 18))
        layer.bias.copy_(bias.expand(5, 5, 3))
    x = raw(2, 2, 5, 5)
    (room,) = reach(lambda: [layer(x).detach()], torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, kernel, bias, padding=1), rtol=0, atol=2 * room)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("side", [3, 4, 7, 8, 16, 24])
def test_hanging_pools_are_clipped_and_divide_by_what_is_left(kind: str, side: int) -> None:
    """2012 code: sizes round up, 32 -> 16 -> 8 -> 4 and 24 -> 12 -> 6."""
    x = raw(1, 2, side, side) - 200  # far below zero, where a zero beyond the border would win
    pool = module(Layer("pool1", Pool(3, kind), 2, side, 2, 0), Place(0))
    np.testing.assert_allclose(pool(x).numpy(), pool_by_loops(x.numpy(), kind), rtol=2 * gamma(10))


def test_the_initial_weights_have_the_stated_deviations_and_biases_of_zero() -> None:
    model = Cifar(net_of("cifar-11"), seed=2)
    for name, std in zip(model.net.layers, model.net.std, strict=True):
        layer = model.get_submodule(name)
        weight = layer.get_parameter("weight").detach()
        n = weight.numel()
        assert abs(float(weight.mean())) < 5 * std / math.sqrt(n), name
        assert float(weight.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * n)), name
        assert not layer.get_parameter("bias").any(), name


def test_these_nets_have_nothing_random_inside() -> None:
    model, x = Cifar(net_of("cifar-13")).train(), raw(2, 3, 24, 24).float()
    assert torch.equal(model.at(1)(x), model.at(2, 5)(x))


def test_a_layer_that_is_not_there_is_refused_with_the_names_that_are() -> None:
    with pytest.raises(InputError, match=r"conv1.*local4.*fc"):
        Cifar(net_of("cifar-13")).features(torch.zeros(1, 3, 24, 24), "norm1")


def test_a_recipes_net_is_built_with_its_seed() -> None:
    assert isinstance(build(CifarNet(), 0), Cifar)
    small = Net(image_size=67, classes=3, channels=(2, 2, 2, 2, 2), hidden=2)
    assert isinstance(build(small, 0), AlexNet)
    one, other = (build(small, seed).state_dict()["conv1.weight"] for seed in (0, 1))
    assert not torch.equal(one, other)
