"""A net: named layers in order, from the list that a recipe describes. `AlexNet`, `Cifar` and `Mlp` are such nets."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from torch import Tensor, nn

from alexnet.config.recipe import AnyNet, Net
from alexnet.core.errors import InputError
from alexnet.models import blocks, fused, layer_table
from alexnet.models.arguments import check_input, moved
from alexnet.models.layers import Place, Runs, initialise, module
from alexnet.ops.linear import linear


class Network(nn.Module):
    """Layers in order, as modules by the paper's names, with random initial weights; `print` shows them.

    A layer can be hooked, and replaced by any module: ``net.fc8 = nn.Linear(4096, 5)``. Where nothing looks at the
    layers one by one, some run together, faster, with the same result (models/fused.py).

    In training mode, dropout is a function of (`seed`, layer, `step`, position of the picture in the batch). Each
    forward pass in training adds 1 to `step`; a training loop that resumes sets it with `at`.

    Args:
        net: The settings of the net.
        seed: Seed of the initial weights and of dropout.

    Attributes:
        net: The settings of the net.
        classes: Names of the outputs; `alexnet.load` sets them.
        transform: What makes views of pictures; `alexnet.load` sets it.
        layers: The description of each layer.
        place: The place of the next batch in the training.
    """

    def __init__(self, net: AnyNet, seed: int) -> None:
        super().__init__()
        self.classes: Sequence[str] = ()
        self.transform: Any = None
        self.net, self.place = net, Place(seed)
        self.layers = layers = tuple(layer_table.describe(net))
        self.order = tuple(layer.name for layer in layers)
        for layer in layers:
            self.add_module(layer.name, module(layer, self.place))
        self.together = fused.together(layers)
        # Layers before this one take maps of any size.
        self.fixed_from = next(x.name for x in layers if isinstance(x.op, (layer_table.Flatten, layer_table.Local)))
        initialise(self, net.initial, seed, net.init if isinstance(net, Net) else "normal")

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits of views.

        Args:
            x: Views as `transform` makes them, float (N, 3, image_size, image_size): raw RGB minus the mean, in the
                dtype of the weights.

        Returns:
            Logits, (N, classes), without a softmax.

        Raises:
            InputError: `x` has another shape or dtype.
        """
        self.place.begin()
        on_gpu = blocks.possible(self, x)
        if not (on_gpu and blocks.packed_views(self, x)):
            check_input(x, self.net.image_size, self)
        if on_gpu:
            x = blocks.logits(self, x)
        elif fused.watched(x):
            for name in self.order:
                x = self.layer(name)(x)
        else:
            for names in self.together:
                x = fused.run([self.layer(name) for name in names], x)
        if self.training or self.place.used:
            self.place.advance()
        return x

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute the output of one layer.

        Args:
            x: Views, float (N, 3, image_size, image_size). Layers up to the last pool take views of any size.
            layer: Name of the layer, such as "conv1", "relu1", "norm1", "pool1", ... "pool5", "fc6", "relu6", "drop6",
                ... "fc8". "fc7" is the output before the activation, and "relu7" the one after it, also for tanh.

        Returns:
            (N, units) or (N, maps, side, side).

        Raises:
            InputError: `x` has another shape or dtype, or this net has no such layer (the message lists them).
        """
        if layer not in self.order:
            raise InputError(f"no layer {layer}; this net has {', '.join(self.order)}")
        return next(made for name, made in self.walk(x) if name == layer)

    def walk(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Run the layers one by one, and yield the name and the output of each."""
        views, watched = x, fused.watched(x)
        check_input(views, None if self.order[0] != self.fixed_from else self.net.image_size, self)
        for name in self.order:
            if name == self.fixed_from:
                check_input(views, self.net.image_size, self)
            layer = self.layer(name)
            x = layer(x) if watched else linear(x, layer)
            yield name, x

    def layer(self, name: str) -> nn.Module:
        """Return a layer by name; raise InputError if the net no longer has it."""
        found = self._modules.get(name)
        if found is None:
            raise InputError(f"this net has no layer {name} any more; put nn.Identity() in its place")
        return found

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Set the place of the next batch, of which dropout is a function.

        Args:
            step: Number of the training step, from 0.
            position: Position of the first picture in the global batch.
            runs: Position and number of each replica's pictures, if the fully connected layers see those of all.

        Returns:
            This net.
        """
        self.place.move(step, position, runs)
        return self

    @property
    def seed(self) -> int:
        """The seed of dropout."""
        return self.place.seed

    @property
    def step(self) -> int | Tensor:
        """The number of the next training step."""
        return self.place.step

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the net, as `to`, `cuda` and `half` do; the transform moves too, but is not cast."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.transform = moved(self.transform, fn)
        return self
