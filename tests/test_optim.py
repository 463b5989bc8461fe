"""The update rule and the rates of section 5, against loops over single numbers; late switches of the 2012 logs."""

import math
from collections import OrderedDict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from alexnet import optim
from alexnet.optim import Momentum, Rates
from alexnet.recipe import RECIPES, Plateau, Recipe, Sgd, Steps

LAYERS = {"conv1": (3, 4), "conv2": (4, 3), "fc": (3, 2)}


def small(seed: int = 0) -> nn.Module:
    """Three layers by the names of the nets, float64, with gradients of their own."""
    net = nn.Sequential(OrderedDict((name, nn.Linear(*sizes)) for name, sizes in LAYERS.items())).double()
    random = np.random.default_rng(seed)
    for p in net.parameters():
        p.data.copy_(torch.from_numpy(random.normal(0, 1, p.shape)))
    return net


def give_gradients(net: nn.Module, step: int) -> None:
    random = np.random.default_rng(1000 + step)
    for p in net.parameters():
        p.grad = torch.from_numpy(random.normal(0, 1, p.shape))


def by_loops(net: nn.Module, sgd: Sgd, plan: list[Rates]) -> dict[str, list[float]]:
    """Section 5: v <- 0.9 v - 0.0005 e w - e dL/dw, then w <- w + v, one number after the other.

    2012 code, weights.cu:148: where e is 0 nothing happens, to the velocity neither.
    """
    out = {}
    gradients = []
    for step in range(len(plan)):
        give_gradients(net, step)
        gradients.append(
            {n: [float(g) for g in p.grad.flatten()] for n, p in net.named_parameters() if p.grad is not None}
        )
    for name, p in net.named_parameters():
        layer, kind = name.split(".")
        w = [float(x) for x in p.detach().flatten()]
        v = [0.0] * len(w)
        for step, rates in enumerate(plan):
            e = rates.weights if kind == "weight" else rates.biases
            if layer == "conv1" and rates.conv1 is not None:
                e = min(e, rates.conv1)
            decay = sgd.layer_decay.get(layer, sgd.decay) if kind == "weight" else sgd.bias_decay
            if e == 0:
                continue
            for i in range(len(w)):
                v[i] = sgd.momentum * v[i] - decay * e * w[i] - e * gradients[step][name][i]
                w[i] = w[i] + v[i]
        out[name] = w
    return out


def updated(net: nn.Module, sgd: Sgd, plan: list[Rates]) -> dict[str, list[float]]:
    momentum = Momentum(net, sgd)
    for step, rates in enumerate(plan):
        give_gradients(net, step)
        momentum.step(rates)
    return {name: p.detach().flatten().tolist() for name, p in net.named_parameters()}


@pytest.mark.parametrize(
    "sgd",
    [
        Sgd(),
        Sgd(decay=0.0, bias_decay=0.0),
        Sgd(bias_decay=0.0, bias_rate=0.02),
        Sgd(decay=0.1, bias_decay=0.02, momentum=0.5),
        Sgd(decay=0.1, layer_decay={"conv1": 0.0, "fc": 1.0}),
        Sgd(momentum=0.0),
    ],
    ids=str,
)
def test_the_update_is_the_printed_one_across_a_drop_of_the_rate(sgd: Sgd) -> None:
    """Section 5, ten steps with a drop by ten in the middle and conv1 on its own rate for the last."""
    plan = [Rates(sgd.rate, sgd.bias_rate)] * 5 + [Rates(sgd.rate / 10, sgd.bias_rate / 5)] * 3
    plan += [Rates(sgd.rate / 10, sgd.bias_rate / 10, conv1=1e-5), Rates(sgd.rate / 10, sgd.bias_rate / 10, conv1=0.0)]
    expected, found = by_loops(small(), sgd, plan), updated(small(), sgd, plan)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-13, atol=1e-15, err_msg=name)


def with_torch(sgd: Sgd, rates: list[float]) -> dict[str, list[float]]:
    net = small()
    other = torch.optim.SGD(net.parameters(), lr=rates[0], momentum=sgd.momentum, weight_decay=sgd.decay)
    for step, rate in enumerate(rates):
        other.param_groups[0]["lr"] = rate
        give_gradients(net, step)
        other.step()
    return {name: p.detach().flatten().tolist() for name, p in net.named_parameters()}


def test_torch_sgd_is_the_same_at_a_constant_rate_and_differs_after_a_drop() -> None:
    """Section 5 has the rate inside the velocity, which therefore keeps its old scale for some steps after a drop."""
    sgd = Sgd()
    constant, dropped = [0.01] * 8, [0.01] * 4 + [0.001] * 4
    for rates, same in ((constant, True), (dropped, False)):
        ours, theirs = updated(small(), sgd, [Rates(r, r) for r in rates]), with_torch(sgd, rates)
        for name, values in ours.items():
            if same:
                np.testing.assert_allclose(values, theirs[name], rtol=1e-12, atol=1e-14)
            else:
                assert np.abs(np.subtract(values, theirs[name])).min() > 1e-6


def test_a_rate_of_zero_leaves_parameter_and_velocity_wholly_alone() -> None:
    """2012 code, weights.cu:148: no coasting on the momentum and no decay; and it goes on where it stood."""
    net = small()
    momentum = Momentum(net, Sgd(decay=0.1))
    give_gradients(net, 0)
    momentum.step(Rates(0.01, 0.01))
    parameters = {name: p.detach().clone() for name, p in net.named_parameters()}
    velocity = {name: v.clone() for name, v in momentum.velocity.items()}
    assert all(v.any() for v in velocity.values())
    momentum.step(Rates(0.01, 0.01, conv1=0.0))
    for name, p in net.named_parameters():
        alone = name.startswith("conv1.")
        assert torch.equal(p, parameters[name]) == alone
        assert torch.equal(momentum.velocity[name], velocity[name]) == alone


def test_conv1s_rate_never_rises_when_it_is_slowed() -> None:
    """2012 log: "conv1 -> 1e-5", where the others stood at 1e-4."""
    momentum = Momentum(small(), Sgd())
    assert momentum.settings("conv1.weight", Rates(1e-4, 1e-3, 1e-5))[0] == 1e-5
    assert momentum.settings("conv1.weight", Rates(1e-6, 1e-3, 1e-5))[0] == 1e-6
    assert momentum.settings("conv2.weight", Rates(1e-4, 1e-3, 1e-5))[0] == 1e-4


def plateaus_by_stretches(errors: list[float], patience: int) -> int:
    """Stretches of epochs without a new best, each cut into whole lengths of `patience`."""
    new_best = [all(error < before for before in errors[:i]) for i, error in enumerate(errors)]
    stretches, length = [], 0
    for best in new_best:
        if best:
            stretches.append(length)
            length = 0
        else:
            length += 1
    return sum(s // patience for s in [*stretches, length])


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 6))
def test_a_plateau_is_patience_epochs_without_a_new_best(errors: list[int], patience: int) -> None:
    """Section 5: "when the validation error rate stopped improving with the current learning rate"."""
    values = [e / 12 for e in errors]
    assert optim.plateaus(values, patience) == plateaus_by_stretches(values, patience)


def test_the_rate_falls_by_ten_at_each_plateau_and_three_times_at_most() -> None:
    """Section 5: "initialized at 0.01 and reduced three times prior to termination"."""
    paper = RECIPES["paper"]
    assert isinstance(paper.schedule, Plateau)
    flat: list[float] = [0.5]
    found = []
    for _ in range(1 + 6 * paper.schedule.patience):
        found.append(optim.rates(paper, len(flat) / 90, flat))
        flat.append(0.5)
    weights = [rates.weights for rates in found]
    p = paper.schedule.patience
    expected = [0.01] * p + [0.001] * p + [1e-4] * p + [1e-5] * (len(weights) - 3 * p)
    assert weights == pytest.approx(expected)
    assert [rates.biases for rates in found] == pytest.approx(expected)  # "equal ... for all layers"
    assert all(rates.conv1 is None for rates in found)


def test_training_ends_at_the_fourth_plateau() -> None:
    """Section 5: the third drop is followed by training at that rate until the error stops improving again."""
    paper = RECIPES["paper"]
    assert isinstance(paper.schedule, Plateau)
    p = paper.schedule.patience
    ends = [optim.finished(paper, [0.5] * n) for n in range(6 * p)]
    assert ends.index(True) == 1 + 4 * p
    assert not optim.finished(paper, [1 / (n + 2) for n in range(90)])  # always improving: to the last epoch
    assert not optim.finished(RECIPES["source"], [0.5] * 500)


def test_patience_shrinks_with_the_epochs_asked_for() -> None:
    schedule = Plateau(patience=5, of=90)
    assert [optim.patience(schedule, epochs) for epochs in (90, 180, 36, 18, 1)] == [5, 10, 2, 1, 1]


@pytest.mark.parametrize("epochs", [91, 30, 7])
@pytest.mark.parametrize("per_epoch", [1, 7, 100])
@pytest.mark.parametrize("name", ["source", "source-145", "cifar-11"])
def test_steps_fall_at_the_same_fractions_whatever_the_length(name: str, per_epoch: int, epochs: int) -> None:
    """The first step that lies at or past at / of of the run has the lower rate, the one before it has not."""
    recipe = RECIPES[name].but(epochs=epochs)
    schedule, total = recipe.schedule, epochs * per_epoch
    assert isinstance(schedule, Steps)
    for kind, at, factor, start in (
        ("weights", schedule.at, schedule.factor, recipe.sgd.rate),
        ("biases", schedule.bias_at, schedule.bias_factor, recipe.sgd.bias_rate),
    ):
        falls = [math.ceil(Fraction(a) / schedule.of * total) for a in at]
        for step in {s for fall in falls for s in (fall - 1, fall, fall + 1) if 0 <= s < total} | {0, total - 1}:
            rates = optim.rates(recipe, step / total, [])
            expected = start / factor ** sum(fall <= step for fall in falls)
            assert getattr(rates, kind) == pytest.approx(expected), f"{kind} at step {step} of {total}"


def at(recipe: Recipe, epoch: float) -> Rates:
    return optim.rates(recipe, epoch / recipe.schedule.of, [])


def test_the_rates_of_net_170_are_its_logs() -> None:
    """2012 log: dexp[tgtFactor=250, numSteps=4] from 0.01 and dexp[10, 2] from 0.02, over about 95 epochs."""
    source = RECIPES["source"]
    for quarter, rate in enumerate([0.01, 0.0015874, 0.00025198, 0.00004]):
        for epoch in (quarter * 23.75, quarter * 23.75 + 23.7):
            assert at(source, epoch).weights == pytest.approx(rate, rel=2e-5)
            assert at(source, epoch).biases == pytest.approx(0.02 if epoch < 47.5 else 0.002)


def test_conv1_slows_and_freezes_when_the_2012_logs_say() -> None:
    """2012 log, 145: conv1 at 1e-5 from epoch 67 and at 0 from 72; 170: at 0 from 74."""
    old, source = RECIPES["source-145"], RECIPES["source"]
    assert [at(old, e).conv1 for e in (0, 66.9, 67, 71.9, 72, 90)] == [None, None, 1e-5, 1e-5, 0, 0]
    assert [at(source, e).conv1 for e in (0, 73.9, 74, 94)] == [None, None, 0, 0]


def test_colour_noise_stops_when_the_2012_logs_say() -> None:
    """2012 log: off at 67 of 91 (145) and at 68 of 95 (170); never in the paper."""
    cases: list[tuple[str, float]] = [("source-145", 67.0), ("source", 68.0)]
    for name, off in cases:
        of = RECIPES[name].schedule.of
        assert optim.colour_on(RECIPES[name], (off - 0.01) / of)
        assert not optim.colour_on(RECIPES[name], off / of)
        shorter: dict[str, Any] = {"epochs": 10}
        assert not optim.colour_on(RECIPES[name].but(**shorter), off / of)
    assert optim.colour_on(RECIPES["paper"], 1.0)


def test_velocities_are_taken_over_from_a_checkpoint() -> None:
    first, second = small(), small()
    one, other = Momentum(first, Sgd()), Momentum(second, Sgd())
    give_gradients(first, 0)
    one.step(Rates(0.01, 0.01))
    second.load_state_dict(first.state_dict())
    other.load({name: v.clone() for name, v in one.velocity.items()})
    for net, momentum in ((first, one), (second, other)):
        give_gradients(net, 1)
        momentum.step(Rates(0.01, 0.01))
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
