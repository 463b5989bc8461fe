"""Benchmarks of feeding the net: preparing pictures, loading them, and training from end to end."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from alexnet.bench.job import Job
from alexnet.bench.peers import per_picture, pillow_square, recoded
from alexnet.bench.timing import Clock, Line, compared
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.data import transforms
from alexnet.data.cache import CachedPictures
from alexnet.data.images.decode import decode
from alexnet.data.images.resize import square
from alexnet.data.loader import readers, training_batches
from alexnet.data.prepare.prepare import prepare as prepare_store
from alexnet.data.store import Store
from alexnet.data.transforms import Transform
from alexnet.models.build import build
from alexnet.training import optimizer, schedule
from alexnet.training.step import Step, maybe_capture


def prepare(clock: Clock, job: Job) -> Iterator[Line]:
    """Time decoding and resizing to 256 x 256 in one process, against Pillow alone. Bound: decoding."""
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
    """Time a batch of training views from JPEGs of 256 x 256, against Pillow one picture at a time. Bound: decoding."""
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
    """Training from a JPEG store, against the same steps on one batch that lies ready.

    On a CPU the store is read anew at each step, unless the job names a cache.
    """
    compute, recipe = clock.compute, RECIPES["source"]
    cuda = compute.device.type == "cuda"
    workers = readers(job.workers, compute.device)
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(job, Path(folder), 8 * job.batch)
        split = store["train"]
        recipe = recipe.replace(net={"classes": len(store.classes)})
        net = compute.hold(build(recipe.net, 0)).train()
        momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype)
        take = maybe_capture(Step(net, transform_for(recipe, store).to(compute.device), momentum, compute, 0))
        rates, count = schedule.learning_rates(recipe, 0.0, ()), max(4, clock.calls)
        pictures = CachedPictures(split, compute.device, job.cache or ("auto" if cuda else "none"))
        batches = training_batches(
            pictures,
            job.batch,
            epochs=10**6,
            seed=0,
            reshuffle=True,
            first_step=0,
            device=compute.device,
            workers=workers,
        )
        ready = next(b for b in batches if len(b.ids) == job.batch)

        def real() -> None:
            some = itertools.islice(full, count)
            for batch in some if cuda else list(some):
                take(batch, rates, True)

        def synthetic() -> None:
            for _ in range(count):
                take(ready, rates, True)

        full = (b for b in batches if len(b.ids) == job.batch)
        a, peer = clock.medians([real, synthetic], job.rounds)
        what = f"training from end to end, batch {job.batch}, {compute.precision}, {job.whose} at 256 x 256"
        if cuda or job.cache or job.workers:
            what += f", cache {pictures.kept}, {workers} workers"
        name = "the same steps on one batch in memory"
        yield compared(what, a, peer, name, clock, amount=count * job.batch, bound=peer)


def store_of(job: Job, folder: Path, pictures: int) -> Store:
    """Write a store of `pictures` JPEGs of 256 x 256 in two classes, repeating the job's pictures."""
    files = job.jpegs(job.batch)
    for i in range(max(pictures, 20)):
        path = folder / "source" / str(i % 2) / f"{i:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[i % len(files)])
    prepare_store(folder / "source", folder / "store", format="jpeg", val_fraction=0.1, jobs=1)
    return Store(folder / "store")


def transform_for(recipe: Recipe, store: Store) -> Transform:
    """Build the recipe's transform for a store."""
    statistics = (store.mean, store.eigenvalues, store.eigenvectors)
    return transforms.make_transform(recipe, *map(torch.from_numpy, statistics))
