"""Layers that run together, as one operation, where nobody looks at them one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from alexnet.config.recipe import LRN
from alexnet.models import layer_table as table
from alexnet.models.layers import ResponseNorm
from alexnet.ops import dispatch
from alexnet.ops.linear import linear
from alexnet.ops.norm import Relu, pooled_norm, response_norm


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
    """Group the names of layers that can run together: a ReLU and a norm, in either order, and the pool after them."""
    groups: list[tuple[str, ...]] = []
    left = list(layers)
    while left:
        kinds = [kind_of(layer.op) for layer in left[:3]]
        count = 1
        if set(kinds[:2]) == {"relu", "norm"}:
            count = 3 if kinds[2:] == ["max"] else 2
        groups.append(tuple(layer.name for layer in left[:count]))
        left = left[count:]
    return tuple(groups)


def kind_of(op: table.Op) -> str:
    """Name the part of a group that an operation can be; "" for none."""
    if isinstance(op, table.Norm):
        return "norm" if isinstance(op.numbers, LRN) else ""
    if isinstance(op, table.Pool):
        return op.kind if op.ceil else ""
    return op.kind if isinstance(op, table.Activation) else ""


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run the layers of a group: as one operation if they are what they were built as, and have no hook."""
    if len(layers) == 1:
        (layer,) = layers
        return linear(x, layer)
    if not any(dispatch.hooked(layer) for layer in layers):
        kinds, pool = [type(layer) for layer in layers[:2]], layers[-1]
        norm = next((layer for layer in layers if isinstance(layer, ResponseNorm)), None)
        if norm and kinds in ([nn.ReLU, ResponseNorm], [ResponseNorm, nn.ReLU]):
            relu: Relu = "after" if layers[0] is norm else "before"
            if len(layers) == 2:
                return response_norm(x, norm.norm, norm.towers, relu)
            if (
                type(pool) is nn.MaxPool2d
                and (pool.stride, pool.padding, pool.dilation) == (2, 0, 1)
                and (pool.ceil_mode and not pool.return_indices and isinstance(pool.kernel_size, int))
            ):
                return pooled_norm(x, norm.norm, norm.towers, relu, pool.kernel_size)
    for layer in layers:
        x = layer(x)
    return x
