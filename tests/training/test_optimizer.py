"""The update rule of section 5, checked against loops over single numbers.

LARS (You, Gitman & Ginsburg 2017), which is not in the paper, is checked too.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alexnet.config.recipe import Sgd
from alexnet.config.recipes import RECIPES
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates, learning_rates

LAYERS = {"conv1": (3, 4), "conv2": (4, 3), "fc": (3, 2)}


def small(seed: int = 0) -> nn.Module:
    """Make three layers with names of AlexNet, in float64."""
    net = nn.Sequential(OrderedDict((name, nn.Linear(*sizes)) for name, sizes in LAYERS.items())).double()
    random = np.random.default_rng(seed)
    for p in net.parameters():
        p.data.copy_(torch.from_numpy(random.normal(0, 1, p.shape)))
    return net


def gradients(net: nn.Module, step: int) -> dict[str, Tensor]:
    """Make the gradients of one step, the same at every call."""
    random = np.random.default_rng(1000 + step)
    return {name: torch.from_numpy(random.normal(0, 1, p.shape)) for name, p in net.named_parameters()}


def by_loops(net: nn.Module, sgd: Sgd, plan: list[LearningRates]) -> dict[str, list[float]]:
    """Section 5: v <- 0.9 v - 0.0005 e w - e dL/dw, then w <- w + v, for one number at a time.

    2012 code, weights.cu:148: with e = 0 neither weight nor velocity changes. You et al. 2017: the e of a weight matrix
    is multiplied by eta |w| / (|dL/dw| + decay |w|), or by 1 where that is 0 or undefined. Loshchilov & Hutter 2019,
    algorithm 1: decoupled decay is taken from the weights, and the velocity has no part of it.
    """
    out = {}
    for name, p in net.named_parameters():
        layer, kind = name.split(".")
        w = [float(x) for x in p.detach().flatten()]
        v = [0.0] * len(w)
        for step, rates in enumerate(plan):
            e = rates.weights if kind == "weight" else rates.biases
            if layer == "conv1" and rates.conv1 is not None and (kind == "weight" or rates.conv1 == 0):
                e = min(e, rates.conv1)
            decay = sgd.layer_weight_decay.get(layer, sgd.weight_decay) if kind == "weight" else sgd.bias_weight_decay
            if e == 0:
                continue
            g = [float(x) for x in gradients(net, step)[name].flatten()]
            if sgd.lars is not None and kind == "weight":
                of_w, of_g = math.sqrt(sum(x * x for x in w)), math.sqrt(sum(x * x for x in g))
                if of_w > 0 and of_g + decay * of_w > 0:
                    e *= sgd.lars * of_w / (of_g + decay * of_w)
            for i in range(len(w)):
                if sgd.decoupled:
                    w[i] = (1 - decay * e) * w[i]
                    v[i] = sgd.momentum * v[i] - e * g[i]
                else:
                    v[i] = sgd.momentum * v[i] - decay * e * w[i] - e * g[i]
                w[i] = w[i] + v[i]
        out[name] = w
    return out


def updated(net: nn.Module, sgd: Sgd, plan: list[LearningRates]) -> dict[str, list[float]]:
    momentum = Momentum(net, sgd)
    for step, rates in enumerate(plan):
        momentum.step(rates, gradients(net, step))
    return {name: p.detach().flatten().tolist() for name, p in net.named_parameters()}


@pytest.mark.parametrize(
    "sgd",
    [
        Sgd(),
        Sgd(weight_decay=0.0, bias_weight_decay=0.0),
        Sgd(bias_weight_decay=0.0, bias_lr=0.02),
        Sgd(weight_decay=0.1, bias_weight_decay=0.02, momentum=0.5),
        Sgd(weight_decay=0.1, layer_weight_decay={"conv1": 0.0, "fc": 1.0}),
        Sgd(momentum=0.0),
        Sgd(weight_decay=0.1, bias_weight_decay=0.0, decoupled=True),
        Sgd(weight_decay=0.1, bias_weight_decay=0.2, layer_weight_decay={"conv2": 0.0}, decoupled=True),
        Sgd(lr=2.0, lars=0.001),
        Sgd(lr=2.0, bias_lr=0.2, bias_weight_decay=0.0, weight_decay=0.1, layer_weight_decay={"conv2": 0.0}, lars=0.03),
    ],
    ids=str,
)
def test_the_update_is_the_printed_one_across_a_drop_of_the_rate(sgd: Sgd) -> None:
    """Section 5: ten steps, with a drop by ten in the middle and a separate rate of conv1 at the end."""
    plan = [LearningRates(sgd.lr, sgd.bias_lr)] * 5 + [LearningRates(sgd.lr / 10, sgd.bias_lr / 5)] * 3
    plan += [
        LearningRates(sgd.lr / 10, sgd.bias_lr / 10, conv1=1e-5),
        LearningRates(sgd.lr / 10, sgd.bias_lr / 10, conv1=0.0),
    ]
    expected, found = by_loops(small(), sgd, plan), updated(small(), sgd, plan)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-13, atol=1e-15, err_msg=name)


def with_torch(sgd: Sgd, rates: list[float]) -> dict[str, list[float]]:
    net = small()
    other = torch.optim.SGD(net.parameters(), lr=rates[0], momentum=sgd.momentum, weight_decay=sgd.weight_decay)
    for step, rate in enumerate(rates):
        other.param_groups[0]["lr"] = rate
        for name, g in gradients(net, step).items():
            net.get_parameter(name).grad = g
        other.step()
    return {name: p.detach().flatten().tolist() for name, p in net.named_parameters()}


def test_torch_sgd_is_the_same_at_a_constant_rate_and_differs_after_a_drop() -> None:
    """In section 5 the rate is inside the velocity, which keeps its old scale for some steps after a drop."""
    sgd = Sgd()
    constant, dropped = [0.01] * 8, [0.01] * 4 + [0.001] * 4
    for rates, same in ((constant, True), (dropped, False)):
        ours, theirs = updated(small(), sgd, [LearningRates(r, r) for r in rates]), with_torch(sgd, rates)
        for name, values in ours.items():
            if same:
                np.testing.assert_allclose(values, theirs[name], rtol=1e-12, atol=1e-14)
            else:
                assert np.abs(np.subtract(values, theirs[name])).min() > 1e-6


def test_a_rate_of_zero_leaves_parameter_and_velocity_wholly_alone() -> None:
    """2012 code, weights.cu:148: a frozen layer has no momentum and no decay, and later continues where it was."""
    net = small()
    momentum = Momentum(net, Sgd(weight_decay=0.1))
    momentum.step(LearningRates(0.01, 0.01), gradients(net, 0))
    parameters = {name: p.detach().clone() for name, p in net.named_parameters()}
    velocity = {name: v.clone() for name, v in momentum.velocity.items()}
    assert all(v.any() for v in velocity.values())
    momentum.step(LearningRates(0.01, 0.01, conv1=0.0), gradients(net, 1))
    for name, p in net.named_parameters():
        alone = name.startswith("conv1.")
        assert torch.equal(p, parameters[name]) == alone
        assert torch.equal(momentum.velocity[name], velocity[name]) == alone


def test_conv1s_rate_never_rises_when_it_is_slowed() -> None:
    """2012 log: "conv1 -> 1e-5", while the other layers were at 1e-4."""
    momentum = Momentum(small(), Sgd())
    assert momentum.settings("conv1.weight", LearningRates(1e-4, 1e-3, 1e-5))[0] == 1e-5
    assert momentum.settings("conv1.weight", LearningRates(1e-6, 1e-3, 1e-5))[0] == 1e-6
    assert momentum.settings("conv2.weight", LearningRates(1e-4, 1e-3, 1e-5))[0] == 1e-4


def test_slowing_conv1_leaves_its_biases_at_their_rate_and_freezing_it_does_not() -> None:
    """2012 log, 145: at 67 "set epsw to 0.00001 ... on conv1"; epsB stays."""
    momentum = Momentum(small(), Sgd())
    assert momentum.settings("conv1.bias", LearningRates(1e-4, 0.02, 1e-5))[0] == 0.02
    assert momentum.settings("conv1.bias", LearningRates(1e-4, 0.02, 0.0))[0] == 0.0
    source_145 = RECIPES["source-145"]
    found = [
        [momentum.settings(f"conv1.{kind}", learning_rates(source_145, e / 91, []))[0] for e in (66.5, 67.5, 72.5)]
        for kind in ("weight", "bias")
    ]  # fmt: skip
    assert found[0] == pytest.approx([1e-4, 1e-5, 0])
    assert found[1] == [0.02, 0.02, 0]


def test_factors_of_single_layers_count_for_biases_unless_the_recipe_says_otherwise() -> None:
    """Fine-tuning in 2012 cut only the weights' rates, but a frozen layer keeps its biases too."""
    rates, factors = LearningRates(0.01, 0.02), {"conv1": 0.1, "conv2": 0.0, "fc8": 10.0}
    for both, conv1, fc8 in ((True, 0.002, 0.2), (False, 0.02, 0.02)):
        momentum = Momentum(small(), Sgd(layer_lr=factors, layer_lr_biases=both))
        assert momentum.settings("conv1.weight", rates)[0] == pytest.approx(0.001)
        assert momentum.settings("fc8.weight", rates)[0] == pytest.approx(0.1)
        assert momentum.settings("conv1.bias", rates)[0] == pytest.approx(conv1)
        assert momentum.settings("fc8.bias", rates)[0] == pytest.approx(fc8)
        assert momentum.settings("conv2.weight", rates)[0] == momentum.settings("conv2.bias", rates)[0] == 0.0
        assert momentum.settings("conv3.bias", rates)[0] == 0.02


def test_the_net_computes_with_the_weights_themselves_where_they_are_of_the_asked_dtype() -> None:
    """With another dtype it computes with copies, which each step rewrites."""
    double, single = small(), small().float()
    for net, dtype, own in (
        (double, torch.float64, True),
        (double, torch.float32, False),
        (single, torch.float32, True),
        (single, torch.bfloat16, False),
    ):
        momentum = Momentum(net, Sgd(), dtype)
        momentum.step(LearningRates(0.1, 0.1), {name: g.to(dtype) for name, g in gradients(net, 0).items()})
        for name, p in net.named_parameters():
            seen = momentum.compute_weights[name]
            assert (seen is p) == own
            assert seen.dtype == dtype
            assert seen.requires_grad
            assert torch.equal(seen, p.to(dtype)), name


@pytest.mark.parametrize("lars", [None, 0.01])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gradients_may_be_of_another_dtype_and_layout_than_the_weights(dtype: torch.dtype, lars: float | None) -> None:
    """Only the values matter: half-precision gradients give the same update as the same values in float32."""
    sgd, rates = Sgd(weight_decay=0.1, lars=lars), LearningRates(0.5, 0.5)
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (6, 4, 3, 3)))
    nets = [nn.Sequential(OrderedDict(conv2=nn.Conv2d(4, 6, 3))) for _ in range(2)]
    for net in nets:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net.get_parameter("conv2.weight").data.copy_(weight)
        net.get_parameter("conv2.bias").data.fill_(1)
    given = {name: g.to(dtype) for name, g in gradients(nets[0], 0).items()}
    Momentum(nets[0], sgd).step(rates, given)
    Momentum(nets[1], sgd).step(rates, {name: g.float() for name, g in given.items()})
    for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-6)


def test_lars_leaves_the_rule_of_the_biases() -> None:
    """You et al. 2017 scale the weights of layers; the biases' rate is the recipe's, with LARS or without."""
    plan = [LearningRates(0.01, 0.02)] * 3
    with_lars, without = (updated(small(), Sgd(bias_weight_decay=0.1, lars=eta), plan) for eta in (0.02, None))
    for name, values in with_lars.items():
        assert (values == without[name]) == name.endswith(".bias"), name


def test_lars_makes_the_first_step_a_given_part_of_the_weights_whatever_the_gradients_size() -> None:
    """You et al. 2017: without decay, |change of w| is rate eta |w|."""
    for scale in (1e-12, 1.0, 1e12):
        net = small()
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        given = {name: g * scale for name, g in gradients(net, 0).items()}
        Momentum(net, Sgd(weight_decay=0.0, lars=0.001)).step(LearningRates(2.0, 0.0), given)
        for name in (f"{layer}.weight" for layer in LAYERS):
            change = (net.get_parameter(name).detach() - before[name]).norm()
            assert float(change / before[name].norm()) == pytest.approx(0.002, rel=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_changes_nothing_where_a_norm_says_nothing(decay: float) -> None:
    """Zero weights would never move, and a zero gradient without decay would divide by zero."""
    net, plain = small(), small()
    for one in (net, plain):
        one.get_parameter("conv1.weight").data.zero_()
    given = gradients(net, 0)
    given["fc.weight"] = torch.zeros_like(given["fc.weight"])
    Momentum(net, Sgd(weight_decay=decay, lars=0.001)).step(LearningRates(0.1, 0.1), given)
    Momentum(plain, Sgd(weight_decay=decay)).step(LearningRates(0.1, 0.1), given)
    assert torch.equal(net.get_parameter("conv1.weight"), plain.get_parameter("conv1.weight"))
    fc, start = net.get_parameter("fc.weight"), small().get_parameter("fc.weight")
    # With decay the formula is eta |w| / (decay |w|), so w shrinks by the fraction rate eta.
    torch.testing.assert_close(fc, start * (1 - (0.1 * 0.001 if decay else 0.0)), rtol=1e-12, atol=0)


@torch.no_grad()
def test_the_trust_of_a_large_layer_is_right_to_five_digits() -> None:
    """fc6 has 37,748,736 weights; a sequential float32 sum of them is wrong in the third digit."""
    random = torch.Generator().manual_seed(0)
    w = torch.randn(2048, 4096, generator=random) * 0.01
    net = nn.Sequential(OrderedDict(fc6=nn.Linear(4096, 2048)))
    net.get_parameter("fc6.weight").data.copy_(w)
    for dtype in (torch.float32, torch.bfloat16):
        g = (torch.randn(2048, 4096, generator=random) * 1e-4).to(dtype)
        found = Momentum(net, Sgd(lars=0.001)).trust(0.001, {"fc6.weight": g})["fc6.weight"]
        wide = 0.001 * w.double().norm() / (g.double().norm() + 0.0005 * w.double().norm())
        assert float(found) == pytest.approx(float(wide), rel=1e-5)


def test_parts_of_a_layer_that_sum_their_squares_move_as_the_whole() -> None:
    """Two processes hold half of the rows each, like towers; both hold all of fc."""
    sgd, plan = Sgd(weight_decay=0.1, lars=0.02), [LearningRates(2.0, 0.1)] * 4
    halves = {"conv1": [slice(0, 2), slice(2, 4)], "conv2": [slice(0, 1), slice(1, 3)], "fc": [slice(0, 2)] * 2}
    whole, first, second = small(), cut(small(), halves, 0), cut(small(), halves, 1)
    told: list[list[str]] = []

    def with_other(other: Momentum, part: int, step: int) -> Any:
        def total(squares: Tensor, names: Sequence[str]) -> Tensor:
            told.append(list(names))
            rows = {n: g[halves[n.split(".")[0]][part]] for n, g in gradients(whole, step).items()}
            for i, name in enumerate(names):
                if name != "fc.weight":
                    squares[0, i] += before[id(other)][name].square().sum()
                    squares[1, i] += rows[name].square().sum()
            return squares

        return total

    all_of_it, one, two = Momentum(whole, sgd), Momentum(first, sgd), Momentum(second, sgd)
    for step, rates in enumerate(plan):
        given = gradients(whole, step)
        before = {id(m): {n: p.detach().clone() for n, p in m.parameters.items()} for m in (one, two)}
        one.total, two.total = with_other(two, 1, step), with_other(one, 0, step)
        all_of_it.step(rates, given)
        for part, momentum in enumerate((one, two)):
            momentum.step(rates, {n: g[halves[n.split(".")[0]][part]] for n, g in given.items()})
    for name, p in whole.named_parameters():
        for part, net in enumerate((first, second)):
            expected = p[halves[name.split(".")[0]][part]]
            torch.testing.assert_close(net.get_parameter(name), expected, rtol=1e-13, atol=1e-15)
    assert told == [["conv1.weight", "conv2.weight", "fc.weight"]] * (2 * len(plan))


def cut(net: nn.Module, rows: dict[str, list[slice]], part: int) -> nn.Module:
    """Cut some rows of each layer, with their biases."""
    for name, layer in net.named_children():
        for parameter in layer.parameters():
            parameter.data = parameter.data[rows[name][part]].clone()
    return net


def test_no_norm_is_asked_for_without_lars() -> None:
    def refuse(squares: Tensor, names: Sequence[str]) -> Tensor:
        raise AssertionError(names)

    net = small()
    Momentum(net, Sgd(), total=refuse).step(LearningRates(0.01, 0.01), gradients(net, 0))
    with pytest.raises(AssertionError, match=r"fc\.weight"):
        Momentum(net, Sgd(lars=0.001), total=refuse).step(LearningRates(0.01, 0.01), gradients(net, 0))


def test_velocities_are_taken_over_from_a_checkpoint() -> None:
    first, second = small(), small()
    one, other = Momentum(first, Sgd()), Momentum(second, Sgd())
    one.step(LearningRates(0.01, 0.01), gradients(first, 0))
    second.load_state_dict(first.state_dict())
    other.load({name: v.clone() for name, v in one.velocity.items()})
    for net, momentum in ((first, one), (second, other)):
        momentum.step(LearningRates(0.01, 0.01), gradients(net, 1))
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
