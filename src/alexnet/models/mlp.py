"""A fully connected net, for comparison with convolutions (study `fc-conv`; not in the paper)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Never, Self

from torch import Tensor, nn

from alexnet.config.recipe import MlpNet, Recipe
from alexnet.models.arguments import check_input, moved, settings
from alexnet.models.layers import ACTIVATIONS, initialise, last_output, output_of
from alexnet.models.shard import Runs
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear


class Mlp(nn.Module):
    """A fully connected net. It maps views (N, 3, side, side) to logits (N, classes).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. The layers are fc1, relu1, drop1, fc2 and so on; the
    last has neither activation nor dropout. Dropout is that of AlexNet (section 4.2): in training mode, a function of
    (`seed`, layer, `step`, position of the picture in the batch). Each forward pass in training adds 1 to `step`.

    Args:
        net: A recipe, or its net settings; two hidden layers of 1,000 units by default.
        seed: Seed of the initial weights and of dropout.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of an Mlp, or an argument is unknown. The message says what to write
            instead.
    """

    def __init__(
        self,
        net: MlpNet | Recipe | None = None,
        seed: int = 0,
        *,
        num_classes: int | None = None,
        **unknown: Never,
    ) -> None:
        super().__init__()
        self.classes: Sequence[str] = ()  # names of the outputs; `alexnet.load` sets them
        self.transform: Any = None  # makes views of pictures; `alexnet.load` sets it
        self.net = net = settings(MlpNet, net, num_classes, unknown)
        self.seed, self.position = seed, 0
        self.step: int | Tensor = 0
        self.activate = ACTIVATIONS[net.activation]
        widths = (3 * net.image_size**2, *net.hidden, net.classes)
        for name, (inputs, outputs) in zip(net.layers, pairwise(widths), strict=True):
            self.add_module(name, nn.Linear(inputs, outputs))
        initialise(self, net.initial, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (N, classes) of views (N, 3, image_size, image_size), as `AlexNet.forward` does."""
        logits = last_output(self.walk(x))
        if self.training:
            self.step = self.step + 1
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute the output of one layer.

        Args:
            x: Views, float (N, 3, image_size, image_size).
            layer: Name of the layer: "fc1", "relu1", "drop1", "fc2", ... "fc1" is the output before the activation,
                and "relu1" the one after it, also for tanh.

        Returns:
            (N, units).

        Raises:
            InputError: `x` has another shape or dtype, or this net has no such layer (the message lists them).
        """
        return output_of(self.walk(x), layer)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the net, as `to`, `cuda` and `half` do; the transform moves too, but is not cast."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.transform = moved(self.transform, fn)
        return self

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Run the layers in order, and yield the name and the output of each."""
        check_input(x, self.net.image_size, self.get_submodule("fc1"))
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
        """Apply dropout as printed: mask units in training, multiply all by 1 - p in testing (section 4.2)."""
        p = self.net.dropout
        if not self.training:
            return x * (1 - p)
        return dropout(x, p, self.seed, layer, self.step, self.position) if p else x

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Set the step and the position of the next batch, of which dropout is a function; see `AlexNet.at`."""
        self.step, self.position = step, position
        return self
