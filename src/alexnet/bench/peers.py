"""Peers: the same work as anyone would write it with PyTorch and Pillow."""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.store_files import pack


class Stock(nn.Sequential):
    """The same layers (but for the norm within maps) of PyTorch's own modules, as anyone would write them."""

    def __init__(self, net: Net) -> None:
        k, norm = net.channels, net.lrn
        assert norm is not None

        def lrn() -> nn.Module:
            return nn.LocalResponseNorm(norm.n, norm.a * norm.n, norm.beta, norm.k)  # it divides by n

        first = [lrn(), nn.ReLU(True)] if net.lrn1_first else [nn.ReLU(True), lrn()]
        super().__init__(
            nn.Conv2d(3, k[0], 11, 4), *first, nn.MaxPool2d(3, 2),
            nn.Conv2d(k[0], k[1], 5, padding=2, groups=net.towers), nn.ReLU(True), lrn(), nn.MaxPool2d(3, 2),
            nn.Conv2d(k[1], k[2], 3, padding=1), nn.ReLU(True),
            nn.Conv2d(k[2], k[3], 3, padding=1, groups=net.towers), nn.ReLU(True),
            nn.Conv2d(k[3], k[4], 3, padding=1, groups=net.towers), nn.ReLU(True), nn.MaxPool2d(3, 2), nn.Flatten(),
            nn.Linear(k[4] * 36, net.hidden), nn.ReLU(True), nn.Dropout(net.dropout),
            nn.Linear(net.hidden, net.hidden), nn.ReLU(True), nn.Dropout(net.dropout),
            nn.Linear(net.hidden, net.classes),
        )  # fmt: skip


def stock_norm(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """torch's norm, forward and backward; it has it in float32 alone."""
    x = (60 * torch.randn(shape, device=device)).to(dtype).contiguous(memory_format=torch.channels_last)
    x, g, norm = x.requires_grad_(), torch.randn_like(x), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)
    return lambda: torch.autograd.grad(norm(x.float()).to(dtype), x, g)


def stock_learner(batch: int, compute: Compute) -> Callable[[], object]:
    """Return a training step of the stock net on ready views: fp32 on a CPU, our precision on a GPU."""
    net = RECIPES["source"].net
    assert isinstance(net, Net)
    views = 60 * torch.randn(batch, 3, net.image_size, net.image_size, device=compute.device)
    labels = torch.randint(0, net.classes, (batch,), device=compute.device)
    narrow = compute.device.type == "cuda" and compute.precision == "bf16"
    return stock_step(Stock(net).to(compute.device), F.pad(views, (0, 3, 0, 3)), labels, narrow)


def stock_step(net: nn.Module, views: Tensor, labels: Tensor, narrow: bool) -> Callable[[], object]:
    """Return a training step as anyone would write it, in float32 or under autocast (torch's norm in float32)."""
    sgd = torch.optim.SGD(net.train().parameters(), 0.01, momentum=0.9, weight_decay=0.0005)

    def learn() -> None:
        with torch.autocast(views.device.type, torch.bfloat16, enabled=narrow):
            loss = F.cross_entropy(net(views), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    return learn


def pillow_square(data: bytes) -> np.ndarray:
    """Decode and resize with Pillow alone."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    shorter = min(rgb.size)
    left, top = (rgb.width - shorter) // 2, (rgb.height - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(rgb.resize((256, 256), Image.Resampling.BILINEAR, box=box))


def recoded(data: bytes) -> bytes:
    """Encode a picture as a JPEG store holds it, 256 x 256."""
    return pack(pillow_square(data), "jpeg")


def per_picture(data: bytes, mean: Tensor, random: torch.Generator) -> Tensor:
    """Make views as most pipelines do: Pillow, a tensor a picture, crop, mirror, less the mean."""
    with Image.open(io.BytesIO(data)) as image:
        x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    top, left, mirror = torch.randint(0, 32, (3,), generator=random).tolist()
    place = slice(None), slice(top, top + 224), slice(left, left + 224)
    x = x[place].float() - mean[place]
    return x.flip(2).contiguous() if mirror < 16 else x.contiguous()
