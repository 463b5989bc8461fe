"""The CIFAR-10 source, as distributed, in its binary or Python form; the test batch becomes the val split."""

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
from alexnet.data.sources.base import Picture, Source
from alexnet.data.store import Class

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # bytes: the label, then the red, green and blue planes
BATCHES = {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "val": ("test_batch",)}
ALL_BATCHES = BATCHES["train"] + BATCHES["val"]

# The only globals in the distributed pickles; `_reconstruct` has moved between versions of NumPy.
_RECONSTRUCT = np.zeros(1).__reduce__()[0]
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, coding: text.encode("latin1") if coding == "latin1" else _no(coding),
}


def recognises(files: Listing) -> bool:
    """Return whether the first batch is there, in either form."""
    return "data_batch_1.bin" in files.places or "data_batch_1" in files.places


def read(files: Listing, work: Path) -> Source:
    """Read the six batches; prefer the binary form if both are there."""
    work.mkdir(parents=True, exist_ok=True)
    return (_binary if "data_batch_1.bin" in files.places else _python)(files, work)


def _binary(files: Listing, work: Path) -> Source:
    """Read the .bin batches in place, or copy them to the folder `work` if they are in a zip."""
    places = {}
    for name in ALL_BATCHES:
        place = _batch(files, name + ".bin")
        places[name] = place if isinstance(place, Slice) else _laid_out(work, name, read_bytes(place))
    return _source(places, len(files.places))


def _python(files: Listing, work: Path) -> Source:
    """Convert the pickled batches to binary ones in the folder `work`.

    Only arrays are unpickled: any global not in ALLOWED is refused, so no code in a pickle runs.
    """
    places = {}
    for name in ALL_BATCHES:
        labels, planes = _unpickled(name, read_bytes(_batch(files, name)))
        places[name] = _laid_out(work, name, np.concatenate([labels[:, None], planes], axis=1).tobytes())
    return _source(places, len(files.places))


def open_planes(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Read the 3,072 bytes at `place`, three planes of 32 x 32, as an RGB image."""
    planes = np.frombuffer(read_bytes(place), np.uint8).reshape(3, SIDE, SIDE)
    return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0))), []


def _laid_out(work: Path, name: str, batch: bytes) -> Slice:
    plain = work / f"{name}.bin"
    try:
        plain.write_bytes(batch)
    except OSError as error:
        raise WorkFailed(f"cannot write {plain}: {error.strerror}; make room and run the same command again") from None
    return Slice(str(plain), 0, len(batch))


def _source(batches: dict[str, Slice], files: int) -> Source:
    splits: dict[str, list[Picture]] = {}
    for split, names in BATCHES.items():
        splits[split] = []
        for name in names:
            place = batches[name]
            records = np.frombuffer(read_bytes(place), np.uint8)
            if place.size == 0 or place.size % RECORD:
                raise InputError(f"{name} has {place.size} bytes, not a multiple of {RECORD}; fetch it again")
            labels = records[::RECORD]
            if labels.max() >= len(CLASSES):
                raise InputError(f"{name} has the label {labels.max()}, but CIFAR-10's are 0 to 9; fetch it again")
            splits[split] += [
                Picture(f"{name}/{n:05d}", int(label), Slice(place.path, place.offset + n * RECORD + 1, RECORD - 1))
                for n, label in enumerate(labels)
            ]
    return Source("cifar-10", tuple(map(Class, CLASSES)), splits, open_planes, side=SIDE, ignored=files - len(batches))


def _batch(files: Listing, name: str) -> FilePart:
    if name not in files.places:
        raise InputError(f"CIFAR-10's {name} is missing; fetch the archive again")
    return files.places[name]


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise InputError(f"names the global {module}.{name}, which no CIFAR-10 batch needs; do not trust this file")
        return ALLOWED[module, name]


def _unpickled(name: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        _check_memo(data)
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        labels, planes = np.array([int(label) for label in batch[b"labels"]]), batch[b"data"]
        if planes.shape != (len(labels), RECORD - 1) or planes.dtype != np.uint8 or labels.min() < 0:
            raise ValueError("its arrays have the wrong shape or type")
    except InputError as error:
        raise InputError(f"{name} {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{name} is not a CIFAR-10 batch ({' '.join(str(error).split())}); fetch it again") from None
    if labels.max() >= len(CLASSES):
        raise InputError(f"{name} has the label {labels.max()}, but CIFAR-10's are 0 to 9; fetch it again")
    return labels.astype(np.uint8), planes


def _check_memo(data: bytes) -> None:
    """Raise ValueError for a huge memo index: the unpickler would allocate a memo of that size."""
    for opcode, argument, _ in pickletools.genops(data):
        if "PUT" in opcode.name and int(argument or 0) > len(data):
            raise ValueError(f"it has the memo index {argument} in {len(data)} bytes")


def _no(coding: str) -> bytes:
    raise InputError(f"uses the encoding {coding!r}, which no CIFAR-10 batch needs; do not trust this file")
