"""The work folder STORE.part: its lock, its plan, and the records of finished shards."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import digest, lock_file, read_signed, sign, write, write_json
from alexnet.data.prepare.plan import PreparePlan

LOCK = ".lock"  # in the work folder; the process that works there holds it
CLAIM = "work.json"  # in the work folder; marks it as one and holds the digest of its plan


@dataclass(frozen=True)
class Record:
    """The outcome of one shard: label, size, CRC-32 and name of each stored picture, and notes on other pictures.

    `weights` has the weight of each stored picture, or nothing if all are 1.
    `outside` has the share of each picture's area that lies outside its central square.
    """

    split: str
    file: str
    bytes: int
    sha256: str
    labels: list[int]
    sizes: list[int]
    crc32: list[int]
    names: list[str]
    notes: list[dict[str, Any]]
    weights: list[float] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)  # in thousandths; 0.1.0 did not note it


@contextmanager
def held_by_this_process(part: Path, what: str) -> Iterator[None]:
    """Lock the work folder of `what` against other processes, and create it if needed.

    Raises InputError if another process holds the lock, or if the folder is not a work folder.
    """
    with writing(part):
        if _is_foreign(part):
            raise InputError(f"{str(part)!r} is needed for the work but has other files in it; move it away")
        lock = lock_file(part / LOCK, f"{what} is being prepared by another process; wait for it, or stop it")
    with lock:
        yield


def _is_foreign(part: Path) -> bool:
    """Return whether the folder has files but is not a work folder of `prepare`."""
    return part.exists() and not {LOCK, CLAIM} & (names := set(os.listdir(part))) and bool(names)


def claim(part: Path) -> None:
    """Mark the folder as a work folder, or take over that of an interrupted run and remove its unfinished files."""
    with writing(part):
        if not (part / CLAIM).exists():
            _empty(part)  # an earlier run was removing these files
            write_json(part / CLAIM, sign({"plan": None}))
        for folder in (part / "store", part / "records"):
            folder.mkdir(exist_ok=True)
        for left in part.rglob("*.tmp"):
            left.unlink(missing_ok=True)  # a worker of a killed run may still be ending and remove it first


def clear(part: Path) -> None:
    """Remove the work folder if possible; killed in the middle, this leaves nothing that counts as finished work."""
    with suppress(OSError):
        _empty(part)
        (part / CLAIM).unlink(missing_ok=True)
        (part / LOCK).unlink()
        part.rmdir()


def _empty(part: Path) -> None:
    """Remove everything except the lock and the claim."""
    for path in part.iterdir():
        if path.name in (CLAIM, LOCK):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def planned(part: Path) -> bool:
    """Return whether work has begun there."""
    return _plan(part) is not None


def _plan(part: Path) -> Any:
    try:
        return read_signed(part / CLAIM).get("plan")
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{part / CLAIM} is damaged; remove {str(part)!r} to start over") from None


def resumed(part: Path, work: PreparePlan) -> set[str]:
    """Return the files of the finished shards; raise InputError if the folder belongs to another plan."""
    if _plan(part) not in (None, work.digest):
        raise InputError(
            f"{str(part)!r} was begun from another source, with other options or another version of Pillow "
            "or pillow-heif; repeat that command to resume, or remove the folder to start over"
        )
    write_json(part / CLAIM, sign({"plan": work.digest}))
    for split in {shard.split for shard in work.shards}:
        (part / "store" / split).mkdir(exist_ok=True)
    done = set()
    for shard in work.shards:
        noted, path = _noted(part, shard.file), part / "store" / shard.file
        if noted and (not noted.sizes or (path.exists() and _is_whole(path, noted))):
            done.add(shard.file)
    return done


def _is_whole(path: Path, record: Record) -> bool:
    # Only the size of a train shard is checked here: the sums read it later and check every record.
    if path.stat().st_size != record.bytes or record.split == "train":
        return path.stat().st_size == record.bytes
    return digest(path) == record.sha256


def note(part: Path, record: Record) -> None:
    """Write the record of a shard, after the shard itself."""
    data = json.dumps(vars(record)).encode()
    write(note_of(part, record.file), [data, b"\n", hashlib.sha256(data).hexdigest().encode()])


def _noted(part: Path, file: str) -> Record | None:
    """Read the record of a shard, or return None if it is not finished or its record is damaged."""
    with suppress(FileNotFoundError):
        data, _, total = note_of(part, file).read_bytes().rpartition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() == total:
            return Record(**json.loads(data))
    return None


def record(part: Path, file: str) -> Record:
    """Read the record of a finished shard; raise WorkFailed if it is damaged."""
    if found := _noted(part, file):
        return found
    raise altered(note_of(part, file))


def note_of(part: Path, file: str) -> Path:
    """Return the path of a shard's record."""
    return part / "records" / (file.replace("/", "-") + ".json")


def altered(path: Path) -> WorkFailed:
    """Make the error for a file there that has changed since it was written."""
    return WorkFailed(
        f"{path} has changed since it was written, so its disk may be failing; "
        "run the same command again to redo that part"
    )


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """Turn an OSError into WorkFailed: the work can resume when the cause is fixed."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"the name {part.name[:60]!r}... is too long for this disk; use a shorter one") from None
        raise WorkFailed(
            f"cannot write {error.filename or part}: {error.strerror or error}; finished shards are kept: "
            "fix the cause and run the same command again to resume"
        ) from None
