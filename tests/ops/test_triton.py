"""The Triton kernels against the printed formulas in float64, and against PyTorch's pools.

They run on a CUDA device if there is one, else in Triton's interpreter. The interpreter computes with numpy: it
truncates to bfloat16 instead of rounding, and has no fused multiply-adds.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
with pytest.MonkeyPatch.context() as patch:
    if not CUDA:
        patch.setenv("TRITON_INTERPRET", "1")  # read where a kernel is defined, so before the import
    pytest.importorskip("triton", reason="Triton is not installed")
    from alexnet.ops import triton
    from alexnet.ops.triton import rows

pytestmark = pytest.mark.gpu
on_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device here")
RELUS = ["", "before", "after"]
K, A, BETA = 2.0, 0.01, 0.75  # with this a, the sum is as large as k


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the interpreter's variable set for the first launch, and silence numpy's warnings of NaN."""
    if not CUDA:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        yield


def raw(*shape: int, seed: int = 0, std: float = 20.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw numbers as large as pixels."""
    numbers = torch.from_numpy(np.random.default_rng(seed).normal(0, std, shape))
    return numbers.to(DEVICE, dtype, memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)


def window(t: Tensor, n: int, towers: int) -> Tensor:
    """Sum over n maps of a tower, clipped at its first and last (section 3.3): one slice for each neighbour."""
    parts = []
    for tower in t.chunk(towers, 1):
        padded = F.pad(tower, (0, 0, 0, 0, n // 2, n // 2))
        parts.append(sum((padded[:, j : j + tower.shape[1]] for j in range(n)), torch.zeros_like(tower)))
    return torch.cat(parts, 1)


def around(t: Tensor, n: int) -> Tensor:
    """Sum over n x n units of the same map, clipped at its border, as kRNorm of the 2012 code does."""
    h, total = n // 2, torch.zeros_like(t)
    padded = F.pad(t, (h, h, h, h))
    for y in range(n):
        for x in range(n):
            total = total + padded[:, :, y : y + t.shape[2], x : x + t.shape[3]]
    return total


def norm(x: Tensor, towers: int, n: int, relu: str, beta: float = BETA, a: float = A) -> Tensor:
    """Compute section 3.3 in float64, for autograd."""
    b = x.double().relu() if relu == "before" else x.double()
    y = b / (K + a * window(b**2, n, towers)) ** beta
    return y.relu() if relu == "after" else y


def within(x: Tensor, n: int, beta: float = BETA) -> Tensor:
    return x.double() / (K + A * around(x.double() ** 2, n)) ** beta


def slope(y: Tensor, x: Tensor, g: Tensor) -> Tensor:
    return torch.autograd.grad(y, x, g.double())[0]


def near(found: Tensor, expected: Tensor, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Compare; 1e-5 is gamma(84) of float32, for sums of 9 to 25, approximate roots, and gradient terms of about 1."""
    torch.testing.assert_close(found.double(), expected.detach().double(), rtol=rtol, atol=atol, equal_nan=True)


def half_a_unit(dtype: torch.dtype) -> float:
    """Return the largest relative error of one rounding; the interpreter truncates to bfloat16."""
    return {torch.float32: 3e-6, torch.float16: 2**-11, torch.bfloat16: 2**-8 if CUDA else 2**-7}[dtype] * 1.01


@pytest.mark.parametrize("relu", RELUS)
@pytest.mark.parametrize(("maps", "towers", "n"), [(8, 1, 1), (8, 2, 3), (16, 1, 5), (96, 2, 5), (12, 2, 9), (6, 2, 5)])
def test_the_norm_is_the_printed_formula_and_its_gradient_autograds(maps: int, towers: int, n: int, relu: str) -> None:
    """Section 3.3, also with towers of 48 maps, and of 3, which do not fill a row of registers."""
    x, g = raw(2, maps, 3, 2, seed=n).requires_grad_(), raw(2, maps, 3, 2, seed=n + 1, std=1.0)
    expected = norm(x, towers, n, relu)
    near(triton.norm_forward(x.detach(), towers, n, K, A, BETA, relu), expected)
    near(triton.norm_backward(g, x.detach(), towers, n, K, A, BETA, relu), slope(expected, x, g))


@pytest.mark.parametrize("beta", [0.5, 1.0, 0.2])
def test_any_beta_is_raised_as_printed(beta: float) -> None:
    """Section 3.3: k and beta are hyper-parameters."""
    x, g = raw(1, 8, 2, 2).requires_grad_(), raw(1, 8, 2, 2, seed=1, std=1.0)
    expected, around_it = norm(x, 1, 3, "", beta), within(x, 3, beta)
    near(triton.norm_forward(x.detach(), 1, 3, K, A, beta, ""), expected)
    near(triton.norm_backward(g, x.detach(), 1, 3, K, A, beta, ""), slope(expected, x, g))
    near(triton.within_forward(x.detach(), 3, K, A, beta), around_it)
    near(triton.within_backward(g, x.detach(), 3, K, A, beta), slope(around_it, x, g))


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 1), (1, 1)], ids=str)
def test_the_norm_within_a_map_is_the_2012_kernel(size: tuple[int, int], n: int) -> None:
    """2012 code: the window is clipped at the border, also in maps smaller than the window."""
    x, g = raw(2, 6, *size, seed=n).requires_grad_(), raw(2, 6, *size, seed=n + 1, std=1.0)
    expected = within(x, n)
    near(triton.within_forward(x.detach(), n, K, A, BETA), expected)
    near(triton.within_backward(g, x.detach(), n, K, A, BETA), slope(expected, x, g))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_narrow_input_costs_the_rounding_of_the_output_alone(dtype: torch.dtype) -> None:
    """Arithmetic is in float32 for any input, so the error is half a unit in the last place of the output."""
    x, g = raw(2, 16, 3, 3, dtype=dtype).requires_grad_(), raw(2, 16, 3, 3, seed=1, std=1.0, dtype=dtype)
    for relu in RELUS:
        expected, found = norm(x, 1, 5, relu), triton.norm_forward(x.detach(), 1, 5, K, A, BETA, relu)
        assert found.dtype == dtype
        near(found, expected, half_a_unit(dtype), 0)
        found = triton.norm_backward(g, x.detach(), 1, 5, K, A, BETA, relu)
        assert found.dtype == dtype
        near(found, norm_gradient(g, x.detach(), 1, 5, relu), half_a_unit(dtype), 2e-6)
    near(triton.within_forward(x.detach(), 3, K, A, BETA), within(x, 3), half_a_unit(dtype), 0)


def norm_gradient(g: Tensor, x: Tensor, towers: int, n: int, relu: str) -> Tensor:
    """Compute the analytic gradient in float64; ReLU passes it unless x <= 0, so also for NaN, as in PyTorch."""
    g, x, on = g.double(), x.double(), ~(x <= 0)
    b = x.clamp(min=0) if relu == "before" else x
    s = K + A * window(b**2, n, towers)
    g = g.where(on, torch.zeros_like(g)) if relu == "after" else g
    d = g * s**-BETA - 2 * A * BETA * b * window(g * s**-BETA * b / s, n, towers)
    return d.where(on, torch.zeros_like(d)) if relu == "before" else d


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_comes_through_and_goes_no_further(bad: float, dtype: torch.dtype) -> None:
    """NaN exactly where the printed formulas give it: in the window, not in the whole tower or row of registers."""
    x, g = raw(2, 32, 3, 3, dtype=dtype), raw(2, 32, 3, 3, seed=1, std=1.0, dtype=dtype)
    x[0, 9, 1, 1] = bad
    rtol = half_a_unit(dtype) + 1e-5
    for relu in RELUS:
        near(triton.norm_forward(x, 2, 5, K, A, BETA, relu), norm(x, 2, 5, relu), rtol)
        near(triton.norm_backward(g, x, 2, 5, K, A, BETA, relu), norm_gradient(g, x, 2, 5, relu), rtol)
    near(triton.within_forward(x, 3, K, A, BETA), within(x, 3), rtol)
    direct, u, weight = within_gradient(g, x, 3)
    expected, found = direct - weight * around(u, 3), triton.within_backward(g, x, 3, K, A, BETA).double()
    # `direct` and u are kept in the dtype of x between two passes: each costs a rounding, and the result one more.
    off = rtol * (direct.abs() + (weight * around(u.abs(), 3)).abs() + expected.abs())
    assert torch.equal(found.isnan(), expected.isnan())
    assert ((found - expected).abs() <= off)[~expected.isnan()].all()


def within_gradient(g: Tensor, x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute in float64 the parts of the gradient of x: direct, u and the weight w, of direct - w window(u)."""
    wide, s = x.double(), K + A * around(x.double() ** 2, n)
    direct = g.double() * s**-BETA
    return direct, direct * wide / s, 2 * A * BETA * wide


def test_large_finite_numbers_stay_finite() -> None:
    """Activations of 1e12 have squares that float32 holds."""
    x = torch.full((1, 8, 2, 2), 1e12, device=DEVICE)
    near(triton.norm_forward(x, 2, 5, K, 1e-4, BETA, "before"), norm(x, 2, 5, "before", a=1e-4))
    assert torch.isfinite(triton.norm_backward(x, x, 2, 5, K, 1e-4, BETA, "before")).all()


AWKWARD = [(0, 8, 3, 3), (2, 1, 3, 3), (2, 3, 3, 3), (2, 2, 1, 1), (1, 4, 1, 7), (3, 4, 7, 1), (1, 10, 2, 3)]


@pytest.mark.parametrize("shape", AWKWARD, ids=str)
def test_awkward_shapes_are_only_shapes(shape: tuple[int, int, int, int]) -> None:
    """No pictures, one map, fewer maps than n, maps of one unit or row: clipped windows, as printed."""
    x, g = raw(*shape).requires_grad_(), raw(*shape, seed=1, std=1.0)
    towers = 2 if shape[1] % 2 == 0 else 1
    for dtype in (torch.float32, torch.bfloat16):
        expected = norm(x.to(dtype), towers, 5, "after")
        near(triton.norm_forward(x.detach().to(dtype), towers, 5, K, A, BETA, "after"), expected, half_a_unit(dtype))
    expected = norm(x, towers, 5, "before")
    near(triton.norm_backward(g, x.detach(), towers, 5, K, A, BETA, "before"), slope(expected, x, g))


def test_the_memory_layout_changes_nothing() -> None:
    """For any layout of the input, the output is channels-last, with the same numbers."""
    x, g = raw(1, 8, 3, 4), raw(1, 8, 3, 4, seed=1)
    y, around_it = triton.norm_forward(x, 2, 5, K, A, BETA, ""), triton.within_forward(x, 3, K, A, BETA)
    for laid in (x.contiguous(), raw(1, 16, 3, 4)[:, ::2].copy_(x)):
        assert torch.equal(triton.norm_forward(laid, 2, 5, K, A, BETA, ""), y)
        assert torch.equal(triton.within_forward(laid, 3, K, A, BETA), around_it)
        assert triton.within_forward(laid, 3, K, A, BETA).is_contiguous(memory_format=torch.channels_last)
    one = g[:, :1, :1, :1].expand_as(g)
    found = triton.norm_backward(one, x.contiguous(), 2, 5, K, A, BETA, "")
    assert torch.equal(found, triton.norm_backward(one.contiguous(), x, 2, 5, K, A, BETA, ""))


def test_an_even_window_has_no_gradient_here() -> None:
    with pytest.raises(ValueError, match="n is 4; it must be odd"):
        triton.norm_forward(raw(1, 8, 2, 2), 1, 4, K, A, BETA, "")


def pool(x: Tensor, towers: int, n: int, relu: str, size: int = 3, stride: int = 2) -> tuple[Tensor, Tensor]:
    return triton.norm_pool_forward(x, towers, n, K, A, BETA, relu, size, stride)


def pytorch_pool(y: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute max_pool2d, and its choices as places in the map and in the window."""
    p, flat = F.max_pool2d(y, size, stride, ceil_mode=True, return_indices=True)
    down = torch.arange(p.shape[2], device=y.device)[:, None] * stride
    across = torch.arange(p.shape[3], device=y.device) * stride
    return p, flat, (flat // y.shape[3] - down) * size + flat % y.shape[3] - across


def chosen(y: Tensor, flat: Tensor) -> Tensor:
    return y.flatten(2).gather(2, flat.flatten(2)).view(flat.shape)


POOLS = [  # maps of a size under pools of a size that move by a stride, with one of the norms
    (2, 2, 3, 2, "before"), (3, 5, 3, 2, "after"), (4, 3, 3, 2, ""), (5, 6, 3, 2, "before"), (11, 4, 3, 2, "after"),
    (1, 5, 2, 2, "before"), (4, 3, 3, 1, "after"), (5, 4, 2, 3, "before"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "size", "stride", "relu"), POOLS)
def test_norm_and_pool_in_one_are_one_after_the_other(
    height: int, width: int, size: int, stride: int, relu: str, dtype: torch.dtype
) -> None:
    """Section 3.4: windows are clipped at the border; the pools are the same, also which of equal units they choose."""
    x = raw(2, 8, height, width, seed=height, std=3.0, dtype=dtype).round_()
    x[:, :4] = 2  # all tied
    y = triton.norm_forward(x, 2, 5, K, A, BETA, relu)
    p, index = pool(x, 2, 5, relu, size, stride)
    expected, _, places = pytorch_pool(y, size, stride)
    assert p.dtype == dtype
    assert torch.equal(p, expected)
    assert torch.equal(index.long(), places)
    assert p.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width", "size", "stride", "relu"), POOLS)
def test_the_gradient_of_norm_and_pool_is_that_of_the_units_chosen(
    height: int, width: int, size: int, stride: int, relu: str
) -> None:
    """A unit that several windows chose gets the sum of theirs (section 3.4: windows overlap)."""
    x = raw(2, 12 if relu else 8, height, width, seed=height).requires_grad_()
    p, index = pool(x.detach(), 2, 5, relu, size, stride)
    g = raw(*p.shape, seed=2, std=1.0)
    y = norm(x, 2, 5, relu)
    _, flat, _ = pytorch_pool(y.detach(), size, stride)
    found = triton.norm_pool_backward(g, index, x.detach(), 2, 5, K, A, BETA, relu, size, stride)
    near(found, slope(chosen(y, flat), x, g))


def test_pools_take_the_nan_that_pytorch_takes() -> None:
    """A pool chooses NaN over numbers, and the last of several NaNs."""
    x = raw(2, 8, 7, 7)
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE) < 0.05] = math.nan
    y = triton.norm_forward(x, 2, 5, K, A, BETA, "before")
    p, index = pool(x, 2, 5, "before")
    expected, _, places = pytorch_pool(y, 3, 2)
    assert p.isnan().any()
    assert not p.isnan().all()
    torch.testing.assert_close(p, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(index.long(), places)


def test_no_pictures_have_no_pools() -> None:
    x = raw(0, 8, 5, 5)
    p, index = pool(x, 2, 5, "before")
    assert p.shape == index.shape == (0, 8, 2, 2)
    assert triton.norm_pool_backward(p, index, x, 2, 5, K, A, BETA, "before").shape == x.shape


@pytest.mark.parametrize("side", range(1, 9))
def test_there_are_as_many_pools_as_pytorch_makes(side: int) -> None:
    """Where PyTorch raises an error, so does pooled_side."""
    for size, stride in [(3, 2), (2, 2), (3, 1), (2, 3), (5, 2)]:
        try:
            expected = F.max_pool1d(torch.zeros(1, 1, side), size, stride, ceil_mode=True).shape[2]
        except RuntimeError:
            with pytest.raises(ValueError, match="too small for pools"):
                rows.pooled_side(side, size, stride)
        else:
            assert rows.pooled_side(side, size, stride) == expected


@pytest.mark.parametrize("decay", [0.0, 5e-4])
@pytest.mark.parametrize("shape", [(7,), (33, 70), (8, 3, 5, 5), (0,)], ids=str)
def test_the_update_is_section_5s_over_several_steps(shape: tuple[int, ...], decay: float) -> None:
    """v <- 0.9 v - decay rate w - rate g, w <- w + v."""
    w, v = raw(*shape, std=0.01), raw(*shape, seed=1, std=0.001)
    finite = torch.ones(3, dtype=torch.bool, device=DEVICE)
    expected_w, expected_v = w.double(), v.double()
    for step, dtype in enumerate((torch.float32, torch.bfloat16)):
        g, rate = raw(*shape, seed=2 + step, std=1.0, dtype=dtype), 0.01 / (step + 1)
        expected_v = 0.9 * expected_v - decay * rate * expected_w - rate * g.double()
        expected_w = expected_w + expected_v
        shadows = [torch.zeros_like(w, dtype=narrow) for narrow in (torch.float16, torch.bfloat16)]
        before = w.clone(), v.clone()
        for shadow in shadows:
            w.copy_(before[0])
            v.copy_(before[1])
            triton.momentum(w, v, g, shadow, finite[1], rate, 0.9, decay)
        near(v, expected_v, 2e-6, 1e-8)
        near(w, expected_w, 2e-6, 1e-8)
        assert torch.equal(shadows[0], w.half())
        if CUDA:
            assert torch.equal(shadows[1], w.bfloat16())
        near(shadows[1], w, half_a_unit(torch.bfloat16), 0)
        assert finite.all()


@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_an_update_by_a_rate_in_memory_is_that_by_the_number_to_the_bit(decay: float) -> None:
    """Rows lie at any multiple of 4 bytes; each is rounded once from float64, as a number is."""
    rates = [0.01, 1e-3 / 3, 0.1 / 7]
    rule = torch.tensor([(-decay * rate, -rate) for rate in rates], device=DEVICE)
    given = raw(33, 70, std=0.01), raw(33, 70, seed=1, std=0.001), raw(33, 70, seed=2, std=1.0)
    finite = torch.ones((), dtype=torch.bool, device=DEVICE)
    for row, rate in zip(rule, rates, strict=True):
        (w, v, g), (w2, v2, _) = (tuple(t.clone() for t in given) for _ in range(2))
        triton.momentum(w, v, g, None, finite, rate, 0.9, decay)
        triton.momentum(w2, v2, g, None, finite, row, 0.9, decay)
        assert torch.equal(v, v2)
        assert torch.equal(w, w2)
    with pytest.raises(ValueError, match=r"the rate is torch.float64 \(2,\)"):
        triton.momentum(*given, None, finite, rule[0].double(), 0.9, decay)


def test_an_update_without_decay_does_not_look_at_the_weights() -> None:
    """As in PyTorch's: an infinite weight times a decay of 0 would be NaN in its velocity."""
    w, v, g = (torch.ones(5, device=DEVICE) for _ in range(3))
    w[2] = math.inf
    triton.momentum(w, v, g, None, torch.ones((), dtype=torch.bool, device=DEVICE), 0.1, 0.9, 0.0)
    near(v, torch.full_like(v, 0.8), 1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["weight", "velocity", "gradient"])
def test_an_update_says_where_one_number_of_any_is_not_finite(value: float, part: str) -> None:
    """In any program; the neighbouring flags do not change."""
    for count, at in ((1, 0), (3000, 1023), (3000, 2999)):
        w, v, g = (torch.zeros(count, device=DEVICE) for _ in range(3))
        finite = torch.ones(3, dtype=torch.bool, device=DEVICE)
        triton.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.all()
        {"weight": w, "velocity": v, "gradient": g}[part][at] = value
        triton.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.tolist() == [True, False, True]


def test_tensors_that_lie_differently_are_no_update() -> None:
    """They raise an error instead of being read in the wrong order. The stride of a side of 1 has no meaning."""
    w, finite = raw(4, 6, 3, 3), torch.ones((), dtype=torch.bool, device=DEVICE)
    with pytest.raises(ValueError, match="layout"):
        triton.momentum(w, w.clone(), w.contiguous(), None, finite, 0.1, 0.9, 0.0)
    with pytest.raises(ValueError, match="layout"):
        triton.momentum(w[:, ::2], w[:, ::2], w[:, ::2], None, finite, 0.1, 0.9, 0.0)
    one = raw(4, 6, 1, 1)
    triton.momentum(one, torch.zeros_like(one), one.as_strided(one.shape, (6, 1, 7, 9)), None, finite, 0.1, 0.9, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize(("side", "size"), [(9, 6), (5, 5), (4, 1)])
def test_a_view_is_its_slice_less_its_mean_shifted_and_scaled(
    side: int, size: int, place: bool, dtype: torch.dtype
) -> None:
    """Sections 2 and 4.1, by one slice per picture; the 2012 code subtracts the central crop's mean from every crop."""
    random, n = np.random.default_rng(side), 5
    images = torch.from_numpy(random.integers(0, 256, (n, side, side, 3), np.uint8))
    mean = torch.from_numpy(random.normal(120, 20, (side, side, 3))).float()
    shift = torch.from_numpy(random.normal(0, 10, (n, 3))).float()
    top, left = torch.from_numpy(random.integers(0, side - size + 1, (2, n)))
    mirrored = torch.tensor([True, False, True, True, False])
    middle = slice((side - size) // 2, (side - size) // 2 + size)
    for colour, factor in ((None, 1.0), (shift, 0.4)):
        there, where = images.to(DEVICE), (top.to(DEVICE), left.to(DEVICE), mirrored.to(DEVICE))
        along = None if colour is None else colour.to(DEVICE)
        found = triton.cut(there, *where, mean.to(DEVICE), size, place, along, factor, dtype)
        rows = torch.tensor([6, 1, 4, 0, 2], device=DEVICE)  # the same pictures out of a larger store
        store = torch.zeros(7, side, side, 3, dtype=torch.uint8, device=DEVICE).index_copy_(0, rows, there)
        in_place = triton.cut(store, *where, mean.to(DEVICE), size, place, along, factor, dtype, rows)
        assert torch.equal(in_place, found)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert (found.dtype, found.shape) == (dtype, (n, 3, size, size))
        for i in range(n):
            here = slice(int(top[i]), int(top[i]) + size), slice(int(left[i]), int(left[i]) + size)
            crop, own = images[i][here].double(), mean[here] if place else mean[middle, middle]
            if mirrored[i]:
                crop, own = crop.flip(1), own.flip(1) if place else own
            expected = (crop - own + (0 if colour is None else colour[i])) * factor
            near(found[i].cpu(), expected.permute(2, 0, 1), half_a_unit(dtype), 1e-5)


def test_no_pictures_have_no_views() -> None:
    none = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    images = torch.zeros(0, 6, 6, 3, dtype=torch.uint8, device=DEVICE)
    mean = torch.zeros(6, 6, 3, device=DEVICE)
    assert triton.cut(images, none, none, none.bool(), mean, 4, True, None, 1.0, torch.float32).shape == (0, 3, 4, 4)


@on_cuda
def test_a_batch_beyond_what_32_bits_count_is_computed_to_its_end() -> None:
    """A batch of 2^31 numbers and a few pictures: the last picture gets the result that it gets alone."""
    pictures = 2**31 // (8 * 64 * 64) + 3
    x = torch.zeros(pictures, 64, 64, 8, dtype=torch.bfloat16, device=DEVICE).permute(0, 3, 1, 2)
    x[-1] = raw(1, 8, 64, 64, dtype=torch.bfloat16)[0]
    p, index = pool(x, 1, 5, "before")
    alone_p, alone_index = pool(x[-1:], 1, 5, "before")
    assert torch.equal(p[-1:], alone_p)
    assert torch.equal(index[-1:], alone_index)
    numbers: Any = (1, 5, K, A, BETA, "before")
    assert torch.equal(triton.norm_forward(x, *numbers)[-1:], triton.norm_forward(x[-1:], *numbers))
    alone = triton.norm_pool_backward(alone_p, alone_index, x[-1:], *numbers)
    assert torch.equal(triton.norm_pool_backward(p, index, x, *numbers)[-1:], alone)


@on_cuda
def test_a_captured_graph_computes_what_its_inputs_hold_at_replay() -> None:
    x = raw(4, 96, 13, 13, dtype=torch.bfloat16)
    pool(x, 2, 5, "before")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        p, index = pool(x, 2, 5, "before")
    x.copy_(raw(4, 96, 13, 13, seed=1, dtype=torch.bfloat16))
    graph.replay()
    expected = pool(x, 2, 5, "before")
    assert torch.equal(p, expected[0])
    assert torch.equal(index, expected[1])


COMPILE = """
import sys, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from alexnet.ops.triton import norm, random, relu, rows, update, views, within

def part(maps, side):
    return rows.Part.of(torch.empty(1, maps, side, side, dtype=torch.bfloat16, device="meta"))

F = rows.form(part(96, 55), 2, 5, 2.0, 1e-4, 0.75, "before", 3, 2)
plain = rows.form(part(96, 55), 1, 0, 0.0, 0.0, 0.75, "", 3, 2)
around = within.strips(rows.form(part(128, 27), 1, 5, 1.0, 4e-5, 0.75, "", 3, 2))
X, P = part(96, 55).strides, part(96, 27).strides
maps = dict.fromkeys(("x", "y", "g", "dx", "p", "direct", "u", "bias"), "*bf16") | {"index": "*u8"}
weights = {"w": "*fp32", "v": "*fp32", "g": "*bf16", "shadow": "*bf16", "finite": "*u8"}
weights |= {"row": "*fp32", "mu": "fp32", "pull": "fp32", "push": "fp32", "numbers": "i64"}
ints = dict.fromkeys(("step", "epoch", "first", "ids", "rows", "top", "left"), "*i64")
ints |= dict.fromkeys(("position", "quad", "k0", "k1", "k_crop", "k_colour", "least", "pictures", "places"), "i64")
floats = dict.fromkeys(("components", "mean", "shift", "sums"), "*fp32") | {"colour": "fp32", "factor": "fp32"}
small = ints | floats | {"images": "*u8", "table": "*i32", "mirrored": "*u8", "views": "*bf16"}
sums = maps | floats | {"places": "i32", "tiles": "i32", "rows": "i32", "out": "*bf16"}
normed = {"F": F, "X": X, "Y": X, "D": X}
windows = {"F": around, "X": P, "Y": P, "U": P, "D": P}
tile = {"maps": 192, "of_g": 192, "of_y": 192, "of_dx": 384, "width": 384, "P": 32, "M": 64}
blocks = {"height": 224, "width": 224, "blocks": 57, "block": 4}
cut = {"side": 256, "size": 224, "place": True, "blocks": 57, "block": 4, "V": 8}
for kernel, types, constants in [
    (norm.norm_kernel, maps, normed | {"bias": None}),
    (norm.gradient_kernel, maps, normed | {"G": X, "bias": None}),
    (norm.pool_gradient_kernel, maps, normed | {"G": P, "K": P}),
    (norm.pool_kernel, maps, normed | {"P": P, "K": P, "alive": False}),
    (norm.pool_kernel, maps, normed | {"F": plain, "P": P, "K": P, "alive": True, "bias": None}),
    (norm.unpool_kernel, maps, normed | {"F": plain, "G": P, "K": P}),
    (within.within_kernel, maps, windows | {"g": None, "index": None, "u": None, "G": None, "K": None}),
    (within.within_kernel, maps, windows | {"G": P, "K": P}),
    (within.within_gradient_kernel, maps, windows),
    (relu.relu_gradient_kernel, sums, tile),
    (relu.relu_gradient_kernel, sums, tile | {"y": None, "dx": None}),
    (relu.total_kernel, sums, tile),
    (random.dropout_kernel, maps | ints, {"units": 4096, "lead": 0, "relu": True}),
    (random.draw_kernel, small, {"shared": 32, "crops": True, "mirror": True, "coloured": True}),
    (update.momentum_kernel, weights, {"decays": True}),
    (update.momentum_kernel, weights, {"decays": True, "row": None}),
    (views.cut_kernel, small, cut),
    (views.pack_kernel, maps, blocks),
    (views.unpack_kernel, maps, blocks),
]:
    constants = {name: value for name, value in (constants | {"B": 128}).items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t[0] == "*"}
    options = {"enable_fp_fusion": kernel is not random.draw_kernel}
    compiled = triton.compile(ASTSource(kernel, signature, constants, aligned), GPUTarget("cuda", 90, 32), options)
    words = compiled.asm["ptx"].count
    print(kernel.__name__, words("shfl"), words("ld.shared"), words("ld.local"), words("ld.global.v4"))
"""


def test_every_form_compiles_where_there_is_no_device_and_keeps_a_row_in_a_thread(tmp_path: Path) -> None:
    """The interpreter does not check types. The norms are fast only if a window sums one thread's registers."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", COMPILE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 19
    for name, shuffles, shared, spilled, wide in lines[:4]:  # the norms across maps
        assert (shuffles, shared, spilled) == ("0", "0", "0"), name
        assert int(wide) > 0, name
