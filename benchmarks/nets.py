"""A training step and inference of our net, against nets of torch's own modules and torchvision's AlexNet."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import peers
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.bench import computing, timing
from alexnet.bench.peers import Stock, stock_step
from alexnet.bench.timing import Clock, Line, Work, compared
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.models.alexnet import AlexNet

KINDS = {False: "eager fp32", True: "bf16 autocast, channels last"}  # how the peers compute
SERVED = {False: "eager fp32", True: "bf16 weights, autocast, channels last"}


def train(clock: Clock, batch: int, rounds: int, compile_too: bool = False) -> Iterator[Line]:
    """Time a training step on ready views, for source without its norm within maps, which torch has no module for.

    Bound: our multiply-adds at full speed.
    """
    compute, recipe = clock.compute, RECIPES["source"].replace(net={"spatial_lrn": None})
    views = 60 * torch.randn(batch, 3, recipe.net.image_size, recipe.net.image_size)
    labels = torch.randint(0, recipe.net.classes, (batch,))
    works: list[Work] = [computing.learner(recipe, views, labels, compute)]
    names = []
    for name, make, taken in stock_nets(recipe.net, views):
        for narrow in KINDS if compute.precision == "bf16" else [False]:
            works.append(stock_step(*laid(make(), taken, narrow), labels, narrow))
            names.append(f"{name}, {KINDS[narrow]}, {timing.malloc(True)}")
            if narrow and compile_too:
                net, ready = laid(make(), taken, narrow)
                net.compile()
                works.append(stock_step(net, ready, labels, narrow))
                names.append(f"{name}, {KINDS[narrow]}, torch.compile, {timing.malloc(True)}")
    ours, *theirs = clock.medians(works, rounds)
    bound = batch * computing.products(recipe.net, training=True) / timing.products_per_second(clock, compute.dtype)
    what = f"training step, batch {batch}, {compute.precision}, layers of source without the norm within maps"
    for name, peer in zip(names, theirs, strict=True):
        yield compared(what, ours, peer, name, clock, amount=batch, bound=bound)


def infer(clock: Clock, batch: int, rounds: int) -> Iterator[Line]:
    """Time the net of paper on ready views. Bound: its multiply-adds at full speed, and reading every weight once."""
    compute, net = clock.compute, RECIPES["paper"].net
    assert isinstance(net, Net)
    own = compute.serve(AlexNet(net)).eval()
    views = 60 * torch.randn(batch, 3, net.image_size, net.image_size)
    ready = views.to(compute.dtype).contiguous(memory_format=torch.channels_last)

    def ours() -> object:
        with torch.inference_mode(), compute.arithmetic():
            return own(ready)

    works: list[Work] = [ours]
    names = []
    for name, make, taken in stock_nets(net, views):
        for narrow in SERVED if compute.precision == "bf16" else [False]:
            works.append(server(make(), taken, narrow))
            names.append(f"{name}, {SERVED[narrow]}, {timing.malloc(True)}")
    mine, *theirs = clock.medians(works, 4 * rounds if batch == 1 else rounds)
    weights = sum(p.numel() * p.element_size() for p in own.parameters())
    bound = batch * computing.products(net) / timing.products_per_second(clock, compute.dtype)
    bound += weights / timing.bytes_read_per_second(clock)
    what = f"inference, batch {batch}, {compute.precision}, paper"
    for name, peer in zip(names, theirs, strict=True):
        yield compared(what, mine, peer, name, clock, amount=0 if batch == 1 else batch, bound=bound)


def stock_nets(net: Any, views: Tensor) -> Iterator[tuple[str, Callable[[], nn.Module], Tensor]]:
    """Yield the installed peers: name, constructor, and the views in the form that each takes."""
    yield "stock modules with nn.LocalResponseNorm", lambda: Stock(net), F.pad(views, (0, 3, 0, 3))
    try:
        vision = peers.torchvision()
    except peers.MissingError:
        return  # main has reported it
    version = vision.__version__.split("+")[0]
    weights = sum(p.numel() for p in vision.models.alexnet().parameters()) / 1e6
    name = f"torchvision {version} alexnet(), another net (2014: {weights:.1f} M weights, no norms, no groups)"
    yield name, vision.models.alexnet, views / 60  # it expects pictures of unit variance


def server(net: nn.Module, views: Tensor, narrow: bool) -> Work:
    """Make inference; in bfloat16 the weights are rounded once, like ours, and autocast keeps the norm in float32."""
    net, taken = laid(net.eval(), views, narrow)
    if narrow:
        net, taken = net.bfloat16(), taken.bfloat16()

    def serve() -> object:
        with torch.inference_mode(), arithmetic(narrow):
            return net(taken)

    return serve


def laid(net: nn.Module, views: Tensor, last: bool) -> tuple[nn.Module, Tensor]:
    """Convert net and views to channels-last memory, if `last`."""
    if not last:
        return net, views
    return net.to(memory_format=torch.channels_last), views.contiguous(memory_format=torch.channels_last)  # type: ignore[call-overload]


def arithmetic(narrow: bool) -> AbstractContextManager[Any]:
    """Make an autocast context for bfloat16, which does nothing unless `narrow`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=narrow)


def lines(batch: int, rounds: int, threads: int | None, compile_too: bool = False) -> Iterator[Line]:
    """Time training, then inference of 1 picture and of 64 (or of a smaller `batch`), by each clock."""
    for clock in peers.clocks(threads):
        yield from train(clock, batch, rounds, compile_too)
        for pictures in sorted({1, min(64, batch)}):
            yield from infer(clock, pictures, rounds)


def main() -> int:
    """Measure and print."""
    parser = peers.parser(
        __doc__, 128, "pictures per training step; inference takes 1, and 64 or this number if it is smaller"
    )
    parser.add_argument("--compile", action="store_true", help="also time the bf16 peers under torch.compile")
    flags = parser.parse_args()
    try:
        peers.torchvision()
    except peers.MissingError as missing:
        peers.say(missing)
    return peers.show(lines(flags.batch, flags.rounds, flags.threads, flags.compile), flags.json)


if __name__ == "__main__":
    sys.exit(main())
