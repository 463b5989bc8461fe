"""A fully connected layer."""

import torch
from torch import Tensor, nn

from alexnet.ops import native
from alexnet.ops.forms import best


def linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """x (N, inputs) -> (N, outputs).

    For one picture without a gradient the CPU reads the weights once, as fast as memory gives them; the matrix product
    would first arrange them for many.
    """
    alone = len(x) == 1 and not torch.is_grad_enabled() and x.dtype == layer.weight.dtype
    if alone and x.is_contiguous() and layer.weight.is_contiguous() and best(x) is native:
        return native.product(x, layer.weight, layer.bias)
    out: Tensor = layer(x)
    return out
