"""The claims as data: every arm builds, and differs from the first in what the claim is about alone."""

import math

import pytest

from alexnet.config.overrides import describe_fields
from alexnet.config.recipe import Late, MlpNet, Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.studies import claims
from alexnet.studies.claim import MEASURES, Claim
from alexnet.studies.claims import CLAIMS

# The fields in which the arms of a claim may differ from each other.
MAY_DIFFER = {
    "relu-tanh": {"net.activation", "sgd.lr", "sgd.bias_lr"},
    "two-towers": {"net.towers", "net.channels"},
    "lrn": {"net.lrn", "net.lrn1_first", "net.spatial_lrn"},
    "lrn-cifar": {"net.norm", "net.local", "sgd.layer_weight_decay"},
    "norm-order": {"net.lrn1_first"},
    "overlap": {"net.pool"},
    "columns": {"net.cross_tower"},
    "depth": {"net.skip"},
    "pretrain": {"net.conv6", "sgd.lr", "sgd.bias_lr", "sgd.layer_lr"},
    "table-2": {"net.conv6", "sgd.lr", "sgd.bias_lr", "sgd.layer_lr"},
    "fc-conv": {"net", "sgd.layer_weight_decay", "late.conv1_slow", "late.conv1_frozen"},
    "crops": {"views.crops", "views.mirror"},
    "colour": {"views.colour"},
    "ten-views": set[str](),
    "dropout": {"net.dropout"},
    "init": {"net.std", "net.bias_one_layers", "views.scale"},
    "decay": {"sgd.weight_decay", "sgd.bias_weight_decay", "sgd.layer_weight_decay"},
    "momentum": {"sgd.momentum", "sgd.lr", "sgd.bias_lr"},
    "ensemble": set[str](),
}


def differing(a: Recipe, b: Recipe) -> set[str]:
    one, two = ({n: v for n, v, _ in describe_fields(r)} for r in (a, b))
    return {n for n in one.keys() | two.keys() if one.get(n) != two.get(n)}


@pytest.mark.parametrize("side", [32, 64, 256])
@pytest.mark.parametrize("claim", claims.ALL, ids=lambda c: c.name)
def test_every_arm_builds_and_differs_in_what_the_claim_is_about(claim: Claim, side: int) -> None:
    _, base = claims.base(claim, side, None)
    first, *others = claims.arms(claim, base).values()
    differ = set[str]().union(*(differing(first, other) for other in others))
    allowed = MAY_DIFFER[claim.name]
    assert {name for name in differ if not any(name == a or name.startswith(f"{a}.") for a in allowed)} == set()
    assert bool(differ) == bool(allowed)
    if side < 256 and not isinstance(first.net, Net):
        for recipe in (first, *others):
            build(recipe.net, 0)


def test_the_judged_arms_of_lrn_differ_in_the_response_norm_alone() -> None:
    arms = claims.arms(CLAIMS["lrn"], RECIPES["source"])
    assert {n.split(".")[1] for n in differing(arms["normalised"], arms["none"])} == {"lrn"}
    cifar = claims.arms(CLAIMS["lrn-cifar"], RECIPES["cifar-13"])
    assert {n.split(".")[1] for n in differing(cifar["none"], cifar["normalised"])} == {"norm"}


def test_the_published_arms_are_the_named_recipes() -> None:
    assert claims.arms(CLAIMS["lrn-cifar"], RECIPES["cifar-13"])["as published"] == RECIPES["cifar-11"]
    one = claims.arms(CLAIMS["two-towers"], RECIPES["paper"])["one tower"]
    assert one == RECIPES["one-gpu"]
    whole = claims.arms(CLAIMS["lrn"], RECIPES["source"])["as net 145"]
    assert whole == RECIPES["source"]


@pytest.mark.parametrize("claim", claims.ALL, ids=lambda c: c.name)
def test_every_claim_is_whole(claim: Claim) -> None:
    assert CLAIMS[claim.name] is claim
    assert claim.section
    assert claim.words.endswith(".")
    assert claim.paper
    assert claim.log
    assert any(e.judged for e in claim.expects)
    for e in claim.expects:
        assert {e.larger, e.smaller} <= set(claim.arms)
        assert {e.measure, e.smaller_measure or e.measure} <= set(MEASURES)
        assert (e.larger, e.measure) != (e.smaller, e.smaller_measure or e.measure)


def test_every_claim_of_the_issue_is_there() -> None:
    names = "relu-tanh lrn overlap two-towers columns crops colour dropout depth ten-views decay ensemble pretrain "
    names += "norm-order init fc-conv momentum table-2"
    assert set(names.split()) <= set(CLAIMS)


def weights(recipe: Recipe) -> int:
    return sum(layer.weights for layer in layers_of(recipe.net))


@pytest.mark.parametrize("classes", [10, 50])
@pytest.mark.parametrize("name", ["tiny", "source", "cifar-13"])
def test_convolutions_and_full_layers_have_as_many_weights_and_pass_on_as_much(name: str, classes: int) -> None:
    base = RECIPES[name].replace(net={"classes": classes})
    convolutional, full = claims.arms(CLAIMS["fc-conv"], base).values()
    assert convolutional == base
    assert isinstance(full.net, MlpNet)
    assert weights(full) == pytest.approx(weights(base), rel=0.005)
    width = full.net.hidden[0]
    assert full.net.hidden == (width, width)
    others = [weights(full.replace(net={"hidden": (w, w)})) for w in (width - 1, width + 1)]
    assert abs(weights(full) - weights(base)) <= min(abs(other - weights(base)) for other in others)
    shared = (base.net.image_size, classes, base.net.activation)
    assert (full.net.image_size, full.net.classes, full.net.activation) == shared
    assert full.net.dropout == getattr(base.net, "dropout", 0.0)
    assert full.net.bias_one_layers == ((2,) if isinstance(base.net, Net) else ())
    seen = {"tiny": (75, 1024, 1024), "source": (363, 4096, 4096), "cifar-13": (75, 288, 1152)}[name]
    theirs = [std * math.sqrt(n) for std, n in zip((base.net.std[i] for i in (0, -2, -1)), seen, strict=True)]
    inputs = (3 * base.net.image_size**2, width, width)
    assert [std * math.sqrt(n) for std, n in zip(full.net.std, inputs, strict=True)] == pytest.approx(theirs)
    assert full.late.conv1_frozen is full.late.conv1_slow is None


def test_decays_of_layers_that_the_full_net_lacks_are_left_out() -> None:
    base = RECIPES["cifar-13"].replace(sgd={"layer_weight_decay": {"fc": 0.1}})
    assert claims.arms(CLAIMS["fc-conv"], base)["fully connected"].sgd.layer_weight_decay == {}


def test_a_base_that_no_full_net_matches_in_weights_is_refused() -> None:
    for recipe in (RECIPES["demo"], RECIPES["tiny"].replace(net=MlpNet(56), late=Late())):
        with pytest.raises(InputError, match="claim fc-conv needs two nets of as many weights: the base's") as refused:
            claims.arms(CLAIMS["fc-conv"], recipe)
        assert "\n" not in str(refused.value)


def test_the_factorial_of_init_has_all_its_corners() -> None:
    arms = claims.arms(CLAIMS["init"], RECIPES["tiny"])
    corners = {(r.views.scale, r.net.std, r.net.bias_one_layers) for r in arms.values() if isinstance(r.net, Net)}
    assert len(corners) == 8


def test_a_recipe_that_a_claim_cannot_use_is_refused() -> None:
    with pytest.raises(InputError, match="relu-tanh has a recipe of its own"):
        claims.base(CLAIMS["relu-tanh"], 32, RECIPES["cifar-18"])
    with pytest.raises(InputError, match="overlap is about AlexNet's layers, which a CifarNet lacks"):
        claims.base(CLAIMS["overlap"], 32, RECIPES["cifar-13"])


def test_pools_with_and_without_overlap_put_out_as_much_on_little_pictures() -> None:
    _, base = claims.base(CLAIMS["overlap"], 32, None)
    sides = [[layer.side for layer in layers_of(r.net)] for r in claims.arms(CLAIMS["overlap"], base).values()]
    assert sides[0] == sides[1]
