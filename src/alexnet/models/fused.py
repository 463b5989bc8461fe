"""AlexNet on a GPU, as few passes over memory: the layers of `AlexNet.walk`, with what follows each in its kernel."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from alexnet.config.recipe import Net
from alexnet.models import layer_table
from alexnet.ops import dispatch
from alexnet.ops.choices import Choices, choices
from alexnet.ops.fused import Block, Dropout, block, full, packed

if TYPE_CHECKING:
    from alexnet.models.alexnet import AlexNet


def possible(net: "AlexNet", x: Tensor) -> bool:
    """Tell whether `logits` computes this net of x: where `suits` says so, and nothing watches PyTorch's operations."""
    return (
        isinstance(x, Tensor)
        and suits(net, x.device, x.dtype)
        and dispatch.best(x) is dispatch.gpu()
        and (x.dtype == torch.bfloat16 or not torch.is_autocast_enabled("cuda"))
        and net.conv1.weight.dtype == x.dtype
    )


def suits(net: "AlexNet", device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether `logits` computes this net on a device, in a dtype.

    It does on a CUDA device with Triton, for nets with ReLUs whose fully connected layers read both towers, held by one
    process, if no layer has a hook or is replaced.
    """
    return (
        device.type == "cuda"
        and dtype in dispatch.NARROW
        and dispatch.gpu() is not None
        and net.shard.whole
        and supports(net.net)
        and not watched(net)
    )


def supports(net: Net) -> bool:
    """Tell whether a net has only what `logits` computes."""
    towers_meet = net.towers == 1 or {"fc6", "fc7", "fc8"} <= set(net.meet)
    norms = net.spatial_lrn is None or net.lrn is not None
    return net.activation == "relu" and towers_meet and norms and not net.conv6 and net.stride > 1


def watched(net: "AlexNet") -> bool:
    """Tell whether a layer has a hook, is replaced, or computes something else than the recipe says."""
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return True
    if torch_module._global_backward_hooks or torch_module._global_backward_pre_hooks:
        return True
    return net.activate is not nn.functional.relu or any(changed(net.net, n, net._modules[n]) for n in net.net.layers)


def changed(net: Net, name: str, layer: Any) -> bool:
    """Tell whether a layer has a hook, or is not the one that the recipe describes."""
    if (
        type(layer) not in (nn.Conv2d, nn.Linear)
        or layer._parameters.keys() != {"weight", "bias"}
        or layer.bias is None
    ):
        return True
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return True
    if "forward" in vars(layer) or name.startswith("conv") != isinstance(layer, nn.Conv2d):
        return True
    if isinstance(layer, nn.Linear):
        return False
    size, first = net.kernel_sizes[int(name[-1]) - 1], name == "conv1"
    found = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups, layer.padding_mode
    stride, padding = (net.stride, 0) if first else (1, size // 2)
    pairs = (size, size), (stride, stride), (padding, padding), (1, 1)
    return found != (*pairs, layer_table.groups(net, name), "zeros")


def in_blocks(net: Net, x: Tensor) -> bool:
    """Tell whether x has views in blocks, as `packing` describes them."""
    side, count = packing(net)
    return x.shape[1:] == (3 * side * side, count, count)


def packing(net: Net) -> tuple[int, int]:
    """Return the side in pixels of the blocks that conv1 reads, and the number of blocks along a side of a view."""
    size, stride = net.kernel_sizes[0], net.stride
    out = layer_table.output_side(net.image_size, size, stride)
    return stride, out + -(-size // stride) - 1


def blocks(net: Net, of: Choices) -> dict[str, Block]:
    """Describe each convolution, what follows it, and where its maps go."""
    found = {}
    convolutions = [name for name in net.layers if name.startswith("conv")]
    for name, after in zip(convolutions, [*convolutions[1:], ""], strict=True):
        number = int(name[-1])
        normed = number < 3
        alone = of.apart and after and layer_table.groups(net, after) > 1
        found[name] = Block(
            net.towers,
            layer_table.groups(net, name),
            net.stride if number == 1 and not of.blocks else 1,
            0 if number == 1 else net.kernel_sizes[number - 1] // 2,
            "units" if not after else "apart" if alone else "together",
            net.lrn if normed else None,
            number == 1 and net.lrn1_first,
            net.spatial_lrn if number == 2 else None,
            net.pool if normed or not after else None,
            of.apart,
        )
    return found


def logits(net: "AlexNet", x: Tensor, of: Choices | None = None) -> Tensor:
    """Compute the logits (N, classes) of views (N, 3, side, side), or of views in blocks as `packing` describes.

    `of` are the choices for the device of x, if none are given.
    """
    of = of or choices(x.device)
    side, count = packing(net.net)
    if x.shape[1] == 3:
        x = packed(x, side, count) if of.blocks else nn.functional.pad(x, (0, net.overhang, 0, net.overhang))
    maps: tuple[Tensor, ...] = (x,)
    for name, block_ in blocks(net.net, of).items():
        layer = net.get_submodule(name)
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        if name == "conv1" and of.blocks:
            weight = packed(weight, side, -(-net.net.kernel_sizes[0] // side))
        if block_.groups == 1 and len(maps) > 1:  # no pool wrote them together
            maps = (torch.cat(maps, 1),)
        maps = block(block_, weight, bias, *maps)
    (units,) = maps
    for name, layer in (("fc6", net.fc6), ("fc7", net.fc7)):
        dropout = Dropout(net.net.dropout, net.seed, name, net.step, net.position) if net.training else None
        units = full(units, layer.weight, layer.bias, dropout)
        if not net.training:
            units = units * (1 - net.net.dropout)
    return nn.functional.linear(units, net.fc8.weight, net.fc8.bias)
