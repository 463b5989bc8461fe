"""Batches of the CIFAR sources: planes as pictures, and pickles of arrays that are read without running any code."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.sources.archives import FilePart, Listing, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture

SIDE = 32
PLANES = 3 * SIDE * SIDE  # bytes: the red, green and blue planes

# The only globals in the distributed pickles; `_reconstruct` has moved between versions of NumPy.
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, coding: text.encode("latin1") if coding == "latin1" else _no(coding),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise InputError(f"names the global {module}.{name}, which no CIFAR batch needs; do not trust this file")
        return ALLOWED[module, name]


def unpickled(data: bytes) -> Any:
    """Unpickle a file of a CIFAR data set, whose texts become bytes.

    Raises InputError, with words that follow the file's name, for any global but those of arrays. A damaged pickle can
    raise any other exception.
    """
    _check_memo(data)
    return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()


def unpickled_batch(name: str, data: bytes, key: bytes, classes: int, of: str) -> tuple[np.ndarray, np.ndarray]:
    """Unpickle one batch to its labels, uint8 (N,), and its planes, uint8 (N, 3072).

    Args:
        name: the file's name, for messages.
        data: its bytes.
        key: the key of the labels.
        classes: the number of classes.
        of: the name of the data set, for messages.

    Raises:
        InputError: the file is not such a batch, or has a label that is out of range.
    """
    try:
        batch = unpickled(data)
        labels, planes = np.array([int(label) for label in batch[key]]), batch[b"data"]
        if planes.shape != (len(labels), PLANES) or planes.dtype != np.uint8 or labels.min() < 0:
            raise ValueError("its arrays have the wrong shape or type")
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{name} is not a {of} batch ({' '.join(str(error).split())}); fetch it again") from None
    check_labels(name, labels, classes, of)
    return labels.astype(np.uint8), planes


def check_labels(name: str, labels: np.ndarray, classes: int, of: str) -> None:
    """Raise InputError for a label that is out of range."""
    if labels.max() >= classes:
        raise InputError(f"{name} has the label {labels.max()}, but {of}'s are 0 to {classes - 1}; fetch it again")


def pictures_of(name: str, place: Slice, before: int, classes: int, of: str) -> list[Picture]:
    """List the pictures of a binary batch: records of `before` bytes, the last of which is the label, and the planes.

    Raises InputError for a batch of another size, or a label that is out of range.
    """
    record = before + PLANES
    records = np.frombuffer(read_bytes(place), np.uint8)
    if place.size == 0 or place.size % record:
        raise InputError(f"{name} has {place.size} bytes, not a multiple of {record}; fetch it again")
    labels = records[before - 1 :: record]
    check_labels(name, labels, classes, of)
    return [
        Picture(f"{name}/{n:05d}", int(label), Slice(place.path, place.offset + n * record + before, PLANES))
        for n, label in enumerate(labels)
    ]


def laid_out(work: Path, name: str, batch: bytes) -> Slice:
    """Write a binary batch to the folder `work`; raise WorkFailed if there is no room."""
    work.mkdir(parents=True, exist_ok=True)
    plain = work / f"{name}.bin"
    try:
        plain.write_bytes(batch)
    except OSError as error:
        raise WorkFailed(f"cannot write {plain}: {error.strerror}; make room and run the same command again") from None
    return Slice(str(plain), 0, len(batch))


def binary_batch(files: Listing, name: str, of: str, work: Path) -> Slice:
    """Find a .bin batch, or copy it to the folder `work` if it is in a zip."""
    place = part(files, name + ".bin", of)
    return place if isinstance(place, Slice) else laid_out(work, name, read_bytes(place))


def part(files: Listing, name: str, of: str) -> FilePart:
    """Return the place of one file; raise InputError if it is missing."""
    if name not in files.places:
        raise InputError(f"{of}'s {name} is missing; fetch the archive again")
    return files.places[name]


def open_planes(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Read the 3,072 bytes at `place`, three planes of 32 x 32, as an RGB image."""
    planes = np.frombuffer(read_bytes(place), np.uint8).reshape(3, SIDE, SIDE)
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))), []


def _check_memo(data: bytes) -> None:
    """Raise ValueError for a huge memo index: the unpickler would allocate a memo of that size."""
    for opcode, argument, _ in pickletools.genops(data):
        if "PUT" in opcode.name and int(argument or 0) > len(data):
            raise ValueError(f"it has the memo index {argument} in {len(data)} bytes")


def _no(coding: str) -> bytes:
    raise InputError(f"uses the encoding {coding!r}, which no CIFAR batch needs; do not trust this file")
