"""Files that are there whole or not at all, even after a power cut."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file whole or not at all; returns its SHA-256."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    total = hashlib.sha256()
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                total.update(piece)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # a failed write does not say of which file
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)
    return total.hexdigest()


def sync(folder: Path) -> None:
    """Make a rename last; some systems cannot open a folder, and need not."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as a JSON file, whole or not at all."""
    write(path, [json_bytes(value)])


def json_bytes(value: Any) -> bytes:
    """`value` as a JSON file's bytes; names that are not UTF-8 are escaped."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
