"""The peers do the same work."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
import torch
from tests.rounding import reach

from alexnet.bench import peers
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.models.build import build


@pytest.mark.parametrize("name", ["source", "paper"])
def test_the_stock_net_is_the_same_net_but_for_the_norm_within_maps(name: str) -> None:
    """With our weights its logits are ours, so the peer computes the same function."""
    recipe = RECIPES[name].replace(
        net={"spatial_lrn": None, "channels": (16, 16, 8, 8, 8), "hidden": 16, "classes": 5, "std": (0.1,) * 8}
    )
    assert isinstance(recipe.net, Net)
    ours, stock = build(recipe.net, 0).eval(), peers.Stock(recipe.net).eval()
    layers = [m for m in stock if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, name in zip(layers, recipe.net.layers, strict=True):
        layer.load_state_dict(ours.get_submodule(name).state_dict())
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
        # In testing, the paper's dropout halves the outputs of fc6 and fc7; torch's dropout does nothing.
        weights = dict(ours.named_parameters())
        weights["fc7.weight"].mul_(2)
        weights["fc8.weight"].mul_(2)
        found = ours(x)
        ours.double()
        (room,) = reach(lambda: [ours(x.double())], draws=2)
        assert room < 1e-3 * (found[0] - found[1]).abs().max()  # the pictures do come through
        torch.testing.assert_close(found, theirs, rtol=0, atol=2 * room)  # both in float32, the norms by other routes


SMALL = RECIPES["source"].replace(
    net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5, "spatial_lrn": None, "std": (0.1,) * 8}
)
CPU = Compute(torch.device("cpu"), "fp32")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Net:
    monkeypatch.setitem(RECIPES, "source", SMALL)
    narrow = {"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5}
    monkeypatch.setitem(RECIPES, "owt", RECIPES["owt"].replace(net=narrow))
    assert isinstance(SMALL.net, Net)
    return SMALL.net


def test_torchvisions_net_written_out_is_recipe_owt() -> None:
    """With our weights its logits are ours."""
    recipe = RECIPES["owt"].replace(
        net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5, "init": "normal", "std": (0.1,) * 8}
    )
    assert isinstance(recipe.net, Net)
    ours, theirs = build(recipe.net, 0).eval(), peers.Torchvision(recipe.net).eval()
    layers = [m for m in theirs if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for layer, own in zip(layers, recipe.net.layers, strict=True):
        layer.load_state_dict(ours.get_submodule(own).state_dict())
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = ours(x)
        torch.testing.assert_close(theirs(x), found, rtol=1e-4, atol=1e-5 * float(found.abs().max()))
        assert (found[0] - found[1]).abs().max() > 1e-3 * found.abs().max()
    full = peers.Torchvision(cast(Net, RECIPES["owt"].net))
    assert sum(p.numel() for p in full.parameters()) == 61_100_840  # as torchvision's page says


def test_autocast_keeps_the_norm_of_torch_in_float32() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.nn.LocalResponseNorm(5)(torch.ones(1, 8, 3, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_views_of_noise_are_whole_numbers_that_bf16_holds() -> None:
    views = peers.noise(2, 16, torch.device("cpu"))
    assert views.shape == (2, 3, 16, 16)
    assert torch.equal(views.bfloat16().float(), views)
    assert -128 <= views.min() < -90 < 90 < views.max() <= 127


def test_the_compiled_peers_learn_and_serve_by_name(narrow: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without a compiler's work: what is compiled is what is called."""
    asked: list[object] = []

    def compile_as_it_is(
        work: Callable[..., object], dynamic: bool, mode: str | None = None, options: object = None
    ) -> Callable[..., object]:
        asked.append(mode or options)
        return work

    monkeypatch.setattr(torch, "compile", compile_as_it_is)
    for works, what in (
        (peers.learners(2, CPU), "fused torch.optim.SGD"),
        (peers.torchvision_learners(2, CPU), "torchvision's alexnet as plain modules, channels last, fp32"),
        (peers.servers(narrow, torch.randn(2, 3, 224, 224), CPU), "stock modules, channels last, fp32"),
        (peers.gpu_norms((2, 8, 5, 5), torch.bfloat16, CPU), "nn.LocalResponseNorm"),
    ):
        eager, compiled = works
        assert what in eager
        assert eager.endswith("eager")
        assert "torch.compile " in compiled
        for work in works.values():
            work()
    assert asked == ["default", "default", {"freezing": True}, "max-autotune-no-cudagraphs"]


def test_a_fused_step_is_the_step_that_anyone_would_write(narrow: Net) -> None:
    """The first step of each moves every weight alike."""
    views, labels = 60 * torch.randn(2, 3, 227, 227, dtype=torch.float64), torch.tensor([1, 3])
    plain, fused = (peers.Stock(narrow).double() for _ in range(2))
    fused.load_state_dict(plain.state_dict())
    for module in (*plain, *fused):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    start = [p.detach().clone() for p in plain.parameters()]
    peers.stock_step(plain, views, labels, False)()
    peers.fused_step(fused, views, labels, Compute(torch.device("cpu"), "fp64"), None)()
    for before, one, two in zip(start, plain.parameters(), fused.parameters(), strict=True):
        moved = one.detach() - before
        assert moved.abs().max() > 0
        torch.testing.assert_close(two.detach() - before, moved, rtol=1e-6, atol=1e-6 * float(moved.abs().max()))


@pytest.mark.parametrize("failure", ["raises", "hangs"])
def test_a_peer_that_does_not_compile_is_left_out_in_a_line(
    failure: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(peers.COMPILE_SECONDS, "cpu", 0.2)
    handler = signal.getsignal(signal.SIGALRM)

    def build() -> Callable[[], object]:
        if failure == "raises":
            raise RuntimeError("no\nplan")
        while True:
            with suppress(Exception):  # as a library would
                time.sleep(60)

    assert peers.attempted("a peer", build, CPU) is None
    err = capsys.readouterr().err
    assert err.startswith("left out: a peer: ")
    assert err.count("\n") == 1
    assert ("no plan" if failure == "raises" else "not compiled in 0 s") in err
    assert signal.getsignal(signal.SIGALRM) is handler
    assert peers.attempted("a peer", lambda: lambda: None, CPU) is not None
