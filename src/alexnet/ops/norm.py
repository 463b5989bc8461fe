"""Response normalisation, across the maps of a tower (section 3.3) and within a map (2012 code).

Each norm is one operation with an analytic gradient. This file puts them into autograd and chooses the form that
computes them; the formulas of forward and backward stand in reference.py (`norm_forward`, `norm_backward`), and again,
in one pass over memory, in cpu.cpp and triton.py. tests/ops/test_norm.py holds reference.py to autograd's gradient of
the printed formula in float64; test_cpu.py and test_triton.py hold the fast forms to that.
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
    """x (N, C, H, W) normalised across maps; a tower's windows end at its own first and last map.

    ``b_i = a_i / (k + alpha sum_j a_j^2)^beta``, j within n/2 maps of i; alpha is divided by n if the
    recipe says so.
    `relu` takes in the ReLU that stands before or after the norm: the same numbers in fewer passes over memory.
    """
    forward, backward = forms(x, "norm", norm)
    return ResponseNorm.apply(x, forward, backward, numbers(x, norm, towers, relu))  # type: ignore[no-untyped-call]


def pooled_norm(x: Tensor, norm: LRN, towers: int, relu: Relu, size: int) -> Tensor:
    """`response_norm`, then the maximum of windows of `size` that move by 2 (section 3.4), clipped at the border.

    On a CUDA device the normalised maps are never written.
    """
    form = best(x)
    if not hasattr(form, "norm_pool_forward"):
        return F.max_pool2d(response_norm(x, norm, towers, relu), size, 2, ceil_mode=True)
    return PooledNorm.apply(x, form, (*numbers(x, norm, towers, relu), size))  # type: ignore[no-untyped-call]


def within_map_norm(x: Tensor, norm: SpatialLRN) -> Tensor:
    """x (N, C, H, W) normalised over a window of n x n units of its own map, clipped at the border."""
    forward, backward = forms(x, "within", norm)
    return ResponseNorm.apply(x, forward, backward, (norm.n, norm.k, norm.a, norm.beta))  # type: ignore[no-untyped-call]


def numbers(x: Tensor, norm: LRN, towers: int, relu: Relu) -> tuple[Any, ...]:
    """What a form of the norm across maps is given beside x; raises ValueError for what it is not defined on."""
    if norm.n % 2 == 0:
        raise ValueError(f"n is {norm.n}; the gradient needs a centred window, an odd n")
    if x.shape[1] % towers:
        raise ValueError(f"{x.shape[1]} maps do not part into {towers} towers")
    return towers, norm.n, norm.k, norm.a, norm.beta, relu


def forms(x: Tensor, what: str, norm: LRN | SpatialLRN) -> tuple[NormFunction, NormFunction]:
    """The forward and backward form for x: the fastest that takes these numbers."""
    module = best(x)
    if module is cpu and (norm.beta != 0.75 or norm.n > cpu.WIDEST):
        module = reference
    return getattr(module, f"{what}_forward"), getattr(module, f"{what}_backward")


def refuse_second_derivative() -> None:
    """Raise where autograd would differentiate a gradient: it cannot see into ours, and would leave its part out."""
    if torch.is_grad_enabled():  # in a backward pass: because of create_graph
        raise RuntimeError("the gradient of a response norm is analytic and has no derivative here; no create_graph")


class ResponseNorm(torch.autograd.Function):
    """A form with its analytic gradient; only x is kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: NormFunction, backward: NormFunction, numbers: tuple[Any, ...]) -> Tensor:
        """x of any float dtype; the result has the same."""
        ctx.save_for_backward(x)
        ctx.backward, ctx.numbers = backward, numbers
        return forward(x, *numbers)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """The gradient for x."""
        refuse_second_derivative()
        (x,) = ctx.saved_tensors
        return ctx.backward(g, x, *ctx.numbers), None, None, None


class PooledNorm(torch.autograd.Function):
    """Norm and pool in one, by a form that has both; x and which unit each pool chose are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: Any, numbers: tuple[Any, ...]) -> Tensor:
        """The pools, in the dtype of x."""
        pools, index = module.norm_pool_forward(x, *numbers)
        ctx.save_for_backward(x, index)
        ctx.module, ctx.numbers = module, numbers
        return pools

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """The gradient for x."""
        refuse_second_derivative()
        x, index = ctx.saved_tensors
        return ctx.module.norm_pool_backward(g, index, x, *ctx.numbers), None, None
