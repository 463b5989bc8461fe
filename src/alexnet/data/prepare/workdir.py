"""The folder STORE.part, where a store is made: whose it is, which shards are done, and what became of them."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import digest, lock_file, read_signed, sign, write, write_json
from alexnet.data.prepare.plan import PreparePlan

LOCK = ".lock"  # in the work folder: held by the process that works there
CLAIM = "work.json"  # and what makes it a work folder, of which plan


@dataclass(frozen=True)
class Record:
    """What became of one shard: each stored picture's label, size, CRC-32 and name, and notes on the others."""

    split: str
    file: str
    bytes: int
    sha256: str
    labels: list[int]
    sizes: list[int]
    crc32: list[int]
    names: list[str]
    notes: list[dict[str, Any]]


@contextmanager
def held_by_this_process(part: Path, what: str) -> Iterator[None]:
    """Hold the work folder of `what`, made where it is missing, against every other process.

    Raises InputError while another one holds it, and where it is no work folder.
    """
    with writing(part):
        if _is_foreign(part):
            raise InputError(f"{str(part)!r} is needed for the work and holds something else; move it away")
        lock = lock_file(part / LOCK, f"{what} is being prepared by another process; wait for it, or stop it")
    with lock:
        yield


def _is_foreign(part: Path) -> bool:
    """Whether the work folder holds what no run of `prepare` has put there."""
    return part.exists() and not {LOCK, CLAIM} & (names := set(os.listdir(part))) and bool(names)


def claim(part: Path) -> None:
    """Mark the folder as one of work, or take up that of an interrupted run and clear what was cut short there."""
    with writing(part):
        if not (part / CLAIM).exists():
            _empty(part)  # of what a run was about to remove
            write_json(part / CLAIM, sign({"plan": None}))
        for folder in (part / "store", part / "records"):
            folder.mkdir(exist_ok=True)
        for left in part.rglob("*.tmp"):
            left.unlink(missing_ok=True)  # a worker of a killed run may be about to leave


def clear(part: Path) -> None:
    """Remove the work folder, as far as that can be; killed here, it leaves nothing that would count as work done."""
    with suppress(OSError):
        _empty(part)
        (part / CLAIM).unlink(missing_ok=True)
        (part / LOCK).unlink()
        part.rmdir()


def _empty(part: Path) -> None:
    """Remove all but what says whose the folder is."""
    for path in part.iterdir():
        if path.name in (CLAIM, LOCK):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def planned(part: Path) -> bool:
    """Return whether the work there was begun."""
    return _plan(part) is not None


def _plan(part: Path) -> Any:
    try:
        return read_signed(part / CLAIM).get("plan")
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{part / CLAIM} is damaged; remove {str(part)!r} to begin anew") from None


def resumed(part: Path, work: PreparePlan) -> set[str]:
    """Return the files of the shards that are done already; raise InputError for another plan's."""
    if _plan(part) not in (None, work.digest):
        raise InputError(
            f"{str(part)!r} was begun from another source, with other options or another Pillow; "
            "repeat that command to go on, or remove the folder to begin anew"
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
    if path.stat().st_size != record.bytes or record.split == "train":  # whose every record the sums read, and check
        return path.stat().st_size == record.bytes
    return digest(path) == record.sha256


def note(part: Path, record: Record) -> None:
    """Keep what became of a shard, whose file is written."""
    data = json.dumps(vars(record)).encode()
    write(note_of(part, record.file), [data, b"\n", hashlib.sha256(data).hexdigest().encode()])


def _noted(part: Path, file: str) -> Record | None:
    """What became of a shard, unless it is not done, or its note no longer the one that was written."""
    with suppress(FileNotFoundError):
        data, _, total = note_of(part, file).read_bytes().rpartition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() == total:
            return Record(**json.loads(data))
    return None


def record(part: Path, file: str) -> Record:
    """Return what became of a shard; raise WorkFailed if its note is no longer the one that was written."""
    if found := _noted(part, file):
        return found
    raise altered(note_of(part, file))


def note_of(part: Path, file: str) -> Path:
    """Return where the note of a shard lies."""
    return part / "records" / (file.replace("/", "-") + ".json")


def altered(path: Path) -> WorkFailed:
    """Return what to raise for a file there that has changed."""
    return WorkFailed(
        f"{path} is no longer what was written there, so its disk may be failing; "
        "run the same command again to make that part anew"
    )


@contextmanager
def writing(part: Path) -> Iterator[None]:
    """Raise WorkFailed in the place of an OSError: the work can go on when that is mended."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{part.name[:60]!r}... is too long a name for this disk; give a shorter one") from None
        raise WorkFailed(
            f"cannot write {error.filename or part}: {error.strerror or error}; what is done is kept: "
            "mend that and run the same command again to go on"
        ) from None
