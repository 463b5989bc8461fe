"""The compiled kernels against reference.py, for this machine's instructions and for older ones."""

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.ops.conftest import clear
from tests.rounding import gamma
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import cpu, cpu_build, crop, dispatch, reference
from alexnet.ops.norm import response_norm, within_map_norm

SHAPES = [(2, 96, 7, 5), (3, 20, 3, 3), (2, 6, 5, 4), (2, 1, 3, 3), (1, 34, 1, 7), (1, 256, 4, 4), (0, 4, 3, 3)]
ROOTS = 32  # roundings after a window's sum: two roots with a Newton step each, their powers, a gradient's two parts


def raw(shape: tuple[int, ...], dtype: torch.dtype, seed: int, std: float = 60.0) -> Tensor:
    x = std * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def part_of(terms: int, dtype: torch.dtype) -> float:
    """Return the tolerance between two implementations of a norm before rounding, relative to their terms.

    Both compute in float32, with windows of `terms` terms in any order. For bfloat16, the compiled one uses the
    processor's estimate of roots, to 2^-14 (Intel and AMD differ): s^-7/4 has 4.5 times that error, plus one root's.
    """
    return 2 * gamma(terms + ROOTS, torch.float32) + (5.5 * 2**-14 if dtype == torch.bfloat16 else 0)


def assert_norms_alike(kind: str, x: Tensor, g: Tensor, *given: Any) -> None:
    """Compare the compiled norm and gradient with the plain ones; the size of a gradient's terms sets its tolerance."""
    across = kind == "norm"
    *towers, n, k, a, beta = given[:5] if across else given
    wide, slope = x.double(), g.double().abs()

    def window(t: Tensor) -> Tensor:
        return reference.across_maps(t, reference.band(t, n, towers[0])) if across else reference.within_map(t, n)

    b = wide.clamp(min=0) if given[-1] == "before" else wide
    s = k + a * window(b.square())
    values = b.abs() * s**-beta
    slopes = slope * s**-beta + 2 * a * beta * b.abs() * window(slope * b.abs() * s ** -(beta + 1))
    room = part_of(n if across else n * n, x.dtype)
    for way, inputs, terms in (("forward", (x,), values), ("backward", (g, x), slopes)):
        found, expected = (getattr(form, f"{kind}_{way}")(*inputs, *given) for form in (cpu, reference))
        assert found.dtype == expected.dtype == x.dtype
        # Numbers that close round to the same bfloat16, or to neighbouring ones.
        unit = 2**-7 * expected.double().abs() if x.dtype == torch.bfloat16 else 0
        assert ((found.double() - expected.double()).abs() <= unit + room * terms).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("relu", ["", "before", "after"])
@pytest.mark.parametrize("n", [1, 3, 5, 9])
def test_the_norm_across_maps_is_the_plain_one(architecture: str, n: int, relu: str, dtype: torch.dtype) -> None:
    """Section 3.3, forward and backward, in one or two towers, with partly filled vectors and with no pictures."""
    for shape in SHAPES:
        x, g = raw(shape, dtype, n), raw(shape, dtype, n + 1, 1.0)
        for towers in (1, 2) if shape[1] % 2 == 0 else (1,):
            numbers = (towers, n, 2.0, 0.01, 0.75, relu)
            assert_norms_alike("norm", x, g, *numbers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("n", [1, 3, 5, 9])
def test_the_norm_within_a_map_is_the_plain_one(architecture: str, n: int, dtype: torch.dtype) -> None:
    """kRNorm of the 2012 code, forward and backward; windows of 9 hang over both borders of a map of 3."""
    for shape in SHAPES:
        x, g = raw(shape, dtype, n), raw(shape, dtype, n + 1, 1.0)
        assert_norms_alike("within", x, g, n, 1.0, 0.01, 0.75)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_is_no_number_comes_through(architecture: str, dtype: torch.dtype, bad: float) -> None:
    """NaN where the formula gives NaN, 0 where a neighbour or its square is infinite, and no change elsewhere."""
    x = raw((2, 40, 3, 3), dtype, 0)
    x[0, 17, 1, 1] = bad
    a = (5, 2.0, 1e-4, 0.75)
    found = cpu.norm_forward(x, 1, *a, "")
    s = 2.0 + 1e-4 * sum(x.float().square().roll(j, 1) for j in range(-2, 3))  # the ends are not compared
    expected = (x.float() / s**0.75)[:, 4:-4]
    rtol = part_of(5, dtype) + (2**-8 if dtype == torch.bfloat16 else 0)
    torch.testing.assert_close(found[:, 4:-4].float(), expected, rtol=rtol, atol=0, equal_nan=True)
    within = cpu.within_forward(x, *a)
    torch.testing.assert_close(within[1], cpu.within_forward(x[1:], *a)[0], rtol=0, atol=0)
    others = [i for i in range(40) if i != 17]
    alone = cpu.within_forward(x[:, others].contiguous(memory_format=torch.channels_last), *a)
    assert torch.equal(within[:, others], alone)
    assert within[0, 17, 1, 1].isfinite() == (bad == 1e30)


@pytest.mark.parametrize("relu", ["before", "after"])
def test_the_rectified_gradient_of_no_number_is_that_of_pytorch(architecture: str, relu: str) -> None:
    """PyTorch's ReLU passes the gradient unless its input is <= 0, so also where it is NaN."""
    x = torch.tensor([-1.0, 0.0, 2.0, float("nan"), 3.0, -0.0]).view(1, 6, 1, 1)
    g = torch.ones(1, 6, 1, 1)
    numbers = (1, 1, 2.0, 0.0, 0.75, relu)  # a = 0: maps do not mix
    slope = 2.0**-0.75
    expected = torch.tensor([0, 0, slope, float("nan"), slope, 0]).view(1, 6, 1, 1)
    found = cpu.norm_backward(g, x, *numbers)
    torch.testing.assert_close(found, expected, rtol=part_of(1, torch.float32), atol=0, equal_nan=True)


def test_a_constant_of_zero_spoils_no_neighbour(architecture: str) -> None:
    """With k = 0 a map of zeros is 0 / 0; the lanes beyond the last map are zeros too and must not leak in."""
    x, g = raw((1, 18, 1, 1), torch.float32, 1), raw((1, 18, 1, 1), torch.float32, 2, 1.0)
    assert_norms_alike("norm", x, g, 1, 5, 0.0, 0.01, 0.75, "")


@pytest.mark.parametrize("decay", [0.0, 0.0005])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_update_is_the_plain_one(architecture: str, dtype: torch.dtype, decay: float) -> None:
    """Section 5: v <- 0.9 v - decay rate w - rate g, w <- w + v, and the copy is w to the nearest bfloat16."""
    for count in (0, 1, 16, 1003):
        w, v = (raw((1, 1, 1, count), torch.float32, seed) for seed in (1, 2))
        g = raw((1, 1, 1, count), dtype, 3)
        copy = torch.empty_like(w, dtype=torch.bfloat16)
        w2, v2, finite = w.clone(), v.clone(), torch.ones(3, dtype=torch.bool)
        cpu.momentum(w, v, g, copy, finite[1], 0.01, 0.9, decay)
        reference.momentum(w2, v2, g, None, finite[1], 0.01, 0.9, decay)
        # Three products and their sum, fused or not: terms of at most 300, and w adds at most 300 more.
        torch.testing.assert_close(v, v2, rtol=0, atol=2 * gamma(6, torch.float32) * 300)
        torch.testing.assert_close(w, w2, rtol=0, atol=2 * gamma(7, torch.float32) * 600)
        assert torch.equal(copy, w.bfloat16())
        assert finite.all()


@pytest.mark.parametrize("module", [cpu, reference], ids=["native", "plain"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["weight", "velocity", "gradient"])
def test_an_update_says_where_one_number_of_any_is_not_finite(
    architecture: str, module: ModuleType, value: float, part: str
) -> None:
    """The largest float counts as finite, and a flag that became False stays False."""
    for count, at in ((1, 0), (16, 15), (17, 16), (100003, 50000), (100003, 100002)):
        w, v, g = (torch.zeros(count) for _ in range(3))
        finite = torch.ones(3, dtype=torch.bool)
        w.fill_(torch.finfo(torch.float32).max)
        module.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.all()
        {"weight": w, "velocity": v, "gradient": g}[part][at] = value
        module.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.tolist() == [True, False, True]
        module.momentum(torch.ones(4), torch.ones(4), torch.ones(4), None, finite[1], 0.01, 0.9, 0.0)
        assert finite.tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
def test_views_are_the_plain_ones(architecture: str, shifted: bool, place: bool, dtype: torch.dtype) -> None:
    """Crop, mirror, mean of the place or the centre, colour, scale: the same bits, also in partly filled vectors."""
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (9, 20, 20, 3), dtype=torch.uint8, generator=random)
    top, left = (torch.randint(0, 8, (9,), generator=random) for _ in range(2))
    mirrored = torch.arange(9) % 2 == 0
    mean = 255 * torch.rand(20, 20, 3, generator=random)
    shift = torch.randn(9, 3, generator=random) if shifted else None
    arguments = (images, top, left, mirrored, mean, 13, place, shift, 0.37, dtype)
    assert torch.equal(cpu.cut(*arguments), reference.cut(*arguments))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", [True, False])
@pytest.mark.parametrize(("side", "size"), [(20, 13), (33, 32), (7, 1)])
def test_scaled_views_are_those_of_plain_pytorch(
    architecture: str, side: int, size: int, place: bool, dtype: torch.dtype
) -> None:
    """Boxes of every size, the last at the end of the memory; the compiler may join a product and a sum, which rounds
    once less."""
    random = torch.Generator().manual_seed(side)
    images = torch.randint(0, 256, (9, side, side, 3), dtype=torch.uint8, generator=random)
    length = torch.randint(1, side + 1, (2, 9), generator=random)
    first = torch.tensor([[random_below(side - n + 1, random) for n in row] for row in length.tolist()])
    first[:, -1] = side - length[:, -1]
    mirrored = torch.arange(9) % 2 == 0
    lines, columns = crop.places(first[0], length[0], size), crop.places(first[1], length[1], size, mirrored)
    mean, shift = 255 * torch.rand(side, side, 3, generator=random), torch.randn(9, 3, generator=random)
    arguments = (images, lines, columns, mean, size, place, shift, 0.37, dtype)
    room = 1e-4 if dtype == torch.float32 else 0.5
    torch.testing.assert_close(cpu.cut_scaled(*arguments), reference.cut_scaled(*arguments), rtol=0, atol=room)
    once = [cpu.cut_scaled(*arguments)]
    torch.set_num_threads(3)
    once.append(cpu.cut_scaled(*arguments))
    torch.set_num_threads(1)
    assert torch.equal(*once)


def random_below(n: int, random: torch.Generator) -> int:
    return int(torch.randint(0, n, (), generator=random))


def test_the_threads_change_nothing(architecture: str) -> None:
    """Each number is computed alone, by any thread."""
    x, g = raw((5, 48, 9, 9), torch.float32, 1), raw((5, 48, 9, 9), torch.float32, 2)
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        across = cpu.norm_backward(g, x, 2, 5, 2.0, 0.01, 0.75, "before")
        results.append((across, cpu.within_backward(g, x, 5, 1.0, 0.01, 0.75)))
    torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_beta_or_a_window_that_is_not_compiled_is_computed_plainly() -> None:
    """Only beta 0.75 and windows up to 9 are compiled; PyTorch computes all other norms."""
    x = raw((2, 24, 4, 4), torch.float32, 1)
    for norm in (LRN(beta=0.5), LRN(n=11), LRN()):
        a = (1, norm.n, norm.k, norm.alpha, norm.beta, "")
        torch.testing.assert_close(response_norm(x, norm, 1), reference.norm_forward(x, *a))
    within = SpatialLRN(n=11, beta=0.5)
    torch.testing.assert_close(within_map_norm(x, within), reference.within_forward(x, 11, 1.0, 1e-3 / 121, 0.5))


def test_the_library_is_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if cpu.library() is None:
        pytest.skip("no C++ compiler here")
    made = cpu_build.built("native")
    before = made.stat().st_mtime_ns
    assert cpu_build.built("native") == made
    assert made.stat().st_mtime_ns == before
    assert [p.name for p in (tmp_path / "alexnet").iterdir()] == [made.name]  # no temporary file is left


def test_a_home_that_cannot_be_written_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    if cpu.library() is None:
        pytest.skip("no C++ compiler here")
    assert cpu_build.built("native").exists()


@pytest.mark.parametrize("broken", ["/nonexistent/c++", "/bin/false"])
def test_without_a_working_compiler_one_line_says_so_and_the_plain_forms_serve(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ALEXNET_NATIVE", raising=False)
    monkeypatch.setenv("CXX", broken)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    clear()
    with caplog.at_level(logging.WARNING):
        x = raw((1, 8, 2, 2), torch.float32, 1)
        assert dispatch.best(x) is reference
        assert dispatch.name(x.device) == "pytorch"
    assert len(caplog.messages) == 1
    assert "\n" not in caplog.messages[0]
    monkeypatch.undo()
    clear()


def test_switched_off_nothing_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "off")
    clear()
    assert dispatch.best(torch.zeros(1)) is reference
    assert not caplog.messages
    monkeypatch.undo()
    clear()


def test_an_architecture_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "pdp-11")
    clear()
    assert cpu.library() is None
    assert len(caplog.messages) == 1
    monkeypatch.undo()
    clear()


def test_a_library_that_was_cut_short_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if cpu.library() is None:
        pytest.skip("no C++ compiler here")
    made = cpu_build.built("native")
    made.unlink()  # make another file of its name: the old one may be loaded
    made.write_bytes(b"")
    cpu_build.library.cache_clear()
    assert cpu_build.library() is not None


def test_a_compiler_may_have_flags_and_need_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    if cpu.library() is None:
        pytest.skip("no C++ compiler here")
    monkeypatch.setenv("CXX", f"{os.environ.get('CXX', 'c++')} -g0")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    assert cpu_build.built("native").exists()


@pytest.mark.parametrize(
    ("images", "mean"),
    [
        (torch.zeros(2, 20, 20, 3), torch.zeros(20, 20, 3)),  # not uint8
        (torch.zeros(2, 16, 16, 3, dtype=torch.uint8), torch.zeros(20, 20, 3)),  # smaller
        (torch.zeros(2, 24, 20, 3, dtype=torch.uint8), torch.zeros(20, 20, 3)),  # not square
        (torch.zeros(2, 12, 12, 3, dtype=torch.uint8), torch.zeros(12, 12, 3)),  # smaller than a view
    ],
)
def test_views_are_cut_from_pictures_of_the_right_size_and_type_alone(images: Tensor, mean: Tensor) -> None:
    place = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="views of 13 pixels need uint8 pictures of"):
        crop.cut(images, place, place, place.bool(), mean, 13, True, None, 1.0, torch.float32)


def test_a_narrow_mean_or_shift_is_widened_first() -> None:
    """Under autocast, the colour shift is a product in bfloat16."""
    images, place = torch.full((2, 20, 20, 3), 100, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    mean, shift = torch.full((20, 20, 3), 50.0), torch.full((2, 3), 4.0)
    cut = [
        crop.cut(images, place, place, place.bool(), mean.to(d), 13, True, shift.to(d), 1.0, torch.float32)
        for d in (torch.float32, torch.bfloat16)
    ]
    assert torch.equal(cut[0], cut[1])
    assert (cut[0] == 54).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_memory_layout_changes_nothing(architecture: str, dtype: torch.dtype) -> None:
    """Channels first, channels last, strided views, and a gradient that expands one number."""
    whole = raw((4, 20, 6, 5), dtype, 1).contiguous()
    x = whole[::2, :, 1:, ::2]
    assert not x.is_contiguous()
    assert not x.is_contiguous(memory_format=torch.channels_last)
    norms: list[Callable[[Tensor], Tensor]] = [
        lambda t: response_norm(t, LRN(alpha=0.01), 2, "before"),
        lambda t: within_map_norm(t, SpatialLRN(alpha=0.01)),
    ]
    for norm in norms:
        dense = x.contiguous(memory_format=torch.channels_last)
        for laid in (x, x.contiguous(), x.transpose(2, 3).contiguous().transpose(2, 3)):
            assert torch.equal(norm(laid), norm(dense))
            slopes = []
            for t in (laid, dense):
                t = t.detach().requires_grad_()
                slopes.append(torch.autograd.grad(norm(t).sum(), t)[0])
            assert torch.equal(*slopes)
