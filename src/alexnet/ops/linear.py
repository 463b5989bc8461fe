"""A fully connected layer, with a fast path for one picture, and the choice of a fast path for a layer alone."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.ops import cpu
from alexnet.ops.dispatch import best, hooked
from alexnet.ops.library import define
from alexnet.ops.packed import convolution


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    """Apply a layer that runs alone; faster if it is an nn.Linear, or a convolution that keeps its weights rearranged.

    For one picture without a gradient, the CPU kernel reads the weights of an nn.Linear once, at the speed of memory.
    PyTorch's matrix product would first rearrange them for many pictures.

    Args:
        x: (N, inputs), or what another layer takes.
        layer: The layer.

    Returns:
        (N, outputs), or what another layer returns.

    Raises:
        RuntimeError: The sizes, devices or dtypes of `x` and the layer do not match.
    """
    # Hooks, and modules that replace nn.Linear, must be called.
    if type(layer) is nn.Linear and not hooked(layer) and layer.bias is not None:
        given = x, layer.weight, layer.bias
        alone = x.shape == (1, layer.in_features) and not torch.is_grad_enabled()
        cast = torch.is_autocast_enabled(x.device.type) and torch.get_autocast_dtype(x.device.type) != x.dtype
        if alone and not cast and fits_kernel(*given):
            return torch.ops.alexnet.linear(*given)
    elif type(layer) is nn.Conv2d and not hooked(layer):
        made = convolution(x, layer)
        if made is not None:
            return made
    out: Tensor = layer(x)
    return out


def fits_kernel(*given: Tensor) -> bool:
    """Tell whether the CPU kernel computes the product of x, weight and bias, for one picture."""
    return best(*given) is cpu and all(t.dtype == given[0].dtype and t.is_contiguous() for t in given)


def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the layer as an operator, by the kernel where it can."""
    given = x, weight, bias
    return cpu.product(*given) if len(x) == 1 and fits_kernel(*given) else F.linear(*given)


def keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Keep x and the weight."""
    ctx.save_for_backward(*inputs[:2])


def slope(ctx: Any, g: Tensor) -> Any:
    """Compute the gradients of x, weight and bias."""
    x, weight = ctx.saved_tensors
    return g @ weight, g.t() @ x, g.sum(0)


define(
    "linear(Tensor x, Tensor weight, Tensor bias) -> Tensor",
    product,
    lambda x, weight, bias: x.new_empty(len(x), len(weight)),
    keep,
    slope,
)
