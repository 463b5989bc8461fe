"""Response normalisation, across the maps of a tower (section 3.3) and within a map (2012 code).

Each norm is one operation with an analytic gradient. This file makes the norms autograd functions, and chooses their
implementation. reference.py has the formulas of forward and backward (`norm_forward`, `norm_backward`); cpu.cpp and
triton.py compute them in one pass over memory. tests/ops/test_norm.py checks reference.py against autograd's gradient
of the printed formula in float64; test_cpu.py and triton/test_norm.py check the fast kernels.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import cpu, reference
from alexnet.ops.dispatch import best

Relu = Literal["", "before", "after"]
NormFunction = Callable[..., Tensor]


def response_norm(x: Tensor, norm: LRN, towers: int, relu: Relu = "") -> Tensor:
    """Normalise each map by its neighbours in the same tower (section 3.3).

    ``b_i = a_i / (k + alpha sum_j a_j^2)^beta``, over the maps j within n/2 of i. A window ends at the first and last
    map of its tower. PyTorch's LocalResponseNorm divides alpha by n, as the 2012 code does; the printed formula does
    not, and `norm.divide_alpha_by_n` chooses.

    Args:
        x: Maps, (N, C, H, W), any float dtype; sums and powers are float32 or wider.
        norm: The numbers n, k, alpha and beta.
        towers: Number of towers, which must divide C.
        relu: Also apply the ReLU "before" or "after" the norm, in the same pass over memory; "" applies none.

    Returns:
        (N, C, H, W), in the dtype of x.

    Raises:
        ValueError: n is even, or the maps cannot be split evenly over the towers.
    """
    forward, backward = forms(x, "norm", norm)
    return ResponseNorm.apply(x, forward, backward, numbers(x, norm, towers, relu))  # type: ignore[no-untyped-call]


def pooled_norm(x: Tensor, norm: LRN, towers: int, relu: Relu, size: int) -> Tensor:
    """Apply `response_norm`, then a max pool at stride 2 (section 3.4).

    A pool of side 3 overlaps its neighbours. The number of windows rounds up, and windows are clipped at the border. On
    a CUDA device, one kernel does both, and never writes the normalised maps to memory.

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
    form = best(x)
    if not hasattr(form, "norm_pool_forward"):
        return F.max_pool2d(response_norm(x, norm, towers, relu), size, 2, ceil_mode=True)
    return PooledNorm.apply(x, form, (*numbers(x, norm, towers, relu), size))  # type: ignore[no-untyped-call]


def within_map_norm(x: Tensor, norm: SpatialLRN) -> Tensor:
    """Normalise each unit by the n x n units around it in its own map (2012 code; not in the paper).

    The window is clipped at the border, but alpha is always divided by n * n.

    Args:
        x: Maps, (N, C, H, W), any float dtype.
        norm: The numbers n, k, alpha and beta.

    Returns:
        (N, C, H, W), in the dtype of x.
    """
    forward, backward = forms(x, "within", norm)
    return ResponseNorm.apply(x, forward, backward, (norm.n, norm.k, norm.a, norm.beta))  # type: ignore[no-untyped-call]


def numbers(x: Tensor, norm: LRN, towers: int, relu: Relu) -> tuple[Any, ...]:
    """Return the arguments of a norm after x. Raise ValueError for an even n, or for maps that do not split evenly."""
    if norm.n % 2 == 0:
        raise ValueError(f"n is {norm.n}; it must be odd, so that the window has a centre")
    if x.shape[1] % towers:
        raise ValueError(f"{x.shape[1]} maps cannot be split evenly over {towers} towers")
    return towers, norm.n, norm.k, norm.a, norm.beta, relu


def forms(x: Tensor, what: str, norm: LRN | SpatialLRN) -> tuple[NormFunction, NormFunction]:
    """Return the fastest forward and backward functions that support x and these numbers."""
    module = best(x)
    if module is cpu and (norm.beta != 0.75 or norm.n > cpu.WIDEST):
        module = reference
    return getattr(module, f"{what}_forward"), getattr(module, f"{what}_backward")


def refuse_second_derivative() -> None:
    """Raise RuntimeError for a second derivative: autograd cannot see into our gradient, and would omit its part."""
    if torch.is_grad_enabled():  # in a backward pass, this means create_graph=True
        raise RuntimeError(
            "response norms have no second derivative, as their gradient is analytic; use create_graph=False"
        )


class ResponseNorm(torch.autograd.Function):
    """A norm with its analytic gradient, which needs only x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: NormFunction, backward: NormFunction, numbers: tuple[Any, ...]) -> Tensor:
        """Compute the norm, in the dtype of x."""
        ctx.save_for_backward(x)
        ctx.backward, ctx.numbers = backward, numbers
        return forward(x, *numbers)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Compute the gradient of x."""
        refuse_second_derivative()
        (x,) = ctx.saved_tensors
        return ctx.backward(g, x, *ctx.numbers), None, None, None


class PooledNorm(torch.autograd.Function):
    """A norm and a pool in one kernel. The gradient needs x, and the unit that each pool chose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: Any, numbers: tuple[Any, ...]) -> Tensor:
        """Compute the pools, in the dtype of x."""
        pools, index = module.norm_pool_forward(x, *numbers)
        ctx.save_for_backward(x, index)
        ctx.module, ctx.numbers = module, numbers
        return pools

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Compute the gradient of x."""
        refuse_second_derivative()
        x, index = ctx.saved_tensors
        return ctx.module.norm_pool_backward(g, index, x, *ctx.numbers), None, None
