"""The small nets of the 2012 code for CIFAR-10, with locally connected layers (section 3.3 names two of them)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Never, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import LRN, CifarNet, Recipe
from alexnet.models import layer_table
from alexnet.models.arguments import check_input, moved, settings
from alexnet.models.layers import ACTIVATIONS, initialise, last_output, output_of
from alexnet.models.shard import Runs
from alexnet.ops.norm import response_norm, within_map_norm


class Local(nn.Module):
    """A locally connected layer: a 3 x 3 convolution with other weights at each place.

    Its `weight` is (side, side, maps, 9 * seen) and its `bias` (side, side, maps), for `seen` maps of input.
    """

    def __init__(self, side: int, seen: int, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(side, side, maps, 9 * seen))
        self.bias = nn.Parameter(torch.empty(side, side, maps))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer: (N, seen, side, side) -> (N, maps, side, side)."""
        side = x.shape[2]
        patches = F.unfold(x, 3, padding=1).unflatten(2, (side, side))  # N, seen * 9, side, side
        return torch.einsum("nfyx,yxmf->nmyx", patches, self.weight) + self.bias.permute(2, 0, 1)


class Cifar(nn.Module):
    """A small net of the 2012 code for CIFAR-10. It maps views (N, 3, 24, 24), or 32 a side, to logits (N, 10).

    Views are float: raw RGB pixels, 0 to 255, minus their mean. The net has no dropout.

    Args:
        net: A recipe, or its net settings; those of cifar-13 by default.
        seed: Seed of the initial weights.
        num_classes: Number of outputs, 2 or more; overrides the number in `net`.

    Raises:
        InputError: The settings are not those of a Cifar, or an argument is unknown. The message says what to write
            instead.
    """

    def __init__(
        self,
        net: CifarNet | Recipe | None = None,
        seed: int = 0,
        *,
        num_classes: int | None = None,
        **unknown: Never,
    ) -> None:
        super().__init__()
        self.classes: Sequence[str] = ()  # names of the outputs; `alexnet.load` sets them
        self.transform: Any = None  # makes views of pictures; `alexnet.load` sets it
        self.net = net = settings(CifarNet, net, num_classes, unknown)
        self.activate = ACTIVATIONS[net.activation]
        seen, side = 3, net.image_size
        for i, maps in enumerate(net.channels, 1):
            self.add_module(f"conv{i}", nn.Conv2d(seen, maps, 5, padding=2))
            seen, side = maps, layer_table.output_side(side, 3, 2)
        for i, maps in enumerate(net.local, len(net.channels) + 1):
            self.add_module(f"local{i}", Local(side, seen, maps))
            seen = maps
        self.fc = nn.Linear(seen * side * side, net.classes)
        initialise(self, net.initial, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits (N, classes) of views (N, 3, image_size, image_size), as `AlexNet.forward` does."""
        check_input(x, self.net.image_size, self.get_submodule("conv1"))
        return last_output(self.walk(x))

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute the output of one layer.

        Args:
            x: Views, float (N, 3, image_size, image_size). Layers before the first local one, or fc, take any size.
            layer: Name of the layer: "conv1", "relu1", "pool1", "norm1", ... "local3", ... "fc".

        Returns:
            (N, classes) or (N, maps, side, side).

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
        views, conv1 = x, self.get_submodule("conv1")
        check_input(views, None, conv1)
        for name in order(self.net):
            if name.startswith(("local", "fc")):
                check_input(views, self.net.image_size, conv1)
            x = self.take(name, x)
            yield name, x

    def take(self, name: str, x: Tensor) -> Tensor:
        """Run one layer, by name."""
        kind, norm = name.rstrip("123456789"), self.net.norm
        if kind == "relu":
            return self.activate(x)
        if kind == "pool":
            return pool(x, self.net.pools[int(name[4:]) - 1])
        if kind == "norm":
            assert norm is not None
            return response_norm(x, norm, 1) if isinstance(norm, LRN) else within_map_norm(x, norm)
        return self.get_submodule(name)(x.flatten(1) if kind == "fc" else x)

    def at(self, step: int | Tensor, position: int = 0, runs: Runs = ()) -> Self:
        """Return this net; unlike AlexNet, it draws no random numbers whose place could be set."""
        return self


def order(net: CifarNet) -> list[str]:
    """List the layers by name, first to last. The nets differ in the places of the norms and the first activation."""
    names: list[str] = []
    for i in range(1, len(net.channels) + 1):
        norm = [f"norm{i}"] if net.norm and i <= 2 else []
        names.append(f"conv{i}")
        if i == 1 and net.pool1_first:
            names += [f"pool{i}", f"relu{i}", *norm]
        elif i == 2 and net.norm2_first:
            names += [f"relu{i}", *norm, f"pool{i}"]
        else:
            names += [f"relu{i}", f"pool{i}", *norm]
    for i in range(len(net.channels) + 1, len(net.channels) + len(net.local) + 1):
        names += [f"local{i}", f"relu{i}"]
    return [*names, "fc"]


def pool(x: Tensor, kind: str) -> Tensor:
    """Pool windows of side 3 at stride 2, clipped at the border; a clipped average counts only the units inside."""
    if kind == "max":
        return F.max_pool2d(x, 3, 2, ceil_mode=True)
    return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)
