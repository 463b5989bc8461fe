"""Benchmarks of computing: the norms, a training step, and inference."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.bench import timing
from alexnet.bench.job import Job
from alexnet.bench.peers import Stock, gpu_learners, gpu_norms, gpu_servers, stock_learner, stock_norm
from alexnet.bench.timing import Clock, Line, compared, malloc
from alexnet.config.recipe import LRN, AnyNet, Net, Recipe, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.models import layer_table
from alexnet.models.alexnet import AlexNet
from alexnet.models.build import build
from alexnet.ops.norm import response_norm, within_map_norm
from alexnet.ops.packed import keep_packed
from alexnet.training import optimizer, schedule
from alexnet.training.step import Step, maybe_capture

MAPS = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}  # inputs of the norms


def lrn(clock: Clock, job: Job) -> Iterator[Line]:
    """Time the norms, forward and backward, against torch's. Bound: five passes over the data at copying speed."""
    compute, narrow = clock.compute, [torch.float32, torch.bfloat16]
    cuda = compute.device.type == "cuda"
    for layer, maps in MAPS.items():
        for dtype in narrow if compute.precision == "bf16" else narrow[:1]:
            x = 60 * torch.randn(job.batch, *maps, device=compute.device)
            x = x.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
            g = torch.randn_like(x)

            def ours(x: Tensor = x, g: Tensor = g) -> None:
                torch.autograd.grad(response_norm(x, LRN(), 1), x, g)

            def within(x: Tensor = x, g: Tensor = g) -> None:
                torch.autograd.grad(within_map_norm(x, SpatialLRN()), x, g)

            def pooled(x: Tensor = x, g: Tensor = g) -> None:
                wide, norm = x.float(), SpatialLRN()
                s = norm.k + norm.alpha * F.avg_pool2d(wide.square(), norm.n, 1, norm.n // 2)
                torch.autograd.grad((wide * s.pow(-norm.beta)).to(x.dtype), x, g)

            bound = 5 * x.numel() * x.element_size() / timing.bytes_per_second(clock)
            shape = (job.batch, *maps)
            theirs = (
                gpu_norms(shape, dtype, compute)
                if cuda
                else {"nn.LocalResponseNorm": stock_norm(shape, dtype, compute.device)}
            )
            a, *peers, b, c = clock.medians([ours, *theirs.values(), within, pooled], job.rounds, clock.calls)
            found = dict(zip(theirs, peers, strict=True))
            if not cuda:
                default = timing.apart(clock, job.rounds, stock_norm, shape, dtype, compute.device)
                found = both_mallocs("nn.LocalResponseNorm", default, peers[0])
            name = f"{layer} {job.batch} x {' x '.join(map(str, maps))} {str(dtype)[6:]} NHWC, forward + backward"
            for peer_name, seconds in found.items():
                yield compared(f"norm across maps, {name}", a, seconds, peer_name, clock, bound=bound)
            peer_name = "avg_pool2d and pow by autograd" + ("" if cuda else f", {malloc(True)}")
            yield compared(f"norm within a map, {name}", b, c, peer_name, clock, bound=bound)


def step(clock: Clock, job: Job) -> Iterator[Line]:
    """Time a training step on ready views, against a net of stock modules. Bound: its multiply-adds at full speed."""
    compute, recipe = clock.compute, RECIPES["source"]
    plain = recipe.replace(net={"spatial_lrn": None})
    # First, as this process is still small: pages that the machine has to find are slow to come.
    cuda = compute.device.type == "cuda"
    default = 0.0 if cuda else timing.apart(clock, job.rounds, stock_learner, job.batch, compute)
    views = 60 * torch.randn(job.batch, 3, recipe.net.image_size, recipe.net.image_size, device=compute.device)
    labels = torch.randint(0, recipe.net.classes, (job.batch,), device=compute.device)
    recipes = (plain, plain.replace(net={"lrn": None}), recipe)
    learn, learn_bare, learn_all = (learner(r, views, labels, compute) for r in recipes)
    rate = timing.products_per_second(clock, compute.dtype)
    bound = job.batch * products(plain.net, training=True) / rate
    name = "stock modules and torch.optim.SGD, fp32"
    theirs = gpu_learners(job.batch, compute) if cuda else {name: stock_learner(job.batch, compute)}
    ours, *peers, bare, both = clock.medians([learn, *theirs.values(), learn_bare, learn_all], job.rounds, clock.calls)
    what = f"training step, batch {job.batch}, {compute.precision}, layers of source without the norm within maps"
    found = dict(zip(theirs, peers, strict=True)) if cuda else both_mallocs(name, default, peers[0])
    for peer_name, seconds in found.items():
        yield compared(what, ours, seconds, peer_name, clock, amount=job.batch, bound=bound)
    yield compared(what, ours, bare, "ours without any norm", clock, amount=job.batch, bound=bound)
    bound = job.batch * products(recipe.net, training=True) / rate
    what = f"training step, batch {job.batch}, {compute.precision}, all layers of source"
    yield compared(what, both, ours, "ours without the norm within maps", clock, amount=job.batch, bound=bound)


def infer(clock: Clock, job: Job) -> Iterator[Line]:
    """Time inference of 1 and of 64 pictures. Bound: multiply-adds at full speed, and reading every weight once."""
    compute, net = clock.compute, RECIPES["paper"].net
    assert isinstance(net, Net)
    ours = keep_packed(compute.serve(AlexNet(net))).eval()
    cuda = compute.device.type == "cuda"
    stock = Stock(net).to(compute.device).eval()
    weights = sum(p.numel() * p.element_size() for p in ours.parameters())
    rate, speed = timing.products_per_second(clock, compute.dtype), timing.bytes_read_per_second(clock)
    for batch in (1, 64):
        views = 60 * torch.randn(batch, 3, 224, 224, device=compute.device)
        taken = views.to(compute.dtype).contiguous(memory_format=torch.channels_last)
        whole = F.pad(views, (0, 3, 0, 3))

        def serve(taken: Tensor = taken) -> Tensor:
            with torch.inference_mode(), compute.arithmetic():
                return ours(taken)

        def eager(whole: Tensor = whole) -> Tensor:
            with torch.inference_mode():
                return stock(whole)

        theirs = gpu_servers(net, views, compute) if cuda else {"stock modules, eager fp32": eager}
        rounds = 4 * job.rounds if batch == 1 else job.rounds
        a, *peers = clock.medians([serve, *theirs.values()], rounds, clock.calls)
        bound = batch * products(net) / rate + weights / speed
        what = f"inference, batch {batch}, {compute.precision}"
        for peer_name, seconds in zip(theirs, peers, strict=True):
            yield compared(what, a, seconds, peer_name, clock, amount=0 if batch == 1 else batch, bound=bound)


def both_mallocs(name: str, default: float, kept: float) -> dict[str, float]:
    """Name a peer's seconds with malloc's defaults and with kept pages."""
    return {f"{name}, {malloc(pages)}": seconds for seconds, pages in ((default, False), (kept, True))}


def learner(recipe: Recipe, views: Tensor, labels: Tensor, compute: Compute) -> Callable[[], object]:
    """Make our training step on ready views; on a CUDA device, a captured step from stored pictures."""
    net = compute.hold(build(recipe.net, 0)).train()
    momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
    transform = Transform(recipe.views, recipe.net.image_size, torch.zeros(256, 256, 3), torch.eye(3)).to(
        compute.device
    )
    step, rates = Step(net, transform, momentum, compute, 0), schedule.learning_rates(recipe, 0.0, ())
    if compute.device.type == "cuda":
        take, count = maybe_capture(step), len(labels)
        # Random pixels, because products of zeros are faster; low rates, because the batch is repeated many times.
        images = torch.randint(0, 256, (count, 256, 256, 3), dtype=torch.uint8, device=compute.device)
        batch, rates = (
            Batch(0, 0, 0, torch.arange(count, device=compute.device), images, labels),
            schedule.LearningRates(1e-5, 2e-5),
        )
        return lambda: take(batch, rates, True)
    taken = views.to(compute.dtype).contiguous(memory_format=torch.channels_last)

    def once() -> float:
        step.gradients.clear()
        seen, _ = step.learn(taken, labels, len(labels))
        step.update(rates)
        return seen[0].item()

    return once


def products(net: AnyNet, training: bool = False) -> int:
    """Count multiply-adds for one picture; training takes three forward passes less the gradient of conv1's input."""
    layers = layer_table.layers_of(net)
    forward = sum(layer.multiply_adds for layer in layers)
    return 3 * forward - layers[0].multiply_adds if training else forward
