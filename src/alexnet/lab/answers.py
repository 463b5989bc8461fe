"""Answers of a net about one picture, in the forms that the page reads."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.inference.pictures import read_picture
from alexnet.inference.predict import predict
from alexnet.lab.walk import Settings, inputs, walk
from alexnet.models import layer_table as table
from alexnet.models.network import Network

BATCH = 32  # inputs that the net takes at a time


class NotAPicture(InputError):
    """The error for bytes that `predict` cannot read as a picture; its line is the reason."""


def classes_of(net: Network, file: bytes, views: int) -> dict[str, Any]:
    """Return the element of `alexnet predict --json` for one picture.

    Args:
        net: The net, in eval mode.
        file: The bytes of a picture's file.
        views: 10, or 1 for the central view alone.
    """
    (answer,) = predict(net, [file], views=views)
    return answer


def square_of(net: Network, file: bytes) -> bytes:
    """Return the square that views are cut from, as rows of RGB bytes; raise NotAPicture with the reason."""
    square = read_picture(file, net.transform.side, net.transform.fit)
    if isinstance(square, str):
        raise NotAPicture(square)
    return square.tobytes()


def run(net: Network, pixels: bytes, settings: Settings, layers: bool, compute: Compute) -> bytes:
    """Run the net, with changes, on views of a square.

    Args:
        net: The net, in eval mode, on its device.
        pixels: The square, as `square_of` makes it.
        settings: The changes and the views.
        layers: Whether to return the output of every layer for the first input.
        compute: Device and precision of the net.

    Returns:
        `packed` arrays: "probabilities" (inputs, classes); with `layers`, also each layer by its name.

    Raises:
        InputError: There are not side x side x 3 bytes.
    """
    side = net.transform.side
    if len(pixels) != side * side * 3:
        raise InputError(f"the square has {len(pixels)} bytes; it must have {side} x {side} x 3")
    square = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(side, side, 3).to(compute.device)
    rows, shown = [], dict[str, np.ndarray]()
    pads = {layer.name for layer in net.layers if isinstance(layer.op, table.Pad)}  # of zeros: nothing to see
    with compute.arithmetic(), torch.inference_mode():
        for part in inputs(net, square, settings, compute.dtype).split(BATCH):
            made = walk(net, part, settings)
            rows.append(torch.softmax(made[net.order[-1]].float(), 1).cpu().numpy())
            if layers and not shown:
                shown = {name: out[0].float().cpu().numpy() for name, out in [("input", part), *made.items()]}
                shown = {name: out for name, out in shown.items() if name not in pads}
    return packed({"probabilities": np.concatenate(rows), **shown})


def unit(net: Network, layer: str, number: int) -> bytes:
    """Return `packed` arrays about a map or unit of a layer with weights: its "kernel" and its "bias".

    Raises:
        InputError: The net has no such layer, the layer has no kernels, or fewer.
    """
    module = net.layer(layer) if layer in net.order else None
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if weight is None or bias is None or weight.dim() not in (2, 4) or len(bias) != len(weight):
        kernels = ", ".join(each.name for each in net.layers if isinstance(each.op, (table.Convolution, table.Full)))
        raise InputError(f"layer {layer[:80]!r} has no kernels; {kernels} have")
    if not 0 <= number < len(weight):
        raise InputError(f"map {number} of {layer}; it must be 0 to {len(weight) - 1}")
    of = {"kernel": weight[number], "bias": bias[number : number + 1]}
    return packed({name: tensor.detach().float().cpu().numpy() for name, tensor in of.items()})


def kernels(net: Network) -> bytes:
    """Return `packed` "kernels" of the first convolution, (maps, 3, side, side); empty if the first layer has none."""
    first = next((each for each in net.layers if each.weighted), None)
    if first is None or not isinstance(first.op, table.Convolution):
        return packed({"kernels": np.zeros((0, 3, 1, 1), np.float32)})
    weight = dict(net.layer(first.name).named_parameters())["weight"]
    return packed({"kernels": weight.detach().float().cpu().numpy()})


def packed(arrays: Mapping[str, Any]) -> bytes:
    """Write float32 arrays one after the other, behind their names and shapes in JSON and its length (uint32)."""
    made = {name: np.ascontiguousarray(array, "<f4") for name, array in arrays.items()}
    head = json.dumps([[name, list(array.shape)] for name, array in made.items()]).encode()
    head += b" " * (-len(head) % 4)  # the arrays begin at a multiple of 4 bytes
    return b"".join([struct.pack("<I", len(head)), head, *(array.tobytes() for array in made.values())])
