"""The layers of a net as modules: PyTorch's own where it has them, and ours for what is only in the paper or its code.

A layer without weights of its own (a norm, dropout) is a module too, so that it can be hooked and replaced like any.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.core import rng
from alexnet.models import layer_table as table
from alexnet.ops.dropout import dropout
from alexnet.ops.norm import response_norm, within_map_norm

Runs = Sequence[tuple[int, int]]  # (position in the global batch, pictures)
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}


@dataclass(eq=False)
class Place:
    """The place of the next batch in the training, of which dropout is a function; all layers of a net share one.

    Attributes:
        seed: Seed of the run.
        step: Number of the training step, from 0; a tensor () on the device for a captured CUDA graph.
        position: Position of the first picture in the global batch.
        runs: Position and number of the pictures of each replica, if the layer sees those of all.
        backward: Number of the backward pass in which the place was set; -1 outside one.
        used: Whether units were dropped since the last forward pass of the net began.
    """

    seed: int
    step: int | Tensor = 0
    position: int = 0
    runs: Runs = ()
    backward: int = -1
    used: bool = False

    def move(self, step: int | Tensor, position: int, runs: Runs) -> None:
        """Set the place of the next batch."""
        self.step, self.position, self.runs = step, position, runs
        self.backward = torch._C._current_graph_task_id()

    def begin(self) -> None:
        """Begin a forward pass: layers that were used one by one before it do not count."""
        if self.used:  # in eval mode nothing is written, as exporters want it
            self.used = False

    def advance(self) -> None:
        """End a forward pass that counts as a step."""
        step = self.step
        if torch.compiler.is_compiling() and isinstance(step, int):  # an int would be compiled for each step
            step = torch.full((), step, dtype=torch.int64)
        self.step, self.used = step + 1, False


class ResponseNorm(nn.Module):
    """Response normalisation across the maps of each tower (section 3.3): (N, C, H, W) to the same shape."""

    def __init__(self, norm: LRN, towers: int) -> None:
        super().__init__()
        self.norm, self.towers = norm, towers

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps."""
        return response_norm(x, self.norm, self.towers)

    def extra_repr(self) -> str:
        """Show the numbers as `print` shows the module."""
        norm = self.norm
        return f"n={norm.n}, k={norm.k:g}, a={norm.a:g}, beta={norm.beta:g}, towers={self.towers}"


class WithinMapNorm(nn.Module):
    """Response normalisation within a map (2012 code; not in the paper): (N, C, H, W) to the same shape."""

    def __init__(self, norm: SpatialLRN) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise maps."""
        return within_map_norm(x, self.norm)

    def extra_repr(self) -> str:
        """Show the numbers as `print` shows the module."""
        norm = self.norm
        return f"n={norm.n} x {norm.n}, k={norm.k:g}, a={norm.a:g}, beta={norm.beta:g}"


class Dropout(nn.Module):
    """Dropout as printed (section 4.2): it masks units in training, and multiplies all by 1 - p in testing.

    With `scale` "training", as in nn.Dropout and Caffe, it divides the kept units by 1 - p in training instead.

    Args:
        p: Probability of a zero.
        layer: Name of the layer whose units these are.
        place: The place of the batch in the training.
        scale: When units are scaled, "testing" or "training".
    """

    def __init__(self, p: float, layer: str, place: Place, scale: str = "testing") -> None:
        super().__init__()
        self.p, self.layer, self.place, self.scale = p, layer, place, scale
        self.first = 0  # unit of the whole layer in column 0, if another process holds those before it

    def forward(self, x: Tensor) -> Tensor:
        """Mask or scale units, (N, units).

        Raises:
            RuntimeError: The masks would not be those of the batch, in training: under vmap, which hides the position
                of a picture, or in a forward pass that gradient checkpointing repeats at a later step.
        """
        if not self.training:
            return x * (1 - self.p) if self.scale == "testing" else x
        if not self.p:
            return x
        place = self.place
        place.used = True
        if not torch.compiler.is_compiling():
            check_place(x, place)
        runs = place.runs or ((place.position, x.shape[0]),)
        parts = x.split([pictures for _, pictures in runs]) if place.runs else (x,)
        left = [
            dropout(part, self.p, place.seed, self.layer, place.step, position, self.first)
            for (position, _), part in zip(runs, parts, strict=True)
        ]
        kept = left[0] if len(left) == 1 else torch.cat(left)
        return kept if self.scale == "testing" else kept / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability as `print` shows the module."""
        return f"p={self.p:g}" + (", scaled in training" if self.scale == "training" else "")


def check_place(x: Tensor, place: Place) -> None:
    """Raise RuntimeError if masks drawn at a place now would not be those of the batch."""
    inside = torch._C._current_graph_task_id()
    if inside not in (-1, place.backward):
        raise RuntimeError("a backward pass repeats dropout at a later step; call net.at(step) in what it repeats")
    while isinstance(x, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(x):
        if torch._C._functorch.is_batchedtensor(x):
            raise RuntimeError("vmap hides the positions of pictures, on which dropout depends; call net.eval() first")
        x = torch._C._functorch.get_unwrapped(x)


class Grouped(nn.Linear):
    """A fully connected layer whose groups of units each read only their own tower; `weight` is (outputs, own)."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__(inputs // groups, outputs)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer: (N, inputs) to (N, outputs)."""
        if self.groups == 1:
            return F.linear(x, self.weight, self.bias)
        own = (t.chunk(self.groups, dim) for t, dim in ((x, 1), (self.weight, 0), (self.bias, 0)))
        return torch.cat([F.linear(*tower) for tower in zip(*own, strict=True)], 1)

    def extra_repr(self) -> str:
        """Show the sizes as `print` shows the module."""
        return f"{super().extra_repr()}, groups={self.groups}"


class Local(nn.Module):
    """A locally connected layer: a 3 x 3 convolution with other weights at each place.

    Its `weight` is (side, side, maps, 9 * seen) and its `bias` (side, side, maps), for `seen` maps of input.
    """

    def __init__(self, side: int, seen: int, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(side, side, maps, 9 * seen))
        self.bias = nn.Parameter(torch.empty(side, side, maps))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer: (N, seen, side, side) to (N, maps, side, side)."""
        side = self.weight.shape[0]
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            padded = F.pad(x, (1, 1, 1, 1))  # the exporter to ONNX would write the batch of an unfold as fixed
            near = [padded[:, :, dy : dy + side, dx : dx + side] for dy in range(3) for dx in range(3)]
            patches = torch.stack(near, 2).flatten(1, 2)  # N, seen * 9, side, side
        else:
            patches = F.unfold(x, 3, padding=1).unflatten(2, (side, side))
        return torch.einsum("nfyx,yxmf->nmyx", patches, self.weight) + self.bias.permute(2, 0, 1)

    def extra_repr(self) -> str:
        """Show the sizes as `print` shows the module."""
        side, _, maps, inputs = self.weight.shape
        return f"{inputs // 9}, {maps}, side={side}"


def module(layer: table.Layer, place: Place) -> nn.Module:
    """Make the module of a layer, with random weights."""
    op = layer.op
    if isinstance(op, table.Convolution):
        return nn.Conv2d(layer.seen, layer.maps, op.size, op.stride, padding=op.padding, groups=op.groups)
    if isinstance(op, table.Full):
        return Grouped(layer.seen, layer.maps, op.groups) if op.groups > 1 else nn.Linear(layer.seen, layer.maps)
    if isinstance(op, table.Norm):
        numbers = op.numbers
        return ResponseNorm(numbers, op.towers) if isinstance(numbers, LRN) else WithinMapNorm(numbers)
    if isinstance(op, table.Pool):
        if op.kind == "max":
            return nn.MaxPool2d(op.size, 2, ceil_mode=op.ceil)
        # A clipped average counts only the units inside.
        return nn.AvgPool2d(op.size, 2, ceil_mode=op.ceil, count_include_pad=False)
    if isinstance(op, table.Local):
        return Local(layer.width, layer.seen, layer.maps)
    if isinstance(op, table.Dropout):
        return Dropout(op.p, op.layer, place, op.scale)
    if isinstance(op, table.Pad):
        return nn.ZeroPad2d((0, op.over, 0, op.over))
    return nn.Flatten() if isinstance(op, table.Flatten) else ACTIVATIONS[op.kind]()


def initialise(net: nn.Module, initial: Mapping[str, tuple[float, float]], seed: int, kind: str = "normal") -> None:
    """Draw weights from N(0, std^2), for any fan-in, and set all biases of a layer to one value (section 5).

    With `kind` "he", the variance of a layer's weights is 2 / inputs of a unit, which keeps the size of a signal
    through ReLUs (He et al. 2015). With "uniform", draw weights and biases from +-1 / sqrt(inputs of a unit), as
    PyTorch does.

    A layer's weights are a function of (seed, layer name) alone, so nets that differ in one layer start equal in the
    others.

    Args:
        net: The net.
        initial: Standard deviation and bias of each layer, by name.
        seed: Seed of the weights.
        kind: "normal", "he" or "uniform".
    """
    with torch.no_grad():
        for name, (std, one) in initial.items():
            layer = net.get_submodule(name)
            assert isinstance(layer.weight, Tensor)
            assert isinstance(layer.bias, Tensor)
            draws = rng.generator(seed, f"init {name}")
            inputs = layer.weight[0].numel()
            if kind == "uniform":
                most = inputs**-0.5
                for tensor in (layer.weight, layer.bias):
                    tensor.uniform_(-most, most, generator=draws)
                continue
            layer.weight.normal_(0, std if kind == "normal" else (2 / inputs) ** 0.5, generator=draws)
            layer.bias.fill_(one)
