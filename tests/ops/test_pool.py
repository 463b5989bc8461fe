"""Pools as one operation with what comes before them: the bits of PyTorch's layers one by one."""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import cpu
from alexnet.ops.norm import response_norm, within_map_norm
from alexnet.ops.pool import max_pool, on_cpu, pooled_norm, pooled_within

Way = Callable[[Tensor, int, int], Tensor]  # of maps, the side of a pool, and the number of towers
ACROSS, WITHIN = LRN(), SpatialLRN()
TOGETHER: dict[str, Way] = {
    "pool": lambda x, size, towers: max_pool(x, size),
    "pool, rounded down": lambda x, size, towers: max_pool(x, size, ceil=False),
    "ReLU": lambda x, size, towers: max_pool(x, size, relu=True),
    "norm": lambda x, size, towers: pooled_norm(x, ACROSS, towers, "", size),
    "ReLU, norm": lambda x, size, towers: pooled_norm(x, ACROSS, towers, "before", size),
    "norm, ReLU": lambda x, size, towers: pooled_norm(x, ACROSS, towers, "after", size),
    "norm within maps": lambda x, size, towers: pooled_within(x, WITHIN, size),
}
BEFORE: dict[str, Callable[[Tensor, int], Tensor]] = {
    "pool": lambda x, towers: x,
    "pool, rounded down": lambda x, towers: x,
    "ReLU": lambda x, towers: F.relu(x),
    "norm": lambda x, towers: response_norm(x, ACROSS, towers),
    "ReLU, norm": lambda x, towers: response_norm(F.relu(x), ACROSS, towers),
    "norm, ReLU": lambda x, towers: F.relu(response_norm(x, ACROSS, towers)),
    "norm within maps": lambda x, towers: within_map_norm(x, WITHIN),
}
SHAPES = [(3, 48, 9, 8, 2), (2, 20, 6, 7, 2), (1, 7, 5, 5, 1), (2, 130, 5, 6, 2), (0, 16, 5, 5, 2)]


def apart(kind: str, x: Tensor, size: int, towers: int) -> Tensor:
    return F.max_pool2d(BEFORE[kind](x, towers), size, 2, ceil_mode=kind != "pool, rounded down")


def maps(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Whole numbers, so that many are equal."""
    draws = torch.Generator().manual_seed(shape[1])
    x = torch.randint(-4, 5, tuple(shape), generator=draws)
    return x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("kind", TOGETHER)
def test_pools_have_the_bits_of_the_layers_one_by_one(
    architecture: str, kind: str, size: int, dtype: torch.dtype
) -> None:
    """Values and gradients: with ties, clipped windows, units in several pools, and partly filled vectors."""
    for *shape, towers in SHAPES:
        x = maps(shape, dtype)
        assert on_cpu(x, size) == (dtype != torch.float64)
        found, expected = TOGETHER[kind](x, size, towers), apart(kind, x, size, towers)
        assert torch.equal(found, expected)
        g = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        slopes = [torch.autograd.grad(y, x, g)[0] for y in (found, expected)]
        assert torch.equal(*slopes)
        assert torch.equal(TOGETHER[kind](x.detach(), size, towers), expected)


def test_a_pool_is_the_largest_of_its_window() -> None:
    """By loops and indices: P(i, j) = max of x(2i .. 2i + 2, 2j .. 2j + 2) inside the map."""
    x = torch.randn(1, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    found = max_pool(x, 3)
    assert found.shape == (1, 1, 3, 2)
    for i in range(3):
        for j in range(2):
            inside = [x[0, 0, y, z] for y in range(2 * i, min(2 * i + 3, 6)) for z in range(2 * j, min(2 * j + 3, 5))]
            assert found[0, 0, i, j] == max(inside)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", TOGETHER)
def test_what_is_no_number_comes_through_as_in_pytorch(architecture: str, kind: str, bad: float) -> None:
    x = maps((2, 20, 7, 7), torch.float32).detach()
    x[0, 3, 2, 2] = x[0, 3, 4, 3] = x[1, 19, 6, 6] = bad
    x.requires_grad_()
    found, expected = TOGETHER[kind](x, 3, 2), apart(kind, x, 3, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    slopes = [torch.autograd.grad(y, x, torch.ones_like(y))[0] for y in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", TOGETHER)
def test_the_number_of_threads_changes_no_bit(kind: str) -> None:
    x, before = maps((1, 48, 27, 27), torch.bfloat16), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            y = TOGETHER[kind](x, 3, 2)
            found.append((y, torch.autograd.grad(y.float().square().sum(), x)[0]))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*found, strict=True):
        assert torch.equal(one, three)


@pytest.mark.parametrize("kind", TOGETHER)
def test_a_gradient_can_be_differentiated_again(kind: str) -> None:
    """As a penalty on the gradient does; the numbers are of one size, so the tolerance is some roundings of each."""
    x, found = maps((2, 8, 7, 7), torch.float32), []
    for y in (TOGETHER[kind](x, 3, 2), apart(kind, x, 3, 2)):
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4 * float(found[1].abs().max()))


def test_a_pool_keeps_a_byte_for_what_it_chose() -> None:
    x = maps((2, 16, 9, 9), torch.bfloat16)
    y = pooled_norm(x, ACROSS, 2, "after", 3)
    kept = [t for t in y.grad_fn.saved_tensors if t is not x]  # type: ignore[union-attr]
    assert [(t.dtype, t.numel()) for t in kept if t.dtype == torch.uint8] == [(torch.uint8, y.numel())]
    assert sum(t.numel() * t.element_size() for t in kept if t.dtype != torch.bfloat16) == y.numel()
    assert cpu.norm_pool_forward(x.detach(), 2, 5, 2.0, 1e-4, 0.75, "after", 3, index=False)[1] is None


@pytest.mark.parametrize(("side", "size"), [(2, 3), (9, 7), (1, 1)])
def test_pools_that_no_kernel_has_are_pytorchs(side: int, size: int) -> None:
    x = maps((1, 4, side, side), torch.float32)
    assert not on_cpu(x, size)
    assert torch.equal(max_pool(x, size), F.max_pool2d(x, size, 2, ceil_mode=True))
