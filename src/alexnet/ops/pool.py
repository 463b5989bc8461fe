"""Max pools at stride 2 (section 3.4): alone, after a ReLU, or over a norm, as one operation.

One pass over memory does all of an operation, forward and backward, and keeps a byte for each pool: the place in its
window of the unit that it chose. reference.py has the formulas; native/pools.h and triton/norm.py compute them. The
results have the bits of PyTorch's pool after the layers before it. tests/ops/test_pool.py checks that.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import cpu, reference
from alexnet.ops.dispatch import best
from alexnet.ops.library import define
from alexnet.ops.norm import ACROSS, Relu, check, response_norm, within_map_norm


def max_pool(x: Tensor, size: int, ceil: bool = True, relu: bool = False) -> Tensor:
    """Pool maps at stride 2: each pool is the largest of size x size units.

    Args:
        x: Maps, (N, C, H, W), any float dtype.
        size: Side of a pool; one of 3 overlaps its neighbours.
        ceil: Whether the number of pools rounds up; windows are clipped at the border.
        relu: Whether to apply a ReLU as well, before the pool or after it, which is the same.

    Returns:
        (N, C, pools, pools), in the dtype of x.
    """
    if on_cpu(x, size):
        return computed(x, "pool", (size, ceil, relu))
    return F.max_pool2d(F.relu(x) if relu else x, size, 2, ceil_mode=ceil)


def pooled_norm(x: Tensor, norm: LRN, towers: int, relu: Relu, size: int) -> Tensor:
    """Apply `response_norm`, then `max_pool`. The fast kernels never write the normalised maps to memory.

    Args:
        x: Maps, (N, C, H, W), any float dtype.
        norm: The numbers n, k, alpha and beta.
        towers: Number of towers, which must divide C.
        relu: Also apply the ReLU "before" or "after" the norm; "" applies none.
        size: Side of a pool.

    Returns:
        (N, C, pools, pools), in the dtype of x.

    Raises:
        ValueError: As `response_norm` raises.
    """
    numbers = towers, norm.n, norm.k, norm.a, norm.beta, relu, size
    if best(x) in (reference, cpu):
        if on_cpu(x, size) and cpu.supports(norm.n, norm.beta):
            check(x, norm.n, towers)
            return computed(x, "norm_pool", numbers)
        return F.max_pool2d(response_norm(x, norm, towers, relu), size, 2, ceil_mode=True)
    check(x, norm.n, towers)
    return torch.ops.alexnet.norm_pool(x, *numbers)[0]


def pooled_within(x: Tensor, norm: SpatialLRN, size: int) -> Tensor:
    """Apply `within_map_norm`, then `max_pool`.

    Args:
        x: Maps, (N, C, H, W), any float dtype.
        norm: The numbers n, k, alpha and beta.
        size: Side of a pool.

    Returns:
        (N, C, pools, pools), in the dtype of x.
    """
    if on_cpu(x, size) and cpu.supports(norm.n, norm.beta):
        return computed(x, "within_pool", (norm.n, norm.k, norm.a, norm.beta, size))
    return F.max_pool2d(within_map_norm(x, norm), size, 2, ceil_mode=True)


def on_cpu(x: Tensor, size: int) -> bool:
    """Tell whether the CPU's kernels pool x."""
    return best(x) is cpu and cpu.supports_pools(size) and min(x.shape[2:]) >= size


def computed(x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
    """Compute pools by the CPU's kernel, with a record for autograd where there is a gradient to come."""
    if x.requires_grad and torch.is_grad_enabled():
        made: Tensor = Pools.apply(x, what, numbers)  # type: ignore[no-untyped-call]
        return made
    made, _ = getattr(cpu, f"{what}_forward")(x, *numbers, index=False)
    return made


class Pools(torch.autograd.Function):
    """Pools with their gradient. They keep what they chose; over a norm also its input, after a ReLU their output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
        """Compute the pools."""
        y: Tensor
        y, index = getattr(cpu, f"{what}_forward")(x, *numbers)
        ctx.what, ctx.numbers, ctx.shape = what, numbers, x.shape
        ctx.save_for_backward(index, y if what == "pool" else x)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Compute the gradient of x; where it is to be differentiated again, in PyTorch's operations."""
        index, kept = ctx.saved_tensors
        module = reference if torch.is_grad_enabled() else cpu
        if ctx.what == "pool":
            return module.pool_backward(g, index, kept, ctx.shape, *ctx.numbers), None, None
        if module is cpu:
            return getattr(cpu, f"{ctx.what}_backward")(g, index, kept, *ctx.numbers), None, None
        *of_norm, size = ctx.numbers
        wide = reference.wider(kept)
        unpooled = reference.unpool(g, index, kept.shape, size).to(wide)
        gradient = reference.norm_gradient if ctx.what == "norm_pool" else reference.within_gradient
        return gradient(unpooled, kept.to(wide), *of_norm).to(kept.dtype), None, None


def pooled(x: Tensor, *numbers: Any) -> tuple[Tensor, Tensor]:
    """Compute pools over the norm of x, and the place in its window that each chose, line by line, as uint8."""
    found: tuple[Tensor, Tensor] = pooling(x, numbers).norm_pool_forward(x, *numbers)
    return found


def pooled_gradient(g: Tensor, index: Tensor, x: Tensor, *numbers: Any) -> Tensor:
    """Compute the gradient of x from g, that of the pools."""
    made: Tensor = pooling(x, numbers).norm_pool_backward(g, index, x, *numbers)
    return made


def pooling(x: Tensor, numbers: tuple[Any, ...]) -> Any:
    """Return the fastest module that has pools over a norm with these numbers for x."""
    module, (_, n, _, _, beta, _, size) = best(x), numbers
    return reference if module is cpu and not (on_cpu(x, size) and cpu.supports(n, beta)) else module


def like_pools(x: Tensor, *numbers: Any) -> tuple[Tensor, Tensor]:
    """Return empty tensors with the layouts of `pooled`."""
    size = numbers[-1]
    height, width = (cpu.pools(side, size, ceil=True) for side in x.shape[2:])
    pools = x.new_empty((x.shape[0], height, width, x.shape[1])).permute(0, 3, 1, 2)
    return pools, torch.empty_like(pools, dtype=torch.uint8)


def keep_pools(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep x, and what the pools chose."""
    ctx.save_for_backward(output[1], inputs[0])
    ctx.numbers = inputs[1:]


def slope_of_pools(ctx: Any, g: Tensor, _: Any) -> Any:
    """Compute the gradient of x from that of the pools."""
    return torch.ops.alexnet.norm_pool_backward(g, *ctx.saved_tensors, *ctx.numbers), *[None] * len(ctx.numbers)


define(f"norm_pool(Tensor x, {ACROSS}, int size) -> (Tensor, Tensor)", pooled, like_pools, keep_pools, slope_of_pools)
define(
    f"norm_pool_backward(Tensor g, Tensor index, Tensor x, {ACROSS}, int size) -> Tensor",
    pooled_gradient,
    lambda g, index, x, *numbers: torch.empty_like(x, memory_format=torch.channels_last),
)
