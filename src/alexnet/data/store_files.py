"""The files of a store: how a picture becomes a record, how the small files are read, and what damage is called."""

import hashlib
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.images.decode import FAST, unpack_jpeg

Format = Literal["raw", "jpeg"]


def pack(picture: np.ndarray, format: Format) -> bytes:
    """Return a picture (uint8, side x side x 3) as a store's record: its bytes, or a JPEG of quality 90, 4:2:0."""
    if format == "raw":
        return picture.tobytes()
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90, subsampling="4:2:0")
    return out.getvalue()


def unpack(record: np.ndarray, format: Format, out: np.ndarray, fast: bool = FAST) -> np.ndarray:
    """Write a store's record (uint8) as its picture into `out` (uint8, side x side x 3); `fast`: as decode's."""
    if format == "raw":
        out[...] = record.reshape(out.shape)
    elif not (fast and unpack_jpeg(record, "RGB", out)):
        with Image.open(io.BytesIO(record.data), formats=("JPEG",)) as image:
            if image.size != out.shape[1::-1]:  # before any pixel is decoded
                raise ValueError(f"{image.size} pixels")
            out[...] = np.asarray(image)
    return out


def read_trusted(folder: Path, part: dict[str, Any]) -> bytes:
    """Return the bytes of one of the small files, if they are those that were stored; raises InputError."""
    path = folder / part["file"]
    try:
        data = path.read_bytes() if path.is_file() else None  # a pipe would be waited for
    except OSError as error:
        raise unreadable(path, error) from None
    if data is None or hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise damage(folder, part["file"])
    return data


def damage(folder: Path, file: str, place: str = "") -> InputError:
    """Return what to raise for a file whose content is not what was stored."""
    return InputError(
        f"{folder / file} is missing or damaged{place}; 'alexnet verify {folder}' lists what is, then prepare it again"
    )


def unreadable(path: Path, error: OSError) -> InputError:
    """Return what to raise for a file that cannot be read now, which says nothing about its content."""
    return InputError(f"{path} cannot be read: {error.strerror or error}; mend that, its content may be whole")
