"""Measure what decoding, training and validation take here: by doing some of each."""

import shutil
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alexnet.config.recipe import Recipe
from alexnet.core import rng
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import compiled_form, square
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import Picture, Source
from alexnet.data.store import Store
from alexnet.distributed.mesh import open_mesh
from alexnet.fitting.candidates import Candidate
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.train import end_epoch
from alexnet.training.trainer import Trainer

SIDE = 256  # pixels of the pictures of a sample: the largest store that a recipe takes
DECODE = 1.0  # seconds to decode for
WARM = {"cpu": 1, "cuda": 6}  # steps before the first that counts: kernels compile, and CUDA captures its graph
EPOCHS = 10**9  # of a training that is measured, which never ends by itself: an epoch may be one step of 0.1 ms


@dataclass(frozen=True)
class Sample:
    """Some pictures of a source, decoded and resized.

    Attributes:
        images: The pictures, uint8 (SIDE, SIDE, 3).
        seconds: Time that decoding and resizing one took.
        side: Median of their shorter sides, in pixels.
    """

    images: Sequence[np.ndarray] = field(repr=False)
    seconds: float
    side: int


@dataclass(frozen=True)
class Rates:
    """Seconds that a training takes here.

    Attributes:
        picture: One picture in training.
        validation: One picture in a validation.
        save: One checkpoint.
    """

    picture: float
    validation: float
    save: float


def sample(source: Source, most: int, seconds: float = DECODE) -> Sample:
    """Decode and resize some training pictures of a source, spread over all of them.

    Args:
        source: The source.
        most: Largest number of pictures.
        seconds: Time after which it ends.

    Raises:
        InputError: None of them can be decoded.
    """
    pictures = source.splits["train"]
    order = rng.permutation(len(pictures), 0, "sample of a source").tolist()[:most]
    compiled_form()  # compile now, so that it does not count
    images, sides, refused, begun, ended = list[np.ndarray](), list[int](), "", time.monotonic(), 0.0
    for number in order:
        picture: Picture = pictures[number]
        try:
            image = source.open(picture.place)[0]
            sides.append(min(image.size))
            images.append(square(image, SIDE))  # small, whatever the size of the picture
        except UnreadablePicture as error:
            refused = refused or f"{picture.name!r}: {error}"
        ended = time.monotonic() - begun
        if ended > seconds and images:
            break
    if not images:
        raise InputError(f"none of {len(order):,} pictures that were tried can be read ({refused}); repair them")
    return Sample(images, ended / len(images), round(statistics.median(sides)))


def rehearse(found: Sample, candidate: Candidate, classes: int, folder: Path, device: str, seconds: float) -> Rates:
    """Measure a candidate on a store of the sample, of which it makes as many pictures as a batch has.

    Args:
        found: The sample.
        candidate: The recipe, and the side of its store.
        classes: Number of classes of the source.
        folder: Folder to work in.
        device: Device to train on.
        seconds: Time to train for.
    """
    batch = candidate.batch
    classes = min(classes, batch)
    store = folder / f"store-{candidate.side}-{batch}"
    if not store.exists():
        held = max(classes, batch // 4)
        items = [
            (found.images[n % len(found.images)], n % classes, "train" if n < batch else "val")
            for n in range(batch + held)
        ]
        prepare(items, store, side=candidate.side, jobs=1, duplicates="off")
    return rates(Store(store), candidate.recipe, folder / f"run-{candidate.name}", device, seconds)


def rates(store: Store, recipe: Recipe, run: Path, device: str, seconds: float) -> Rates:
    """Measure a recipe's training on a store, by some steps of it, a validation and a checkpoint.

    Args:
        store: The store.
        recipe: The recipe.
        run: Folder of the run, which is removed afterwards.
        device: Device to train on.
        seconds: Time to train for; at least one step is timed.
    """
    recipe = recipe.replace(epochs=EPOCHS)
    compute = choose_compute(device)
    options = TrainOptions(device=device, keep=1)
    try:
        with open_mesh(compute.device) as mesh, begin(mesh, Request(store, run, recipe, options), compute) as trainer:
            return _timed(trainer, seconds)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def _timed(trainer: Trainer, seconds: float) -> Rates:
    with trainer.log(quiet=True) as log, closing(trainer.batches()) as batches:
        for _ in range(WARM[trainer.compute.device.type]):
            trainer.advance(next(batches), 0.0)
        trainer.read(log)
        begun, pictures, spent = time.monotonic(), 0, 0.0
        while spent < seconds:
            batch = next(batches)
            trainer.advance(batch, 0.0)
            trainer.read(log, keep=trainer.compute.ahead)
            pictures += batch.whole
            spent = time.monotonic() - begun
        trainer.read(log)
        spent = time.monotonic() - begun
        begun = time.monotonic()
        end_epoch(trainer, log, lambda *_: None)
        validation = time.monotonic() - begun
        begun = time.monotonic()
        trainer.save()
        save = time.monotonic() - begun
    return Rates(spent / pictures, validation / len(trainer.held_out), save)
