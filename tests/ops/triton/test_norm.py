"""The norm across maps, alone and with its pool: section 3.3 in float64, and PyTorch's pools."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton.shared import (
    BETA,
    DEVICE,
    RELUS,
    A,
    K,
    around,
    chosen,
    half_a_unit,
    near,
    norm,
    norm_gradient,
    on_cuda,
    pytorch_pool,
    raw,
    slope,
    triton,
    within,
    within_gradient,
)
from torch import Tensor

pytestmark = pytest.mark.gpu
rows = triton.rows
NOWHERE = triton.norm.NOWHERE.value


@pytest.mark.parametrize("relu", RELUS)
@pytest.mark.parametrize(("maps", "towers", "n"), [(8, 1, 1), (8, 2, 3), (16, 1, 5), (96, 2, 5), (12, 2, 9), (6, 2, 5)])
def test_the_norm_is_the_printed_formula_and_its_gradient_autograds(maps: int, towers: int, n: int, relu: str) -> None:
    """Section 3.3, also with towers of 48 maps, and of 3, which do not fill a row of registers."""
    x, g = raw(1, maps, 3, 2, seed=n).requires_grad_(), raw(1, maps, 3, 2, seed=n + 1, std=1.0)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_narrow_input_costs_the_rounding_of_the_output_alone(dtype: torch.dtype) -> None:
    """Arithmetic is in float32 for any input, so the error is half a unit in the last place of the output."""
    x, g = raw(1, 16, 3, 3, dtype=dtype).requires_grad_(), raw(1, 16, 3, 3, seed=1, std=1.0, dtype=dtype)
    for relu in RELUS:
        expected, found = norm(x, 1, 5, relu), triton.norm_forward(x.detach(), 1, 5, K, A, BETA, relu)
        assert found.dtype == dtype
        near(found, expected, half_a_unit(dtype), 0)
        found = triton.norm_backward(g, x.detach(), 1, 5, K, A, BETA, relu)
        assert found.dtype == dtype
        near(found, norm_gradient(g, x.detach(), 1, 5, relu), half_a_unit(dtype), 2e-6)
    near(triton.within_forward(x.detach(), 3, K, A, BETA), within(x, 3), half_a_unit(dtype), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_comes_through_and_goes_no_further(dtype: torch.dtype) -> None:
    """NaN exactly where the printed formulas give it: in the window, not in the whole tower or row of registers."""
    x, g = raw(1, 32, 3, 3, dtype=dtype), raw(1, 32, 3, 3, seed=1, std=1.0, dtype=dtype)
    x[0, 9, 1, 1], x[0, 3, 0, 2], x[0, 20, 2, 1] = math.nan, math.inf, -math.inf
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


POOLS = [  # maps of a size under pools of a size that move by a stride, with one of the norms
    (2, 2, 3, 2, "before"), (4, 3, 3, 2, ""), (11, 4, 3, 2, "after"),
    (1, 5, 2, 2, "before"), (4, 3, 3, 1, "after"), (5, 4, 2, 3, "before"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("height", "width", "size", "stride", "relu", "dtype"),
    [(*pool, torch.float32) for pool in POOLS] + [(*pool, torch.bfloat16) for pool in POOLS[:3]],
)
def test_norm_and_pool_in_one_are_one_after_the_other(
    height: int, width: int, size: int, stride: int, relu: str, dtype: torch.dtype
) -> None:
    """Section 3.4: windows are clipped at the border; the pools are the same, also which of equal units they choose."""
    x = raw(1, 8, height, width, seed=height, std=3.0, dtype=dtype).round_()
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
    x = raw(1, 12 if relu else 8, height, width, seed=height).requires_grad_()
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


def test_a_pool_without_a_positive_unit_hands_no_gradient_down() -> None:
    """`alive`: the ReLU under the pools would stop it. NaN passes both, as in PyTorch."""
    z = raw(2, 8, 7, 7, std=1.0).sub_(1.0)
    z[0, 1, 0, 0] = math.nan
    x, form = z.relu(), rows.form(rows.Part.of(z), 1, 0, 0.0, 0.0, 0.75, "", 3, 2)
    p = torch.empty(2, 8, 3, 3, device=DEVICE).contiguous(memory_format=torch.channels_last)
    index, every = (torch.empty_like(p, dtype=torch.uint8) for _ in range(2))
    for chosen_, alive in ((every, False), (index, True)):
        triton.norm.pool(rows.Part.of(x), rows.Part.of(p), rows.Part.of(chosen_), form, alive)
    expected, _, places = pytorch_pool(x, 3, 2)
    torch.testing.assert_close(p, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(every.long(), places)
    assert (p == 0).any()
    assert torch.equal(index, every.where(~(p <= 0), NOWHERE))
    g, dx = raw(*p.shape, seed=1, std=1.0), torch.empty_like(x)
    triton.norm.pool_gradient(rows.Part.of(g), rows.Part.of(index), None, rows.Part.of(dx), form)
    wide = z.double().requires_grad_()
    near(dx, slope(F.max_pool2d(wide.relu(), 3, 2, ceil_mode=True), wide, g))
