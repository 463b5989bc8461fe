"""Layers that run together, as one operation, where nobody looks at them one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from alexnet.config.recipe import SpatialLRN
from alexnet.models import layer_table as table
from alexnet.models.layers import ResponseNorm, WithinMapNorm
from alexnet.ops import blocked, dispatch
from alexnet.ops.linear import linear
from alexnet.ops.norm import Relu, response_norm
from alexnet.ops.pool import max_pool, pooled_norm, pooled_within


def watched(x: object) -> bool:
    """Tell whether something looks at the layers: a tracer, a transform, a mode, or a hook on all modules.

    That x is more than numbers in memory (fake, quantised, a proxy of torch.fx) says so too.
    """
    return (
        not isinstance(x, Tensor)
        or dispatch.watched()
        or torch._C._are_functorch_transforms_active()
        or watched_everywhere()
        or any(type(mode) is not DeviceContext for mode in _get_current_function_mode_stack())
        or not dispatch.addressed(x)
    )


def watched_everywhere() -> bool:
    """Tell whether there is a hook on all modules."""
    forward, backward = every._global_forward_hooks, every._global_backward_hooks
    before, before_backward = every._global_forward_pre_hooks, every._global_backward_pre_hooks
    return bool(forward or backward or before or before_backward)


def together(layers: Sequence[table.Layer]) -> tuple[tuple[str, ...], ...]:
    """Group the names of layers that can run together: a ReLU, a norm, or both in either order, with the pool after."""
    groups: list[tuple[str, ...]] = []
    left = list(layers)
    while left:
        kinds = [kind_of(layer.op) for layer in left[:3]]
        before = 2 if set(kinds[:2]) == {"relu", "norm"} else 1
        together = before == 2 or kinds[0] in ("relu", "within")
        count = before + (together and kinds[before : before + 1] == ["max"])
        groups.append(tuple(layer.name for layer in left[:count]))
        left = left[count:]
    return tuple(groups)


def kind_of(op: table.Op) -> str:
    """Name the part of a group that an operation can be; "" for none."""
    if isinstance(op, table.Norm):
        return "within" if isinstance(op.numbers, SpatialLRN) else "norm"
    if isinstance(op, table.Pool):
        return op.kind
    return op.kind if isinstance(op, table.Activation) else ""


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run the layers of a group: as one operation if they are what they were built as, and have no hook."""
    if not any(dispatch.hooked(layer) for layer in layers):
        *before, last = layers
        if size := pool_side(last):
            made = pooled(before, x, size, bool(last.ceil_mode))
            if made is not None:
                return made
        if (found := relu_and_norm(layers)) is not None:
            return response_norm(x, found[0].norm, found[0].towers, found[1])
    for layer in layers:
        if blocked.in_blocks(x, layer):
            assert isinstance(layer, nn.Conv2d)
            x = blocked.convolution(x, layer)
        else:
            x = linear(x, layer)
    return x


def pool_side(layer: nn.Module) -> int:
    """Return the side of a max pool at stride 2; 0 for any other layer."""
    if type(layer) is not nn.MaxPool2d or layer.return_indices or not isinstance(layer.kernel_size, int):
        return 0
    return layer.kernel_size if (layer.stride, layer.padding, layer.dilation) == (2, 0, 1) else 0


def pooled(before: Sequence[nn.Module], x: Tensor, size: int, ceil: bool) -> Tensor | None:
    """Run the layers before a pool, and the pool, as one operation; None if no operation does all of it."""
    kinds = [type(layer) for layer in before]
    if not before or kinds == [nn.ReLU]:
        return max_pool(x, size, ceil, relu=bool(before))
    if ceil and (found := relu_and_norm(before)) is not None:
        return pooled_norm(x, found[0].norm, found[0].towers, found[1], size)
    if ceil and kinds == [WithinMapNorm]:
        (norm,) = before
        assert isinstance(norm, WithinMapNorm)
        return pooled_within(x, norm.norm, size)
    return None


def relu_and_norm(layers: Sequence[nn.Module]) -> tuple[ResponseNorm, Relu] | None:
    """Return the norm of a ReLU and a norm, and whether the ReLU is before or after it; None for other layers."""
    kinds = [type(layer) for layer in layers]
    if kinds not in ([nn.ReLU, ResponseNorm], [ResponseNorm, nn.ReLU]):
        return None
    first, second = layers
    if isinstance(first, ResponseNorm):
        return first, "after"
    assert isinstance(second, ResponseNorm)
    return second, "before"
