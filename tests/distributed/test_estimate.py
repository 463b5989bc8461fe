"""The estimates: exact bytes, a timeline that obeys its laws, and the days that the paper reports."""

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.distributed import estimate
from alexnet.distributed.estimate import (
    BYTES,
    DEVICES,
    DeviceModel,
    Link,
    StepEstimate,
    estimate_step,
    parse_link,
    parts,
    seconds_alone,
    traffic,
)
from alexnet.distributed.strategy import STRATEGIES, refusal
from alexnet.models import layer_table

PAPER = RECIPES["paper"]
NET = PAPER.net
H200, GTX = DEVICES["H200"], DEVICES["GTX580"]
FREE = Link("free", math.inf, 0.0)


def plan(
    strategy: str, replicas: int, device: DeviceModel = H200, network: Link | None = None, recipe: Recipe = PAPER
) -> StepEstimate:
    return estimate_step(recipe, strategy, replicas, device, network or parse_link("400Gb"), "bf16")


def gpu(name: str | None, rate: float | None = None, batch: int | None = None, precision: str = "bf16") -> DeviceModel:
    return estimate.find_device(name, NET, precision, rate, batch)


def test_the_bytes_of_two_replicas_are_those_worked_out_by_hand() -> None:
    """The paper's net at batch 128 in bf16 has 60,965,224 weights, 2,334,080 of them in convolutions."""
    assert traffic(NET, "data", 2, 128, 2) == {"gradients": 243_860_896}
    assert traffic(NET, "towers", 2, 128, 2) == {
        "join conv3": 22_151_168,  # 13 x 13 x 256 maps of 128 pictures, forward and backward
        "join fc6": 4_718_592,
        "join fc7": 2_097_152,
        "join fc8": 1_048_576,  # forward only
        "gradients": 260_248_896,  # fc8 counts twice: each tower holds it
    }
    assert traffic(NET, "hybrid", 2, 128, 2) == {
        "join fc6": 4_718_592,
        "join fc7": 2_097_152,
        "join fc8": 2_097_152,
        "logits": 256_000,
        "gradients": 9_336_320,
    }


def test_the_papers_two_gpus_exchange_15_megabytes_each_at_four_bytes_a_step() -> None:
    sent = traffic(NET, "towers", 1, 128, 4)
    assert sent == {
        "join conv3": 44_302_336,
        "join fc6": 9_437_184,
        "join fc7": 4_194_304,
        "join fc8": 2_097_152,
        "gradients": 0,
    }


@pytest.mark.parametrize(("p", "weights"), [(1, 7), (2, 7), (3, 7), (4, 2), (5, 100)])
def test_a_ring_sends_every_number_twice_to_all_but_one(p: int, weights: int) -> None:
    """Simulate the ring chunk by chunk: a reduce-scatter, then an all-gather."""
    bounds = [(r * weights // p, (r + 1) * weights // p) for r in range(p)]
    held = [[float(10**rank + i) for i in range(weights)] for rank in range(p)]
    whole = [sum(column) for column in zip(*held, strict=True)]
    sent = 0
    for known in (False, True):
        for step in range(p - 1):
            carried = []
            for rank in range(p):
                first, end = bounds[(rank - step + known) % p]
                carried.append((first, held[rank][first:end]))
            for rank in range(p):
                first, chunk = carried[(rank - 1) % p]
                sent += len(chunk)
                for i, x in enumerate(chunk, first):
                    held[rank][i] = x if known else held[rank][i] + x
    assert held == [whole] * p
    assert sent == 2 * (p - 1) * weights


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 30))
def test_logits_that_travel_are_those_made_elsewhere(p: int, more: int, classes: int) -> None:
    batch = p + more - 1

    def owner(i: int, n: int) -> int:
        return next(r for r in range(p) if r * n // p <= i < (r + 1) * n // p)

    travel = sum(owner(i, batch) != owner(c, classes) for i in range(batch) for c in range(classes))
    assert estimate.logits_sent(classes, p, batch) == travel


@pytest.mark.parametrize(("p", "n"), [(1, 5), (2, 5), (4, 10), (4, 128)])
def test_pictures_gathered_before_fc6_travel_at_the_size_of_the_largest_share(p: int, n: int) -> None:
    """Forward, each sends its padded pool5 to all others; backward, each receives its own part from all others."""
    shares = [(r + 1) * n // p - r * n // p for r in range(p)]
    forward = sum(max(shares) * 9216 for a in range(p) for b in range(p) if a != b)
    backward = sum(shares[b] * 9216 for a in range(p) for b in range(p) if a != b)
    assert traffic(NET, "hybrid", p, n, 2).get("join fc6", 0) == 2 * (forward + backward)


def test_a_tower_holds_half_of_all_but_fc8() -> None:
    layers = {layer.name: layer.weights for layer in layer_table.layers_of(NET) if layer.weights}
    held = {part.name: part.weights for part in parts(NET, "towers", 1, 128, 2)}
    assert held == {name: n if name == "fc8" else n // 2 for name, n in layers.items()}
    assert sum(held.values()) == 32_531_112


@given(st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
def test_hybrid_sums_the_gradients_of_convolutions_alone(p: int) -> None:
    for part in parts(NET, "hybrid", p, 128, 2):
        assert part.reduced == (2 * (p - 1) * part.weights * 2 if part.name.startswith("conv") else 0)


def test_processes_together_do_the_products_of_one() -> None:
    """Training takes 2.07 billion multiply-adds per picture; with towers apart, fc8 is computed twice."""
    whole = 128 * (3 * 724_406_816 - 105_415_200)
    for strategy, processes in (("data", 4), ("towers", 8), ("hybrid", 4)):
        found = sum((1 + part.gradients) * part.products for part in parts(NET, strategy, 4, 128, 2)) * processes
        assert found == whole + (strategy == "towers") * 128 * 3 * 4_096_000


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_one_replica_sends_nothing_and_is_as_fast_as_one_device(recipe: str) -> None:
    value = RECIPES[recipe]
    for strategy in ("data", "hybrid"):
        if refusal(value.net, strategy, 1):
            assert strategy == "hybrid"
            assert recipe == "owt" or not isinstance(value.net, Net)
            continue
        found = plan(strategy, 1, recipe=value)
        assert found.sent == {"gradients": 0}
        assert found.network == 0
        assert found.efficiency == pytest.approx(1)


@given(st.sampled_from([1, 2, 4, 16, 128]))
def test_on_a_network_that_costs_nothing_only_what_every_step_costs_is_lost(p: int) -> None:
    fixed, whole = (seconds_alone(NET, replace(H200, pace=pace), "bf16", 128) for pace in (0.0, 1.0))
    found = plan("data", p, network=FREE)
    assert found.network == 0
    assert found.step == pytest.approx(fixed + (whole - fixed) / p)
    assert found.efficiency == pytest.approx(whole / (p * fixed + whole - fixed))


WAY, COUNT = st.sampled_from(STRATEGIES), st.sampled_from([1, 2, 4, 8, 32])
NETWORK = st.builds(Link, st.just("n"), st.floats(1e6, 1e12), st.floats(0, 1e-3))


@given(WAY, COUNT, NETWORK)
def test_a_step_takes_at_least_its_compute_and_at_most_all_its_communication_more(
    strategy: str, p: int, network: Link
) -> None:
    found = plan(strategy, p, network=network)
    assert found.step == pytest.approx(found.compute + found.network + found.update + found.input)
    each = 1 / found.processes
    most = sum(
        network.seconds(sent * each, hops)
        for part in parts(NET, strategy, p, 128, 2)
        for sent, hops in (
            (part.before, part.hops),
            (part.after, part.hops),
            (part.across, part.hops),
            (part.across, part.hops),
            (part.reduced, 4 * (p - 1)),
        )
        if sent
    )
    assert 0 <= found.network <= most * (1 + 1e-9)


def test_the_gradients_travel_while_backward_goes_on() -> None:
    """By hand: backward takes 2 s for each layer from fc8 to conv2, and 1 s for conv1."""
    device = DeviceModel("d", {"fp32": 1.0})
    layers = [replace(part, products=0.5, outputs=0, weights=0, reduced=0) for part in parts(NET, "data", 2, 2, 4)]
    layers[5] = replace(layers[5], reduced=2)  # fc6: starts at 6 s of 15
    network = Link("n", 0.1, 0.0)  # 1 byte each: 10 s
    taken = estimate.timeline(layers, device, network, "fp32", 2, 2)
    assert taken == pytest.approx({"compute": 8 + 15, "network": 1, "update": 0})
    layers[7] = replace(layers[7], reduced=2)  # fc8: starts at 2 s, done at 12; fc6 waits for it
    assert estimate.timeline(layers, device, network, "fp32", 2, 2)["network"] == pytest.approx(2 + 20 - 15)
    # conv5: a join that waits for the link, while the next layer waits for the join
    layers[4] = replace(layers[4], after=2)
    assert estimate.timeline(layers, device, network, "fp32", 2, 2)["network"] == pytest.approx(2 + 30 + 7 - 15)


@given(WAY, COUNT, NETWORK, st.floats(1, 100))
def test_a_better_network_is_never_slower(strategy: str, p: int, network: Link, times: float) -> None:
    worse = plan(strategy, p, network=network).step
    assert plan(strategy, p, network=replace(network, bandwidth=network.bandwidth * times)).step <= worse * (1 + 1e-9)
    assert plan(strategy, p, network=replace(network, latency=network.latency / times)).step <= worse * (1 + 1e-9)


@given(st.floats(1, 1000), st.integers(1, 512), st.sampled_from(["bf16", "fp32"]))
def test_a_measured_rate_is_what_the_device_then_does_alone(rate: float, batch: int, precision: str) -> None:
    for known in (None, "H200"):
        device = gpu(known, rate, batch, precision)
        assert batch / seconds_alone(NET, device, precision, batch) == pytest.approx(rate)
        assert device.origin.startswith("measured")


def test_fewer_pictures_cost_less_each_only_as_far_as_weights_and_launches_go() -> None:
    """Without a known device a rate holds at every batch size; with one, small batches are slower per picture."""
    unknown, known = (gpu(name, 20_000, 128) for name in (None, "H200"))
    assert 8 / seconds_alone(NET, unknown, "bf16", 8) == pytest.approx(20_000)
    assert 8 / seconds_alone(NET, known, "bf16", 8) < 15_000


def test_pictures_that_come_too_slowly_are_what_limits() -> None:
    found = estimate_step(PAPER, "data", 4, H200, FREE, "bf16", input=1000)
    assert found.rate == pytest.approx(4000)
    assert found.limit == "input"
    assert found.efficiency == pytest.approx(1)  # a single device gets no more pictures


def test_hours_are_those_of_all_epochs_and_a_last_batch_counts_as_whole() -> None:
    found = estimate_step(PAPER, "data", 1, H200, FREE, "bf16", pictures=1000)
    assert found.hours * 3600 == pytest.approx(90 * 8 * found.step)


def test_the_limit_is_what_takes_most() -> None:
    assert plan("data", 1).limit == "compute"
    assert plan("data", 64).limit == "network"
    assert plan("data", 128, replace(H200, launch=0), FREE).limit == "update"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_way_pays_up_to_the_doubling_that_makes_it_less_than_a_tenth_faster(strategy: str) -> None:
    def at(strategy: str, replicas: int) -> StepEstimate:
        return plan(strategy, replicas, GTX_FAST)

    found = estimate.scaling_limit(strategy, at)
    rates = {1: at("data", 1).rate}
    rates |= {
        p * (1 + (strategy == "towers")): at(strategy, p).rate
        for p in (1, 2, 4, 8, 16, 32, 64, 128)
        if p > 1 or strategy != "data"
    }
    for few, many in itertools.pairwise(sorted(rates)):
        if few < found.pays:
            assert rates[many] >= 1.1 * rates[few]
    assert rates[2 * found.pays] < 1.1 * rates[found.pays]
    assert found.fastest.rate == max(rates.values())
    assert found.tried == max(rates)
    assert f"{strategy} pays up to {found.pays} process" in str(found)


GTX_FAST = replace(H200, share=0.01)


def test_where_the_network_costs_nothing_more_always_pays() -> None:
    device = DeviceModel("d", {"bf16": 1e12})

    def at(strategy: str, replicas: int) -> StepEstimate:
        return plan(strategy, replicas, device, FREE)

    found = estimate.scaling_limit("data", at)
    assert found.pays == found.tried == found.fastest.processes == 128
    assert "no more were tried" in str(found)


def test_two_gtx_580_take_the_papers_five_to_six_days() -> None:
    """Nothing is fitted to this: the share of the peak is that of every device, and PCIe 2 has 6 GB/s."""
    found = estimate_step(PAPER, "towers", 1, GTX, parse_link("6GB/s"), "fp32")
    days = found.hours / 24
    assert 6 / estimate.ERROR <= days <= 5 * estimate.ERROR
    assert found.network < 0.05 * found.step  # few joins: the reason for the paper's pattern


def test_an_outlook_has_every_way_that_the_net_can_go() -> None:
    network = parse_link("400Gb")
    whole = estimate.forecast(PAPER, 8, H200, network, "bf16")
    assert [p.strategy for p in whole.plans] == [s.strategy for s in whole.stops] == list(STRATEGIES)
    assert [p.processes for p in whole.plans] == [8, 16, 8]
    assert not whole.refused
    assert any("factor of 1.5" in note for note in whole.notes)
    assert any("not measured" in note for note in whole.notes)
    json.dumps(asdict(whole), allow_nan=False)
    odd = estimate.forecast(PAPER, 3, H200, network, "bf16")
    assert [p.strategy for p in odd.plans] == ["data", "towers"]
    assert "cannot share the 4096 units" in odd.refused["hybrid"]
    assert list(estimate.forecast(RECIPES["cifar-18"], 2, H200, network, "bf16").refused) == ["towers", "hybrid"]
    assert list(estimate.forecast(RECIPES["one-gpu"], 2, H200, network, "bf16").refused) == ["towers"]


def test_a_batch_that_grows_with_the_replicas_is_said_to_be_another_recipe() -> None:
    found = estimate.forecast(PAPER, 8, H200, parse_link("400Gb"), "bf16", weak=True)
    assert {p.batch for p in found.plans} == {1024}
    assert found.plans[0].efficiency > 2 * plan("data", 8).efficiency
    assert max(s.tried for s in found.stops) == 2048
    assert "another recipe" in found.notes[-1]


@pytest.mark.parametrize(("text", "rate"), [("400Gb", 50e9), ("2.5Gb", 312.5e6), ("6GB/s", 6e9), ("NVLink", 450e9)])
def test_networks_are_written_in_bits_or_bytes(text: str, rate: float) -> None:
    found = parse_link(text, 3)
    assert (found.name, found.bandwidth) == (text, rate)
    assert found.latency == pytest.approx(3e-6)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: parse_link("fast"), "network 'fast' is unknown; write it as 400Gb, 6GB/s or NVLink"),
        (lambda: parse_link("0Gb"), "network '0Gb' is unknown"),
        (lambda: parse_link("1.2.3Gb"), "is unknown"),
        (lambda: gpu("h20"), "no GPU h20; did you mean H200? there are H200, H100, A100, GTX580; give --rate"),
        (lambda: gpu("abacus"), "no GPU abacus; there are H200"),
        (lambda: gpu("GTX580"), "GTX580 does not compute in bf16; give --precision fp32"),
        (lambda: gpu(None, 100.0), "--at-batch is None; give both or neither"),
        (lambda: gpu("H200", 1e9, 128), "is 1e+09 pictures/s; it must be less than"),
        (lambda: gpu(None, -1.0, 128), "it must be more than 0"),
        (lambda: plan("hybrid", 3), "--strategy hybrid: 3 replicas cannot share the 4096 units"),
        (lambda: estimate.forecast(PAPER, 1000, H200, FREE, "bf16"), "replicas is 1000"),
    ],
)
def test_what_cannot_be_planned_gets_one_line(act: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError) as raised:
        act()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_planning_does_not_import_torch() -> None:
    code = "import sys, alexnet.distributed.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bytes_of_a_number_follow_the_precision() -> None:
    wide, narrow = (sum(traffic(NET, "towers", 2, 128, BYTES[p]).values()) for p in ("fp32", "bf16"))
    assert wide == 2 * narrow
