"""The network of figure 2: five convolutional and three fully connected layers in two towers.

`AlexNet.walk` runs the layers in order; read it first. The net differs from torchvision's AlexNet in six ways. Each is
in the paper, or in its authors' code:

- Two towers, one for each GPU of 2012, which meet only at conv3, fc6, fc7 and fc8 (section 3.2).
- Response normalisation after conv1 and conv2 (section 3.3).
- 224 pixels without padding: conv1's last window hangs over the edge, where it reads zeros.
- Pools round up, and clip the windows that hang over the edge.
- Dropout does not rescale in training; testing multiplies by 1 - p instead (section 4.2).
- Initial weights with one standard deviation for any fan-in, and some biases of 1 (section 5).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Never, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import Net, Recipe
from alexnet.models import fused, layer_table
from alexnet.models.arguments import check_input, moved, settings
from alexnet.models.layers import ACTIVATIONS, initialise, last_output, output_of
from alexnet.models.shard import ModelShard, Runs
from alexnet.ops.choices import choices
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear
from alexnet.ops.norm import Relu, pooled_norm, response_norm, within_map_norm

ALL_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "fc6", "fc7", "fc8")


class AlexNet(nn.Module):
    """The network of 2012, with random initial weights. It maps views (N, 3, 224, 224) to logits (N, classes).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. `alexnet.load` gives a trained net the attribute
    `transform`, which makes views of pictures, and `classes`, the names of its outputs.

    Channels 0 to C/2 - 1 of every layer are tower 0. The towers meet only at conv3, fc6, fc7 and fc8 (section 3.2). So
    conv2, conv4 and conv5 have two groups, and a norm stays within its tower.

    In training mode, dropout is a function of (`seed`, layer, `step`, position of the picture in the batch). Each
    forward pass in training adds 1 to `step`; a training loop that resumes sets it with `at`.

    With another `layout`, the net is one process's part of the same net: it draws the same weights and drops the same
    units.

    Args:
        net: A recipe, or its net settings; the paper's by default.
        seed: Seed of the initial weights and of dropout.
        layout: The part of the net that this process holds; all of it by default.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of an AlexNet, or an argument is unknown. The message says what to write
            instead.

    Example:
        >>> net = alexnet.AlexNet(num_classes=10).eval()
        >>> net(torch.zeros(1, 3, 224, 224)).shape
        torch.Size([1, 10])
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d
    conv3: nn.Conv2d
    conv4: nn.Conv2d
    conv5: nn.Conv2d
    conv6: nn.Conv2d  # only in the pre-trained nets of table 2 (CNN*)
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
        self.classes: Sequence[str] = ()  # names of the outputs; `alexnet.load` sets them
        self.transform: Any = None  # makes views of pictures; `alexnet.load` sets it
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
            if name not in net.meet:  # the layer reads one tower, and this process holds only its own
                seen //= layout.towers
            with warnings.catch_warnings():  # with more processes than classes, some hold no row of fc8
                warnings.filterwarnings("ignore", "Initializing zero-element")
                self.add_module(
                    name,
                    (
                        # No padding: 2012 lets conv1's last window hang over the edge instead, see `walk`.
                        nn.Conv2d(3, size[name], sizes[name], net.stride)
                        if name == "conv1"
                        # This padding keeps the side of the maps, 27 and 13 (figure 2).
                        else nn.Conv2d(seen, size[name], sizes[name], padding=sizes[name] // 2, groups=groups)
                        if name.startswith("conv")
                        else nn.Linear(seen // groups, size[name])
                    ),
                )
            # fc6 reads the last convolution's pooled maps, unit by unit.
            seen = whole[name] * (side * side if name == net.layers[-4] else 1)
        self.middle = [name for name in net.layers if name in ("conv3", "conv4", "conv5")]
        initialise(self, net.initial, seed, {n: (first, whole[n]) for n, (first, _) in self.held.items()})

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
        fast = type(self) is AlexNet and fused.possible(self, x)  # a subclass may have other layers
        if not (fast and fused.in_blocks(self.net, x)):
            check_input(x, self.net.image_size, self.conv1)
        logits = fused.logits(self, x) if fast else last_output(self.walk(x, each=False))
        if self.training:
            self.step = self.step + 1
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute the output of one layer.

        Args:
            x: Views, float (N, 3, image_size, image_size). Layers up to "pool5" take views of any size.
            layer: Name of the layer: "conv1", "relu1", "norm1", "pool1", "conv2", ... "pool5", "fc6", "relu6", "drop6",
                ... "fc8". "fc7" is the output before the activation, and "relu7" the one after it, also for tanh.

        Returns:
            (N, units) or (N, maps, side, side).

        Raises:
            InputError: `x` has another shape or dtype, or this net has no such layer (the message lists them).
        """
        return output_of(self.walk(x), layer)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """Move or cast the net, as `to`, `cuda` and `half` do; the transform moves too, but is not cast."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.transform = moved(self.transform, fn)
        return self

    def walk(self, x: Tensor, each: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Run the layers from conv1 to fc8, and yield the name and the output of each.

        Without `each`, a ReLU, its norm and its pool run as one operation, which yields only the pool's output.
        """
        views = x
        if each:  # else `forward` has checked it
            check_input(views, None, self.conv1)
        # (224 - 11) / 4 + 1 is 54.25. The 2012 code takes 55: the last window hangs over the right and bottom edge,
        # and reads zeros there. 227-pixel crops or a padding of 2, the usual repairs, compute something else.
        x = self.conv1(F.pad(x, (0, self.overhang, 0, self.overhang)))
        yield "conv1", x
        for name, made in self.block(x, 1, each):
            yield name, made
        # conv2 reads only its own tower. Each GPU of 2012 held one, and reading the other's maps costs time (3.2).
        x = self.conv2(made)
        yield "conv2", x
        for name, made in self.block(x, 2, each):
            yield name, made
        # conv3 reads both towers. If they are in two processes, this call fetches the other one's maps.
        x = self.shard.conv3(made)
        for name in self.middle:
            x = self.get_submodule(name)(x)
            yield name, x
            x = self.activate(x)
            yield f"relu{name[-1]}", x
        # 2012 code has the ReLU of conv1 and conv5 after the pool: the maximum and its gradient are the same.
        x = self.pool(x)
        yield "pool5", x
        if self.net.conv6:
            x = self.conv6(self.shard.conv6(x))
            yield "conv6", x
            x = self.activate(x)
            yield "relu_conv6", x

        if each:  # a convolution takes any size, a fully connected layer only one
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
        """Apply a fully connected layer; where the towers do not meet, each reads only its own units."""
        layer, groups = self.get_submodule(name), min(layer_table.groups(self.net, name), self.towers)
        if groups == 1 or not isinstance(layer, nn.Linear):  # a module put in its place reads both towers
            return linear(x, layer)
        own = zip(*(t.chunk(groups, dim) for t, dim in ((x, 1), (layer.weight, 0), (layer.bias, 0))), strict=True)
        return torch.cat([F.linear(*tower) for tower in own], 1)

    def block(self, x: Tensor, number: int, each: bool) -> Iterator[tuple[str, Tensor]]:
        """Run the activation, the norm and the pool after conv1 or conv2 (section 3.5; net 145 has norm 1 first)."""
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
        """Apply response normalisation within each tower, if the recipe has it (section 3.3)."""
        return response_norm(x, self.net.lrn, self.towers) if self.net.lrn else x

    def pool(self, x: Tensor) -> Tensor:
        """Pool at stride 2 (section 3.4: side 3, so windows overlap); clip windows at the border, as in 2012."""
        return F.max_pool2d(x, self.net.pool, 2, ceil_mode=True)

    def drop(self, x: Tensor, layer: str) -> Tensor:
        """Apply dropout as printed: mask units in training, multiply all by 1 - p in testing (section 4.2)."""
        if not self.training:  # nn.Dropout would scale the kept units up in training instead
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

    def packing(self, device: torch.device, dtype: torch.dtype) -> tuple[int, int] | None:
        """Return the blocks of pixels that this net takes on a device, (side, number along a view), or None."""
        in_blocks = type(self) is AlexNet and fused.suits(self, device, dtype) and choices(device).blocks
        return fused.packing(self.net) if in_blocks else None

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Set the place of the next batch, of which dropout is a function.

        Args:
            step: Number of the training step, from 0.
            position: Position of the first picture in the global batch.
            runs: Position and number of each replica's pictures, if the layout gathers them.

        Returns:
            This net.
        """
        self.step, self.position, self.runs = step, position, runs
        return self


def outputs(net: Net) -> dict[str, int]:
    """Count the maps or units of each layer with weights, in the whole net."""
    all_ = dict(zip(ALL_LAYERS, (*net.channels, net.conv6, net.hidden, net.hidden, net.classes), strict=True))
    return {name: all_[name] for name in net.layers}
