"""The file format of a store: encoding and decoding of pictures, reading of small files, and errors for damage."""

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
    """Encode a picture (uint8, side x side x 3) as a store's record: its raw bytes, or a JPEG of quality 90, 4:2:0."""
    if format == "raw":
        return picture.tobytes()
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90, subsampling="4:2:0")
    return out.getvalue()


def unpack(record: np.ndarray, format: Format, out: np.ndarray, fast: bool = FAST) -> np.ndarray:
    """Decode a store's record (uint8) into `out` (uint8, side x side x 3); `fast` may use simplejpeg for JPEGs."""
    if format == "raw":
        out[...] = record.reshape(out.shape)
    elif not (fast and unpack_jpeg(record, "RGB", out)):
        with Image.open(io.BytesIO(record.data), formats=("JPEG",)) as image:
            if image.size != out.shape[1::-1]:  # checked before decoding, which may take much memory
                raise ValueError(f"{image.size} pixels")
            out[...] = np.asarray(image)
    return out


def read_trusted(folder: Path, part: dict[str, Any]) -> bytes:
    """Read one of the small files; raise InputError if it is missing or its SHA-256 differs."""
    path = folder / part["file"]
    try:
        data = path.read_bytes() if path.is_file() else None  # reading a pipe would wait forever
    except OSError as error:
        raise unreadable(path, error) from None
    if data is None or hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise damage(folder, part["file"])
    return data


def damage(folder: Path, file: str, place: str = "") -> InputError:
    """Make the error for a file whose content has changed since it was stored."""
    return InputError(
        f"{folder / file} is missing or damaged{place}; 'alexnet verify {folder}' lists all such files; "
        "prepare the store again"
    )


def unreadable(path: Path, error: OSError) -> InputError:
    """Make the error for a file that cannot be read now; its content may be intact."""
    return InputError(f"cannot read {path}: {error.strerror or error}; fix that and try again: the file may be intact")
