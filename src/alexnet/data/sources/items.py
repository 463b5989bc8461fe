"""Pictures given from Python: any iterable of (picture, label), (picture, label, split) or with a weight as well."""

import hashlib
import operator
import os
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.images.decode import upright_rgb
from alexnet.data.images.limits import MOST_BYTES, UnreadablePicture
from alexnet.data.sources.archives import FilePart, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Source, open_upright
from alexnet.data.sources.class_folders import SPLITS
from alexnet.data.sources.label_values import checked_label, checked_weight, quote
from alexnet.data.sources.labelled import Labelled

STAGED = "items.bin"  # in the work folder: the pixels and bytes of the items


@dataclass(frozen=True, slots=True)
class Pixels(Slice):
    """`height` x `width` x 3 bytes of RGB in a file."""

    height: int
    width: int


def open_item(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Open pixels as a picture, or decode a picture file."""
    if not isinstance(place, Pixels):
        return open_upright(place)
    return Image.frombytes("RGB", (place.width, place.height), read_bytes(place)), []


def read_items(items: Iterable[Any], work: Path, root: str | Path | None = None) -> Source:
    """Read pictures, labels and splits from an iterable, one item at a time.

    Pixels and bytes go to a file in the folder `work`, so that memory holds one picture at a time. Files named by path
    stay where they are. A picture's name is its path without the folders that all paths share; without a path it is
    "item-0000012", after the item's index.

    Args:
        items: an iterable of (picture, label), (picture, label, split) or (picture, label, split, weight).
        work: a folder for the pixels.
        root: the folder that relative paths start from; None means the current one.

    Raises:
        InputError: an item cannot be used; the message names its index.
        WorkFailed: the folder cannot be written.
    """
    try:
        iterator = iter(items)
    except TypeError:
        raise InputError(
            f"the source is of type {type(items).__name__}; give a path, or an iterable of (picture, label)"
        ) from None
    collected, base, folders = Labelled(), os.path.abspath(root or ""), set[str]()
    work.mkdir(parents=True, exist_ok=True)
    with (work / STAGED).open("wb") as file:
        staged = _Staged(file)
        for index, item in enumerate(iterator):
            at = f"item {index}"
            picture, label, split, weight = _parts(item, at)
            if isinstance(picture, str | os.PathLike):
                name, place = _file(picture, base, at)
                folders.add(os.path.dirname(name))
            else:
                name, place = f"item-{index:07d}", staged.add(picture, at)
            collected.add(name, label, place, at=at, number=index, split=split, weight=weight)
        staged.close()
    if folders:
        collected.rename(os.path.join(os.path.commonpath(folders), ""))
    return collected.source("items", open_item, "the source", staged.content.hexdigest() if staged.size else "")


def _parts(item: Any, at: str) -> tuple[Any, str, str | None, float]:
    """Check an item and return its picture, label, split and weight."""
    if not isinstance(item, tuple | list) or not 2 <= len(item) <= 4:
        of = f" of {len(item)}" if isinstance(item, tuple | list) else ""
        raise InputError(f"{at} is a {type(item).__name__}{of}; give (picture, label[, split[, weight]])")
    picture, label, split, weight = [*item, None, None][:4] if len(item) < 4 else item
    if not isinstance(label, str | bool):
        with suppress(TypeError, ValueError):
            label = operator.index(label)  # NumPy's and PyTorch's integers too
    known = SPLITS.get(split.strip().lower()) if isinstance(split, str) else None
    if split is not None and known is None:
        raise InputError(f"{at}: the split is {quote(split)}; give 'train', 'val' or 'test'")
    return picture, checked_label(label, at), known, 1.0 if weight is None else checked_weight(weight, at)


def _file(path: str | os.PathLike[str], base: str, at: str) -> tuple[str, Slice]:
    """Return a picture file's absolute path and its place."""
    name = os.path.normpath(os.path.join(base, os.fspath(path)))
    try:
        status = os.stat(name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{at}: cannot open the picture {quote(str(path))}: {why}; check the path") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{at}: the picture {quote(str(path))} is not a plain file; give a file")
    return name, Slice(name, 0, status.st_size)


class _Staged:
    """The file of pixels and bytes, and a hash of them all."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.content = file, 0, hashlib.sha256()

    def add(self, picture: Any, at: str) -> Slice:
        """Append a picture and return its place; raise InputError if it is of an unknown type or too large."""
        if isinstance(picture, bytes | bytearray | memoryview):
            return self._written(bytes(picture), (), at)
        if isinstance(picture, Image.Image):
            try:
                picture = np.asarray(upright_rgb(picture))
            except UnreadablePicture as error:
                raise InputError(f"{at}: the picture cannot be used ({error}); convert it to RGB") from None
        elif (torch := sys.modules.get("torch")) and isinstance(picture, torch.Tensor):
            picture = picture.detach().cpu().numpy()
        if not isinstance(picture, np.ndarray):
            raise InputError(
                f"{at}: the picture is a {type(picture).__name__}; give a path, a PIL image, bytes, or a uint8 array "
                "or tensor of height x width x 3"
            )
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise InputError(
                f"{at}: the picture is {picture.dtype} of shape {picture.shape}; give uint8 of height x width x 3"
            )
        return self._written(picture.tobytes(), picture.shape[:2], at)

    def close(self) -> None:
        """Write what is still in memory."""
        self._write(self.file.close)

    def _write(self, call: Callable[..., object], *data: bytes) -> None:
        try:
            call(*data)
        except OSError as error:
            raise WorkFailed(
                f"cannot write {self.file.name}: {error.strerror or error}; make room and make the same call again"
            ) from None

    def _written(self, data: bytes, shape: tuple[int, ...], at: str) -> Slice:
        if len(data) > MOST_BYTES:
            raise InputError(f"{at}: the picture has {len(data)} bytes; the limit is {MOST_BYTES}: make it smaller")
        self.content.update(f"{shape}{len(data)}".encode())
        self.content.update(data)
        self._write(self.file.write, data)
        begin, self.size = self.size, self.size + len(data)
        return Pixels(self.file.name, begin, len(data), *shape) if shape else Slice(self.file.name, begin, len(data))
