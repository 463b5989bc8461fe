"""The CIFAR-100 source, as distributed, in its binary or Python form, with fine labels; `test` becomes val."""

from pathlib import Path

import numpy as np

from alexnet.core.errors import InputError
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
    unpickled,
    unpickled_batch,
)
from alexnet.data.store import Class

NAME = "CIFAR-100"
BATCHES = {"train": "train", "val": "test"}  # a split -> its file
CLASSES = 100  # fine ones
LABELS = 2  # bytes of a binary record's labels: the coarse one, then the fine one
MOST_NAMES = 1 << 16  # bytes of the file of names


def recognises(files: Listing) -> bool:
    """Return whether the batches are there, in either form."""
    binary = {"train.bin", "test.bin"} <= files.places.keys()
    return binary or {"train", "test", "meta"} <= files.places.keys()


def read(files: Listing, work: Path) -> Source:
    """Read both batches and the names of the fine classes; prefer the binary form if both are there."""
    binary = "train.bin" in files.places
    named = "fine_label_names.txt" if binary else "meta"
    place = part(files, named, NAME)
    if place.size > MOST_NAMES:
        raise InputError(f"{named} has {place.size} bytes; the limit is {MOST_NAMES}; fetch the archive again")
    names = _names(named, read_bytes(place), binary)
    places = {
        name: binary_batch(files, name, NAME, work) if binary else _python(files, name, work)
        for name in BATCHES.values()
    }
    splits = {split: pictures_of(name, places[name], LABELS, CLASSES, NAME) for split, name in BATCHES.items()}
    ignored = len(files.places) - len(places) - 1
    return Source("cifar-100", tuple(map(Class, names)), splits, open_planes, side=SIDE, ignored=ignored)


def _names(shown: str, data: bytes, binary: bool) -> list[str]:
    try:
        found = data.split() if binary else unpickled(data)[b"fine_label_names"]
        names = [bytes(name).decode("ascii") for name in found if isinstance(name, bytes)]
        if len(found) != CLASSES or len(set(names)) != CLASSES or not all(names):
            raise ValueError(f"it has {len(found)} names, {len(set(names))} of them different texts")
    except InputError as error:
        raise InputError(f"{shown} {error}") from None
    except Exception as error:  # a damaged file can raise anything
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{shown} does not name {NAME}'s {CLASSES} fine classes ({type(error).__name__}: {why}); "
            "fetch the archive again"
        ) from None
    return names


def _python(files: Listing, name: str, work: Path) -> Slice:
    """Convert a pickled batch to a binary one in the folder `work`; the coarse labels become zeros."""
    labels, planes = unpickled_batch(name, read_bytes(part(files, name, NAME)), b"fine_labels", CLASSES, NAME)
    coarse = np.zeros_like(labels)
    return laid_out(work, name, np.concatenate([coarse[:, None], labels[:, None], planes], axis=1).tobytes())
