"""Files that are there whole or not at all, even after a power cut."""

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

FORMAT = 1  # of the JSON records that are signed
LARGEST = 1 << 30  # bytes of a file that is read whole


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to. It is at `path` in the end, or not at all where something is raised meanwhile."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:  # a failed write does not say of which file
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)
    sync(path.parent)


def write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write a file whole or not at all, and return its SHA-256."""
    total = hashlib.sha256()
    with atomic_file(path) as file:
        for piece in pieces:
            file.write(piece)
            total.update(piece)
    return total.hexdigest()


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """Return the bytes of a file; raise OSError also for a pipe or a device, which may never end, and for too many."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and at most {most} make sense", str(path))
    return path.read_bytes()


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file of any size, or None for a pipe, a device or a folder; raises OSError."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """Return `value` as a JSON file's bytes; names that are not UTF-8 are escaped."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def parse_json(data: bytes) -> Any:
    """Return the value of a JSON file's bytes; raise ValueError where they are not JSON, or nested beyond all use."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def sign(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its format and a checksum over all of it: against bits that turn, not against people."""
    record = {"format": FORMAT} | record
    return record | {"signature": checksum(record)}


def read_signed(path: Path) -> dict[str, Any]:
    """Read a record that `sign` made; raises OSError where it cannot be read, and as `check_signed` does."""
    return check_signed(path, read_bytes(path))


def check_signed(path: Path, data: bytes) -> dict[str, Any]:
    """Return the record in the bytes of a file, without what `sign` added; also one from before there were formats.

    Raises ValueError where a bit of it has changed, and InputError for one of a newer alexnet.
    """
    record = parse_json(data)
    if not isinstance(record, dict):
        raise ValueError("no record")
    signature = record.pop("signature", None)
    if ("format" in record or signature is not None) and signature != checksum(record):
        raise ValueError("altered")
    form = record.pop("format", FORMAT)
    if form != FORMAT:
        raise InputError(f"{path} has format {form}, of a newer alexnet, and this one reads {FORMAT}; install that")
    return record


def checksum(record: dict[str, Any]) -> str:
    """Return the SHA-256 over all that a record says."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def lock_file(path: Path, words: str) -> contextlib.AbstractContextManager[Any]:
    """Hold the file at `path`, made where it is missing, until what is returned is left or this process ends.

    The system lets go however the process ends, so that a file left behind holds nobody up.

    Args:
        path: the file to hold; it stays there.
        words: the line to raise while another process holds it.

    Returns:
        A context manager. The file is held from now on, and until the context is left.

    Raises:
        InputError: another process holds the file, or the file system has no locks.
        OSError: there can be no such file.
    """
    import filelock  # takes 70 ms, which a process that only reads or writes files need not wait for

    if sys.platform != "win32" and not filelock.has_fcntl:
        return _hold_by_existence(path, words)
    for _ in range(100):  # it is removed again and again only where another process starts and ends as often
        path.parent.mkdir(parents=True, exist_ok=True)
        # FileNotFoundError: who held it has removed it, perhaps its folder too.
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as closing:
            file = closing.enter_context(path.open("ab"))
            try:
                held = filelock.lock_descriptor(file.fileno(), blocking=False)
            except OSError as error:
                raise InputError(
                    f"{path.parent} lies on a file system without locks ({error.strerror}), where two processes could "
                    "work at once; take another, or mount it with flock"
                ) from None
            if not held:
                raise InputError(words)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                closing.pop_all()
                return file
    raise InputError(words)


def _hold_by_existence(path: Path, words: str) -> contextlib.AbstractContextManager[Any]:
    """Do as lock_file on a system without locks, by a file that names its process and is removed in the end."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.SoftFileLock(path, timeout=0, thread_local=False).acquire()
    except filelock.Timeout:
        raise InputError(words) from None
