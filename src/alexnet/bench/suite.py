"""What `alexnet bench` measures: norm, step, inference, preparing, loading, and training from end to end."""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from alexnet.bench import timing
from alexnet.bench.peers import Stock, per_picture, pillow_square, recoded, stock_learner, stock_norm
from alexnet.bench.timing import Clock, Line, compared
from alexnet.config.recipe import LRN, AnyNet, Net, Recipe, SpatialLRN
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute, choose_compute, keep_pages
from alexnet.core.errors import InputError
from alexnet.data import transforms
from alexnet.data.images.decode import decode
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import square
from alexnet.data.loader import Batch, training_batches
from alexnet.data.prepare.prepare import prepare as prepare_store
from alexnet.data.sources import drawings
from alexnet.data.store import Store
from alexnet.data.transforms import Transform
from alexnet.models import layer_table
from alexnet.models.alexnet import AlexNet
from alexnet.models.build import build
from alexnet.ops.norm import response_norm, within_map_norm
from alexnet.training import optimizer, schedule
from alexnet.training.step import Step, maybe_capture

MAPS = {"conv1": (96, 55, 55), "conv2": (256, 27, 27)}  # what the norms see


def malloc(kept: bool) -> str:
    """The malloc setting of a peer, in words."""
    return "kept pages" if kept and keep_pages() else "default malloc"


def bench(
    what: str = "all",
    *,
    device: str = "auto",
    precision: str = "auto",
    batch: int = 128,
    rounds: int = 5,
    pictures: Path | None = None,
) -> Iterator[Line]:
    """Measure `what` (a key of BENCHES, or "all"), once on one thread by CPU time and once on all by wall time.

    `pictures`: a folder of JPEGs for prepare, loader and end-to-end; without it such are drawn, of 500 x 375 pixels.
    """
    if what != "all" and what not in BENCHES:
        raise InputError(f"bench {what!r} is not known; give {', '.join(BENCHES)} or all")
    compute = choose_compute(device, precision)
    before = torch.get_num_threads()
    threads = [0] if compute.device.type == "cuda" else sorted({1, before})
    try:
        for name in BENCHES if what == "all" else [what]:
            for count in threads:
                yield from BENCHES[name](Clock(compute, count or before), Job(batch, rounds, pictures))
    finally:
        torch.set_num_threads(before)


class Job:
    """How much is measured, and on which pictures."""

    def __init__(self, batch: int, rounds: int, pictures: Path | None) -> None:
        self.batch, self.rounds, self.folder = batch, rounds, pictures

    @property
    def whose(self) -> str:
        """What the JPEGs are, in words."""
        return f"JPEGs of {self.folder}" if self.folder else "drawn JPEGs of 500 x 375"

    def jpegs(self, count: int = 128) -> list[bytes]:
        """Files' bytes: the folder's, or pictures drawn and given grain so that they compress as photographs do."""
        if self.folder:
            paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))[:count]
            if not paths:
                raise InputError(f"folder {self.folder} holds no JPEG (.jpg, .jpeg)")
            for path in paths:
                try:
                    decode(path.read_bytes())
                except UnreadablePicture as error:
                    raise InputError(f"picture {path}: {error}; name a folder of whole JPEGs") from None
            return [p.read_bytes() for p in paths]
        grain = np.random.Generator(np.random.Philox(1))
        files = []
        for i in range(count):
            drawn = Image.fromarray(drawings.draw(i)).resize((500, 375))
            noisy = np.asarray(drawn) + grain.normal(0, 8, (375, 500, 3))
            out = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
            files.append(out.getvalue())
        return files


def lrn(clock: Clock, job: Job) -> Iterator[Line]:
    """The norms, forward and backward, against torch's. Bound: five passes over the numbers at copying speed."""
    compute, narrow = clock.compute, [torch.float32, torch.bfloat16]
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
            theirs = stock_norm(shape, dtype, compute.device)
            a, peer, b, c = clock.medians([ours, theirs, within, pooled], job.rounds, clock.calls)
            default = timing.apart(clock, job.rounds, stock_norm, shape, dtype, compute.device)
            name = f"{layer} {job.batch} x {' x '.join(map(str, maps))} {str(dtype)[6:]} NHWC, forward + backward"
            for seconds, pages in ((default, False), (peer, True)):
                peer_name = f"nn.LocalResponseNorm, {malloc(pages)}"
                yield compared(f"norm across maps, {name}", a, seconds, peer_name, clock, bound=bound)
            peer_name = f"avg_pool2d and pow by autograd, {malloc(True)}"
            yield compared(f"norm within a map, {name}", b, c, peer_name, clock, bound=bound)


def step(clock: Clock, job: Job) -> Iterator[Line]:
    """A training step on ready views, against a net of stock modules. Bound: its products at the best rate."""
    compute, recipe = clock.compute, RECIPES["source"]
    plain = recipe.replace(net={"spatial_lrn": None})
    # First, as this process is still small: pages that the machine has to find are slow to come.
    default = timing.apart(clock, job.rounds, stock_learner, job.batch, compute)
    views = 60 * torch.randn(job.batch, 3, recipe.net.image_size, recipe.net.image_size, device=compute.device)
    labels = torch.randint(0, recipe.net.classes, (job.batch,), device=compute.device)
    recipes = (plain, plain.replace(net={"lrn": None}), recipe)
    learn, learn_bare, learn_all = (learner(r, views, labels, compute) for r in recipes)
    rate = timing.products_per_second(clock, compute.dtype)
    bound = job.batch * products(plain.net, training=True) / rate
    works = [learn, stock_learner(job.batch, compute), learn_bare, learn_all]
    ours, peer, bare, both = clock.medians(works, job.rounds, clock.calls)
    what = f"training step, batch {job.batch}, {compute.precision}, layers of source without the norm within maps"
    name = "stock modules and torch.optim.SGD, " + ("fp32" if compute.device.type == "cpu" else compute.precision)
    for seconds, pages in ((default, False), (peer, True)):
        yield compared(what, ours, seconds, f"{name}, {malloc(pages)}", clock, amount=job.batch, bound=bound)
    yield compared(what, ours, bare, "ours without any norm", clock, amount=job.batch, bound=bound)
    bound = job.batch * products(recipe.net, training=True) / rate
    what = f"training step, batch {job.batch}, {compute.precision}, all layers of source"
    yield compared(what, both, ours, "ours without the norm within maps", clock, amount=job.batch, bound=bound)


def infer(clock: Clock, job: Job) -> Iterator[Line]:
    """One picture at a time and 64. Bound: products at their best rate, and reading every weight once."""
    compute, net = clock.compute, RECIPES["paper"].net
    assert isinstance(net, Net)
    ours = compute.serve(AlexNet(net)).eval()
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

        a, peer = clock.medians([serve, eager], 4 * job.rounds if batch == 1 else job.rounds)
        bound = batch * products(net) / rate + weights / speed
        what = f"inference, batch {batch}, {compute.precision}"
        yield compared(
            what, a, peer, "stock modules, eager fp32", clock, amount=0 if batch == 1 else batch, bound=bound
        )


def prepare(clock: Clock, job: Job) -> Iterator[Line]:
    """Decode and resize to 256 x 256, against Pillow alone, in one process. Bound: the decoding."""
    files = job.jpegs()

    def ours() -> None:
        for data in files:
            square(decode(data)[0], 256)

    def pillow() -> None:
        for data in files:
            pillow_square(data)

    def decoding() -> None:
        for data in files:
            decode(data)

    a, peer, bound = clock.medians([ours, pillow, decoding], job.rounds)
    name = "Pillow, the same decode and resize"
    yield compared(f"prepare, {job.whose}", a, peer, name, clock, amount=len(files), bound=bound)


def loader(clock: Clock, job: Job) -> Iterator[Line]:
    """A batch of training views from JPEGs of 256 x 256, against Pillow and one picture at a time. Bound: decoding."""
    compute = Compute(torch.device("cpu"), clock.compute.precision)
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(job, Path(folder), 2 * job.batch)
        split, transform = store["train"], transform_for(RECIPES["source"], store)
        ids = np.arange(job.batch) % len(split)
        files = [recoded(data) for data in job.jpegs(job.batch)]
        small = [files[i % len(files)] for i in range(job.batch)]
        buffer = np.empty((job.batch, 256, 256, 3), np.uint8)
        mean = torch.from_numpy(store.mean).permute(2, 0, 1)
        random = torch.Generator().manual_seed(1)

        def ours() -> None:
            images = torch.from_numpy(split.read(ids, buffer))
            transform.augment(images, torch.from_numpy(ids), seed=0, epoch=1, dtype=compute.dtype)

        def each() -> None:
            torch.stack([per_picture(data, mean, random) for data in small])

        def decoding() -> None:
            split.read(ids, buffer)

        a, peer, bound = clock.medians([ours, each, decoding], job.rounds)
        name = "Pillow and torch transforms a picture (fp32; crop, mirror, mean; no colour noise)"
        what = f"decode and views, batch {job.batch}, {compute.precision}, {job.whose} at 256 x 256"
        yield compared(what, a, peer, name, clock, amount=job.batch, bound=bound)


def end_to_end(clock: Clock, job: Job) -> Iterator[Line]:
    """Training from a JPEG store, read anew each step, against the same steps on one batch that lies ready."""
    compute, recipe = clock.compute, RECIPES["source"]
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(job, Path(folder), 8 * job.batch)
        split = store["train"]
        recipe = recipe.replace(net={"classes": len(store.classes)})
        net = compute.hold(build(recipe.net, 0)).train()
        momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
        take = maybe_capture(Step(net, transform_for(recipe, store).to(compute.device), momentum, compute, 0))
        rates, count = schedule.learning_rates(recipe, 0.0, ()), 4
        batches = training_batches(
            split, job.batch, epochs=10**6, seed=0, reshuffle=True, first_step=0, device=compute.device, workers=2
        )
        ready = next(b for b in batches if len(b.ids) == job.batch)

        def real() -> None:
            for batch in [next(full) for _ in range(count)]:
                take(batch, rates, True).loss.item()

        def synthetic() -> None:
            for _ in range(count):
                take(ready, rates, True).loss.item()

        full = (b for b in batches if len(b.ids) == job.batch)
        a, peer = clock.medians([real, synthetic], job.rounds)
        what = f"training from end to end, batch {job.batch}, {compute.precision}, {job.whose} at 256 x 256"
        name = "the same steps on one batch in memory"
        yield compared(what, a, peer, name, clock, amount=count * job.batch, bound=peer)


BENCHES: dict[str, Callable[[Clock, Job], Iterator[Line]]] = {
    "lrn": lrn,
    "step": step,
    "infer": infer,
    "prepare": prepare,
    "loader": loader,
    "end-to-end": end_to_end,
}


def learner(recipe: Recipe, views: Tensor, labels: Tensor, compute: Compute) -> Callable[[], object]:
    """A training step of ours on ready views; on a CUDA device captured, and from stored pictures."""
    net = compute.hold(build(recipe.net, 0)).train()
    momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
    transform = Transform(recipe.views, recipe.net.image_size, torch.zeros(256, 256, 3), torch.eye(3)).to(
        compute.device
    )
    step, rates = Step(net, transform, momentum, compute, 0), schedule.learning_rates(recipe, 0.0, ())
    if compute.device.type == "cuda":
        take, count = maybe_capture(step), len(labels)
        # Random, for products of zeros are faster; and learned slowly, for the same batch comes a thousand times.
        images = torch.randint(0, 256, (count, 256, 256, 3), dtype=torch.uint8, device=compute.device)
        batch, rates = (
            Batch(0, 0, 0, torch.arange(count, device=compute.device), images, labels),
            schedule.LearningRates(1e-5, 2e-5),
        )
        return lambda: take(batch, rates, True)
    taken = views.to(compute.dtype).contiguous(memory_format=torch.channels_last)

    def once() -> float:
        step.gradients.clear()
        loss, _ = step.learn(taken, labels, len(labels))
        step.update(rates)
        return loss.item()

    return once


def products(net: AnyNet, training: bool = False) -> int:
    """Multiply-adds for one picture: thrice the forward pass in training, but for the gradient of conv1's input."""
    layers = layer_table.layers_of(net)
    forward = sum(layer.multiply_adds for layer in layers)
    return 3 * forward - layers[0].multiply_adds if training else forward


def store_of(job: Job, folder: Path, pictures: int) -> Store:
    """A store of so many JPEGs of 256 x 256, half of each class: the job's pictures again and again."""
    files = job.jpegs(job.batch)
    for i in range(max(pictures, 20)):
        path = folder / "source" / str(i % 2) / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[i % len(files)])
    prepare_store(folder / "source", folder / "store", format="jpeg", val_fraction=0.1, jobs=1)
    return Store(folder / "store")


def transform_for(recipe: Recipe, store: Store) -> Transform:
    """The recipe's views of a store."""
    statistics = (store.mean, store.eigenvalues, store.eigenvectors)
    return transforms.make_transform(recipe, *map(torch.from_numpy, statistics))
