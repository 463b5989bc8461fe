"""Random numbers in kernels: the bits of the plain forms."""

import math
from typing import Any

import pytest
import torch
from tests.ops.triton.shared import DEVICE, raw, triton
from torch import Tensor

from alexnet.ops import reference
from alexnet.ops.dropout import dropout

pytestmark = pytest.mark.gpu
LATE = 2**32 + 7  # a step that 32 bits do not hold


def plain(x: Tensor, *place: Any) -> Tensor:
    """Drop units in float64, which has the plain form alone."""
    return dropout(x.double(), *place).to(x.dtype)


def same(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit() & ~found.isnan(), expected.signbit() & ~expected.isnan())


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("step", [3, LATE, torch.tensor(LATE, device=DEVICE)], ids=["int", "late", "tensor"])
@pytest.mark.parametrize(("units", "unit"), [(10, 0), (7, 5), (519, 2)])
def test_dropout_zeroes_the_units_that_the_plain_form_zeroes(
    units: int, unit: int, step: int | Tensor, relu: bool
) -> None:
    """Also of a part of a layer, whose first unit is not the first of four that share a call of the generator."""
    for dtype in (torch.float32, torch.bfloat16):
        x = raw(3, units, dtype=dtype)
        x[1, 1], x[2, :6] = math.inf, math.nan
        found = triton.dropout(x, 0.5, 2**33 + 9, "fc6", step, 2**31, unit, relu)
        same(found, plain(x.relu() if relu else x, 0.5, 2**33 + 9, "fc6", step, 2**31, unit))
    assert found[2, :6].isnan().all()


@pytest.mark.parametrize("p", [0.0, 0.25, 0.999])
def test_dropout_of_any_probability_is_the_plain_forms(p: float) -> None:
    x = raw(2, 12)
    same(triton.dropout(x[:, ::2], p, 1, "fc7", 0, 5), plain(x[:, ::2], p, 1, "fc7", 0, 5))
    assert triton.dropout(x[:0], p, 1, "fc7", 0, 5).shape == (0, 12)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(
    ("shared", "crops", "mirror", "colour"),
    [
        (1, True, True, 0.1),
        (32, True, True, 0.1),
        (1, True, False, 0.0),
        (32, False, True, 0.0),
        (1, False, False, 0.3),
    ],
)
def test_views_are_drawn_as_the_plain_form_draws_them_to_the_bit(
    shared: int, crops: bool, mirror: bool, colour: float, on_device: bool
) -> None:
    """Section 4.1; 40 pictures are more than a program draws, and fill no whole number of them."""
    ids = torch.randperm(1000, generator=torch.Generator().manual_seed(1))[:40].to(DEVICE)
    epoch: int | Tensor = 89
    first: int | Tensor = 50
    if on_device:
        epoch, first = torch.tensor((epoch, first), device=DEVICE).unbind()
    components = raw(3, 3)
    for margin in (32, 0):
        given: Any = ids, 2**32 + 5, epoch, first, margin, shared, crops, mirror, colour, components
        *found, shift = triton.draw(*given)
        *expected, wanted = reference.draw(*given)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        assert (shift is None) == (wanted is None) == (not colour)
        if shift is not None:
            assert wanted is not None
            assert torch.equal(shift, wanted.float())


def test_no_pictures_have_no_draws() -> None:
    none = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    drawn = triton.draw(none, 0, 0, 0, 32, 1, True, True, 0.1, torch.eye(3, device=DEVICE))
    assert [t.shape for t in drawn if t is not None] == [(0,), (0,), (0,), (0, 3)]
