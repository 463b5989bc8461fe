"""Convolutions of a net that only predicts: their weights are rearranged once, not at every call.

For one picture, oneDNN rearranges weights for a seventh of a convolution's time (docs/log.md, 2026-11-28).
"""

import functools
import platform
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from alexnet.ops import dispatch

Module = TypeVar("Module", bound=nn.Module)
OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise")  # of torch.ops.mkldnn; no public API has them


@dataclass(eq=False)
class Packed:
    """The rearranged weights of a layer.

    Attributes:
        weight: The layer's own weights.
        storage: Their memory; while it is held, no other weights get its address.
        state: What the rearranged weights are a function of, apart from the numbers themselves.
        rearranged: The weights as oneDNN wants them; None before the second call.
        same: For each shape of maps, whether they gave the bits that the layer gives.
    """

    weight: Tensor
    storage: torch.UntypedStorage
    state: tuple[object, ...]
    rearranged: Tensor | None = None
    same: dict[torch.Size, bool] = field(default_factory=dict)


KEPT: WeakKeyDictionary[nn.Module, Packed | None] = WeakKeyDictionary()  # with the layer goes its copy


def keep_packed(net: Module) -> Module:
    """Let the convolutions of a net keep their weights rearranged.

    They are rearranged again after any change that PyTorch counts. It does not count what is written through `.data`,
    NumPy or an address, so this is only for a net that no user holds.

    Args:
        net: The net; its memory grows by the weights of its convolutions.

    Returns:
        The same net.
    """
    KEPT.update({layer: None for layer in net.modules() if type(layer) is nn.Conv2d})
    return net


def convolution(x: Tensor, layer: nn.Conv2d) -> Tensor | None:
    """Apply a convolution with the weights that it keeps rearranged.

    Args:
        x: Maps, (N, C, H, W).
        layer: The layer, without hooks.

    Returns:
        What `layer(x)` returns, bit by bit, or None if the layer has to be called: it keeps none, or there is a
        gradient to come, or something watches the operations.
    """
    if layer not in KEPT or not possible(x, layer):
        return None
    weight, kept = layer.weight, KEPT[layer]
    how = layer.padding, layer.stride, layer.dilation, layer.groups
    state = weight._version, weight.data_ptr(), weight.dtype, weight.shape, weight.stride(), how
    if kept is None or kept.weight is not weight or kept.state != state:
        # One call may be all there is, so the second one rearranges.
        KEPT[layer] = Packed(weight, weight.untyped_storage(), state)
        return None
    found = operators()
    if kept.rearranged is None:
        try:
            kept.rearranged = found._reorder_convolution_weight(weight, *how, x.shape)
        except RuntimeError:  # this processor has no kernel of this dtype
            del KEPT[layer]
            return None
    if not kept.same.get(x.shape, True):
        return None
    made: Tensor = found._convolution_pointwise(x, kept.rearranged, layer.bias, *how, "none", [], "")
    if x.shape not in kept.same:
        # For some shapes, such as maps of one row, PyTorch does not call oneDNN.
        plain: Tensor = layer(x)
        kept.same[x.shape] = torch.equal(made, plain) and made.stride() == plain.stride()
        return plain
    return made


def possible(x: Tensor, layer: nn.Conv2d) -> bool:
    """Tell whether oneDNN computes this layer of x in the dtype of x, and nobody needs to see how."""
    weight, bias = layer.weight, layer.bias
    if torch.is_grad_enabled() or bias is None or operators() is None or dispatch.watched():
        return False
    given = x, weight, bias
    return (
        x.dtype in dispatch.NARROW
        and all(t.device.type == "cpu" and t.dtype == x.dtype and dispatch.addressed(t) for t in given)
        and not weight.is_inference()  # it counts no changes
        and not (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != x.dtype)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and torch._C._get_mkldnn_enabled()
    )


@functools.cache
def operators() -> Any:
    """Return the module of PyTorch's operators; None if it lacks them, and on processors other than x86-64."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return None
    return torch.ops.mkldnn if all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS) else None
