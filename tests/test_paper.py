"""Facts: what the paper of 2012 prints, and what its source code says where the two differ, number by number."""

import pytest
import torch
from torch import Tensor

from alexnet import AlexNet
from alexnet.config.recipe import LRN, AnyNet, CifarNet, Net, Plateau, Recipe, SpatialLRN, Steps
from alexnet.config.recipes import RECIPES
from alexnet.models.cifar import Cifar
from alexnet.models.layer_table import Layer, layers_of, output_side, overhang

# name: (maps, side, weights with biases, multiply-adds), worked out by hand from figure 2's widths and kernels:
# conv weights = maps * (maps seen * side^2 + 1), multiply-adds = the products once for each place.
TABLE = {
    "conv1": (96, 55, 34_944, 105_415_200),
    "conv2": (256, 27, 307_456, 223_948_800),
    "conv3": (384, 13, 885_120, 149_520_384),
    "conv4": (384, 13, 663_936, 112_140_288),
    "conv5": (256, 13, 442_624, 74_760_192),
    "fc6": (4096, 1, 37_752_832, 37_748_736),
    "fc7": (4096, 1, 16_781_312, 16_777_216),
    "fc8": (1000, 1, 4_097_000, 4_096_000),
}
SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
SOURCE_STD = (0.01, 0.01, 0.03, 0.03, 0.03, 0.01, 0.01, 0.01)


def empty(net: Net) -> AlexNet:
    """The module with shapes and no memory."""
    with torch.device("meta"):
        return AlexNet(net)


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return module.state_dict()


def layers(net: AnyNet) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers_of(net)}


def net_of(name: str) -> Net:
    net = RECIPES[name].net
    assert isinstance(net, Net)
    return net


@pytest.mark.parametrize("name", ["paper", "source", "source-145"])
def test_the_net_holds_60_965_224_weights_and_does_724_406_816_multiply_adds(name: str) -> None:
    """Section 1: "60 million parameters"; the products are those of figure 2."""
    table = layers_of(net_of(name))
    assert sum(layer.weights for layer in table) == 60_965_224
    assert sum(layer.multiply_adds for layer in table) == 724_406_816


@pytest.mark.parametrize("layer", list(TABLE))
def test_each_layer_has_the_size_weights_and_multiply_adds_of_figure_2(layer: str) -> None:
    """Section 3.5 and figure 2."""
    found = layers(net_of("paper"))[layer]
    assert (found.maps, found.side, found.weights, found.multiply_adds) == TABLE[layer]


def test_conv1_has_290_400_units_and_all_layers_659_272() -> None:
    """Figure 2's caption lists 253,440 for conv1, which is 55 x 48 x 96: a slip. Section 1 rounds to 650,000."""
    found = layers(net_of("paper"))
    assert found["conv1"].units == 290_400 == 55 * 55 * 96
    assert [found[name].units for name in TABLE] == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    assert sum(layer.units for layer in found.values()) == 659_272


def test_the_pools_are_27_13_and_6_units_a_side() -> None:
    """Section 3.4: windows of 3 that move by 2."""
    found = layers(net_of("paper"))
    assert {n: (layer.maps, layer.side) for n, layer in found.items() if n.startswith("pool")} == {
        "pool1": (96, 27),
        "pool2": (256, 13),
        "pool5": (256, 6),
    }


def test_the_one_gpu_net_holds_59_798_312_weights_and_does_391_514_384_multiply_adds() -> None:
    """Section 3.2, footnote 1: half the kernels, but conv5 and the fully connected layers stay (2012: 145-half)."""
    net = net_of("one-gpu")
    assert (net.towers, net.channels, net.hidden) == (1, (48, 128, 192, 192, 256), 4096)
    table = layers_of(net)
    assert sum(layer.weights for layer in table) == 59_798_312
    assert sum(layer.multiply_adds for layer in table) == 391_514_384
    assert sum(p.numel() for p in empty(net).parameters()) == 59_798_312


@pytest.mark.parametrize("name", ["paper", "source"])
def test_the_state_dict_has_these_keys_and_shapes_and_no_others(name: str) -> None:
    """Section 3.5: the kernels of each layer; conv2, conv4 and conv5 see one tower's maps."""
    expected: dict[str, tuple[int, ...]] = {}
    for layer, shape in SHAPES.items():
        expected |= {f"{layer}.weight": shape, f"{layer}.bias": shape[:1]}
    found = state(empty(net_of(name)))
    assert {key: tuple(value.shape) for key, value in found.items()} == expected
    assert sum(value.numel() for value in found.values()) == 60_965_224


def test_224_gives_55_by_three_zero_columns() -> None:
    """Figure 2 says 224 and 55; the 2012 code has 1 + ceil((224 - 11) / 4) modules and reads zeros past the edge."""
    assert output_side(224, 11, 4) == 55
    assert overhang(224, 11, 4) == 3
    assert empty(net_of("paper")).get_submodule("pad1").padding == (0, 3, 0, 3)


def test_the_formula_of_every_layer_of_alexnet_after_conv1_divides_exactly() -> None:
    """Section 3.4: 55, 27 and 13 pooled by 3/2, so that rounding up or down is the same."""
    assert [overhang(side, 3, 2) for side in (55, 27, 13)] == [0, 0, 0]
    assert [output_side(side, 3, 2) for side in (55, 27, 13)] == [27, 13, 6]


def test_the_cifar_nets_hold_1_116_490_and_2_112_970_weights() -> None:
    """2012 code, layers-conv-local-13pct.cfg and -11pct.cfg, at crops of 24."""
    for name, weights in (("cifar-13", 1_116_490), ("cifar-11", 2_112_970)):
        net = RECIPES[name].net
        assert isinstance(net, CifarNet)
        assert sum(layer.weights for layer in layers_of(net)) == weights
        assert sum(p.numel() for p in Cifar(net).parameters()) == weights


def test_the_paper_recipe_is_the_printed_net() -> None:
    """Sections 3.1 to 3.5, 4.2 and 5."""
    net = net_of("paper")
    assert (net.image_size, net.classes, net.towers, net.stride, net.hidden) == (224, 1000, 2, 4, 4096)
    assert net.channels == (96, 256, 384, 384, 256)
    assert net.kernel_sizes == (11, 5, 3, 3, 3)
    assert net.activation == "relu"  # 3.1
    assert net.lrn == LRN(n=5, k=2.0, alpha=1e-4, beta=0.75, divide_alpha_by_n=False)  # 3.3
    assert not net.lrn1_first  # 3.3: "after applying the ReLU nonlinearity in certain layers"
    assert net.spatial_lrn is None
    assert net.pool == 3  # 3.4
    assert net.dropout == 0.5  # 4.2
    assert net.std == (0.01,) * 8  # 5
    assert net.bias_one_layers == (
        2,
        4,
        5,
        6,
        7,
    )  # 5: second, fourth and fifth convolution, the fully-connected hidden layers


def test_the_paper_recipe_is_the_printed_training() -> None:
    """Sections 2, 4.1 and 5."""
    recipe = RECIPES["paper"]
    sgd, views, schedule = recipe.sgd, recipe.views, recipe.schedule
    assert (sgd.batch, sgd.momentum) == (128, 0.9)
    assert (sgd.lr, sgd.bias_lr) == (0.01, 0.01)  # "an equal learning rate for all layers"
    assert (sgd.weight_decay, sgd.bias_weight_decay, sgd.layer_weight_decay) == (0.0005, 0.0005, {})
    assert schedule == Plateau(factor=10.0, drops=3, patience=schedule.patience, of_epochs=90)  # type: ignore[union-attr]
    assert recipe.epochs == 90
    assert (views.crops, views.mirror, views.pictures_per_crop, views.colour) == (True, True, 1, 0.1)
    assert (views.mean, views.colour_shrink, views.scale) == ("place", False, 1.0)
    assert all(value is None for value in (recipe.late.colour_off, recipe.late.conv1_slow, recipe.late.conv1_frozen))


def test_the_source_recipe_differs_from_the_paper_in_the_net_by_these_and_no_others() -> None:
    """2012 code, layers-145.cfg: alpha over n, LRN 1 on the linear conv1, the within-map norm, std 0.03 in conv3-5."""
    expected = RECIPES["paper"].replace(
        net={
            "lrn": {"divide_alpha_by_n": True},
            "lrn1_first": True,
            "spatial_lrn": SpatialLRN(n=5, k=1.0, alpha=1e-3, beta=0.75),
            "std": SOURCE_STD,
        }
    )
    assert RECIPES["source"].net == expected.net
    assert RECIPES["source-145"].net == expected.net


def test_the_source_recipe_trains_as_net_145_with_the_schedule_of_net_170() -> None:
    """2012 code: convdata_jpeg.py for the views, layer-params-170.cfg for the rates."""
    recipe = RECIPES["source"]
    sgd, views = recipe.sgd, recipe.views
    assert (views.pictures_per_crop, views.colour, views.colour_shrink, views.mean) == (32, 0.1, True, "centre")
    assert (sgd.batch, sgd.momentum, sgd.lr, sgd.bias_lr) == (128, 0.9, 0.01, 0.02)
    assert (sgd.weight_decay, sgd.bias_weight_decay, sgd.layer_weight_decay, sgd.shuffle) == (0.0005, 0.0, {}, "once")
    assert (recipe.late.colour_off, recipe.late.conv1_slow, recipe.late.conv1_frozen) == (68.0, None, 74.0)
    schedule = recipe.schedule
    assert isinstance(schedule, Steps)
    assert [at / schedule.of_epochs for at in schedule.milestones] == [0.25, 0.5, 0.75]
    rates = [sgd.lr / schedule.factor**drops for drops in range(4)]
    assert rates == pytest.approx([0.01, 0.0015874, 0.00025198, 0.00004], rel=2e-5)  # the log's five digits
    assert [at / schedule.of_epochs for at in schedule.bias_milestones] == [0.5]
    assert sgd.bias_lr / schedule.bias_factor == pytest.approx(0.002)
    assert recipe.epochs == schedule.of_epochs == 95


def test_source_145_drops_by_ten_at_25_51_and_79_of_91_epochs_and_stops_conv1_at_72() -> None:
    """2012 code, the comments of layer-params-145.cfg."""
    recipe = RECIPES["source-145"]
    schedule = recipe.schedule
    assert isinstance(schedule, Steps)
    assert (schedule.milestones, schedule.factor, schedule.of_epochs, recipe.epochs) == ((25, 51, 79), 10.0, 91, 91)
    late = recipe.late
    assert (late.colour_off, late.conv1_slow, late.conv1_lr, late.conv1_frozen) == (67, 67, 1e-5, 72)
    assert recipe.views == RECIPES["source"].views
    assert recipe.sgd == RECIPES["source"].sgd


def test_the_cifar_recipes_train_as_the_2012_files_say() -> None:
    """2012 code: layer-params-conv-local-13pct.cfg, -11pct.cfg and -18pct.cfg; drops for the last 2 x 10 epochs."""
    expected: dict[str, tuple[dict[str, float], tuple[float, ...], int]] = {
        "cifar-13": ({"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc": 0.004}, (500, 510), 520),
        "cifar-11": ({"conv1": 0, "conv2": 0, "local3": 0.004, "local4": 0.004, "fc": 0.01}, (500, 510), 520),
        "cifar-18": ({"conv1": 0.004, "conv2": 0.004, "conv3": 0.004, "fc": 1.0}, (120, 130), 140),
    }
    for name, (decay, at, epochs) in expected.items():
        recipe: Recipe = RECIPES[name]
        sgd, schedule = recipe.sgd, recipe.schedule
        assert (sgd.lr, sgd.bias_lr, sgd.momentum, sgd.bias_weight_decay) == (0.001, 0.002, 0.9, 0.0)
        assert {layer: sgd.layer_weight_decay.get(layer, sgd.weight_decay) for layer in decay} == decay
        assert set(sgd.layer_weight_decay) <= set(decay)
        assert isinstance(schedule, Steps)
        assert (schedule.milestones, schedule.factor, recipe.epochs, schedule.of_epochs) == (at, 10.0, epochs, epochs)
        assert schedule.bias_milestones == (at if name == "cifar-18" else ())  # "all learning rates"; "epsW"
        assert recipe.views.colour == 0
    assert (RECIPES["cifar-18"].views.crops, RECIPES["cifar-18"].views.mirror) == (False, False)  # no augmentation
    assert (RECIPES["cifar-13"].views.crops, RECIPES["cifar-13"].views.mirror) == (True, True)
    assert RECIPES["cifar-13"].net.image_size == 24


def test_the_net_of_six_convolutions_weighs_what_2012s_does() -> None:
    """Table 2's CNN*, with 1,000 classes: 61,555,304 (2012 code, layers-146)."""
    net = RECIPES["source"].replace(net={"conv6": 256}).net
    assert sum(layer.weights for layer in layers_of(net)) == 61_555_304
