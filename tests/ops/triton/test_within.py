"""The norm within a map, against the 2012 kernel's formula in float64."""

import math
from typing import Any

import pytest
import torch
from tests.ops.triton.shared import BETA, DEVICE, A, K, near, raw, slope, triton, within

pytestmark = pytest.mark.gpu
Part = triton.rows.Part


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 1), (1, 1)], ids=str)
def test_the_norm_within_a_map_is_the_2012_kernel(size: tuple[int, int], n: int) -> None:
    """2012 code: the window is clipped at the border, also in maps smaller than the window."""
    x, g = raw(1, 6, *size, seed=n).requires_grad_(), raw(1, 6, *size, seed=n + 1, std=1.0)
    expected = within(x, n)
    near(triton.within_forward(x.detach(), n, K, A, BETA), expected)
    near(triton.within_backward(g, x.detach(), n, K, A, BETA), slope(expected, x, g))


@pytest.mark.parametrize(("height", "n"), [(10, 3), (11, 5), (19, 3)])
def test_maps_of_several_strips_are_whole(height: int, n: int) -> None:
    """A thread goes down a strip of at most 9 lines: 2 of 5 lines, 6 and 5, and 7, 7 and 5."""
    x, g = raw(1, 4, height, 2, seed=n).requires_grad_(), raw(1, 4, height, 2, seed=1, std=1.0)
    form = triton.within.strips(triton.rows.form(Part.of(x.detach()), 1, n, K, A, BETA, ""))
    assert math.ceil(height / form.strip) > 1
    expected = within(x, n)
    near(triton.within_forward(x.detach(), n, K, A, BETA), expected)
    near(triton.within_backward(g, x.detach(), n, K, A, BETA), slope(expected, x, g))


@pytest.mark.parametrize(("height", "width", "size", "stride"), [(11, 2, 3, 2), (5, 6, 3, 2), (4, 5, 2, 2)])
def test_the_gradient_under_pools_is_that_of_the_units_they_chose(
    height: int, width: int, size: int, stride: int
) -> None:
    """With an index, g is the pools': as if unpooled first. Pools that chose no unit hand nothing down."""
    pictures = 2 if height == 4 else 1
    x = raw(pictures, 8, height, width)
    form = triton.rows.form(Part.of(x), 1, 3, K, A, BETA, "", size, stride)
    shape = pictures, form.down, form.across, 8
    p, g = (torch.empty(shape, device=DEVICE).permute(0, 3, 1, 2) for _ in range(2))
    index = torch.empty_like(p, dtype=torch.uint8)
    g.copy_(raw(*p.shape, seed=1, std=1.0))
    plain: Any = triton.rows.form(Part.of(x), 1, 0, 0.0, 0.0, 0.75, "", size, stride)
    triton.norm.pool(Part.of(triton.within_forward(x, 3, K, A, BETA)), Part.of(p), Part.of(index), plain)
    index[:, 3, 0] = triton.norm.NOWHERE.value
    unpooled, dx = torch.empty_like(x), torch.empty_like(x)
    triton.norm.pool_gradient(Part.of(g), Part.of(index), None, Part.of(unpooled), plain)
    triton.within.within_gradient(Part.of(g), Part.of(index), Part.of(x), Part.of(dx), form)
    assert (unpooled[:, 3, 0] == 0).all()
    near(dx, triton.within_backward(unpooled, x, 3, K, A, BETA), 1e-6, 1e-6)
