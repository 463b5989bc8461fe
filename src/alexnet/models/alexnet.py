"""The network of figure 2: five convolutional and three fully connected layers in two towers."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Never, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import Net, Recipe
from alexnet.models import layer_table
from alexnet.models.arguments import check_input, moved, settings
from alexnet.models.layers import ACTIVATIONS, initialise, last_output, output_of
from alexnet.models.shard import ModelShard, Runs
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear
from alexnet.ops.norm import Relu, pooled_norm, response_norm, within_map_norm

ALL_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc6", "fc7", "fc8")


class AlexNet(nn.Module):
    """Input N x 3 x 224 x 224 float, raw RGB minus mean; output N x classes logits.

    Channels 0 to C/2 - 1 of every layer are tower 0. The towers meet before conv3, fc6, fc7 and fc8 and nowhere else
    (section 3.2): conv2, conv4 and conv5 have two groups, and the norms stay within a tower.

    In training mode dropout is a function of (`seed`, layer, `step`, `position` of the first picture in the batch);
    each forward moves `step` on by one, and a training loop that resumes sets it.

    A net of another `layout` is a part of the same net: it draws the same weights and drops the same units.

    Args:
        net: a recipe's net, or the recipe; the paper's unless given.
        seed: of the initial weights and of dropout.
        layout: what of the net this process holds; all unless given.
        num_classes: outputs, 2 or more; takes the place of the number in `net`.

    Raises:
        InputError: for settings that no such net has, in a line that says what would do.
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d
    conv6: nn.Conv2d  # in CNN* alone (table 2)
    fc6: nn.Linear
    fc7: nn.Linear
    fc8: nn.Linear

    def __init__(
        self,
        net: Net | Recipe | None = None,
        seed: int = 0,
        layout: ModelShard | None = None,
        *,
        num_classes: int | None = None,
        **unknown: Never,
    ) -> None:
        super().__init__()
        self.classes: Sequence[str] = ()  # names of the outputs, and
        self.transform: Any = None  # what makes inputs of pictures: given by `alexnet.load`
        self.net, self.shard = net, layout = settings(Net, net, num_classes, unknown), layout or ModelShard()
        self.seed, self.position = seed, 0
        self.runs: Runs = ()
        self.step: int | Tensor = 0
        self.activate = ACTIVATIONS[net.activation]
        side = next(layer.side for layer in layer_table.layers_of(net) if layer.name == "pool5")
        whole = outputs(net)
        self.held = {name: layout.bounds_of(name, n) for name, n in whole.items()}
        size = {name: end - first for name, (first, end) in self.held.items()}
        self.towers = net.towers // layout.towers
        self.overhang = layer_table.overhang(net.image_size, net.kernel_sizes[0], net.stride)
        sizes = dict(zip(ALL_LAYERS, (*net.kernel_sizes, net.kernel_sizes[4]), strict=False))
        seen = 0
        for name in net.layers:
            groups = min(layer_table.groups(net, name), self.towers)
            if name not in net.meet:
                seen //= layout.towers
            with warnings.catch_warnings():  # more processes than classes: some hold none of fc8
                warnings.filterwarnings("ignore", "Initializing zero-element")
                self.add_module(
                    name,
                    (
                        nn.Conv2d(3, size[name], sizes[name], net.stride)
                        if name == "conv1"
                        else nn.Conv2d(seen, size[name], sizes[name], padding=sizes[name] // 2, groups=groups)
                        if name.startswith("conv")
                        else nn.Linear(seen // groups, size[name])
                    ),
                )
            seen = whole[name] * (side * side if name == net.layers[-4] else 1)
        self.middle = [name for name in net.layers if name in ("conv3", "conv4", "conv5")]
        initialise(self, net.initial, seed, {n: (first, whole[n]) for n, (first, _) in self.held.items()})

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, classes) of views x, float (N, 3, image_size, image_size), as `transform` makes them.

        Raises InputError for an input of another shape or type.
        """
        check_input(x, self.net.image_size, self.conv1)
        logits = last_output(self.walk(x, each=False))
        if self.training:
            self.step = self.step + 1
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute what a layer puts out.

        Args:
            x: views, float (N, 3, image_size, image_size); of any other size up to "pool5".
            layer: its name, "conv1" to "fc8": "fc7" is before the activation and "relu7" after it, whatever the
                activation.

        Returns:
            (N, units) or (N, maps, side, side).

        Raises:
            InputError: for an input of another shape or type, and for a name that this net does not have.
        """
        return output_of(self.walk(x), layer)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """What `to`, `cuda`, `half` and the like do: the transform goes along, and is not cast."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.transform = moved(self.transform, fn)
        return self

    def walk(self, x: Tensor, each: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Every layer's output with its name, from conv1 to fc8.

        Unless `each` counts, a ReLU, the norm beside it and the pool are one operation, and only its end is shown.
        """
        views = x
        if each:  # `forward` has looked at it
            check_input(views, None, self.conv1)
        x = self.conv1(F.pad(x, (0, self.overhang, 0, self.overhang)))
        yield "conv1", x
        for name, made in self.block(x, 1, each):
            yield name, made
        x = self.conv2(made)
        yield "conv2", x
        for name, made in self.block(x, 2, each):
            yield name, made
        x = self.shard.conv3(made)
        for name in self.middle:
            x = self.get_submodule(name)(x)
            yield name, x
            x = self.activate(x)
            yield f"relu{name[-1]}", x
        x = self.pool(x)
        yield "pool5", x
        if self.net.conv6:
            x = self.conv6(self.shard.conv6(x))
            yield "conv6", x
            x = self.activate(x)
            yield "relu_conv6", x

        if each:
            check_input(views, self.net.image_size, self.conv1)
        x = self.full(self.shard.fc6(x, self.runs).flatten(1), "fc6")
        yield "fc6", x
        x = self.activate(x)
        yield "relu6", x
        x = self.drop(x, "fc6")
        yield "drop6", x
        x = self.full(self.shard.fc7(x), "fc7")
        yield "fc7", x
        x = self.activate(x)
        yield "relu7", x
        x = self.drop(x, "fc7")
        yield "drop7", x
        yield "fc8", self.shard.out(self.full(self.shard.fc8(x), "fc8"), self.runs)

    def full(self, x: Tensor, name: str) -> Tensor:
        """A fully connected layer; each tower's units see their own tower's alone where towers do not meet."""
        layer, groups = self.get_submodule(name), min(layer_table.groups(self.net, name), self.towers)
        if groups == 1 or not isinstance(layer, nn.Linear):  # another module in its place sees all
            return linear(x, layer)
        own = zip(*(t.chunk(groups, dim) for t, dim in ((x, 1), (layer.weight, 0), (layer.bias, 0))), strict=True)
        return torch.cat([F.linear(*tower) for tower in own], 1)

    def block(self, x: Tensor, number: int, each: bool) -> Iterator[tuple[str, Tensor]]:
        """What follows conv1 and conv2: activation and norm (section 3.5; net 145 has norm 1 first), and the pool."""
        net, norm_first = self.net, number == 1 and self.net.lrn1_first
        within = net.spatial_lrn if number == 2 else None
        relu: Relu = "after" if norm_first else "before"
        if not each and net.lrn and net.activation == "relu":
            if not within:
                x = pooled_norm(x, net.lrn, self.towers, relu, net.pool)
                yield f"pool{number}", x
                return
            x = response_norm(x, net.lrn, self.towers, relu)
        elif norm_first:
            x = self.norm(x)
            yield f"norm{number}", x
            x = self.activate(x)
            yield f"relu{number}", x
        else:
            x = self.activate(x)
            yield f"relu{number}", x
            x = self.norm(x)
            yield f"norm{number}", x
        if within:
            x = within_map_norm(x, within)
            yield f"within{number}", x
        yield f"pool{number}", self.pool(x)

    def norm(self, x: Tensor) -> Tensor:
        """Response normalisation within each tower, or nothing where the recipe has none (section 3.3)."""
        return response_norm(x, self.net.lrn, self.towers) if self.net.lrn else x

    def pool(self, x: Tensor) -> Tensor:
        """Overlapping pooling: windows of 3 that move by 2 (section 3.4); hanging windows are clipped, as in 2012."""
        return F.max_pool2d(x, self.net.pool, 2, ceil_mode=True)

    def drop(self, x: Tensor, layer: str) -> Tensor:
        """Dropout as printed: units masked in training, all multiplied by 1 - p in testing (section 4.2)."""
        if not self.training:
            return x * (1 - self.net.dropout)
        if not self.net.dropout:
            return x
        runs = self.runs if self.shard.gathers else ((self.position, len(x)),)
        parts = x.split([pictures for _, pictures in runs])
        left = [
            dropout(part, self.net.dropout, self.seed, layer, self.step, position, self.held[layer][0])
            for (position, _), part in zip(runs, parts, strict=True)
        ]
        return left[0] if len(left) == 1 else torch.cat(left)

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Take the place of `step`, and of `position` in the global batch, for dropout.

        `runs`: position and number of the pictures that each replica has, where the layout gathers them.
        """
        self.step, self.position, self.runs = step, position, runs
        return self


def outputs(net: Net) -> dict[str, int]:
    """The maps or units of the whole layers that have weights."""
    all_ = dict(zip(ALL_LAYERS, (*net.channels, net.conv6, net.hidden, net.hidden, net.classes), strict=True))
    return {name: all_[name] for name in net.layers}
