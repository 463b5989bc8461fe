"""A net of fully connected layers alone, to hold convolutions against (claim `fc-conv`; not the paper's)."""

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
    """Input N x 3 x side x side float, raw RGB minus mean; output N x classes logits.

    Its layers are fc1, relu1, drop1, fc2 and so on; the last has neither activation nor dropout. Dropout is AlexNet's:
    in training mode a function of (`seed`, layer, `step`, `position` of the first picture in the batch), and each
    forward moves `step` on by one (section 4.2).

    Args:
        net: a recipe's net, or the recipe; two hidden layers of 1,000 units unless given.
        seed: of the initial weights and of dropout.
        num_classes: outputs, 2 or more; takes the place of the number in `net`.

    Raises:
        InputError: for settings that no such net has, in a line that says what would do.
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
        self.classes: Sequence[str] = ()  # names of the outputs, and
        self.transform: Any = None  # what makes inputs of pictures: given by `alexnet.load`
        self.net = net = settings(MlpNet, net, num_classes, unknown)
        self.seed, self.position = seed, 0
        self.step: int | Tensor = 0
        self.activate = ACTIVATIONS[net.activation]
        widths = (3 * net.image_size**2, *net.hidden, net.classes)
        for name, (inputs, outputs) in zip(net.layers, pairwise(widths), strict=True):
            self.add_module(name, nn.Linear(inputs, outputs))
        initialise(self, net.initial, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, classes) of views x, float (N, 3, image_size, image_size), as `transform` makes them.

        Raises InputError for an input of another shape or type.
        """
        logits = last_output(self.walk(x))
        if self.training:
            self.step = self.step + 1
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute what a layer puts out.

        Args:
            x: views, float (N, 3, image_size, image_size).
            layer: its name, "fc1", "relu1", "drop1", "fc2"...: "fc1" is before the activation and "relu1" after it,
                whatever the activation.

        Returns:
            (N, units).

        Raises:
            InputError: for an input of another shape or type, and for a name that this net does not have.
        """
        return output_of(self.walk(x), layer)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """What `to`, `cuda`, `half` and the like do: the transform goes along, and is not cast."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.transform = moved(self.transform, fn)
        return self

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Every layer's output with its name, in order."""
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
        """Dropout as printed: units masked in training, all multiplied by 1 - p in testing (section 4.2)."""
        p = self.net.dropout
        if not self.training:
            return x * (1 - p)
        return dropout(x, p, self.seed, layer, self.step, self.position) if p else x

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Take the place of `step`, and of `position` in the global batch, for dropout."""
        self.step, self.position = step, position
        return self
