"""The network of figure 2: five convolutional and three fully connected layers in two towers."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet import rng, shapes
from alexnet.errors import UnusableError
from alexnet.ops.dropout import dropout
from alexnet.ops.linear import linear
from alexnet.ops.norm import Relu, pooled_norm, response_norm, within_map_norm
from alexnet.recipe import Net

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh, "logistic": torch.sigmoid}


class AlexNet(nn.Module):
    """Input N x 3 x 224 x 224 float, raw RGB minus mean; output N x classes logits.

    Channels 0 to C/2 - 1 of every layer are tower 0. The towers meet before conv3, fc6, fc7 and fc8 and nowhere else
    (section 3.2): conv2, conv4 and conv5 have two groups, and the norms stay within a tower.

    In training mode dropout is a function of (`seed`, layer, `step`, `position` of the first picture in the batch);
    each forward moves `step` on by one, and a training loop that resumes sets it.
    """

    classes: Sequence[str] = ()  # names of the outputs, and
    viewer: Any = None  # what makes inputs of pictures: given by `alexnet.load`

    def __init__(self, net: Net | None = None, seed: int = 0) -> None:
        super().__init__()
        self.net = net = net or Net()
        self.seed, self.position = seed, 0
        self.step: int | Tensor = 0
        self.activate = ACTIVATIONS[net.activation]
        maps, sizes, groups = net.kernels, net.sizes, net.towers
        self.overhang = shapes.overhang(net.input, sizes[0], net.stride)
        self.conv1 = nn.Conv2d(3, maps[0], sizes[0], net.stride)
        self.conv2 = nn.Conv2d(maps[0], maps[1], sizes[1], padding=sizes[1] // 2, groups=groups)
        self.conv3 = nn.Conv2d(maps[1], maps[2], sizes[2], padding=sizes[2] // 2)
        self.conv4 = nn.Conv2d(maps[2], maps[3], sizes[3], padding=sizes[3] // 2, groups=groups)
        self.conv5 = nn.Conv2d(maps[3], maps[4], sizes[4], padding=sizes[4] // 2, groups=groups)
        side = next(layer.side for layer in shapes.walk(net) if layer.name == "pool5")
        self.fc6 = nn.Linear(maps[4] * side * side, net.hidden)
        self.fc7 = nn.Linear(net.hidden, net.hidden)
        self.fc8 = nn.Linear(net.hidden, net.classes)
        initialise(self, net.std, net.ones, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of the views x (N, 3, input, input)."""
        logits = last(self.walk(x, each=False))
        self.step = self.step + self.training
        return logits

    def features(self, x: Tensor, layer: str) -> Tensor:
        """What `layer` puts out for the views x: "conv5", "relu5", "pool5", "fc7", "relu7"...

        "fc7" is before the activation and "relu7" after it, whatever the activation. Raises UnusableError for a name
        that this net does not have.
        """
        return named(self.walk(x), layer)

    def walk(self, x: Tensor, each: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Every layer's output with its name, from conv1 to fc8.

        Unless `each` counts, a ReLU, the norm beside it and the pool are one operation, and only its end is shown.
        """
        x = self.conv1(F.pad(x, (0, self.overhang, 0, self.overhang)))
        yield "conv1", x
        x = yield from self.block(x, 1, each)
        x = self.conv2(x)
        yield "conv2", x
        x = yield from self.block(x, 2, each)
        x = self.conv3(join(x))
        yield "conv3", x
        x = self.activate(x)
        yield "relu3", x
        x = self.conv4(x)
        yield "conv4", x
        x = self.activate(x)
        yield "relu4", x
        x = self.conv5(x)
        yield "conv5", x
        x = self.activate(x)
        yield "relu5", x
        x = self.pool(x)
        yield "pool5", x

        x = linear(join(x).flatten(1), self.fc6)
        yield "fc6", x
        x = self.activate(x)
        yield "relu6", x
        x = self.drop(x, "fc6")
        yield "drop6", x
        x = linear(join(x), self.fc7)
        yield "fc7", x
        x = self.activate(x)
        yield "relu7", x
        x = self.drop(x, "fc7")
        yield "drop7", x
        yield "fc8", linear(join(x), self.fc8)

    def block(self, x: Tensor, number: int, each: bool) -> Generator[tuple[str, Tensor], None, Tensor]:
        """What follows conv1 and conv2: activation and norm (section 3.5; net 145 has norm 1 first), and the pool."""
        net, norm_first = self.net, number == 1 and self.net.lrn1_first
        within = net.within if number == 2 else None
        relu: Relu = "after" if norm_first else "before"
        if not each and net.lrn and net.activation == "relu":
            if not within:
                x = pooled_norm(x, net.lrn, net.towers, relu, net.pool)
                yield f"pool{number}", x
                return x
            x = response_norm(x, net.lrn, net.towers, relu)
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
        x = self.pool(x)
        yield f"pool{number}", x
        return x

    def norm(self, x: Tensor) -> Tensor:
        """Response normalisation within each tower, or nothing where the recipe has none (section 3.3)."""
        return response_norm(x, self.net.lrn, self.net.towers) if self.net.lrn else x

    def pool(self, x: Tensor) -> Tensor:
        """Overlapping pooling: windows of 3 that move by 2 (section 3.4); hanging windows are clipped, as in 2012."""
        return F.max_pool2d(x, self.net.pool, 2, ceil_mode=True)

    def drop(self, x: Tensor, layer: str) -> Tensor:
        """Dropout as printed: units masked in training, all multiplied by 1 - p in testing (section 4.2)."""
        if not self.training:
            return x * (1 - self.net.dropout)
        return dropout(x, self.net.dropout, self.seed, layer, self.step, self.position) if self.net.dropout else x

    def at(self, step: int | Tensor, position: int = 0) -> Self:
        """Take the place of `step`, and of `position` in the global batch, for dropout."""
        self.step, self.position = step, position
        return self


def join(x: Tensor) -> Tensor:
    """The maps of all towers, where a layer sees them all (section 3.2): one process holds them already."""
    return x


def last(layers: Iterator[tuple[str, Tensor]]) -> Tensor:
    """The output of the last layer of a walk; the others are let go on the way."""
    return deque(layers, maxlen=1)[0][1]


def named(layers: Iterator[tuple[str, Tensor]], layer: str) -> Tensor:
    """The output of one layer of a walk; raises UnusableError, with the names there are, for another name."""
    names = []
    for name, x in layers:
        if name == layer:
            return x
        names.append(name)
    raise UnusableError(f"no layer {layer}; this net has {', '.join(names)}")


def initialise(module: nn.Module, std: tuple[float, ...], ones: tuple[int, ...], seed: int) -> None:
    """Weights from N(0, std^2), whatever the fan-in; biases 1 in the layers of `ones`, 0 elsewhere (section 5).

    A layer's weights are a function of (seed, the layer's name).
    """
    with torch.no_grad():
        for i, (name, layer) in enumerate(module.named_children()):
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor)
            assert isinstance(bias, Tensor)
            weight.normal_(0, std[i], generator=rng.generator(seed, f"init {name}"))
            bias.fill_(1.0 if i + 1 in ones else 0.0)
