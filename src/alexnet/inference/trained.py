"""Load the trained net of a run, or check one that the user loaded, and choose its device and precision."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet.core.device import Compute, choose_compute, enter
from alexnet.core.errors import InputError
from alexnet.core.text import describe
from alexnet.models.network import Network
from alexnet.ops.packed import keep_packed
from alexnet.runs.run import load

RunOrNet = str | os.PathLike[str] | Network
PRECISION = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}


def compute_for(run_or_net: RunOrNet, device: str, precision: str) -> Compute:
    """Choose the device and precision. A loaded net keeps its own.

    Raises InputError if `run_or_net` is neither a run folder nor a net, or if a net comes with another device or
    precision than "auto".
    """
    if isinstance(run_or_net, (str, os.PathLike)):
        return choose_compute(device, precision)
    if not isinstance(run_or_net, nn.Module):
        raise InputError(f"expected a run folder or a net from alexnet.load, not {describe(run_or_net)}")
    for name, value in (("device", device), ("precision", precision)):
        if value != "auto":
            raise InputError(
                f"{name} {value}: a loaded net keeps its device and precision; leave {name} out, or call net.to(...)"
            )
    first = next((p for p in run_or_net.parameters() if p.is_floating_point()), torch.empty(0))
    enter(first.device)
    return Compute(first.device, PRECISION.get(first.dtype, "fp32"))


def load_for_inference(run_or_net: RunOrNet, compute: Compute, checkpoint: str | int | None = None) -> Network:
    """Load the net of a run, from its newest checkpoint or the one asked for; return a loaded net unchanged.

    Raises InputError if the run cannot be used, if it has no such checkpoint, or if a loaded net is in training mode,
    lacks its classes or comes with a checkpoint.
    """
    if not isinstance(run_or_net, nn.Module):
        return keep_packed(compute.serve(load(Path(run_or_net), checkpoint)))
    if checkpoint is not None:
        raise InputError(f"checkpoint {checkpoint}: a loaded net is of one checkpoint; choose it in alexnet.load")
    check_net(run_or_net)
    return run_or_net


def check_net(net: Any) -> None:
    """Raise InputError unless the net is in eval mode and has `.classes` and `.transform`."""
    if not getattr(net, "classes", ()) or not hasattr(getattr(net, "transform", None), "ten_crop"):
        raise InputError(
            f"this {type(net).__name__} has no .classes or no .transform, to name its outputs and prepare its inputs; "
            "use a net from alexnet.load, or set both"
        )
    if net.training:
        raise InputError(f"this {type(net).__name__} is in training mode, where dropout is on; call net.eval() first")


def title(run_or_net: RunOrNet) -> str:
    """Return the name for messages: "the net", or the run with its folder."""
    return "the net" if isinstance(run_or_net, nn.Module) else f"run {os.fspath(run_or_net)}"
