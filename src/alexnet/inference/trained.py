"""The trained net that a user names by its run, or has loaded: checked, with its device and its precision."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet.core.device import Compute, choose_compute, enter
from alexnet.core.errors import InputError
from alexnet.core.text import describe
from alexnet.models.build import AnyModel
from alexnet.runs.run import load

RunOrNet = str | os.PathLike[str] | AnyModel
PRECISION = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}


def compute_for(run_or_net: RunOrNet, device: str, precision: str) -> Compute:
    """The device and precision asked for; a net that was loaded keeps those that it has.

    Raises InputError for what is neither a run nor a net, and for a net with another device or precision than "auto".
    """
    if isinstance(run_or_net, (str, os.PathLike)):
        return choose_compute(device, precision)
    if not isinstance(run_or_net, nn.Module):
        raise InputError(f"expected a run folder or a net that alexnet.load gave, not {describe(run_or_net)}")
    for name, value in (("device", device), ("precision", precision)):
        if value != "auto":
            raise InputError(
                f"{name} {value}: a loaded net computes where and as it is; leave {name} out, or use net.to(...) first"
            )
    first = next((p for p in run_or_net.parameters() if p.is_floating_point()), torch.empty(0))
    enter(first.device)
    return Compute(first.device, PRECISION.get(first.dtype, "fp32"))


def load_for_inference(run_or_net: RunOrNet, compute: Compute, name: str | None = None) -> AnyModel:
    """The net of a run, from its newest checkpoint or the one of that name, on a device; a loaded net as it is.

    Raises InputError for a run that cannot be used, and for a net in training mode, or without names of its classes.
    """
    if not isinstance(run_or_net, nn.Module):
        return compute.serve(load(Path(run_or_net), name))
    check_net(run_or_net)
    return run_or_net


def check_net(net: Any) -> None:
    """Raise InputError unless the net can answer for pictures: in eval mode, with its classes and its transform."""
    if not getattr(net, "classes", ()) or not hasattr(getattr(net, "transform", None), "ten_crop"):
        raise InputError(
            f"this {type(net).__name__} has no .classes or no .transform, which name its outputs and make its inputs; "
            "take a net that alexnet.load gave, or set both"
        )
    if net.training:
        raise InputError(f"this {type(net).__name__} is in training mode, which drops units; call net.eval() first")


def title(run_or_net: RunOrNet) -> str:
    """What a message calls it."""
    return "the net" if isinstance(run_or_net, nn.Module) else f"run {os.fspath(run_or_net)}"
