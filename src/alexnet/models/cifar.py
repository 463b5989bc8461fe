"""The small nets of 2012 for CIFAR-10, with layers whose weights are not shared (system of 2012, not the paper)."""

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
    """A 3 x 3 convolution whose weights differ from place to place: weight (side, side, maps, 9 * maps in)."""

    def __init__(self, side: int, seen: int, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(side, side, maps, 9 * seen))
        self.bias = nn.Parameter(torch.empty(side, side, maps))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, seen, side, side) -> (N, maps, side, side)."""
        side = x.shape[2]
        patches = F.unfold(x, 3, padding=1).unflatten(2, (side, side))  # N, seen * 9, side, side
        return torch.einsum("nfyx,yxmf->nmyx", patches, self.weight) + self.bias.permute(2, 0, 1)


class Cifar(nn.Module):
    """Input N x 3 x 24 x 24 (or 32) float, raw RGB minus mean; output N x 10 logits.

    Args:
        net: a recipe's net, or the recipe; that of cifar-13 unless given.
        seed: of the initial weights.
        num_classes: outputs, 2 or more; takes the place of the number in `net`.

    Raises:
        InputError: for settings that no such net has, in a line that says what would do.
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
        self.classes: Sequence[str] = ()  # names of the outputs, and
        self.transform: Any = None  # what makes inputs of pictures: given by `alexnet.load`
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
        """Compute logits (N, classes) of views x, float (N, 3, image_size, image_size), as `transform` makes them.

        Raises InputError for an input of another shape or type.
        """
        check_input(x, self.net.image_size, self.get_submodule("conv1"))
        return last_output(self.walk(x))

    def features(self, x: Tensor, layer: str) -> Tensor:
        """Compute what a layer puts out.

        Args:
            x: views, float (N, 3, image_size, image_size); of any other size before the first layer named local or fc.
            layer: its name: "conv1", "relu1", "pool1", "norm1"...

        Returns:
            (N, classes) or (N, maps, side, side).

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
        views, conv1 = x, self.get_submodule("conv1")
        check_input(views, None, conv1)
        for name in order(self.net):
            if name.startswith(("local", "fc")):
                check_input(views, self.net.image_size, conv1)
            x = self.take(name, x)
            yield name, x

    def take(self, name: str, x: Tensor) -> Tensor:
        """One layer, by name."""
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
        """These nets have nothing random inside."""
        return self


def order(net: CifarNet) -> list[str]:
    """The layers by name, first to last: where each norm and the first activation stand differs between the nets."""
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
    """Windows of 3 that move by 2 and are clipped at the border; a clipped average divides by what is left."""
    if kind == "max":
        return F.max_pool2d(x, 3, 2, ceil_mode=True)
    return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)
