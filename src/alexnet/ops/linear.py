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
    # A hook, or a layer that has replaced nn.Linear, is to be called.
    plain = type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)
    if plain and not torch.is_grad_enabled() and x.shape == (1, layer.in_features) and best(x) is native:
        weights = layer.weight, layer.bias
        if all(t.dtype == x.dtype and t.is_contiguous() for t in (x, *weights)):
            return native.product(x, *weights)
    out: Tensor = layer(x)
    return out
