"""What `alexnet bench` says is what it measured; how fast anything is, no test asks."""

import json
import math
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.rounding import reach

from alexnet.bench import peers, suite, timing
from alexnet.bench.timing import Clock, compared
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.models import layer_table
from alexnet.models.build import build

ONE = Clock(Compute(torch.device("cpu"), "bf16"), 1)
KEYS = ["what", "ours", "peer", "peer_name", "ratio", "bound", "fraction_of_bound", "unit", "machine"]


@pytest.mark.parametrize(("what", "lines"), [("lrn", 12), ("loader", 1), ("prepare", 1)])
def test_each_line_compares_ours_with_a_named_peer_and_a_bound(what: str, lines: int) -> None:
    """On one thread here; `ratio` is how many times as fast ours is, whichever way the unit runs."""
    found = [json.loads(line.plain()) for line in suite.bench(what, device="cpu", precision="bf16", batch=2, rounds=1)]
    assert len(found) == lines
    for line in found:
        assert list(line) == KEYS
        assert line["ours"] > 0
        assert "1 thread, CPU time" in line["what"]
        assert line["unit"] in ("ms", "pictures/s")
        ratio = line["peer"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["peer"]
        assert math.isclose(line["ratio"], ratio, rel_tol=2e-3)  # four digits are shown
        share = line["bound"] / line["ours"] if line["unit"] == "ms" else line["ours"] / line["bound"]
        assert math.isclose(line["fraction_of_bound"], share, rel_tol=2e-3)
    assert any("malloc" in line["peer_name"] or "kept pages" in line["peer_name"] for line in found) == (what == "lrn")


def test_a_rate_is_pictures_a_second_and_a_time_milliseconds() -> None:
    rate = compared("w", 2.0, 4.0, "p", ONE, amount=128, bound=1.0)
    assert (rate.ours, rate.peer, rate.bound, rate.unit) == (64.0, 32.0, 128.0, "pictures/s")
    assert (rate.ratio, rate.fraction_of_bound) == (2.0, 0.5)
    taken = compared("w", 0.002, 0.004, "p", ONE)
    assert (taken.ours, taken.peer, taken.unit, taken.ratio, taken.bound) == (2.0, 4.0, "ms", 2.0, None)


def test_works_are_measured_in_turns_and_the_first_calls_do_not_count() -> None:
    calls: list[str] = []
    slow = [1.0]  # of the first call alone

    def a() -> None:
        calls.append("a")
        end = time.process_time() + (0.05 if slow else 0)
        slow.clear()
        while time.process_time() < end:
            pass

    taken = ONE.medians([a, lambda: calls.append("b")], 2)
    assert "".join(calls) == "aaaabbbbaabb"
    assert max(taken) < 0.05


def test_a_reading_of_many_calls_is_the_time_of_one() -> None:
    """So that a GPU's launch and wait, the same for one call and fifty, do not count."""
    calls: list[int] = []
    assert ONE.calls == 1
    one = ONE.medians([lambda: calls.append(sum(range(10**5)))], 3, calls=20)
    assert len(calls) == 3 + 20 + 2 * (1 + 20)
    assert 0 < one[0] < 5 * ONE.seconds(lambda: sum(range(10**5)))


@pytest.mark.parametrize("name", ["source", "paper"])
def test_the_stock_net_is_the_same_net_but_for_the_norm_within_maps(name: str) -> None:
    """Its logits are ours when it has our weights: what is raced is the same function."""
    recipe = RECIPES[name].replace(
        net={"spatial_lrn": None, "channels": (16, 16, 8, 8, 8), "hidden": 16, "classes": 5, "std": (0.1,) * 8}
    )
    assert isinstance(recipe.net, Net)
    ours, stock = build(recipe.net, 0).eval(), peers.Stock(recipe.net).eval()
    layers = [m for m in stock if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, (_, own) in zip(layers, ours.named_children(), strict=True):
        layer.load_state_dict(own.state_dict())
    if recipe.net.towers == 2:  # torch's norm knows no towers: let one tower's maps be zeros at their border
        return_maps = [layers[0], layers[1]]
        for layer in return_maps:
            torch.nn.init.zeros_(layer.weight[6:10].detach())
            assert layer.bias is not None
            torch.nn.init.zeros_(layer.bias[6:10].detach())
        for layer, own in zip(return_maps, (ours.get_submodule("conv1"), ours.get_submodule("conv2")), strict=True):
            own.load_state_dict(layer.state_dict())
    x = 60 * torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs = stock(torch.nn.functional.pad(x, (0, 3, 0, 3)))
        # Dropout as printed halves the units of fc6 and fc7 in testing; torch's does nothing there.
        weights = dict(ours.named_parameters())
        weights["fc7.weight"].mul_(2)
        weights["fc8.weight"].mul_(2)
        found = ours(x)
        ours.double()
        (room,) = reach(lambda: [ours(x.double())], draws=2)
        assert room < 1e-3 * (found[0] - found[1]).abs().max()  # the pictures do come through
        torch.testing.assert_close(found, theirs, rtol=0, atol=2 * room)  # both in float32, the norms by other routes


def test_products_are_those_of_figure_2() -> None:
    """724.4 million multiply-adds forward; in training thrice that, but for the gradient of conv1's input."""
    net = RECIPES["paper"].net
    assert suite.products(net) == 724_406_816
    assert suite.products(net, training=True) == 3 * 724_406_816 - layer_table.layers_of(net)[0].multiply_adds


def test_bounds_are_rates_of_this_machine() -> None:
    assert timing.products_per_second(ONE, torch.float32, rounds=1, size=256) > 1e8
    assert timing.bytes_per_second(ONE, rounds=1, size=1 << 22) > 1e8
    assert timing.bytes_read_per_second(ONE, rounds=1, size=1 << 22) > 1e8


def test_pictures_may_be_ones_own(tmp_path: Path) -> None:
    Image.new("RGB", (300, 280), (200, 10, 10)).save(tmp_path / "one.jpg")
    line = next(suite.bench("prepare", device="cpu", rounds=1, pictures=tmp_path))
    assert str(tmp_path) in line.what


def test_a_folder_without_pictures_and_an_unknown_bench_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no JPEG"):
        next(suite.bench("prepare", device="cpu", pictures=tmp_path))
    with pytest.raises(InputError, match="bench 'walk' is not known; give lrn, step, infer"):
        next(suite.bench("walk"))
