"""A fully connected layer."""

import torch
from torch import Tensor, nn

from alexnet.ops import cpu
from alexnet.ops.dispatch import best


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    """x (N, inputs) -> (N, outputs), by an nn.Linear or what has been put in its place.

    For one picture without a gradient the CPU reads the weights once, as fast as memory gives them; the matrix product
    would first arrange them for many.
    """
    # A hook, or a layer that has replaced nn.Linear, is to be called.
    if type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks) and layer.bias is not None:
        given = x, layer.weight, layer.bias
        alone = x.shape == (1, layer.in_features) and not torch.is_grad_enabled()
        if alone and best(*given) is cpu and all(t.dtype == x.dtype and t.is_contiguous() for t in given):
            return cpu.product(*given)
    out: Tensor = layer(x)
    return out
