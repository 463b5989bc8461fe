"""The arms that depend on their base: each changes the fields it is named after and no others."""

import math
from typing import Any

import pytest
import torch

from alexnet.config.overrides import describe_fields
from alexnet.config.recipe import Late, MlpNet, Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.studies import arms
from alexnet.studies.designs import changed

SOURCE, SMALL, TINY = (RECIPES[name] for name in ("source", "small", "tiny"))


def differing(a: Recipe, b: Recipe) -> set[str]:
    """List the fields in which two recipes differ."""
    one, two = ({n: v for n, v, _ in describe_fields(r)} for r in (a, b))
    return {n for n in one.keys() | two.keys() if one.get(n) != two.get(n)}


def weights(recipe: Recipe) -> int:
    return sum(layer.weights for layer in layers_of(recipe.net))


def net_of(recipe: Recipe) -> Net:
    assert isinstance(recipe.net, Net)
    return recipe.net


def test_the_net_of_one_gpu_is_the_named_recipe() -> None:
    assert changed(RECIPES["paper"], arms.half) == RECIPES["one-gpu"]


def test_net_150_has_81_6_million_weights() -> None:
    """2012 code, layers-150.cfg: 160 maps a column in conv2, 4,096 units a column in fc6 and fc7."""
    wide = changed(SOURCE, arms.net_150)
    assert (SOURCE.net.image_size, SOURCE.net.classes) == (224, 1000)
    assert net_of(wide).channels == (96, 320, 384, 384, 256)
    assert net_of(wide).hidden == 8192
    by_hand = 96 * (11 * 11 * 3 + 1) + 320 * (5 * 5 * 48 + 1) + 384 * (3 * 3 * 160 + 1)
    by_hand += 384 * (3 * 3 * 192 + 1) + 256 * (3 * 3 * 192 + 1)
    by_hand += 8192 * (6 * 6 * 128 + 1) + 8192 * (4096 + 1) + 1000 * (8192 + 1)
    assert weights(wide) == by_hand == 81_591_720
    assert differing(SOURCE, wide) == {"net.cross_tower", "net.channels", "net.hidden"}


@pytest.mark.parametrize("name", ["source", "tiny", "small", "demo"])
def test_net_150_is_wider_by_the_same_factors_on_any_base(name: str) -> None:
    base, wide = RECIPES[name], changed(RECIPES[name], arms.net_150)
    factors = [b / a for a, b in zip(net_of(base).channels, net_of(wide).channels, strict=True)]
    assert factors == [1, 1.25, 1, 1, 1]
    assert net_of(wide).hidden == 2 * net_of(base).hidden


def test_the_towers_of_net_150_do_not_see_each_other_before_fc8() -> None:
    """A change to the maps of one tower in conv1 changes no unit of the other tower in fc7."""
    base = SMALL.replace(net={"classes": 10, "image_size": 28, "channels": (8, 16, 8, 8, 8), "hidden": 16})
    net = build(changed(base, arms.net_150).net, 0).eval()
    x = torch.randn(2, 3, 28, 28)
    before: Any = net.features(x, "fc7")
    with torch.no_grad():
        net.get_parameter("conv1.weight")[:4] += 1
    after: Any = net.features(x, "fc7")
    same = (before == after).all(0)
    assert same[16:].all()
    assert not same[:16].any()


@pytest.mark.parametrize(
    ("name", "input_side", "sides"),
    [("small", 28, (24, 12, 6, 3)), ("tiny", 51, (24, 12, 6, 3)), ("source", 231, (56, 28, 14, 7))],
)
def test_pools_of_two_and_of_three_put_out_equal_maps(name: str, input_side: int, sides: tuple[int, ...]) -> None:
    """Section 3.4: "which produces output of equivalent dimensions"."""
    nets = [changed(RECIPES[name], arms.pooled(pool)) for pool in (3, 2)]
    assert differing(*nets) == {"net.pool"}
    for recipe in nets:
        assert recipe.net.image_size == input_side
        walk = {layer.name: layer.side for layer in layers_of(recipe.net)}
        assert (walk["conv1"], walk["pool1"], walk["pool2"], walk["pool5"]) == sides
    assert weights(nets[0]) == weights(nets[1])
    assert sum(x.multiply_adds for x in layers_of(nets[0].net)) == sum(x.multiply_adds for x in layers_of(nets[1].net))


def test_an_input_whose_maps_are_even_stays_even_with_an_overhang() -> None:
    """Here conv1 has 24 units a side, and the last one reads one column beyond the edge."""
    net = net_of(SMALL.replace(net={"image_size": 50, "stride": 2}))
    assert arms.even_input(net) == 50


def test_wider_hidden_layers_begin_with_weights_that_pass_on_as_much() -> None:
    """The std times the root of the number of inputs is the same in every layer."""
    wide = changed(SMALL, arms.wider_hidden)
    assert net_of(wide).hidden == 2048
    assert differing(SMALL, wide) == {"net.hidden", "net.std"}
    passed = [
        [std * math.sqrt(arms.fan_in(layer)) for std, layer in zip(net_of(r).std, held(r), strict=True)]
        for r in (SMALL, wide)
    ]
    assert passed[0] == pytest.approx(passed[1])


def held(recipe: Recipe) -> list[Any]:
    return [layer for layer in layers_of(recipe.net) if layer.weights]


@pytest.mark.parametrize("times", [0, 1, 10])
def test_decay_is_multiplied_everywhere(times: int) -> None:
    base = RECIPES["cifar-11"].replace(sgd={"bias_weight_decay": 0.001})
    sgd = changed(base, arms.decayed(times)).sgd
    assert sgd.weight_decay == 0.004 * times
    assert sgd.bias_weight_decay == 0.001 * times
    assert sgd.layer_weight_decay == {"conv1": 0, "conv2": 0, "fc": 0.01 * times}


def test_without_momentum_weights_and_biases_have_so_many_times_their_rates() -> None:
    sgd = changed(SMALL, arms.unhurried(3)).sgd
    assert (sgd.momentum, sgd.lr, sgd.bias_lr) == (0.0, 3 * SMALL.sgd.lr, 3 * SMALL.sgd.bias_lr)


def test_fine_tuning_cuts_the_rates_of_weights_alone_and_turns_as_the_2012_log() -> None:
    """146-2012-2011: epsw 0.001, conv1's 0.0001; epsB 0.02; conv1 frozen from epoch 7 of 54, no noise from 38."""
    tuned = changed(SOURCE, arms.tuned)
    sgd, late = tuned.sgd, tuned.late
    assert (sgd.lr, sgd.bias_lr) == (0.001, 0.02)
    assert not sgd.layer_lr_biases
    assert {name: sgd.lr * factor for name, factor in sgd.layer_lr.items()} == pytest.approx(
        {"conv1": 1e-4, "fc8": 0.01}
    )
    of = tuned.schedule.of_epochs
    assert late.conv1_slow is None
    assert late.conv1_frozen == pytest.approx(of * 7 / 54)
    assert late.colour_off == pytest.approx(of * 38 / 54)
    assert net_of(tuned).conv6 == net_of(SOURCE).channels[4]


@pytest.mark.parametrize("classes", [10, 50])
@pytest.mark.parametrize("name", ["small", "tiny", "source", "cifar-13"])
def test_convolutions_and_full_layers_have_as_many_weights_and_pass_on_as_much(name: str, classes: int) -> None:
    base = RECIPES[name].replace(net={"classes": classes})
    full = changed(base, arms.dense(1))
    assert isinstance(full.net, MlpNet)
    assert weights(full) == pytest.approx(weights(base), rel=0.01 if name == "small" else 0.005)
    width = full.net.hidden[0]
    assert full.net.hidden == (width, width)
    others = [weights(full.replace(net={"hidden": (w, w)})) for w in (width - 1, width + 1)]
    assert abs(weights(full) - weights(base)) <= min(abs(other - weights(base)) for other in others)
    shared = (base.net.image_size, classes, base.net.activation)
    assert (full.net.image_size, full.net.classes, full.net.activation) == shared
    assert full.net.dropout == getattr(base.net, "dropout", 0.0)
    assert full.net.bias_one_layers == ((2,) if isinstance(base.net, Net) else ())
    of_name = {"small": (75, 512, 512), "tiny": (75, 1024, 1024), "source": (363, 4096, 4096)}
    seen = of_name.get(name, (75, 288, 1152))
    theirs = [std * math.sqrt(n) for std, n in zip((base.net.std[i] for i in (0, -2, -1)), seen, strict=True)]
    inputs = (3 * base.net.image_size**2, width, width)
    assert [std * math.sqrt(n) for std, n in zip(full.net.std, inputs, strict=True)] == pytest.approx(theirs)
    assert full.late.conv1_frozen is full.late.conv1_slow is None
    assert full.sgd.lr == base.sgd.lr
    faster = changed(base, arms.dense(3))
    assert differing(full, faster) == {"sgd.lr", "sgd.bias_lr"}
    assert (faster.sgd.lr, faster.sgd.bias_lr) == (3 * base.sgd.lr, 3 * base.sgd.bias_lr)


def test_decays_of_layers_that_the_full_net_lacks_are_left_out() -> None:
    base = RECIPES["cifar-13"].replace(sgd={"layer_weight_decay": {"fc": 0.1}})
    assert changed(base, arms.dense(1)).sgd.layer_weight_decay == {}


def test_a_base_that_no_full_net_matches_in_weights_is_refused() -> None:
    for recipe in (RECIPES["demo"], TINY.replace(net=MlpNet(56), late=Late())):
        with pytest.raises(InputError, match="fc-conv needs two nets with as many weights: the base's") as refused:
            changed(recipe, arms.dense(1))
        assert "\n" not in str(refused.value)
