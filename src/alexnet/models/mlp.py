"""A net of fully connected layers alone, to hold convolutions against (claim `fc-conv`; not the paper's)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

from torch import Tensor, nn

from alexnet.config.recipe import MlpNet
from alexnet.models.layers import ACTIVATIONS, initialise, last_output, output_of
from alexnet.models.shard import Runs
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear


class Mlp(nn.Module):
    """Input N x 3 x side x side float, raw RGB minus mean; output N x classes logits.

    Its layers are fc1, relu1, drop1, fc2 and so on; the last has neither activation nor dropout. Dropout is AlexNet's:
    in training mode a function of (`seed`, layer, `step`, `position` of the first picture in the batch), and each
    forward moves `step` on by one (section 4.2).
    """

    classes: Sequence[str] = ()  # names of the outputs, and
    transform: Any = None  # what makes inputs of pictures: given by `alexnet.load`

    def __init__(self, net: MlpNet | None = None, seed: int = 0) -> None:
        super().__init__()
        self.net = net = net or MlpNet()
        self.seed, self.position = seed, 0
        self.step: int | Tensor = 0
        self.activate = ACTIVATIONS[net.activation]
        widths = (3 * net.image_size**2, *net.hidden, net.classes)
        for name, (inputs, outputs) in zip(net.layers, pairwise(widths), strict=True):
            self.add_module(name, nn.Linear(inputs, outputs))
        initialise(self, net.initial, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of the views x (N, 3, input, input)."""
        logits = last_output(self.walk(x))
        if self.training:
            self.step = self.step + 1
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """What `layer` puts out for the views x: "fc1", "relu1", "drop1", "fc2"...

        "fc1" is before the activation and "relu1" after it, whatever the activation. Raises InputError for a name
        that this net does not have.
        """
        return output_of(self.walk(x), layer)

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every layer's output with its name, in order."""
        x = x.flatten(1)
        for i, layer in enumerate(self.net.layers, 1):
            x = linear(x, self.get_submodule(layer))
            yield layer, x
            if i <= len(self.net.hidden):
                x = self.activate(x)
                yield f"relu{i}", x
                x = self.drop(x, layer)
                yield f"drop{i}", x

    def drop(self, x: Tensor, layer: str) -> Tensor:
        """Dropout as printed: units masked in training, all multiplied by 1 - p in testing (section 4.2)."""
        p = self.net.dropout
        if not self.training:
            return x * (1 - p)
        return dropout(x, p, self.seed, layer, self.step, self.position) if p else x

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Take the place of `step`, and of `position` in the global batch, for dropout."""
        self.step, self.position = step, position
        return self
