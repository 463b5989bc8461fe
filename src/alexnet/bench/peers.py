"""Peers: the same work as anyone would write it with PyTorch and Pillow, and as the best would."""

import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.store_files import pack

# Longest time to compile a peer. On a CPU a busy machine took 154 s, once; a quiet one takes 20 to 60.
COMPILE_SECONDS = {"cuda": 120.0, "cpu": 300.0}
MODE = "max-autotune"  # with CUDA graphs
CPU_MODE = "default"  # max-autotune is 1 to 2 % faster on a core of Zen 4, and compiles for twice as long
# So low a rate that thousands of steps on one batch stay finite: arithmetic on NaN or on zeros may take less time.
LR = 1e-5


class Stock(nn.Sequential):
    """The same net from PyTorch's own modules, except for the norm within maps, which PyTorch lacks."""

    def __init__(self, net: Net) -> None:
        k, norm = net.channels, net.lrn
        assert norm is not None

        def lrn() -> nn.Module:
            return nn.LocalResponseNorm(norm.n, norm.a * norm.n, norm.beta, norm.k)  # torch divides alpha by n

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


class Torchvision(nn.Sequential):
    """torchvision's `alexnet()` layer by layer, the net of recipe owt: 2014's widths, one tower, no norms."""

    def __init__(self, net: Net) -> None:
        k = net.channels
        super().__init__(
            nn.Conv2d(3, k[0], 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2),
            nn.Conv2d(k[0], k[1], 5, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2),
            nn.Conv2d(k[1], k[2], 3, padding=1), nn.ReLU(True),
            nn.Conv2d(k[2], k[3], 3, padding=1), nn.ReLU(True),
            nn.Conv2d(k[3], k[4], 3, padding=1), nn.ReLU(True), nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d(6), nn.Flatten(),
            nn.Dropout(net.dropout), nn.Linear(k[4] * 36, net.hidden), nn.ReLU(True),
            nn.Dropout(net.dropout), nn.Linear(net.hidden, net.hidden), nn.ReLU(True),
            nn.Linear(net.hidden, net.classes),
        )  # fmt: skip


def noise(batch: int, side: int, device: torch.device) -> Tensor:
    """Draw views as the loader makes them of pictures of noise: bytes less a mean of 128, (batch, 3, side, side)."""
    return torch.randint(0, 256, (batch, 3, side, side), device=device).float() - 128


def stock_norm(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, mode: str | None = None
) -> Callable[[], object]:
    """torch's norm, forward and backward; it has it in float32 alone. `mode` is one of torch.compile."""
    x = (60 * torch.randn(shape, device=device)).to(dtype).contiguous(memory_format=torch.channels_last)
    x, g, norm = x.requires_grad_(), torch.randn_like(x), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)
    if mode:
        compiled = torch.compile(lambda x: norm(x.float()).to(dtype), mode=mode, dynamic=False)
        return lambda: torch.autograd.grad(compiled(x), x, g)
    return lambda: torch.autograd.grad(norm(x.float()).to(dtype), x, g)


def stock_learner(batch: int, compute: Compute) -> Callable[[], object]:
    """Return a training step of the stock net on ready views, in fp32 on a CPU."""
    net = RECIPES["source"].net
    assert isinstance(net, Net)
    views = noise(batch, net.image_size, compute.device)
    labels = torch.randint(0, net.classes, (batch,), device=compute.device)
    return stock_step(Stock(net).to(compute.device), F.pad(views, (0, 3, 0, 3)), labels, False)


def stock_step(net: nn.Module, views: Tensor, labels: Tensor, narrow: bool) -> Callable[[], object]:
    """Make an ordinary training step, in float32 or under autocast, which runs torch's norm in float32."""
    sgd = torch.optim.SGD(net.train().parameters(), LR, momentum=0.9, weight_decay=0.0005)

    def learn() -> None:
        with torch.autocast(views.device.type, torch.bfloat16, enabled=narrow):
            loss = F.cross_entropy(net(views), labels)
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    return learn


def learners(batch: int, compute: Compute) -> dict[str, Callable[[], object]]:
    """Return training steps of the stock net on ready views, by name: eager and compiled, in our precision.

    Both are in channels-last memory, with one fused update of all weights. One that fails to compile is left out.
    """
    net = RECIPES["source"].net
    assert isinstance(net, Net)
    return _learners("stock modules", lambda: Stock(net), batch, net.image_size + 3, net.classes, compute)


def torchvision_learners(batch: int, compute: Compute) -> dict[str, Callable[[], object]]:
    """Return training steps of torchvision's net, as `learners` does."""
    net = RECIPES["owt"].net
    assert isinstance(net, Net)
    name = "torchvision's alexnet as plain modules"
    return _learners(name, lambda: Torchvision(net), batch, net.image_size, net.classes, compute)


def _learners(
    name: str, build: Callable[[], nn.Module], batch: int, side: int, classes: int, compute: Compute
) -> dict[str, Callable[[], object]]:
    ready = noise(batch, side, compute.device).to(compute.dtype).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, classes, (batch,), device=compute.device)
    how = f"{name}, channels last, {in_words(compute)}, fused torch.optim.SGD"
    return _both(how, lambda mode: fused_step(build(), ready, labels, compute, mode), compute)


def _both(
    how: str, build: Callable[[str | None], Callable[[], object]], compute: Compute
) -> dict[str, Callable[[], object]]:
    """Return a peer by its name, eager and compiled, unless it fails."""
    mode = MODE if compute.device.type == "cuda" else CPU_MODE
    works = {}
    for name, chosen in ((f"{how}, eager", None), (f"{how}, torch.compile {mode}", mode)):
        if work := attempted(name, partial(build, chosen), compute):
            works[name] = work
    return works


def fused_step(
    net: nn.Module, views: Tensor, labels: Tensor, compute: Compute, mode: str | None
) -> Callable[[], object]:
    """Return a training step that updates all weights at once; compiled in a mode of torch.compile, or eager."""
    compute.hold(net).train()
    sgd = torch.optim.SGD(net.parameters(), LR, momentum=0.9, weight_decay=0.0005, fused=True)

    def loss_of(views: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(views.device.type, torch.bfloat16, enabled=compute.precision == "bf16"):
            return F.cross_entropy(net(views), labels)

    loss = torch.compile(loss_of, mode=mode, dynamic=False) if mode else loss_of

    def learn() -> None:
        loss(views, labels).backward()
        sgd.step()
        sgd.zero_grad()  # at once: the next replay of a compiled graph overwrites these gradients

    return learn


def servers(net: Net, views: Tensor, compute: Compute) -> dict[str, Callable[[], object]]:
    """Return inference by the stock net, by name: eager and compiled, weights in our precision."""
    ready = F.pad(views, (0, 3, 0, 3)).to(compute.dtype).contiguous(memory_format=torch.channels_last)
    how = f"stock modules, channels last, {in_words(compute)}"
    return _both(how, lambda mode: server(Stock(net), ready, compute, mode), compute)


def server(net: nn.Module, views: Tensor, compute: Compute, mode: str | None) -> Callable[[], object]:
    """Return inference with weights that were rounded once; torch's norm is in float32 by autocast.

    On a CPU a compiled net keeps its weights packed for its products, as constants ("freezing").
    """
    compute.serve(net).eval()

    def serve(views: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(views.device.type, torch.bfloat16, enabled=compute.precision == "bf16"):
            return net(views)

    if mode and compute.device.type == "cpu":
        frozen = torch.compile(serve, options={"freezing": True}, dynamic=False)

        def call_frozen() -> Tensor:
            with torch.no_grad():  # inductor freezes only where no gradient can be asked for
                return frozen(views)

        return call_frozen
    call = torch.compile(serve, mode=mode, dynamic=False) if mode else serve
    return lambda: call(views)


def gpu_norms(shape: tuple[int, ...], dtype: torch.dtype, compute: Compute) -> dict[str, Callable[[], object]]:
    """Return torch's norm, forward and backward, by name: eager and compiled."""
    works = {"nn.LocalResponseNorm, eager": stock_norm(shape, dtype, compute.device)}
    mode = f"{MODE}-no-cudagraphs"  # a graph would first copy the maps to memory of its own
    name = f"nn.LocalResponseNorm, torch.compile {mode}"
    if work := attempted(name, partial(stock_norm, shape, dtype, compute.device, mode), compute):
        works[name] = work
    return works


def in_words(compute: Compute) -> str:
    """Say how the stock net is computed."""
    return "bf16 autocast" if compute.precision == "bf16" else compute.precision


class TooLong(BaseException):
    """The time to compile a peer is over. No library must take it for an error of its own."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong in the main thread after some seconds; elsewhere, and on Windows, there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    handler, timer = signal.signal(signal.SIGALRM, stop), signal.getitimer(signal.ITIMER_REAL)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 5)  # again and again: a destructor may swallow an exception
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def attempted(name: str, build: Callable[[], Callable[[], object]], compute: Compute) -> Callable[[], object] | None:
    """Build a peer and call it, which compiles it; return None, and say so, if that fails or takes too long."""
    seconds, calls = COMPILE_SECONDS[compute.device.type], 3 if compute.device.type == "cuda" else 1
    try:
        with limited(seconds):
            work = build()
            for _ in range(calls):
                work()
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
            return work
    except TooLong:
        why = f"it was not compiled in {seconds:.0f} s"
    except Exception as error:  # whatever a compiler raises
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    print(f"left out: {name}: {why}", file=sys.stderr, flush=True)
    torch.compiler.reset()
    return None


def pillow_square(data: bytes) -> np.ndarray:
    """Decode and resize with Pillow alone."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    shorter = min(rgb.size)
    left, top = (rgb.width - shorter) // 2, (rgb.height - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(rgb.resize((256, 256), Image.Resampling.BILINEAR, box=box))


def recoded(data: bytes) -> bytes:
    """Encode a picture of 256 x 256 as a JPEG store does."""
    return pack(pillow_square(data), "jpeg")


def per_picture(data: bytes, mean: Tensor, random: torch.Generator) -> Tensor:
    """Make a view as most pipelines do: decode with Pillow, crop, mirror and subtract the mean of one picture."""
    with Image.open(io.BytesIO(data)) as image:
        x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    top, left, mirror = torch.randint(0, 32, (3,), generator=random).tolist()
    place = slice(None), slice(top, top + 224), slice(left, left + 224)
    x = x[place].float() - mean[place]
    return x.flip(2).contiguous() if mirror < 16 else x.contiguous()
