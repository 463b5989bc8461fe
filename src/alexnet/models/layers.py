"""Code that all nets share: activations, initial weights, and a layer's output by name."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.core import rng
from alexnet.core.errors import InputError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}


def last_output(layers: Iterator[tuple[str, Tensor]]) -> Tensor:
    """Return the output of the last layer of a walk; free the other outputs on the way."""
    return deque(layers, maxlen=1)[0][1]


def output_of(layers: Iterator[tuple[str, Tensor]], layer: str) -> Tensor:
    """Return the output of one layer of a walk. Raise InputError for an unknown name, and list the known ones."""
    names = []
    for name, x in layers:
        if name == layer:
            return x
        names.append(name)
    raise InputError(f"no layer {layer}; this net has {', '.join(names)}")


def initialise(
    module: nn.Module,
    initial: Mapping[str, tuple[float, float]],
    seed: int,
    held: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Draw weights from N(0, std^2), for any fan-in, and set all biases of a layer to one value (section 5).

    A layer's weights are a function of (seed, layer name) alone, so nets that differ in one layer start equal in the
    others.

    Args:
        module: The net.
        initial: Standard deviation and bias of each layer, by name.
        seed: Seed of the weights.
        held: For each layer, the first output that this process holds, and the number of outputs of the whole layer.
    """
    with torch.no_grad():
        for name, (std, one) in initial.items():
            layer = module.get_submodule(name)
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            assert isinstance(bias, Tensor)
            first, outputs = (held or {}).get(name, (0, len(weight)))
            # Draw the whole layer even for a part of it, so that all processes together hold one process's weights.
            whole = weight if len(weight) == outputs else weight.new_empty(outputs, *weight.shape[1:])
            whole.normal_(0, std, generator=rng.generator(seed, f"init {name}"))
            if whole is not weight:
                weight.copy_(whole[first : first + len(weight)])
            bias.fill_(one)
