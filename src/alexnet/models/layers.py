"""What every net's layers share: activations, initial weights, a layer's output by its name."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.core import rng
from alexnet.core.errors import InputError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}


def last_output(layers: Iterator[tuple[str, Tensor]]) -> Tensor:
    """The output of the last layer of a walk; the others are let go on the way."""
    return deque(layers, maxlen=1)[0][1]


def output_of(layers: Iterator[tuple[str, Tensor]], layer: str) -> Tensor:
    """The output of one layer of a walk; raises InputError, with the names there are, for another name."""
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
    """Weights from N(0, std^2), whatever the fan-in, and equal biases; `initial`: both of each layer (section 5).

    A layer's weights are a function of (seed, the layer's name). `held`: which of the whole layer's outputs is the
    first that it has, and how many outputs the whole has.
    """
    with torch.no_grad():
        for name, (std, one) in initial.items():
            layer = module.get_submodule(name)
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            assert isinstance(bias, Tensor)
            first, outputs = (held or {}).get(name, (0, len(weight)))
            whole = weight if len(weight) == outputs else weight.new_empty(outputs, *weight.shape[1:])
            whole.normal_(0, std, generator=rng.generator(seed, f"init {name}"))
            if whole is not weight:
                weight.copy_(whole[first : first + len(weight)])
            bias.fill_(one)
