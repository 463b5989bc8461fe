"""Checks of a net's settings and input. A common mistake gets a message that says what to write instead."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from alexnet.config import overrides
from alexnet.config.recipe import AnyNet, CifarNet, MlpNet, Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.text import describe

T = TypeVar("T", Net, CifarNet, MlpNet)
MODELS: dict[type[AnyNet], str] = {Net: "AlexNet", CifarNet: "Cifar", MlpNet: "Mlp"}
ARGUMENTS = ["net", "seed", "num_classes"]


def settings(kind: type[T], given: T | Recipe | None, num_classes: int | None, unknown: Mapping[str, object]) -> T:
    """Return the settings of a net: those given, those of the given recipe, or the defaults of `kind`.

    `num_classes` overrides their number of classes. Raise InputError for anything else, and for `unknown` arguments.
    """
    for name in unknown:
        raise InputError(_unknown_argument(kind, name))
    net = given.net if isinstance(given, Recipe) else kind() if given is None else given
    if not isinstance(net, kind):
        raise InputError(_other_settings(kind, given, net))
    if num_classes is None:
        return net
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 2:
        raise InputError(f"num_classes is {overrides.show(num_classes)}; it must be a whole number, 2 or more")
    return dataclasses.replace(net, classes=num_classes)


def _other_settings(kind: type[AnyNet], given: object, net: object) -> str:
    model = MODELS[kind]
    if isinstance(given, str) and given in RECIPES:
        net = RECIPES[given].net
        if isinstance(net, kind):
            return f'{model}("{given}") needs a recipe, not a name; write {model}(alexnet.recipe("{given}"))'
    if isinstance(net, (Net, CifarNet, MlpNet)):
        other = MODELS[type(net)]
        return f"{model} needs its own settings, not those of {other}; alexnet.models.build.build(net, seed) takes any"
    if isinstance(given, int) and not isinstance(given, bool):
        return f"{model}({given}) needs a recipe, not a number; for {given} classes write {model}(num_classes={given})"
    shown = overrides.show(given) if isinstance(given, str) else describe(given)
    return f'{model} takes a recipe or its net, such as alexnet.recipe("paper").net, not {shown}'


def _unknown_argument(kind: type[AnyNet], name: str) -> str:
    model = MODELS[kind]
    if name == "classes":
        return f"{model} has no argument classes; write num_classes"
    if name in {field.name for field in dataclasses.fields(kind)}:
        return (
            f"{model} has no argument {name}; it is a setting of the net: write "
            f"{model}(dataclasses.replace({kind.__name__}(), {name}=...))"
        )
    return overrides.unknown_name(name, name, ARGUMENTS, "", what=f"argument of {model}")


def check_input(x: Tensor, side: int | None, net: nn.Module) -> None:
    """Raise InputError unless x is a batch of views, (N, 3, side, side), in the dtype of the net.

    With `side` None, any size passes.
    """
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if tracing or isinstance(x, fx.Proxy):  # a check would become part of the trace
        return
    weight = next(net.parameters(), None)
    dtype = weight.dtype if weight is not None and weight.is_floating_point() else None
    if isinstance(x, Tensor) and x.ndim == 4 and x.is_floating_point():
        _, colours, height, width = x.shape
        sized = colours == 3 and (side is None or height == width == side)
        if sized and (dtype is None or x.dtype == dtype or torch.is_autocast_enabled(x.device.type)):
            return
    taken = "N, 3, height, width" if side is None else f"N, 3, {side}, {side}"
    name = str(dtype or torch.float32).removeprefix("torch.")
    raise InputError(f"this net takes {name} Tensor ({taken}), not {describe(x)}")


def moved(transform: Any, act: Callable[[Tensor], Tensor]) -> Any:
    """Move a net's transform to the device that `act`, the function of `nn.Module._apply`, moves tensors to.

    Do not cast it, and leave it where it is if the net moves to meta, where its numbers would be lost.
    """
    device = getattr(transform, "device", None)
    if not isinstance(device, torch.device):  # no transform, or a function of the user's
        return transform
    to = act(torch.empty(1, device=device)).device
    return transform if to in (device, torch.device("meta")) else transform.to(to)
