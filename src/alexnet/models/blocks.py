"""AlexNet on a GPU, as few passes over memory: each layer with what follows it in its kernel."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from alexnet.config.recipe import LRN, Net, SpatialLRN
from alexnet.models import layer_table as table
from alexnet.models.fused import watched_everywhere
from alexnet.models.layers import ACTIVATIONS, Dropout, ResponseNorm, WithinMapNorm
from alexnet.ops import dispatch
from alexnet.ops import fused as ops
from alexnet.ops.choices import Choices, choices

if TYPE_CHECKING:
    from alexnet.models.network import Network

OF_2012 = Net()
OTHERS = ("pool_first", "pool_ceil", "padding", "dropped", "dropout_scale")  # fields of nets that others published


def possible(net: "Network", x: Tensor) -> bool:
    """Tell whether `logits` computes this net of x: where `suits` says so, and nothing watches PyTorch's operations."""
    return (
        isinstance(x, Tensor)
        and x.device.type == "cuda"
        and suits(net, x.device, x.dtype)
        and dispatch.best(x) is dispatch.gpu()
        and (x.dtype == torch.bfloat16 or not torch.is_autocast_enabled("cuda"))
        and next(net.parameters()).dtype == x.dtype
    )


def suits(net: "Network", device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether `logits` computes this net on a device, in a dtype.

    It does on a CUDA device with Triton, for nets with ReLUs whose fully connected layers read both towers, held by one
    process, if no layer has a hook or is replaced.
    """
    return (
        device.type == "cuda"
        and dtype in dispatch.NARROW
        and dispatch.gpu() is not None
        and isinstance(net.net, Net)
        and supports(net.net)
        and not watched_everywhere()
        and as_described(net)
    )


def supports(net: Net) -> bool:
    """Tell whether a net has only what `logits` computes."""
    towers_meet = net.towers == 1 or {"fc6", "fc7", "fc8"} <= set(net.meet)
    norms = net.spatial_lrn is None or net.lrn is not None
    five = not any(name.startswith("conv") and int(name[-1]) > 5 for name in net.layers)
    of_2012 = all(getattr(net, name) == getattr(OF_2012, name) for name in OTHERS)
    across = net.lrn is None or net.lrn.across == "tower"
    return net.activation == "relu" and towers_meet and norms and five and net.stride > 1 and of_2012 and across


def as_described(net: "Network") -> bool:
    """Tell whether each layer is the one that the settings describe, and none has a hook."""
    return all(alike(net._modules.get(layer.name), layer, net) for layer in net.layers)


def alike(found: nn.Module | None, layer: table.Layer, net: "Network") -> bool:
    """Tell whether a module computes what a layer's description says, with its own two weights, and has no hook."""
    op = layer.op
    if found is None or dispatch.hooked(found):
        return False
    if layer.weighted and (found._parameters.keys() != {"weight", "bias"} or found.bias is None):
        return False
    if isinstance(op, table.Convolution) and type(found) is nn.Conv2d:
        pairs = (op.size, op.size), (op.stride, op.stride), (op.padding, op.padding), (1, 1)
        given = found.kernel_size, found.stride, found.padding, found.dilation, found.groups, found.padding_mode
        sizes = (found.in_channels, found.out_channels) == (layer.seen, layer.maps)
        return sizes and given == (*pairs, op.groups, "zeros")
    if isinstance(op, table.Pool) and type(found) is nn.MaxPool2d:
        how = found.kernel_size, found.stride, found.padding, found.dilation, found.ceil_mode, found.return_indices
        return op.kind == "max" and how == (op.size, 2, 0, 1, True, False)
    if isinstance(op, table.Norm):
        across = type(found) is ResponseNorm and found.towers == op.towers
        return (across or type(found) is WithinMapNorm) and found.norm == op.numbers
    if isinstance(op, table.Dropout) and type(found) is Dropout:
        same = (found.p, found.layer, found.first, found.training) == (op.p, op.layer, 0, net.training)
        return same and found.place is net.place
    if isinstance(op, table.Pad) and type(found) is nn.ZeroPad2d:
        return found.padding == (0, op.over, 0, op.over)
    if isinstance(op, table.Flatten) and type(found) is nn.Flatten:
        return (found.start_dim, found.end_dim) == (1, -1)
    if isinstance(op, table.Full):  # the last one may have other outputs
        return type(found) is nn.Linear and found.in_features == layer.seen
    return isinstance(op, table.Activation) and type(found) is ACTIVATIONS[op.kind]


def packed_views(net: "Network", x: Tensor) -> bool:
    """Tell whether x has views in blocks, as `packing` describes them."""
    assert isinstance(net.net, Net)
    side, count = packing(net.net)
    return x.shape[1:] == (3 * side * side, count, count)


def blocks_for(net: "Network", device: torch.device, dtype: torch.dtype) -> tuple[int, int] | None:
    """Return the blocks of pixels that a net takes on a device, (side, number along a view), or None."""
    if not suits(net, device, dtype) or not choices(device).blocks:
        return None
    assert isinstance(net.net, Net)
    return packing(net.net)


def packing(net: Net) -> tuple[int, int]:
    """Return the side in pixels of the blocks that conv1 reads, and the number of blocks along a side of a view."""
    size, stride = net.kernel_sizes[0], net.stride
    out = table.output_side(net.image_size, size, stride)
    return stride, out + -(-size // stride) - 1


def blocks(net: "Network", of: Choices) -> dict[str, ops.Block]:
    """Describe each convolution, what follows it, and where its maps go."""
    found = {}
    convolutions = [layer for layer in net.layers if isinstance(layer.op, table.Convolution)]
    towers = max(layer.groups for layer in net.layers)
    for layer, after in zip(convolutions, [*convolutions[1:], None], strict=True):
        first = net.layers.index(layer) + 1
        last = net.layers.index(after) if after else len(net.layers)
        follow = [each.op for each in net.layers[first:last]]
        norms = [op.numbers for op in follow if isinstance(op, table.Norm)]
        pools = [op.size for op in follow if isinstance(op, table.Pool)]
        alone = of.apart and after and after.groups > 1
        op = layer.op
        assert isinstance(op, table.Convolution)
        found[layer.name] = ops.Block(
            towers,
            layer.groups,
            1 if op.stride > 1 and of.blocks else op.stride,
            op.padding,
            "units" if not after else "apart" if alone else "together",
            next((numbers for numbers in norms if isinstance(numbers, LRN)), None),
            isinstance(follow[0], table.Norm),
            next((numbers for numbers in norms if isinstance(numbers, SpatialLRN)), None),
            pools[0] if pools else None,
            of.apart,
        )
    return found


def logits(net: "Network", x: Tensor, of: Choices | None = None) -> Tensor:
    """Compute the logits (N, classes) of views (N, 3, side, side), or of views in blocks as `packing` describes.

    `of` are the choices for the device of x, if none are given.
    """
    of = of or choices(x.device)
    assert isinstance(net.net, Net)
    side, count = packing(net.net)
    if x.shape[1] == 3:
        x = ops.packed(x, side, count) if of.blocks else padded(net, x)
    maps: tuple[Tensor, ...] = (x,)
    for name, block in blocks(net, of).items():
        weight, bias = weights(net, name)
        if name == "conv1" and of.blocks:
            weight = ops.packed(weight, side, -(-net.net.kernel_sizes[0] // side))
        if block.groups == 1 and len(maps) > 1:  # no pool wrote them together
            maps = (torch.cat(maps, 1),)
        maps = ops.block(block, weight, bias, *maps)
    (units,) = maps
    p, place = net.net.dropout, net.place
    for name in ("fc6", "fc7"):
        dropout = ops.Dropout(p, place.seed, name, place.step, place.position) if net.training else None
        units = ops.full(units, *weights(net, name), dropout)
        if not net.training:
            units = units * (1 - p)
    return nn.functional.linear(units, *weights(net, "fc8"))


def padded(net: "Network", x: Tensor) -> Tensor:
    """Add the zeros at the edge that conv1's last window reads, if it hangs over."""
    first = net.get_submodule(net.order[0])
    return first(x) if isinstance(first, nn.ZeroPad2d) else x


def weights(net: "Network", name: str) -> tuple[Tensor, Tensor]:
    """Return the weight and the bias of a layer."""
    layer = net.get_submodule(name)
    assert isinstance(layer.weight, Tensor)
    assert isinstance(layer.bias, Tensor)
    return layer.weight, layer.bias
