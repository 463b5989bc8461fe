"""The gradients of a ReLU and of a bias, against PyTorch's mask and sums in float64."""

import math

import pytest
import torch
from tests.ops.triton.shared import half_a_unit, raw, triton
from tests.rounding import gamma
from torch import Tensor

pytestmark = pytest.mark.gpu
Part = triton.rows.Part


def masked(g: Tensor, y: Tensor) -> Tensor:
    """Return g where y > 0; where y is NaN too, as PyTorch's ReLU does."""
    return torch.ops.aten.threshold_backward(g, y, 0)


def sums_of(dx: list[Tensor], found: Tensor) -> None:
    """Check sums over pictures and places: float32, in any order, rounded once to the dtype."""
    all_ = torch.cat([d.double().flatten(2).transpose(1, 2).flatten(0, 1) for d in dx], 1)
    bound = gamma(max(1, len(all_)), torch.float32) * all_.abs().sum(0) + half_a_unit(found.dtype) * all_.sum(0).abs()
    expected = all_.sum(0)
    assert torch.equal(found.isnan(), expected.isnan())
    assert ((found.double() - expected).abs() <= bound)[~expected.isnan()].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 70, 3, 7), (1, 3, 5, 5), (3, 8, 1, 1), (0, 8, 2, 2)], ids=str)
def test_gradients_pass_where_the_unit_is_on_and_their_sums_are_the_biass(
    shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    """More maps and places than a tile has, and fewer; no pictures have sums of 0."""
    g, y = raw(*shape, dtype=dtype), raw(*shape, seed=1, dtype=dtype).relu()
    dx = torch.empty_like(g)
    found = triton.relu.relu_gradient([(Part.of(g), Part.of(y), Part.of(dx))], dtype)
    assert torch.equal(dx, masked(g, y))
    assert (found.dtype, found.shape) == (dtype, shape[1:2])
    sums_of([dx], found)
    sums_of([g], triton.relu.relu_gradient([(Part.of(g), None, None)], dtype))


def test_each_programs_share_may_be_several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large batch has more places than all programs take at once; the last one's share ends inside a tile."""
    monkeypatch.setattr(triton.relu, "PROGRAMS", 2)
    g, y = raw(2, 8, 9, 9), raw(2, 8, 9, 9, seed=1).relu()
    dx = torch.empty_like(g)
    found = triton.relu.relu_gradient([(Part.of(g), Part.of(y), Part.of(dx))], torch.float32)
    assert torch.equal(dx, masked(g, y))
    sums_of([dx], found)


def test_towers_may_lie_in_one_tensor_or_apart() -> None:
    """Each of g, y and dx in its own way: the sums are of all towers, one after the other."""
    whole = raw(2, 24, 3, 3)
    y, g = [raw(2, 12, 3, 3, seed=s).relu() for s in (1, 2)], Part.towers(whole, 2)
    dx = torch.full_like(whole, 7)
    found = triton.relu.relu_gradient(list(zip(g, map(Part.of, y), Part.towers(dx, 2), strict=True)), torch.float32)
    assert torch.equal(dx, masked(whole, torch.cat(y, 1)))
    sums_of([dx], found)
    middle = torch.full_like(whole, 7)  # maps 4 to 15 alone are written
    triton.relu.relu_gradient([(Part.of(whole, 4, 12), Part.of(y[0]), Part.of(middle, 4, 12))], torch.float32)
    assert torch.equal(middle[:, 4:16], masked(whole[:, 4:16], y[0]))
    assert (middle[:, :4] == 7).all()
    assert (middle[:, 16:] == 7).all()


def test_nan_passes_a_relu_as_in_pytorch_and_stays_in_its_map() -> None:
    g, y = raw(2, 6, 3, 3), raw(2, 6, 3, 3, seed=1).relu()
    y[0, 1, 0, 0], g[1, 3, 2, 2], y[1, 3, 2, 2], g[0, 4, 1, 1], y[0, 4, 1, 1] = math.nan, math.nan, 1, math.nan, 0
    dx = torch.empty_like(g)
    found = triton.relu.relu_gradient([(Part.of(g), Part.of(y), Part.of(dx))], torch.float32)
    torch.testing.assert_close(dx, masked(g, y), rtol=0, atol=0, equal_nan=True)
    assert found.isnan().tolist() == [False, False, False, True, False, False]
    sums_of([dx], found)
