"""The peer of small_folders.py: a residual net as one writes it by habit today, trained in some forty lines.

NETS has other nets that are trained in the same way; they show what the peer owes to which of its parts.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from alexnet.config.recipes import RECIPES
from alexnet.models.build import build

BATCH = 32
WIDTH = 16
LR = 0.005  # the largest of the cycle
SHIFT = 8  # a training crop moves by up to this part of the side


def convolution(inputs: int, maps: int, size: int, stride: int, norm: bool) -> list[nn.Module]:
    """Make a convolution and its batch norm; without one, the convolution has biases."""
    layer = nn.Conv2d(inputs, maps, size, stride, size // 2, bias=not norm)
    return [layer, nn.BatchNorm2d(maps)] if norm else [layer]


class Residual(nn.Module):
    """Two convolutions with batch norm, around which the input is added."""

    def __init__(self, inputs: int, maps: int, stride: int, norm: bool = True, shortcut: bool = True) -> None:
        super().__init__()
        self.first = nn.Sequential(*convolution(inputs, maps, 3, stride, norm), nn.ReLU())
        self.second = nn.Sequential(*convolution(maps, maps, 3, 1, norm))
        short = nn.Sequential(*convolution(inputs, maps, 1, stride, norm))
        same = nn.Identity() if inputs == maps and stride == 1 else short
        self.short = same if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute relu(second(first(x)) + x)."""
        found: Tensor = self.second(self.first(x))
        return functional.relu(found if self.short is None else found + self.short(x))


def network(classes: int, side: int, width: int = WIDTH, norm: bool = True, shortcut: bool = True) -> nn.Module:
    """Build the net: a stem, at stride 2 for pictures of 64 pixels, and three stages, each twice as wide as before."""
    stride = side // 32
    stem = [*convolution(3, width, 2 * stride + 1, stride, norm), nn.ReLU()]
    sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
    stages = [Residual(*size, norm, shortcut) for size in sizes]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes)]
    net: nn.Module = nn.Sequential(*stem, *stages, *head)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def layers(classes: int, side: int) -> nn.Module:
    """Build the layers of `today`, with its initial weights, for whole pictures instead of crops."""
    recipe = RECIPES["today" if side == 32 else "today-64"].replace(net={"classes": classes, "image_size": side})
    return build(recipe.net, int(torch.initial_seed() % 2**31))


# What small_folders.py trains as the peer is trained.
NETS: dict[str, Callable[[int, int], nn.Module]] = {
    "peer": network,
    "peer-unnormed": partial(network, norm=False),
    "peer-straight": partial(network, shortcut=False),
    "peer-layers": layers,
}


def ready(images: Tensor) -> Tensor:
    """Scale pixels of 0 to 255 to about -2 to 2."""
    return ((images.float() - 120) / 64).contiguous(memory_format=torch.channels_last)


def train(net: nn.Module, images: Tensor, labels: Tensor, steps: int, lr: float, seed: int) -> None:
    """Train by AdamW and one cycle, in bfloat16, on pictures (N, 3, side, side) that are shifted and mirrored."""
    chance, side, order = torch.Generator().manual_seed(seed), images.shape[-1], torch.empty(0, dtype=torch.int64)
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1)
    shifted = (
        functional.pad(images.float(), [side // SHIFT] * 4, "reflect").byte().unfold(2, side, 1).unfold(3, side, 1)
    )
    net.train()
    for _ in range(steps):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(images), generator=chance)])
        ids, order = order[:BATCH], order[BATCH:]
        down, right = torch.randint(0, 2 * (side // SHIFT) + 1, (2, BATCH), generator=chance)
        mirror = torch.rand(BATCH, 1, 1, 1, generator=chance) < 0.5
        x = shifted[ids, :, down, right]
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(net(ready(torch.where(mirror, x.flip(-1), x))), labels[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def probabilities(net: nn.Module, images: Tensor, views: int = 10) -> Tensor:
    """Average a picture's probabilities over the centre, four shifts and their mirror images, or take the centre alone.

    The shifts are half as far as the furthest in training.
    """
    side = images.shape[-1]
    far = side // SHIFT // 2
    padded = functional.pad(images.float(), [far] * 4, "reflect")
    places = [(far, far), (0, 0), (0, 2 * far), (2 * far, 0), (2 * far, 2 * far)] if views == 10 else [(far, far)]
    net.eval()
    found = []
    for part in padded.split(100):
        crops = [part[:, :, down : down + side, right : right + side] for down, right in places]
        every = [*crops, *(crop.flip(-1) for crop in crops)] if views == 10 else crops
        with torch.autocast("cpu", torch.bfloat16):
            logits = torch.stack([net(ready(view)) for view in every])
        found.append(logits.float().softmax(-1).mean(0))
    return torch.cat(found)
