"""Preparation of a store, shard by shard, on all cores; it resumes after any interruption."""

import json
import os
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL
from safetensors.numpy import save

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import sync, write
from alexnet.core.process_pool import process_pool, set_current_task
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import Fit, compiled_form, outside, square
from alexnet.data.prepare import workdir
from alexnet.data.prepare.duplicates import FILE, Duplicates, hasher, hashes, look
from alexnet.data.prepare.plan import PreparePlan, Shard, plan_shards
from alexnet.data.prepare.statistics import Sums, statistics, sums
from alexnet.data.prepare.workdir import Record
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import FORMAT, SIDES, class_records, content_digest, own_checksum
from alexnet.data.store_files import Format, pack, unpack


@dataclass(frozen=True)
class Summary:
    """The result of `prepare`. The file prepare.jsonl in the store names each picture that was refused or converted.

    Attributes:
        store: Folder of the store.
        kind: Kind of the source, such as "folders".
        side: Side of every picture, in pixels.
        format: "raw" or "jpeg".
        classes: Number of classes.
        pictures: Number of stored pictures by split.
        refused: Number of refused pictures by reason.
        converted: Number of converted pictures by reason; a picture may count for several.
        ignored: Number of files outside every split and class.
        left_out: Number of hidden files, system folders and ignored names, by reason.
        per_class: Number of stored pictures by class, then by split.
        bytes: Size of all shards.
        digest: Hash of the store's content.
        seconds: Time that the call took.
        cut_away: Share of each picture's area outside its central square: "median" and "p90" (0 to 1), and the number
            of "pictures" and of those that lose "over_quarter"; None if the whole pictures were fitted.
        duplicates: Counts of "identical" and "near" pictures (None if they were not looked for), and the number of
            lines "listed" in the store's duplicates.jsonl; None with duplicates "off".
    """

    store: Path
    kind: str
    side: int
    format: Format
    classes: int
    pictures: dict[str, int]
    refused: dict[str, int]
    converted: dict[str, int]
    ignored: int
    left_out: dict[str, int]
    per_class: dict[str, dict[str, int]]
    bytes: int
    digest: str
    seconds: float
    cut_away: dict[str, Any] | None = None
    duplicates: dict[str, Any] | None = None


def prepare(
    source: str | Path | Iterable[Any],
    store: str | Path,
    *,
    side: int | None = None,
    format: Format | None = None,
    fit: Fit = "crop",
    val_fraction: float | None = None,
    jobs: int | None = None,
    seed: int = 0,
    ignore: str | Sequence[str] = (),
    root: str | Path | None = None,
    duplicates: Duplicates = "exact",
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Prepare a store from a source of pictures: resize each picture and cut out its centre (section 2).

    The work happens in the folder STORE.part, which becomes STORE at the end. After an interruption, call again with
    the same arguments to resume. Neither interruptions nor `jobs` change a byte of the store.

    Args:
        source: A folder, a .tar, a .tar.gz, a .zip, a table of labels, "builtin" or "builtin:N"; docs/data.md describes
            the layouts. Or an iterable of (picture, label), (picture, label, split) or (picture, label, split, weight).
            A picture is a path, a PIL image, the bytes of a picture file, or a uint8 array or tensor of height x width
            x 3; a label is a text or a whole number. Items are taken one at a time; their pixels go to STORE.part.
            To resume, give the same items again.
        store: Folder to create.
        side: Side of the stored pictures in pixels, 8 to 4096. None means 256, but 32 for CIFAR and 64 for Tiny
            ImageNet.
        format: "raw", or "jpeg" for JPEGs of quality 90. None means "raw", but "jpeg" for ILSVRC.
        fit: "crop" cuts out the central square, as the paper does; "pad" centres the whole picture on gray (128, 128,
            128); "warp" squeezes the whole picture into the square, as BVLC's nets in Caffe were trained.
        val_fraction: Fraction of each class to hold out as "val", 0 <= fraction < 1, for a source without a val split.
            None means 0.1, but 0 if the source has a test split.
        jobs: Number of worker processes, 1 or more; None means one per core. With 1, this process does the work, and
            there is no time limit per picture.
        seed: Seed for the choice of held-out pictures, 0 or more.
        ignore: A name, pattern ("*.xml") or path from the top of the source to leave out, or several of them.
        root: The folder that paths start from. None means the folder of the table of labels; for an iterable, the
            current folder.
        duplicates: What to look for in the stored pictures: "exact" counts identical ones, "near" near-identical ones
            too, which needs pdqhash (extra `near`), "off" none. The store's other files do not depend on it.
        progress: Function to call after each shard, with the number of finished pictures and the total.

    Returns:
        A `Summary` with counts by split and class, and of refused, converted and left-out files.

    Raises:
        InputError: An argument or the source cannot be used. For a table the message names the row, for an iterable the
            index of the item.
        WorkFailed: The store cannot be written, or a worker process died. Finished shards are kept.
    """
    started = time.monotonic()
    store = Path(store)
    _check(source, store, side, format, fit, val_fraction, jobs, seed)
    if duplicates not in get_args(Duplicates):
        raise InputError(f"--duplicates {duplicates!r} is not known; use off, exact or near")
    if duplicates == "near":
        hasher()
    part = store.with_name(store.name + ".part")
    with workdir.held_by_this_process(part, f"store {str(store)!r}"):
        if os.path.lexists(store):  # the process that held the lock has just made it
            workdir.clear(part)
            raise _there(store)
        workdir.claim(part)
        try:
            work = plan_shards(
                read_source(source, part, [ignore] if isinstance(ignore, str) else ignore, root),
                side=side,
                format=format,
                val_fraction=val_fraction,
                seed=seed,
                fit=fit,
            )
        except InputError:
            if not workdir.planned(part):
                workdir.clear(part)
            raise
        return _prepared(work, store, part, jobs, progress, started, duplicates)


def _prepared(
    work: PreparePlan,
    store: Path,
    part: Path,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
    started: float,
    looked_for: Duplicates,
) -> Summary:
    with workdir.writing(part):
        done = workdir.resumed(part, work)
        _check_room(part, work, done)
    if progress:
        progress(_tried(work, done), work.pictures)
    with process_pool(jobs, part) as parallel_map, _explaining_memory_errors():
        for file in parallel_map(_make_shard, [(part, shard) for shard in work.shards if shard.file not in done]):
            done.add(file)
            if progress:
                progress(_tried(work, done), work.pictures)
        _check_classes(part, work)
        total = Sums(0, np.zeros((work.side, work.side, 3), np.int64), np.zeros((3, 3), np.int64))
        hashed: dict[str, np.ndarray] = {}
        second = [shard for shard in work.shards if shard.split == "train" or looked_for == "near"]
        tasks = [(part, shard.file, shard.side, shard.format, looked_for == "near") for shard in second]
        for file, some, own in parallel_map(_sum_shard, tasks):
            hashed[file] = own
            total = total + some if some else total
    with workdir.writing(part):
        meta, outcomes = _finish(part, work, total)
        per_class, cut = _counted(part, work)
        twins = _find_duplicates(part, work, hashed if looked_for == "near" else None) if looked_for != "off" else None
        os.replace(part / "store", store)
    try:
        sync(store.parent)
    except OSError as error:
        raise WorkFailed(f"{store} is complete, but a power cut may lose it: {error.strerror or error}") from None
    finally:
        workdir.clear(part)
    return Summary(
        store=store,
        kind=work.kind,
        side=work.side,
        format=work.format,
        classes=len(work.classes),
        pictures={name: split["count"] for name, split in meta["splits"].items()},
        refused=dict(outcomes["refused"].most_common()),
        converted=dict(outcomes["converted"].most_common()),
        ignored=work.ignored,
        left_out=dict(work.left_out),
        per_class=per_class,
        bytes=sum(shard["bytes"] for split in meta["splits"].values() for shard in split["shards"]),
        digest=meta["digest"],
        seconds=time.monotonic() - started,
        cut_away=cut,
        duplicates=twins,
    )


def _counted(part: Path, work: PreparePlan) -> tuple[dict[str, dict[str, int]], dict[str, Any] | None]:
    """Count the pictures by class and split, and the share of each that the central square leaves out."""
    found: dict[str, dict[str, int]] = {
        c.name: dict.fromkeys(sorted({s.split for s in work.shards}), 0) for c in work.classes
    }
    shares = np.zeros(1001, np.int64)
    for shard in work.shards:
        record = workdir.record(part, shard.file)
        for label, number in Counter(record.labels).items():
            found[work.classes[label].name][shard.split] += number
        shares += np.bincount(record.outside, minlength=1001)
    return found, cut_away(shares) if work.fit == "crop" else None


def cut_away(shares: np.ndarray) -> dict[str, Any] | None:
    """Describe the shares of area that are cut away, from the number of pictures by share in thousandths (1001,)."""
    total, below = int(shares.sum()), shares.cumsum()
    if not total:
        return None  # a work folder of an older version has no shares
    median, p90 = (int(np.searchsorted(below, -(-total * of // 10))) / 1000 for of in (5, 9))
    return {"pictures": total, "median": median, "p90": p90, "over_quarter": total - int(below[250])}


def _find_duplicates(part: Path, work: PreparePlan, hashed: dict[str, np.ndarray] | None) -> dict[str, Any]:
    """Find identical and near-identical pictures, and list them in a file of the store if any are of note."""
    counts, lines = look(part, work, hashed)
    file = part / "store" / FILE
    if lines:
        write(file, (line.encode() for line in lines))
    elif file.exists():  # an interrupted run may have looked for others
        file.unlink()
    return counts | {"listed": len(lines)}


def _there(store: Path) -> InputError:
    return InputError(f"store {str(store)!r} already exists; choose another name or remove it")


def _check(
    source: str | Path | Iterable[Any],
    store: Path,
    side: int | None,
    format: str | None,
    fit: str,
    val_fraction: float | None,
    jobs: int | None,
    seed: int,
) -> None:
    if side is not None and side not in SIDES:
        raise InputError(f"side {side} is out of range; use {SIDES.start} to {SIDES.stop - 1} pixels")
    if format is not None and format not in get_args(Format):
        raise InputError(f"--format {format!r} is not known; use {' or '.join(get_args(Format))}")
    if fit not in get_args(Fit):
        raise InputError(f"--fit {fit!r} is not known; use crop, pad or warp")
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise InputError(f"val fraction {val_fraction} is out of range; use 0 or more and less than 1")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs {jobs} is out of range; use 1 or more")
    if seed < 0:
        raise InputError(f"seed {seed} is out of range; use 0 or more")
    if os.path.lexists(store):
        raise _there(store)
    if (
        isinstance(source, str | Path)
        and Path(source).is_dir()
        and store.resolve().is_relative_to(Path(source).resolve())
    ):
        raise InputError(f"store {str(store)!r} is inside its source {str(source)!r}; put it outside")


def _check_room(part: Path, work: PreparePlan, done: set[str]) -> None:
    """Raise WorkFailed before hours of work if the disk is too small for raw pixels, whose size is known."""
    if work.format == "raw":
        need = (work.pictures - _tried(work, done)) * work.side**2 * 3
        free = shutil.disk_usage(part).free
        if need > free:
            raise WorkFailed(
                f"{part} needs {need / 1e9:.1f} GB more, but its disk has only {free / 1e9:.1f} GB free; "
                "make room, or remove that folder and use --format jpeg"
            )


def _tried(work: PreparePlan, done: set[str]) -> int:
    return sum(len(shard.pictures) for shard in work.shards if shard.file in done)


def _make_shard(task: tuple[Path, Shard]) -> str:
    """Write one shard and its record; return the shard's file name."""
    part, shard = task
    data: list[bytes] = []
    kept = []
    notes: list[dict[str, Any]] = []
    shares: list[int] = []
    compiled_form()  # compile now, so that it does not count in the first picture's time limit
    for picture in shard.pictures:
        set_current_task(f"picture {picture.name!r}")
        try:
            image, reasons = shard.open(picture.place)
        except UnreadablePicture as error:
            notes.append(
                {
                    "name": picture.name,
                    "split": shard.split,
                    "outcome": "refused",
                    "reasons": [" ".join(str(error).split())],
                }
            )
            continue
        except OSError as error:
            raise WorkFailed(
                f"cannot read {picture.name!r}: {error.strerror or error}; run the same command again to resume"
            ) from None
        if reasons:
            notes.append({"name": picture.name, "split": shard.split, "outcome": "converted", "reasons": reasons})
        shares.append(round(1000 * outside(*image.size)))
        data.append(pack(square(image, shard.side, shard.fit), shard.format))
        kept.append(picture)
    set_current_task("")
    with workdir.writing(part):
        record = Record(
            split=shard.split,
            file=shard.file,
            sha256=write(part / "store" / shard.file, data) if data else "",
            bytes=sum(map(len, data)),
            labels=[picture.label for picture in kept],
            sizes=[len(record) for record in data],
            crc32=[zlib.crc32(record) for record in data],
            names=[picture.name for picture in kept],
            notes=notes,
            weights=[picture.weight for picture in kept] if any(picture.weight != 1 for picture in kept) else [],
            outside=shares,
        )
        workdir.note(part, record)
    return shard.file


def _sum_shard(task: tuple[Path, str, int, Format, bool]) -> tuple[str, Sums | None, np.ndarray]:
    """Read a shard again; return its sums if it is one of train, and a hash of each picture if `hashed`."""
    part, file, side, form, hashed = task
    record = workdir.record(part, file)
    path = part / "store" / file
    picture, found = np.empty((side, side, 3), np.uint8), list[np.ndarray]()

    def pictures() -> Iterator[np.ndarray]:
        with path.open("rb") as shard:
            for number, (size, crc32) in enumerate(zip(record.sizes, record.crc32, strict=True)):
                set_current_task(f"picture {number} of {path}")
                data = shard.read(size)
                if zlib.crc32(data) != crc32:
                    workdir.note_of(part, file).unlink()
                    raise workdir.altered(path)
                unpack(np.frombuffer(data, np.uint8), form, picture)
                if hashed:
                    found.append(hashes([picture]))
                yield picture

    try:
        each = pictures() if record.sizes else iter(())
        some = sums(each, side) if record.split == "train" else None
        for _ in each:  # of another split, which has no sums
            pass
        return file, some, np.concatenate(found) if found else hashes(())
    except OSError as error:
        raise WorkFailed(
            f"cannot read {path}: {error.strerror or error}; run the same command again to resume"
        ) from None


def _check_classes(part: Path, work: PreparePlan) -> None:
    trained: set[int] = set()
    refused, example = 0, ""
    for shard in work.shards:
        record = workdir.record(part, shard.file)
        if shard.split == "train":
            trained.update(record.labels)
        for note in record.notes:
            if note["outcome"] == "refused":
                refused += 1
                example = example or f" ({note['name']!r}: {note['reasons'][0]})"
    for label, known in enumerate(work.classes):
        if label not in trained:
            workdir.clear(part)  # no later run could finish it
            raise InputError(
                f"class {known.name!r} has no readable picture to train on; {refused} files were refused{example}; "
                "repair them or leave the class out"
            )


def _finish(part: Path, work: PreparePlan, total: Sums) -> tuple[dict[str, Any], dict[str, Counter[str]]]:
    """Write the other files of the store, meta.json last; return its content and the count of reasons by outcome."""
    folder = part / "store"
    outcomes: dict[str, Counter[str]] = {"refused": Counter(), "converted": Counter()}
    splits: dict[str, Any] = {}
    lines: list[str] = []
    for split in sorted({shard.split for shard in work.shards}):
        index: dict[str, list[np.ndarray]] = {name: [] for name in ("labels", "sizes", "crc32")}
        names: list[bytes] = []
        weights: list[np.ndarray] = []
        shards = []
        for shard in work.shards:
            if shard.split != split:
                continue
            record = workdir.record(part, shard.file)
            lines += [json.dumps(note) + "\n" for note in record.notes]
            for note in record.notes:  # count reasons without the detail after the colon
                outcomes[note["outcome"]].update(reason.split(":")[0] for reason in note["reasons"])
            if record.sizes:
                for name, parts in index.items():
                    parts.append(np.array(getattr(record, name), np.int64))
                weights.append(np.array(record.weights or [1] * len(record.sizes), np.float32))
                names.append("".join(json.dumps(name) + "\n" for name in record.names).encode())
                shards.append(
                    {"file": record.file, "bytes": record.bytes, "sha256": record.sha256, "count": len(record.sizes)}
                )
        whole = {name: np.concatenate([np.zeros(0, np.int64), *parts]) for name, parts in index.items()}
        if any((part != 1).any() for part in weights):
            whole["weights"] = np.concatenate(weights)
        splits[split] = {
            "count": len(whole["labels"]),
            "shards": shards,
            "index": _described(folder, f"{split}/index.safetensors", [save(whole)]),
            "names": _described(folder, f"{split}/names.jsonl", names),
        }
    meta: dict[str, Any] = {
        "format": FORMAT,
        "kind": work.kind,
        "side": work.side,
        "form": work.format,
        "classes": class_records(work.classes),
        "splits": splits,
        "statistics": _described(folder, "statistics.safetensors", [save(asdict(statistics(total)))]),
        "notes": _described(folder, "prepare.jsonl", (line.encode() for line in lines)),
        "pillow": PIL.__version__,
    } | ({"fit": work.fit} if work.fit != "crop" else {})
    meta["digest"] = content_digest(meta)
    meta["checksum"] = own_checksum(meta)
    write(folder / "meta.json", [json.dumps(meta, indent=1).encode()])
    return meta, outcomes


def _described(folder: Path, file: str, pieces: Iterable[bytes]) -> dict[str, str]:
    return {"file": file, "sha256": write(folder / file, pieces)}


@contextmanager
def _explaining_memory_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise WorkFailed(
            "there is not enough memory; finished shards are kept: run the same command with fewer jobs to resume"
        ) from None
