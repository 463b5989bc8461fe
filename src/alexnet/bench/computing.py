"""Benchmarks of computing: the norms, a training step, and inference."""

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.bench import engines, timing
from alexnet.bench.job import Job
from alexnet.bench.peers import (
    LR,
    Stock,
    gpu_norms,
    learners,
    noise,
    servers,
    stock_learner,
    stock_norm,
    torchvision_learners,
)
from alexnet.bench.timing import Clock, Line, compared, malloc
from alexnet.config.recipe import LRN, AnyNet, Net, Recipe, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute, keep_pages
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
            found: dict[str, float] = dict(zip(theirs, peers, strict=True))
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
    keep_pages()  # before the compiled peers are first called
    torch.set_num_threads(clock.threads)
    rates = timing.product_rates(clock, clock.compute.dtype)
    yield from step_of_source(clock, job, rates)
    if clock.compute.device.type == "cpu":
        yield from step_of_torchvision(clock, job, rates)


def step_of_source(clock: Clock, job: Job, rates: Mapping[str, float]) -> Iterator[Line]:
    """Time a training step of source against stock modules, which lack its norm within maps."""
    compute, recipe = clock.compute, RECIPES["source"]
    plain = recipe.replace(net={"spatial_lrn": None})
    # First, as this process is still small: pages that the machine has to find are slow to come.
    cuda = compute.device.type == "cuda"
    default = 0.0 if cuda else timing.apart(clock, job.rounds, stock_learner, job.batch, compute)
    views = noise(job.batch, recipe.net.image_size, compute.device)
    labels = torch.randint(0, recipe.net.classes, (job.batch,), device=compute.device)
    recipes = (plain, plain.replace(net={"lrn": None}), recipe)
    learn, learn_bare, learn_all = (learner(r, views, labels, compute) for r in recipes)
    rate = max(rates.values())
    name = "stock modules and torch.optim.SGD, fp32"
    theirs = {} if cuda else {name: stock_learner(job.batch, compute)}
    theirs |= learners(job.batch, compute)
    works = [learn, *theirs.values(), learn_bare, learn_all]
    ours, *peers, bare, both = clock.medians(works, job.rounds, clock.calls)
    what = f"training step, batch {job.batch}, {compute.precision}, layers of source without the norm within maps"
    found: dict[str, float] = dict(zip(theirs, peers, strict=True))
    if not cuda:
        found = both_mallocs(name, default, found.pop(name)) | kept(found)
    bound = job.batch * products(plain.net, training=True) / rate
    for peer_name, seconds in [*found.items(), ("ours without any norm", bare)]:
        yield compared(what, ours, seconds, peer_name, clock, amount=job.batch, bound=bound, products=rates)
    bound = job.batch * products(recipe.net, training=True) / rate
    what = f"training step, batch {job.batch}, {compute.precision}, all layers of source"
    name = "ours without the norm within maps"
    yield compared(what, both, ours, name, clock, amount=job.batch, bound=bound, products=rates)


def step_of_torchvision(clock: Clock, job: Job, rates: Mapping[str, float]) -> Iterator[Line]:
    """Time a training step of recipe owt against torchvision's modules: another net, without norms or towers."""
    compute, recipe = clock.compute, RECIPES["owt"]
    views = noise(job.batch, recipe.net.image_size, compute.device)
    labels = torch.randint(0, recipe.net.classes, (job.batch,), device=compute.device)
    learn, theirs = learner(recipe, views, labels, compute), torchvision_learners(job.batch, compute)
    ours, *peers = clock.medians([learn, *theirs.values()], job.rounds, clock.calls)
    bound = job.batch * products(recipe.net, training=True) / max(rates.values())
    what = f"training step, batch {job.batch}, {compute.precision}, owt, torchvision's net of 2014"
    for name, seconds in kept(dict(zip(theirs, peers, strict=True))).items():
        yield compared(what, ours, seconds, name, clock, amount=job.batch, bound=bound, products=rates)


def infer(clock: Clock, job: Job) -> Iterator[Line]:
    """Time inference of 1 and of 64 pictures. Bound: multiply-adds at full speed, and reading every weight once.

    The engines read float32 views in the order of channels, so ours is also timed with the conversion of these.
    """
    compute, net = clock.compute, RECIPES["paper"].net
    assert isinstance(net, Net)
    keep_pages()
    torch.set_num_threads(clock.threads)
    plain = AlexNet(net).eval()
    made = {} if compute.device.type == "cuda" else engines.models(plain)
    ours = keep_packed(compute.serve(plain))
    cuda = compute.device.type == "cuda"
    stock = Stock(net).to(compute.device).eval()
    weights = sum(p.numel() * p.element_size() for p in ours.parameters())
    rates, speed = timing.product_rates(clock, compute.dtype), timing.bytes_read_per_second(clock)
    for batch in (1, 64):
        views = noise(batch, net.image_size, compute.device)
        taken = views.to(compute.dtype).contiguous(memory_format=torch.channels_last)
        whole = F.pad(views, (0, 3, 0, 3))

        def serve(taken: Tensor = taken) -> Tensor:
            with torch.inference_mode(), compute.arithmetic():
                return ours(taken)

        def convert_and_serve(views: Tensor = views) -> Tensor:
            with torch.inference_mode(), compute.arithmetic():
                return ours(views.to(compute.dtype, memory_format=torch.channels_last))

        def eager(whole: Tensor = whole) -> Tensor:
            with torch.inference_mode():
                return stock(whole)

        theirs: dict[str, Callable[[], object]] = {} if cuda else {"stock modules, eager fp32": eager}
        theirs |= servers(net, views, compute)
        fast = engines.answers(made, views, clock.threads, compute) if made else {}
        works: list[timing.Work] = [serve, *theirs.values()]
        works += [convert_and_serve, *fast.values()] if fast else []
        found = iter(clock.medians(works, 2 * job.rounds if batch == 1 else job.rounds, clock.calls))
        bound = batch * products(net) / max(rates.values()) + weights / speed
        for names, more in ((theirs, ""), (fast, ", from float32 views")):
            if names:
                what = f"inference, batch {batch}, {compute.precision}{more}"
                mine, amount = next(found), 0 if batch == 1 else batch
                each = dict(zip(names, found, strict=False))
                for name, peer in each.items() if cuda else kept(each).items():
                    yield compared(what, mine, peer, name, clock, amount=amount, bound=bound, products=rates)


def both_mallocs(name: str, default: float, kept: float) -> dict[str, float]:
    """Name a peer's seconds with malloc's defaults and with kept pages."""
    return {f"{name}, {malloc(pages)}": seconds for seconds, pages in ((default, False), (kept, True))}


def kept(found: Mapping[str, float]) -> dict[str, float]:
    """Add the malloc setting of this process to the names of peers."""
    return {f"{name}, {malloc(True)}": seconds for name, seconds in found.items()}


def learner(recipe: Recipe, views: Tensor, labels: Tensor, compute: Compute) -> Callable[[], object]:
    """Make our training step on ready views; on a CUDA device, a captured step from stored pictures."""
    net = compute.hold(build(recipe.net, 0)).train()
    momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
    transform = Transform(recipe.views, recipe.net.image_size, torch.zeros(256, 256, 3), torch.eye(3)).to(
        compute.device
    )
    step, rates = Step(net, transform, momentum, compute, 0), schedule.LearningRates(LR, 2 * LR)
    if compute.device.type == "cuda":
        take, count = maybe_capture(step), len(labels)
        # Random pixels, because products of zeros are faster.
        images = torch.randint(0, 256, (count, 256, 256, 3), dtype=torch.uint8, device=compute.device)
        batch = Batch(0, 0, 0, torch.arange(count, device=compute.device), images, labels)
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
