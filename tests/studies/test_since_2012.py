"""The ladder as data: each rung has one idea more than the one below, from a plain net up to the recipe `today`."""

from itertools import pairwise

import pytest
import torch
from tests.studies.test_arms import differing
from tests.studies.test_ladder import rungs

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.studies import designs
from alexnet.studies.claims import ALL, claims_named
from alexnet.studies.record import arm_digest
from alexnet.studies.since_2012 import BEFORE, RUNGS, SINCE_2012, TIMES

GROUND = designs.GROUNDS["B"].recipe.replace(net={"classes": 10})
STEPS = {
    "ReLU": {"net.activation"},
    "section 5's start": {"net.std", "net.bias_one_layers", "views.scale", "sgd.lr", "sgd.bias_lr"},
    "two towers": {"net.towers", "net.channels"},
    "response norms": {"net.lrn", "net.spatial_lrn"},
    "overlapping pools": {"net.pool"},
    "crops and mirrors": {"views.crops", "views.mirror"},
    "colour noise": {"views.colour"},
    "dropout": {"net.dropout"},
    "cosine": {"schedule", "late.colour_off", "late.conv1_frozen"},
    "scaled crops": {"views.area", "views.aspect"},
    "smoothed labels": {"sgd.label_smoothing"},
    "decoupled decay": {"sgd.decoupled", "sgd.weight_decay"},
    "averaged weights": {"sgd.average"},
    "no dropout": {"net.dropout"},
    "He's start": {"net.init", "net.bias_one_layers", "views.scale", "sgd.lr", "sgd.bias_lr"},
}


def test_each_step_changes_its_idea_and_nothing_else() -> None:
    """Three rungs have rates of their own, chosen among three; here the highest stands for them."""
    arms = rungs()
    ladder = {name: arms.get(name, arms[SINCE_2012.tune.get(name, (name,))[-1]]) for name in RUNGS}
    assert tuple(STEPS) == RUNGS[1:]
    for below, above in pairwise(RUNGS):
        found = {".".join(name.split(".")[:2]) for name in differing(ladder[below], ladder[above])}
        assert {"schedule" if name.startswith("schedule") else name for name in found} == STEPS[above], above


def test_the_middle_is_the_grounds_own_recipe_and_the_top_is_today() -> None:
    arms = rungs()
    assert arms["dropout"] == GROUND
    found = {arms[name].sgd.lr: arms[name] for name in SINCE_2012.tune[RUNGS[-1]]}
    today = RECIPES["today"].replace(net={"classes": 10}, epochs=GROUND.epochs)
    assert arm_digest(found[today.sgd.lr]) == arm_digest(today)


def test_the_plain_net_has_nothing_of_the_papers_and_weights_that_suit_tanh() -> None:
    """LeCun et al. 1998: the variance of a weight is 1 / inputs of its unit."""
    arms = rungs()
    plain = arms[SINCE_2012.tune["plain"][0]]
    assert isinstance(plain.net, Net)
    assert (plain.net.activation, plain.net.towers, plain.net.lrn, plain.net.dropout) == ("tanh", 1, None, 0.0)
    assert (plain.views.crops, plain.views.mirror, plain.views.colour) == (False, False, 0.0)
    for name, weight in build(plain.net, 0).named_parameters():
        if name.endswith(".weight") and weight.numel() > 5000:
            inputs = weight[0].numel()
            torch.testing.assert_close(weight.std().item(), inputs**-0.5, rtol=0.05, atol=0)


def test_the_tuned_rungs_try_three_rates_each() -> None:
    arms = rungs()
    assert set(TIMES) == set(SINCE_2012.tune) == {"plain", "ReLU", "He's start"}
    for name, times in TIMES.items():
        tried = [arms[arm].sgd for arm in SINCE_2012.tune[name]]
        assert [sgd.lr for sgd in tried] == pytest.approx([k * GROUND.sgd.lr for k in times])
        assert all(sgd.bias_lr == pytest.approx(2 * sgd.lr) for sgd in tried)


def test_the_ladder_is_no_claim_of_the_paper_and_shares_only_the_base_with_their_designs() -> None:
    assert SINCE_2012 not in ALL
    assert SINCE_2012 not in claims_named(["all"])
    assert claims_named(["all", "since-2012"]) == [*ALL, SINCE_2012]
    own = {arm_digest(recipe) for recipe in rungs().values()}
    others = set[str]()
    for claim in ALL:
        base = designs.base_of(claim, 32, None)[1].replace(net={"classes": 10})
        others |= {arm_digest(recipe) for recipe in designs.arms_of(claim, base).values()}
    assert own & others == {arm_digest(GROUND)}
    assert len(BEFORE) == 8


@pytest.mark.parametrize("side", [64, 256])
def test_every_rung_is_a_net_on_larger_pictures_too(side: int) -> None:
    _, base, _ = designs.base_of(SINCE_2012, side, None)
    nets = {recipe.net for recipe in designs.arms_of(SINCE_2012, base).values()}
    assert len(nets) == 8
    assert all(layers_of(net)[-1].maps == 1000 for net in nets)
