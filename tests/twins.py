"""Nets written as torch's own modules, formula by formula: the references that ours are compared with."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.config.recipe import LRN, CifarNet, Net, SpatialLRN
from alexnet.core import rng

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}


class AcrossMaps(nn.Module):
    """Section 3.3: b_i = a_i / (k + alpha sum_j a_j^2)^beta, over the n maps of a tower around i."""

    def __init__(self, norm: LRN, towers: int) -> None:
        super().__init__()
        self.n, self.k, self.beta, self.towers = norm.n, norm.k, norm.beta, towers
        self.alpha = norm.alpha / norm.n if norm.divide_alpha_by_n else norm.alpha

    def forward(self, a: Tensor) -> Tensor:
        maps = a.shape[1] // self.towers
        squares = F.pad(a.unflatten(1, (self.towers, maps)) ** 2, (0, 0, 0, 0, self.n // 2, self.n // 2))
        total = sum(squares[:, :, j : j + maps] for j in range(self.n))
        assert isinstance(total, Tensor)
        return a / (self.k + self.alpha * total.flatten(1, 2)) ** self.beta


class WithinMap(nn.Module):
    """2012 code: the same over n x n units of one map, clipped at its border; alpha is divided by n * n."""

    def __init__(self, norm: SpatialLRN) -> None:
        super().__init__()
        self.n, self.k, self.alpha, self.beta = norm.n, norm.k, norm.alpha, norm.beta

    def forward(self, a: Tensor) -> Tensor:
        mean = F.avg_pool2d(a**2, self.n, 1, self.n // 2)  # counts the zeros outside: the sum over n * n
        return a / (self.k + self.alpha * mean) ** self.beta


class Drop(nn.Module):
    """Section 4.2: a mask in training, which the next forward passes take; times 1 - p in testing."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.mask = p, torch.ones(())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask if self.training else x * (1 - self.p)


class Local(nn.Module):
    """2012 code: a 3 x 3 convolution with other weights at each place."""

    def __init__(self, side: int, seen: int, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(side, side, maps, 9 * seen))
        self.bias = nn.Parameter(torch.empty(side, side, maps))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded = F.pad(x, (1, 1, 1, 1))
        near = [padded[:, :, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
        of_place = self.weight.unflatten(3, (x.shape[1], 9))
        return torch.einsum("nskyx,yxmsk->nmyx", torch.stack(near, 2), of_place) + self.bias.permute(2, 0, 1)


def norm_of(norm: LRN | SpatialLRN, towers: int) -> nn.Module:
    return AcrossMaps(norm, towers) if isinstance(norm, LRN) else WithinMap(norm)


def side_after(module: nn.Module, maps: int, side: int) -> int:
    return int(module(torch.zeros(1, maps, side, side)).shape[-1])


def twin_of(net: Net | CifarNet) -> nn.Sequential:
    """A recipe's net as plain modules, in order, with the paper's names; its weights are still to be copied."""
    layers = OrderedDict(layers_of_alexnet(net) if isinstance(net, Net) else layers_of_cifar(net))
    return nn.Sequential(layers).eval()


def layers_of_alexnet(net: Net) -> list[tuple[str, nn.Module]]:
    """Figure 2's layers, with all of 2012's variants that the recipes take; towers meet at conv3, fc6, fc7 and fc8."""
    act = ACTIVATIONS[net.activation]
    over = (net.kernel_sizes[0] - net.image_size) % net.stride  # columns of zeros under conv1's last window
    layers: list[tuple[str, nn.Module]] = [("pad1", nn.ZeroPad2d((0, over, 0, over)))] if over else []
    seen, side = 3, net.image_size + over
    for i, (maps, size) in enumerate(zip(net.channels, net.kernel_sizes, strict=True), 1):
        groups = net.towers if i in (2, 4, 5) else 1
        stride, padding = (net.stride, 0) if i == 1 else (1, size // 2)
        own: list[tuple[str, nn.Module]] = [(f"conv{i}", nn.Conv2d(seen, maps, size, stride, padding, groups=groups))]
        following: list[tuple[str, nn.Module]] = [(f"relu{i}", act())]
        if i <= 2 and net.lrn:
            following.insert(0 if i == 1 and net.lrn1_first else 1, (f"norm{i}", norm_of(net.lrn, net.towers)))
        if i == 2 and net.spatial_lrn:
            following.append(("within2", norm_of(net.spatial_lrn, 1)))
        if i in (1, 2, 5):
            following.append((f"pool{i}", nn.MaxPool2d(net.pool, 2, ceil_mode=True)))
        side = side_after(nn.Sequential(*(module for _, module in own + following)), seen, side)
        seen = maps
        layers += own + following
    layers.append(("flatten", nn.Flatten()))
    for i, (inputs, units) in enumerate([(seen * side**2, net.hidden), (net.hidden, net.hidden)], 6):
        layers += [(f"fc{i}", nn.Linear(inputs, units)), (f"relu{i}", act()), (f"drop{i}", Drop(net.dropout))]
    return [*layers, ("fc8", nn.Linear(net.hidden, net.classes))]


def layers_of_cifar(net: CifarNet) -> list[tuple[str, nn.Module]]:
    """The layers of the 2012 code's nets for CIFAR-10."""
    act, pools = ACTIVATIONS[net.activation], {"max": nn.MaxPool2d(3, 2, ceil_mode=True)}
    layers: list[tuple[str, nn.Module]] = []
    seen, side = 3, net.image_size
    for i, (maps, kind) in enumerate(zip(net.channels, net.pools, strict=True), 1):
        average = nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
        pool = nn.MaxPool2d(3, 2, ceil_mode=True) if kind == "max" else average
        conv: tuple[str, nn.Module] = (f"conv{i}", nn.Conv2d(seen, maps, 5, padding=2))
        following: list[tuple[str, nn.Module]] = [(f"relu{i}", act()), (f"pool{i}", pool)]
        if i == 1 and net.pool1_first:
            following.reverse()
        if i <= 2 and net.norm:
            before_pool = i == 2 and net.norm2_first
            following.insert(1 if before_pool else 2, (f"norm{i}", norm_of(net.norm, 1)))
        layers += [conv, *following]
        seen, side = maps, side_after(pools["max"], maps, side)
    for i, maps in enumerate(net.local, len(net.channels) + 1):
        layers += [(f"local{i}", Local(side, seen, maps)), (f"relu{i}", act())]
        seen = maps
    return [*layers, ("flatten", nn.Flatten()), ("fc", nn.Linear(seen * side**2, net.classes))]


def keep_masks(twin: nn.Module, seed: int, step: int, pictures: int) -> None:
    """Give a twin the masks of our dropout at a step: the same random words, written out."""
    for name, module in twin.named_children():
        if isinstance(module, Drop):
            layer, full = f"fc{name[-1]}", twin.get_submodule(f"fc{name[-1]}")
            assert isinstance(full, nn.Linear)
            units = full.out_features
            fours, who = torch.arange(-(-units // 4)), torch.arange(pictures)[:, None]
            words = rng.words(seed, f"dropout {layer}", fours, who, step, 0)
            module.mask = (words.flatten(1)[:, :units] >= round(module.p * 2**32)).float()


class TorchvisionsAlexNet(nn.Module):
    """The AlexNet that torchvision has (that of 2014), written out; its activations overwrite their input."""

    def __init__(self, widths: tuple[int, ...], hidden: int, classes: int, side: int = 6, dropout: float = 0.5) -> None:
        super().__init__()
        one, two, three, four, five = widths
        self.features = nn.Sequential(
            nn.Conv2d(3, one, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(one, two, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(two, three, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(three, four, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(four, five, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(five * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        made: Tensor = self.classifier(torch.flatten(x, 1))
        return made


def enliven(net: nn.Module, seed: int) -> None:
    """Draw weights that keep a signal of 60 (raw pixels) alive to the logits, for layers of any width."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("bias"):
                value.normal_(0, 2, generator=chance)
            else:
                inputs = value.shape[-1] if value.ndim == 4 and "local" in name else value[0].numel()
                value.normal_(0, (2 / inputs) ** 0.5, generator=chance)
