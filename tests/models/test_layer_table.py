"""The list of layers: the nets that others published have the shapes, the order and the function of their own code."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.distributed.strategy import refusal
from alexnet.models import blocks
from alexnet.models.alexnet import AlexNet
from alexnet.models.layer_table import describe, layers_of

OTHERS = ("bvlc", "caffenet", "owt")
NARROW: dict[str, Any] = {"channels": (8, 16, 12, 12, 8), "hidden": 20, "classes": 5, "std": (0.5,) * 8}


def settings(name: str, **changes: Any) -> Net:
    net = RECIPES[name].replace(net=changes).net
    assert isinstance(net, Net)
    return net


def narrow(name: str, **changes: Any) -> AlexNet:
    return AlexNet(settings(name, **NARROW, **changes), seed=3)


def views(net: Net, n: int = 2) -> Tensor:
    return 50 * torch.randn(n, 3, net.image_size, net.image_size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "weights", "sides"),
    [
        ("bvlc", 60_965_224, [55, 27, 27, 13, 13, 13, 13, 6]),
        ("caffenet", 60_965_224, [55, 27, 27, 13, 13, 13, 13, 6]),
        ("owt", 61_100_840, [55, 27, 27, 13, 13, 13, 13, 6]),
    ],
)
def test_published_nets_have_the_weights_and_sizes_of_their_own_code(name: str, weights: int, sides: list[int]) -> None:
    layers = layers_of(RECIPES[name].net)
    assert sum(layer.weights for layer in layers) == weights
    assert [layer.side for layer in layers if layer.side > 1] == sides


def test_the_order_of_layers_is_that_of_the_published_nets() -> None:
    bvlc, caffenet, owt = ([layer.name for layer in describe(RECIPES[name].net)] for name in OTHERS)
    assert bvlc[:8] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2"]
    assert caffenet[:8] == ["conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"]
    assert owt[-8:] == ["flatten", "drop5", "fc6", "relu6", "drop6", "fc7", "relu7", "fc8"]


def by_hand(name: str, w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Compute the logits as Caffe's and torchvision's nets are documented, without this package."""

    def conv(i: int, x: Tensor, **how: int) -> Tensor:
        return F.relu(F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], **how))

    def full(i: int, x: Tensor) -> Tensor:
        return F.linear(x, w[f"fc{i}.weight"], w[f"fc{i}.bias"])

    caffe = name != "owt"
    groups = 2 if caffe else 1

    def norm_and_pool(x: Tensor) -> Tensor:
        pool = nn.MaxPool2d(3, 2, ceil_mode=caffe)
        norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)  # over all maps, with alpha divided by the size, as in Caffe
        return pool(x) if name == "owt" else norm(pool(x)) if name == "caffenet" else pool(norm(x))

    x = norm_and_pool(conv(1, x, stride=4, padding=0 if caffe else 2))
    x = norm_and_pool(conv(2, x, padding=2, groups=groups))
    x = conv(4, conv(3, x, padding=1), padding=1, groups=groups)
    x = F.max_pool2d(conv(5, x, padding=1, groups=groups), 3, 2, ceil_mode=caffe).flatten(1)
    return full(8, F.relu(full(7, F.relu(full(6, x)))))  # dropout changes nothing in testing


@pytest.mark.parametrize("name", OTHERS)
def test_published_nets_compute_what_their_own_code_documents(name: str) -> None:
    net = narrow(name).double().eval()
    x = views(net.net).double()
    expected = by_hand(name, net.state_dict(), x)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-10 * float(expected.detach().abs().max()))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bvlc", {"lrn": {"across": "tower"}}),
        ("bvlc", {"lrn": {"divide_alpha_by_n": False}}),
        ("bvlc", {"lrn": {"k": 2.0}}),
        ("bvlc", {"dropout_scale": "testing"}),
        ("bvlc", {"pool_first": True}),
        ("caffenet", {"pool_first": False}),
    ],
    ids=str,
)
def test_each_detail_of_a_published_net_counts(name: str, wrong: dict[str, Any]) -> None:
    """A field that is forgotten shows in the logits, by far more than rounding."""
    right = narrow(name).double().eval()
    other = AlexNet(settings(name, **NARROW | wrong)).double().eval()
    other.load_state_dict(right.state_dict())
    x = views(right.net).double()
    assert float((other(x) - right(x)).detach().abs().max()) > 1e-3 * float(right(x).detach().abs().max())


def test_dropout_scaled_in_training_is_that_of_testing_divided_by_what_is_kept() -> None:
    ours, other = narrow("bvlc", dropout_scale="testing", dropout=0.2), narrow("bvlc", dropout=0.2)
    x = views(ours.net)
    for name in ("drop6", "drop7"):
        before = {net: net.train().at(4).features(x, name) for net in (ours, other)}
        torch.testing.assert_close(before[other], before[ours] / 0.8 ** (2 if name == "drop7" else 1), rtol=0.5, atol=1)
    kept = other.train().at(4).features(x, "drop6")
    relu = other.at(4).features(x, "relu6")
    assert torch.equal(kept, torch.where(kept != 0, relu / 0.8, kept))
    assert 0 < float((kept != 0).sum()) < float((relu != 0).sum())
    other.eval()
    assert torch.equal(other.features(x, "drop6"), other.features(x, "relu6"))


def test_dropout_of_pool5_zeroes_its_units_before_fc6() -> None:
    net = narrow("owt").train()
    x = views(net.net)
    flat, dropped = net.at(0).features(x, "flatten"), net.at(0).features(x, "drop5")
    assert torch.equal(dropped, torch.where(dropped != 0, 2 * flat, dropped))
    assert 0.4 < float(((dropped == 0) & (flat != 0)).sum() / (flat != 0).sum()) < 0.6


def test_sizes_round_down_where_padding_is_given() -> None:
    """(72 - 11) / 4 + 1 is 16.25: Caffe and torchvision leave the last window out, 2012's code pads it with zeros."""
    down, up = settings("owt", image_size=72, padding=(0, 2, 1, 1, 1)), settings("one-gpu", image_size=72)
    assert layers_of(down)[0].side == 16
    assert layers_of(up)[0].side == 17
    for net in (down, up, settings("owt", image_size=73)):
        made = AlexNet(net)
        assert tuple(made.features(views(net, 1), "pool5").shape[2:]) == (layers_of(net)[7].side,) * 2


@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize("padding", [(), (1, 2, 1, 0, 1)])
def test_described_sizes_are_those_of_the_maps(ceil: bool, padding: tuple[int, ...]) -> None:
    for side in range(67, 76):
        net = settings("tiny", channels=(2,) * 5, hidden=2, image_size=side, pool_ceil=ceil, padding=padding)
        made = dict(AlexNet(net).walk(views(net, 1)))
        for layer in describe(net):
            assert made[layer.name].shape[1:] == (
                (layer.maps, layer.side, layer.side) if made[layer.name].ndim == 4 else (layer.maps,)
            )


def test_uniform_weights_are_those_of_pytorch() -> None:
    """PyTorch draws weights and biases of a layer from +-1 / sqrt(inputs of a unit)."""
    net = AlexNet(settings("owt"))
    for layer in net.children():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            most = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                assert isinstance(values, Tensor)
                assert 0.97 * most < float(values.detach().abs().max()) <= most * (1 + 1e-6)
            n = min(layer.weight.numel(), 2**20)
            weights = layer.weight.detach().flatten()[:n].double() / most
            assert abs(float((weights**2).mean()) - 1 / 3) < 5 * math.sqrt(4 / 45 / n)


def test_hes_weights_have_the_variance_of_two_over_the_inputs_of_a_unit_and_the_same_draws() -> None:
    """He et al. 2015, formula 10; the inputs of a unit in a tower are that tower's maps."""
    net, plain = (AlexNet(settings("tiny", init=init, bias_one_layers=())) for init in ("he", "normal"))
    for layer in net.layers:
        if not layer.weighted:
            continue
        weight, other = (each.get_parameter(f"{layer.name}.weight").detach() for each in (net, plain))
        inputs, n = weight[0].numel(), weight.numel()
        assert inputs == layer.fan_in
        assert abs(float(weight.double().square().mean()) * inputs / 2 - 1) < 5 * math.sqrt(2 / n)
        std = net.net.initial[layer.name][0]
        torch.testing.assert_close(weight, other * (math.sqrt(2 / inputs) / std), rtol=1e-5, atol=1e-7)
        assert not net.get_parameter(f"{layer.name}.bias").any()


def test_biases_start_at_the_values_given() -> None:
    net = narrow("bvlc")
    biases = [value for name, value in net.state_dict().items() if name.endswith(".bias")]
    for bias, value in zip(biases, (0, 0.1, 0, 0.1, 0.1, 0.1, 0.1, 0), strict=True):
        assert torch.equal(bias, torch.full_like(bias, value))


@pytest.mark.parametrize(
    ("name", "strategy", "word"),
    [("bvlc", "towers", "across"), ("owt", "hybrid", "dropped"), ("bvlc", "hybrid", "")],
)
def test_a_strategy_that_would_cut_a_net_wrongly_is_refused(name: str, strategy: str, word: str) -> None:
    said = refusal(RECIPES[name].net, strategy, 2)
    assert word in said
    assert bool(said) == bool(word)


def test_gpu_blocks_leave_published_nets_to_the_layers_one_by_one() -> None:
    assert blocks.supports(settings("source"))
    assert not any(blocks.supports(settings(name)) for name in OTHERS)


@pytest.mark.parametrize(
    "shape",
    [
        {"padding": (1, 2)},
        {"padding": (11, 2, 1, 1, 1)},
        {"padding": (-1, 2, 1, 1, 1)},
        {"dropped": ("fc8",)},
        {"dropped": ("fc6", "fc6")},
        {"dropout_scale": "never"},
        {"biases": (1.0,)},
        {"init": "zeros"},
    ],
    ids=str,
)
def test_fields_of_published_nets_that_cannot_be_are_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"net\.{next(iter(shape))}.*must be"):
        RECIPES["paper"].replace(net=shape)
