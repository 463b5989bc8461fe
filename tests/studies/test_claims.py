"""The claims as data: every arm builds, and differs from the first only in what the claim is about."""

import math
from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from tests.studies.test_arms import differing, weights

from alexnet.config.recipe import LRN, Late, Net, Recipe, SpatialLRN, Steps
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.ops.norm import response_norm
from alexnet.studies import claims, designs
from alexnet.studies.claim import LOSSES, MEASURES, Claim
from alexnet.studies.claims import CLAIMS

# The fields in which the arms of a claim may differ from each other.
MAY_DIFFER = {
    "relu-tanh": {"net.activation", "sgd.lr", "sgd.bias_lr"},
    "two-towers": {"net.towers", "net.channels"},
    "lrn": {"net.lrn", "net.lrn1_first", "net.spatial_lrn"},
    "lrn-cifar": {"net.norm", "net.local", "sgd.layer_weight_decay"},
    "norm-order": {"net.lrn1_first"},
    "overlap": {"net.pool"},
    "columns": {"net.cross_tower", "net.channels", "net.hidden"},
    "depth": {"net.skip"},
    "pretrain": {
        "net.conv6", "sgd.lr", "sgd.layer_lr", "sgd.layer_lr_biases", "late.conv1_slow", "late.conv1_frozen",
        "late.colour_off",
    },
    "fc-conv": {"net", "sgd.lr", "sgd.bias_lr", "sgd.layer_weight_decay", "late.conv1_slow", "late.conv1_frozen"},
    "crops": {"views.crops", "views.mirror"},
    "colour": {"views.colour"},
    "ten-views": set[str](),
    "dropout": {"net.dropout"},
    "init": {"net.std", "net.bias_one_layers", "views.scale"},
    "decay": {"sgd.weight_decay", "sgd.bias_weight_decay", "sgd.layer_weight_decay"},
    "momentum": {"sgd.momentum", "sgd.lr", "sgd.bias_lr"},
    "ensemble": set[str](),
}  # fmt: skip
MAY_DIFFER["table-2"] = MAY_DIFFER["pretrain"]


def arms_of(name: str, side: int = 32, recipe: str | None = None) -> Mapping[str, Recipe]:
    _, base, _ = designs.base_of(CLAIMS[name], side, RECIPES[recipe] if recipe else None)
    return designs.arms_of(CLAIMS[name], base)


def within(found: set[str], allowed: set[str]) -> bool:
    return all(any(name == a or name.startswith(f"{a}.") for a in allowed) for name in found)


@pytest.mark.parametrize("side", [32, 64, 256])
@pytest.mark.parametrize("claim", claims.ALL, ids=lambda c: c.name)
def test_every_arm_builds_and_differs_in_what_the_claim_is_about(claim: Claim, side: int) -> None:
    first, *others = arms_of(claim.name, side).values()
    differ = set[str]().union(*(differing(first, other) for other in others))
    assert claim.name in MAY_DIFFER, f"say in MAY_DIFFER in which fields the arms of {claim.name} may differ"
    allowed = MAY_DIFFER[claim.name]
    assert within(differ, allowed), differ
    assert bool(differ) == bool(allowed)
    if side < 256 and not isinstance(first.net, Net):
        for recipe in (first, *others):
            build(recipe.net, 0)


# The fields in which a judged pair differs, on its own ground.
PAIRS = {
    ("relu-tanh", "relu, rate 0.002", "tanh, rate 0.002"): {"net.activation"},
    ("two-towers", "two towers", "one tower"): {"net.towers", "net.channels"},
    ("columns", "talking", "net 145 silenced"): {"net.cross_tower"},
    ("columns", "net 145 silenced", "never talking, as net 150"): {"net.channels", "net.hidden"},
    ("lrn", "as net 145", "none"): {"net.lrn", "net.spatial_lrn"},
    ("lrn", "as net 145", "alpha 0"): {"net.lrn.alpha", "net.spatial_lrn.alpha"},
    ("lrn", "as net 145", "as printed"): {"net.lrn.divide_alpha_by_n", "net.lrn1_first", "net.spatial_lrn"},
    ("lrn-cifar", "none", "normalised"): {"net.norm"},
    ("norm-order", "after ReLU", "before ReLU"): {"net.lrn1_first"},
    ("overlap", "overlapping", "side by side"): {"net.pool"},
    ("depth", "whole", "no conv3"): {"net.skip"},
    ("depth", "whole", "no conv4"): {"net.skip"},
    ("crops", "crops and mirrors", "centre alone"): {"views.crops", "views.mirror"},
    ("colour", "colour noise", "none"): {"views.colour"},
    ("dropout", "dropout", "none"): {"net.dropout"},
    ("init", "raw, own std, biases of one", "raw, own std, biases of zero"): {"net.bias_one_layers"},
    ("decay", "decay", "none"): {"sgd.weight_decay"},
    ("decay", "decay", "decay x 40"): {"sgd.weight_decay"},
    ("momentum", "momentum", "none, rates x 1"): {"sgd.momentum"},
    ("momentum", "none, rates x 1", "none, rates x 10"): {"sgd.lr", "sgd.bias_lr"},
    ("pretrain", "CNN", "six convolutions"): {"net.conv6"},
}


@pytest.mark.parametrize("pair", PAIRS, ids=", ".join)
def test_two_arms_differ_in_all_that_the_claim_says_and_in_nothing_else(pair: tuple[str, str, str]) -> None:
    arms = arms_of(pair[0])
    found = differing(arms[pair[1]], arms[pair[2]])
    assert within(found, PAIRS[pair]), found
    assert all(any(name == a or name.startswith(f"{a}.") for name in found) for a in PAIRS[pair])


def test_the_published_arms_are_the_named_recipes() -> None:
    cifar = arms_of("lrn-cifar")
    assert cifar["none"] == RECIPES["cifar-13"].replace(epochs=30, schedule=Steps((24.0, 27.0), of_epochs=30))
    assert cifar["as published"] == RECIPES["cifar-11"].replace(epochs=30, schedule=Steps((24.0, 27.0), of_epochs=30))
    assert arms_of("two-towers", 256, "paper")["one tower"] == RECIPES["one-gpu"]
    assert arms_of("lrn", 256)["as net 145"] == RECIPES["source"]
    assert arms_of("lrn")["as net 145"] == arms_of("norm-order")["before ReLU"] == RECIPES["small"]


def test_an_alpha_of_zero_is_the_norms_first_scale_and_no_competition() -> None:
    """k of 2 to the minus beta is 0.595, whatever the neighbours do; the norm within each map is gone."""
    net = arms_of("lrn")["alpha 0"].net
    assert isinstance(net, Net)
    assert net.lrn == LRN(alpha=0.0, divide_alpha_by_n=True)
    assert net.spatial_lrn == SpatialLRN(alpha=0.0)
    x = (100 * torch.randn(2, 8, 5, 5)).requires_grad_()
    y = response_norm(x, net.lrn, 2)
    torch.testing.assert_close(y, x * 2**-0.75)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full_like(x, 2**-0.75))


@pytest.mark.parametrize("claim", claims.ALL, ids=lambda c: c.name)
def test_every_claim_is_whole(claim: Claim) -> None:
    assert CLAIMS[claim.name] is claim
    assert claim.section
    assert claim.words.endswith(".")
    assert claim.paper
    assert claim.log
    assert any(e.judged for e in claim.expects)
    tried = {arm for variants in claim.tune.values() for arm in variants}
    assert tried <= set(claim.arms)
    assert not set(claim.tune) & set(claim.arms)
    for e in claim.expects:
        assert {e.larger, e.smaller} <= (set(claim.arms) - tried) | set(claim.tune)
        assert {e.measure, e.smaller_measure or e.measure} <= set(MEASURES)
        assert (e.larger, e.measure) != (e.smaller, e.smaller_measure or e.measure)


@pytest.mark.parametrize("claim", claims.ALL, ids=lambda c: c.name)
def test_a_margin_is_half_the_papers_or_the_logs_number_or_half_a_point_or_a_fiftieth_of_a_nat(claim: Claim) -> None:
    """For a ratio the margin is that of the logarithm."""
    assert claim.seeds >= 5
    first = next(e for e in claim.expects if e.judged)
    number = first.paper or first.log or 0.01
    half = (math.log(number) if first.ratio else number) / 2
    assert claim.margin == pytest.approx(0.02 if first.measure in LOSSES else half)
    assert all(e.measure == first.measure for e in claim.expects if e.judged)


def test_every_claim_of_the_issue_is_there() -> None:
    names = "relu-tanh lrn overlap two-towers columns crops colour dropout depth ten-views decay ensemble pretrain "
    names += "norm-order init fc-conv momentum table-2"
    assert set(names.split()) <= set(CLAIMS)


def test_two_claims_of_one_name_are_refused() -> None:
    assert claims.by_name((*claims.ALL, *claims.LADDERS)) == CLAIMS
    with pytest.raises(ValueError, match="two claims are named lrn"):
        claims.by_name((*claims.ALL, CLAIMS["lrn"]))


def test_a_claim_that_there_is_not_is_refused_with_the_nearest() -> None:
    assert claims.claims_named(["lrn", "overlap", "lrn"]) == [CLAIMS["lrn"], CLAIMS["overlap"]]
    assert claims.claims_named(["all"]) == list(claims.ALL)
    with pytest.raises(InputError, match="overlap"):
        claims.claims_named(["overlapp"])


def test_the_best_of_several_rates_stands_for_an_arm() -> None:
    """There are five rates each in relu-tanh, a factor of two apart; three in fc-conv, four in momentum."""
    tanh = [arms_of("relu-tanh")[arm].sgd for arm in CLAIMS["relu-tanh"].tune["tanh"]]
    relu = [arms_of("relu-tanh")[arm].sgd for arm in CLAIMS["relu-tanh"].tune["relu"]]
    for rates in (tanh, relu):
        assert [b.lr / a.lr for a, b in pairwise(rates)] == pytest.approx([2] * 4)
        assert all(sgd.bias_lr == 2 * sgd.lr for sgd in rates)
    for name, judged, count in (("fc-conv", "fully connected", 3), ("momentum", "none", 4)):
        assert len({arms_of(name)[arm].sgd.lr for arm in CLAIMS[name].tune[judged]}) == count


def test_what_is_against_overfitting_is_judged_on_held_out_error_on_the_ground_that_overfits() -> None:
    for name in ("crops", "colour", "dropout"):
        claim = CLAIMS[name]
        assert claim.ground == "B"
        assert {e.measure for e in claim.expects if e.judged} <= {"top1", "one_top1"}
    for name in ("crops", "dropout"):
        assert "even_gap" in {e.measure for e in CLAIMS[name].expects if not e.judged}
    net = arms_of("dropout")["none"].net
    assert isinstance(net, Net)
    assert net.hidden == 2048


@pytest.mark.parametrize(("name", "epochs"), [("init", 1), ("decay", 120)])
def test_the_rate_is_constant_where_a_fall_would_hide_the_effect(name: str, epochs: int) -> None:
    for recipe in arms_of(name).values():
        assert isinstance(recipe.schedule, Steps)
        assert recipe.schedule.milestones == recipe.schedule.bias_milestones == ()
        assert recipe.late == Late()
        assert recipe.epochs == epochs


def test_the_sums_of_rate_times_decay_are_those_of_the_note() -> None:
    """Ground B: 157 steps an epoch; the first twentieth of the run warms up, at 0.55 of the rate on average."""
    (note,) = CLAIMS["decay"].notes
    steps = 157 * 120
    assert f"{steps:,} steps" in note
    for arm, said in (("decay", "0.037"), ("decay x 10", "0.37"), ("decay x 40", "1.5")):
        sgd = arms_of("decay")[arm].sgd
        total = steps * (0.95 + 0.05 * 0.55) * sgd.lr * sgd.weight_decay
        assert total == pytest.approx(float(said), rel=0.02)
        assert said in note


def test_lengths_of_runs_are_those_of_their_designs() -> None:
    lengths = {"overlap": 20, "fc-conv": 10, "momentum": 5, "init": 1, "lrn-cifar": 30, "two-towers": 20, "colour": 120}
    for name, epochs in lengths.items():
        assert {recipe.epochs for recipe in arms_of(name).values()} == {epochs}, name


def test_the_factorial_of_init_has_all_its_corners() -> None:
    corners = {
        (r.views.scale, r.net.std, r.net.bias_one_layers) for r in arms_of("init").values() if isinstance(r.net, Net)
    }
    assert len(corners) == 8


def test_a_recipe_that_a_claim_cannot_use_is_refused() -> None:
    with pytest.raises(InputError, match="relu-tanh has its own recipe"):
        arms_of("relu-tanh", 32, "cifar-18")
    with pytest.raises(InputError, match="overlap is about AlexNet's layers, which a CifarNet lacks"):
        arms_of("overlap", 32, "cifar-13")


@pytest.mark.parametrize("side", [32, 64, 256])
def test_pools_with_and_without_overlap_put_out_as_much(side: int) -> None:
    nets = list(arms_of("overlap", side).values())
    sides = [[layer.side for layer in layers_of(r.net)] for r in nets]
    assert sides[0] == sides[1]
    assert weights(nets[0]) == weights(nets[1])
    assert all(r.net.image_size < side for r in nets)
