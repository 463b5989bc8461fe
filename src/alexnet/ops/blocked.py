"""conv1 on blocks of pixels: a convolution with a stride as one of stride 1, with the stride's square of the channels.

Three channels fill few lanes of a processor's product units. Blocks of 4 x 4 pixels make 48 of them, and the kernel of
11 x 11 becomes one of 3 x 3, with zeros at its edge: the same products and sums in another order, with 1.19 times the
multiplications. ops/choices.py says where that pays.
"""

import torch
from torch import Tensor, nn

from alexnet.ops import cpu, dispatch, reference
from alexnet.ops.choices import choices


def in_blocks(x: Tensor, layer: nn.Module) -> bool:
    """Tell whether `convolution` is chosen for a layer of x: a first one, on a CPU."""
    return (
        type(layer) is nn.Conv2d
        and layer.in_channels == 3
        and layer.groups == 1
        and layer.stride[0] == layer.stride[1] > 1
        and layer.kernel_size[0] == layer.kernel_size[1]
        and (layer.padding, layer.dilation, layer.padding_mode) == ((0, 0), (1, 1), "zeros")
        and not dispatch.hooked(layer)
        and dispatch.best(x) is cpu
        and choices(x.device).blocks
    )


def convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Apply a convolution of pixels, on blocks.

    Args:
        x: Pixels, (N, 3, side, side), with the zeros that the last window reads.
        layer: The layer.

    Returns:
        (N, maps, side', side'), what the layer returns but for rounding.
    """
    size, stride = layer.kernel_size[0], layer.stride[0]
    across = -(-size // stride)  # blocks along the kernel
    count = (x.shape[3] - size) // stride + across
    x = x[..., : count * stride, : count * stride]  # the last pixels may be in no window
    pixels, weight = reference.pack(x, stride, count), reference.pack(layer.weight, stride, across)
    return torch.conv2d(pixels, weight, layer.bias)
