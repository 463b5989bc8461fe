"""Files that exist whole or not at all, even after a power cut; signed records; locks."""

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from alexnet.core.errors import InputError

FORMAT = 1  # version of the signed JSON records
LARGEST = 1 << 30  # bytes of the largest file that is read whole


def user_cache() -> Path:
    """Return the folder of alexnet in the user's cache; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing. It becomes `path` when the block ends, and is removed if the block raises."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # the error of a write does not name the file
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file, whole or not at all, and return its SHA-256."""
    total = hashlib.sha256()
    with atomic_file(path) as file:
        for piece in pieces:
            file.write(piece)
            total.update(piece)
    return total.hexdigest()


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """Read a whole file. Raise OSError also for a pipe or a device, which may never end, and for over `most` bytes."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes; the limit is {most}", str(path))
    return path.read_bytes()


def digest(path: Path) -> str | None:
    """Compute the SHA-256 of a file of any size; None for a pipe, a device or a folder. Raise OSError if unreadable."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(folder: Path) -> None:
    """Flush a folder to disk, so that a rename in it lasts. Some systems cannot open a folder, and need not."""
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
    """Encode `value` as the bytes of a JSON file; names that are not UTF-8 are escaped."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def parse_json(data: bytes) -> Any:
    """Decode the bytes of a JSON file. Raise ValueError if they are not JSON, or are nested too deeply."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def sign(record: dict[str, Any]) -> dict[str, Any]:
    """Add the format and a checksum to a record. The checksum finds flipped bits; it does not stop forgers."""
    record = {"format": FORMAT} | record
    return record | {"signature": checksum(record)}


def read_signed(path: Path) -> dict[str, Any]:
    """Read a signed record from a file. Raise OSError if it cannot be read, and whatever `check_signed` raises."""
    return check_signed(path, read_bytes(path))


def check_signed(path: Path, data: bytes) -> dict[str, Any]:
    """Decode a signed record, check it, and return it without what `sign` added.

    Records that are older than the format field pass too. Raise ValueError if a bit has changed, and InputError if a
    newer alexnet wrote the record.
    """
    record = parse_json(data)
    if not isinstance(record, dict):
        raise ValueError("not a record")
    signature = record.pop("signature", None)
    if ("format" in record or signature is not None) and signature != checksum(record):
        raise ValueError("altered")
    form = record.pop("format", FORMAT)
    if form != FORMAT:
        raise InputError(f"{path} has format {form}, and this alexnet reads format {FORMAT}; install a newer alexnet")
    return record


def checksum(record: dict[str, Any]) -> str:
    """Compute the SHA-256 of a record's content."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def lock_file(path: Path, words: str) -> contextlib.AbstractContextManager[Any]:
    """Lock the file at `path` until the returned context ends, or this process does.

    The operating system releases the lock however the process ends, so a leftover lock file blocks nobody.

    Args:
        path: The file to lock. It is created if missing, and stays.
        words: The message of the InputError that is raised while another process holds the lock.

    Returns:
        A context manager. The lock is held from now on, until the context ends.

    Raises:
        InputError: Another process holds the lock, or the file system has no locks.
        OSError: The file cannot be created.
    """
    import filelock  # takes 70 ms; a process that only reads or writes files need not wait for it

    if sys.platform != "win32" and not filelock.has_fcntl:
        return _hold_by_existence(path, words)
    for _ in range(100):  # one round is enough, unless another process keeps removing the file
        path.parent.mkdir(parents=True, exist_ok=True)
        # FileNotFoundError: the last holder has just removed the file, perhaps with its folder.
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as closing:
            file = closing.enter_context(path.open("ab"))
            try:
                held = filelock.lock_descriptor(file.fileno(), blocking=False)
            except OSError as error:
                raise InputError(
                    f"{path.parent} is on a file system without locks ({error.strerror}), so two processes could "
                    "work in it at once; choose another folder, or mount the file system with flock"
                ) from None
            if not held:
                raise InputError(words)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                closing.pop_all()
                return file
    raise InputError(words)


def _hold_by_existence(path: Path, words: str) -> contextlib.AbstractContextManager[Any]:
    """Do what lock_file does on a system without locks, with a file that names its process and goes at the end."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.SoftFileLock(path, timeout=0, thread_local=False).acquire()
    except filelock.Timeout:
        raise InputError(words) from None
