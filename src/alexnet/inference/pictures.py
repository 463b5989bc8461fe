"""List, check and read the pictures that a user gives to `predict`, `features` and `similar`."""

import os
import re
import shlex
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from alexnet.core.errors import InputError
from alexnet.core.text import describe
from alexnet.data.images.decode import decode, upright_rgb
from alexnet.data.images.formats import KNOWN
from alexnet.data.images.limits import MOST_BYTES, UnreadablePicture
from alexnet.data.images.resize import Fit, square
from alexnet.data.sources.archives import Slice, list_files, read
from alexnet.data.sources.class_folders import first_taken
from alexnet.data.store import Split, Store, labels

PictureLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor | bytes
PicturesLike = PictureLike | Iterable[PictureLike]
PictureSource = Store | PicturesLike
BYTES = (bytes, bytearray, memoryview)
TAKES = "a path, a PIL image, a file's bytes, or a uint8 array or tensor (H, W, 3)"
STANDARD_INPUT = ("-", "/dev/stdin")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class Stored:
    """A picture of a store: its split, its index there, and its class."""

    split: Split
    index: int
    label: str


Pixels = Path | bytes | Image.Image | np.ndarray | Stored


class Given(NamedTuple):
    """A picture to read: its name in the results, and the source of its pixels."""

    name: str
    source: Pixels


def list_pictures(pictures: PicturesLike) -> list[Given]:
    """List the pictures with their names: the path, or "picture N" for the picture at index N if it is not a file.

    A folder means the files in it that `prepare` would read, with any suffix. Links are followed. Hidden files and
    files of the operating system are left out.

    Args:
        pictures: A path of a file or a folder, a PIL image, a file's bytes, a uint8 array or tensor (H, W, 3), or an
            iterable of any of these. An array or tensor (N, H, W, 3) is N pictures.

    Raises:
        InputError: A picture has another type, a path does not exist, or a folder holds no pictures.
    """
    return [given for number, picture in enumerate(_each(pictures)) for given in _list(picture, f"picture {number}")]


def open_store(source: PictureSource) -> Store | None:
    """Open the source if it is a store or its folder; return None for pictures."""
    if isinstance(source, Store):
        return source
    is_folder = isinstance(source, (str, os.PathLike)) and is_store(Path(source))
    return Store(Path(source)) if is_folder else None  # type: ignore[arg-type]


def is_store(folder: Path) -> bool:
    """Return whether a folder holds a store."""
    return (folder / "meta.json").is_file()


def list_stored(store: Store, split: str | None) -> list[Given]:
    """List the pictures of a split of a store, by default the held-out one, with their classes.

    Raises InputError if the store lacks the split.
    """
    part, known = store[split or store.held_out], labels(store.classes)
    return [Given(name, Stored(part, i, known[part.labels[i]])) for i, name in enumerate(part.names)]


def read_picture(source: Pixels, side: int, fit: Fit = "crop") -> np.ndarray | str:
    """Read a picture as a square, uint8 (side, side, 3); return the reason if it cannot be read.

    `fit` says how, as for `prepare`: "crop" takes the central square, "pad" and "warp" the whole picture.
    """
    try:
        if isinstance(source, Stored):
            return source.split[source.index][0]
        return square(_decode(source), side, fit)
    except UnreadablePicture as error:
        return str(error)
    except MemoryError:
        return "not enough memory to read it"
    except OSError as error:
        return error.strerror or str(error)


def _each(pictures: Any) -> Iterable[Any]:
    if isinstance(pictures, (np.ndarray, Tensor)):
        return pictures if pictures.ndim == 4 else [pictures]
    one = isinstance(pictures, (str, os.PathLike, *BYTES, Mapping)) or hasattr(pictures, "read")  # an open file
    return [pictures] if one or not isinstance(pictures, Iterable) else pictures


def _list(picture: Any, name: str) -> Iterator[Given]:
    if isinstance(picture, (str, os.PathLike)):
        yield from _files(os.fsdecode(picture))
    elif isinstance(picture, BYTES):
        yield Given(name, bytes(picture))
    elif isinstance(picture, Image.Image):
        yield Given(name, picture)
    else:
        pixels = picture.detach().cpu().numpy() if isinstance(picture, Tensor) else picture
        shaped = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3
        if not shaped or pixels.shape[2] != 3:
            raise InputError(f"{name} must be {TAKES}, not {describe(picture)}")
        yield Given(name, pixels)


def _files(path: str) -> Iterator[Given]:
    """List a file, or the files of a folder."""
    if path in STANDARD_INPUT:
        yield Given("-", _standard_input())
        return
    if URL.match(path) and not os.path.exists(path):
        raise InputError(
            f"picture {path} is a URL, and alexnet fetches nothing; save it to a file, or pipe it: "
            f"curl -L {shlex.quote(path)} | alexnet predict RUN -"
        )
    if not os.path.exists(path):
        raise InputError(f"picture {path} does not exist")
    folder = Path(path)
    if not folder.is_dir():
        yield Given(str(folder), folder)
        return
    if is_store(folder):
        raise InputError(f"{path} is a store, not a folder of pictures; give predict or features that store alone")
    inside = list_files(folder, folder).places.values()
    found, reason = first_taken(inside)
    if found is None:
        words = f" (its first file: {reason})" if reason else ""
        raise InputError(f"folder {path} holds no pictures{words}; it needs files of type {KNOWN}")
    yield from (Given(str(place.path), Path(place.path)) for place in inside)


def _standard_input() -> bytes:
    """Read a picture's file from standard input; one that is too large is cut, so that `decode` refuses it."""
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input (-) is a terminal; pipe a picture's file into it: ... < picture.jpg")
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def _decode(source: Path | bytes | Image.Image | np.ndarray) -> Image.Image:
    """Decode a whole picture as upright RGB."""
    if isinstance(source, Path):
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise UnreadablePicture("not a plain file")
        source = read(Slice(str(source), 0, status.st_size))
    if isinstance(source, bytes):
        return decode(source)[0]
    if not all(source.size if isinstance(source, Image.Image) else source.shape):
        raise UnreadablePicture("empty: it has no pixels")
    return upright_rgb(source) if isinstance(source, Image.Image) else Image.fromarray(source)
