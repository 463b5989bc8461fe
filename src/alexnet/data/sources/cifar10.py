"""The CIFAR-10 source, as distributed, in its binary or Python form; the test batch becomes the val split."""

from pathlib import Path

import numpy as np

from alexnet.data.sources.archives import Listing, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Source
from alexnet.data.sources.cifar_batches import (
    SIDE,
    binary_batch,
    laid_out,
    open_planes,
    part,
    pictures_of,
    unpickled_batch,
)
from alexnet.data.store import Class

NAME = "CIFAR-10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "val": ("test_batch",)}
ALL_BATCHES = BATCHES["train"] + BATCHES["val"]


def recognises(files: Listing) -> bool:
    """Return whether the first batch is there, in either form."""
    return "data_batch_1.bin" in files.places or "data_batch_1" in files.places


def read(files: Listing, work: Path) -> Source:
    """Read the six batches; prefer the binary form if both are there."""
    binary = "data_batch_1.bin" in files.places
    places = {
        name: binary_batch(files, name, NAME, work) if binary else _python(files, name, work) for name in ALL_BATCHES
    }
    splits = {
        split: [picture for name in names for picture in pictures_of(name, places[name], 1, len(CLASSES), NAME)]
        for split, names in BATCHES.items()
    }
    ignored = len(files.places) - len(places)
    return Source("cifar-10", tuple(map(Class, CLASSES)), splits, open_planes, side=SIDE, ignored=ignored)


def _python(files: Listing, name: str, work: Path) -> Slice:
    """Convert a pickled batch to a binary one in the folder `work`."""
    labels, planes = unpickled_batch(name, read_bytes(part(files, name, NAME)), b"labels", len(CLASSES), NAME)
    return laid_out(work, name, np.concatenate([labels[:, None], planes], axis=1).tobytes())
