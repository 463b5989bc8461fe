"""Choose what only a measurement can: ways that are right in any case, and fast by the device's name.

`benchmarks/gpu.sh` times each choice on the GPU at hand, and `ALEXNET_CPU=blocks=on alexnet bench step` the one on a
CPU; what they find belongs into MEASURED.
"""

import functools
import os
from dataclasses import dataclass, fields, replace

import torch

from alexnet.core.errors import InputError


@dataclass(frozen=True)
class Choices:
    """The ways of a training step that give the same numbers, to rounding."""

    # conv1 reads blocks of stride x stride pixels as channels, in place of 3 channels with that stride.
    blocks: bool = True
    # A convolution for each tower, in place of one in groups.
    apart: bool = True
    # The update of a layer runs beside the rest of the backward pass, on a stream of its own. It stays off until a
    # device has run its test (tests/training/test_updates.py).
    early: bool = False


MEASURED: dict[str, Choices] = {
    # A CPU has the first choice alone. Zen 4: conv1 of source and its gradient take 317 ms in blocks and 321 without,
    # before the pixels are rearranged (batch 128, one thread). It may pay where products are faster, as with AMX.
    "cpu": Choices(blocks=False),
    # docs/log.md: conv1 forward 99 us in blocks, 924 us without (batch 128); conv2 135 us apart, 247 us in groups;
    # a step of batch 128 2.74 ms with early updates, 2.88 ms without
    "NVIDIA H100 80GB HBM3": Choices(blocks=True, apart=True),
}


def choices(device: torch.device) -> Choices:
    """Return the choices for a device: those measured on its kind, or the defaults.

    The variable ALEXNET_GPU or ALEXNET_CPU changes some, such as "apart=off,early=on".

    Raises:
        InputError: The variable names another choice, or a value that is neither "on" nor "off".
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    variable = f"ALEXNET_{'CPU' if device.type == 'cpu' else 'GPU'}"
    return changed(MEASURED.get(name, Choices()), variable, os.environ.get(variable, ""))


@functools.cache
def changed(choices: Choices, variable: str, words: str) -> Choices:
    """Change some choices by the words of a variable, such as "apart=off,early=on"."""
    names = ["blocks"] if variable == "ALEXNET_CPU" else [field.name for field in fields(Choices)]
    for word in filter(None, words.split(",")):
        name, _, value = word.partition("=")
        if name not in names or value not in ("on", "off"):
            raise InputError(f"{variable} has {word}; it takes {', '.join(f'{n}=on|off' for n in names)}")
        choices = replace(choices, **{name: value == "on"})
    return choices
