"""Parts of tensors, and the sizes that kernels are compiled for, against copies and PyTorch."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton.shared import BETA, DEVICE, A, K, near, raw, triton
from torch import Tensor

rows = triton.rows
Part = rows.Part

pytestmark = pytest.mark.gpu
UNTOUCHED = 7.0


def arguments(*given: Any) -> tuple[Any, ...]:
    return given


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


def read(part: Any) -> Tensor:
    """Read a part number by number, as its strides say: (N, maps, H, W)."""
    shape = part.pictures, part.height, part.width, part.maps
    pictures, ys, xs, maps = (torch.arange(n) for n in shape)
    place = ys[:, None, None] * part.width + xs[:, None]
    at = pictures[:, None, None, None] * part.strides.picture + place * part.strides.place + maps * part.strides.map
    return part.memory[at.to(DEVICE)].permute(0, 3, 1, 2)


def test_a_part_is_its_maps_wherever_they_lie() -> None:
    x = raw(2, 12, 3, 4)
    assert torch.equal(read(Part.of(x)), x)
    assert torch.equal(read(Part.of(x.contiguous(), 3, 5)), x[:, 3:8])
    for part, tower in zip(Part.towers(x, 3), x.chunk(3, 1), strict=True):
        assert torch.equal(read(part), tower)
    units = x.flatten(1)  # map by map, as fc6 reads them
    assert torch.equal(read(Part.flat(units, 4, 5, 3, 4)), x[:, 4:9])


def places(shape: tuple[int, int, int, int], to: str) -> tuple[Tensor, list[Any]]:
    """Allocate maps of two towers (2, N, C, H, W), filled with a number; return a way to read them, and their parts."""
    n, maps, height, width = shape
    if to == "units":
        units = torch.full((n, 2 * maps * height * width), UNTOUCHED, device=DEVICE)
        views = units.view(n, 2, maps, height, width).transpose(0, 1)
        return views, [Part.flat(units, t * maps, maps, height, width) for t in range(2)]
    if to == "together":
        whole = torch.full((n, height, width, 2 * maps), UNTOUCHED, device=DEVICE).permute(0, 3, 1, 2)
        return whole.unflatten(1, (2, maps)).transpose(0, 1), Part.towers(whole, 2)
    apart = torch.full((2, n, height, width, maps), UNTOUCHED, device=DEVICE).permute(0, 1, 4, 2, 3)
    return apart, [Part.of(t) for t in apart]


@pytest.mark.parametrize("to", ["together", "apart", "units"])
def test_the_pools_of_a_towers_part_are_those_of_the_whole(to: str) -> None:
    """Pools, choices and gradients, to the bit, wherever they go; each kernel writes its own tower alone."""
    pooled = arguments(5, K, A, BETA, "after", 2, 2)
    x = raw(2, 16, 2, 3)
    towers, form = Part.towers(x, 2), rows.form(Part.towers(x, 2)[0], 1, *pooled)
    expected, choices = triton.norm_pool_forward(x, 2, *pooled)
    size = (2, 8, form.down, form.across)
    made, parts = places(size, to)
    index = torch.zeros(2, 2, *size[2:], 8, dtype=torch.uint8, device=DEVICE).permute(0, 1, 4, 2, 3)
    for t, tower in enumerate(towers):
        triton.norm.pool(tower, parts[t], Part.of(index[t]), form)
        assert t or (made[1] == UNTOUCHED).all()
    assert torch.equal(torch.cat([*made], 1), expected)
    assert torch.equal(torch.cat([*index], 1), choices)
    g = raw(2, 16, *size[2:], seed=3, std=1.0)
    given, gs = places(size, to)
    given.copy_(g.unflatten(1, (2, 8)).transpose(0, 1))
    dx, dxs = places((2, 8, 2, 3), "together" if to != "together" else "apart")
    for t, tower in enumerate(towers):
        triton.norm.pool_gradient(gs[t], Part.of(index[t]), tower, dxs[t], form)
        assert t or (dx[1] == UNTOUCHED).all()
    back = triton.norm_pool_backward(g, choices, x, 2, *pooled)
    assert torch.equal(torch.cat([*dx], 1), back)
    for t in range(2):  # without the norm
        triton.norm.pool_gradient(gs[t], Part.of(index[t]), None, dxs[t], form)
    unpooled = triton.norm_pool_backward(g, choices, x, 2, 1, 1.0, 0.0, 1.0, "", 2, 2)  # of y = x
    near(torch.cat([*dx], 1), unpooled)


def test_the_norms_of_a_towers_part_are_those_of_its_copy() -> None:
    numbers = arguments(1, 5, K, A, BETA, "before")
    x, g = raw(2, 16, 3, 2), raw(2, 16, 3, 2, seed=1, std=1.0)
    one, of_g = Part.towers(x, 2)[1], Part.towers(g, 2)[1]
    copy, copy_g = (t[:, 8:].contiguous(memory_format=torch.channels_last) for t in (x, g))
    across, around = rows.form(one, *numbers), rows.form(one, 1, 3, K, A, BETA, "")
    (y, ys), (dx, dxs), (z, zs), (dz, dzs) = (places((2, 8, 3, 2), "together") for _ in range(4))
    triton.norm.norm(one, ys[1], across)
    triton.norm.norm_gradient(of_g, one, dxs[1], across)
    triton.within.within(one, zs[1], around)
    triton.within.within_gradient(of_g, None, one, dzs[1], around)
    assert torch.equal(y[1], triton.norm_forward(copy, *numbers))
    assert torch.equal(dx[1], triton.norm_backward(copy_g, copy, *numbers))
    assert torch.equal(z[1], triton.within_forward(copy, 3, K, A, BETA))
    assert torch.equal(dz[1], triton.within_backward(copy_g, copy, 3, K, A, BETA))
    for made in (y, dx, z, dz):
        assert (made[0] == UNTOUCHED).all()


def test_a_bias_is_added_to_each_map_before_its_norm() -> None:
    """The convolution's bias, of one tower: what a norm, its pools and both gradients see is x + bias."""
    numbers, pooled = (arguments(1, 5, K, A, BETA, "after", *sizes) for sizes in ((), (2, 2)))
    x, bias = raw(1, 8, 2, 3), raw(8, seed=2)
    sum_, y, dx = x + bias[:, None, None], torch.empty_like(x), torch.empty_like(x)
    form = rows.form(Part.of(x), *pooled)
    p, index = triton.norm_pool_forward(sum_, *pooled)
    made, chosen = torch.empty_like(p), torch.empty_like(index)
    triton.norm.norm(Part.of(x), Part.of(y), form, bias)
    assert torch.equal(y, triton.norm_forward(sum_, *numbers))
    triton.norm.pool(Part.of(x), Part.of(made), Part.of(chosen), form, False, bias)
    assert torch.equal(made, p)
    assert torch.equal(chosen, index)
    g = raw(*x.shape, seed=3, std=1.0)
    triton.norm.norm_gradient(Part.of(g), Part.of(x), Part.of(dx), form, bias)
    assert torch.equal(dx, triton.norm_backward(g, sum_, *numbers))
    g = raw(*p.shape, seed=4, std=1.0)
    triton.norm.pool_gradient(Part.of(g), Part.of(index), Part.of(x), Part.of(dx), form, bias)
    assert torch.equal(dx, triton.norm_pool_backward(g, index, sum_, *pooled))
