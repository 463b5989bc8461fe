"""From a source to a store: shard by shard, on every core, and able to go on after any interruption."""

import json
import os
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL
from safetensors.numpy import save

from alexnet.data.decode import UnreadablePicture
from alexnet.data.plan import Plan, Shard, plan, read_source
from alexnet.data.resize import square
from alexnet.data.statistics import Sums, statistics, sums
from alexnet.data.store import FORMAT, Form, class_records, content_digest, packed, records, unpack
from alexnet.data.workers import cores, leave_if_stopped, workers
from alexnet.disk import sync, write
from alexnet.errors import FailedError, UnusableError

SIDES = range(8, 4097)


@dataclass(frozen=True)
class Summary:
    """What preparing did. `pictures` are counts per split, `refused` and `converted` per reason; `bytes` of shards.

    `ignored` counts files that belong to no split or class. prepare.jsonl in the store names each picture that was
    refused or converted.
    """

    store: Path
    kind: str
    side: int
    form: Form
    classes: int
    pictures: dict[str, int]
    refused: dict[str, int]
    converted: dict[str, int]
    ignored: int
    bytes: int
    digest: str
    seconds: float


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


def prepare(
    source: str | Path,
    store: str | Path,
    *,
    side: int | None = None,
    form: Form | None = None,
    val_fraction: float | None = None,
    jobs: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Prepare `source` (docs/data.md says what it may be) into the folder `store`, as the paper's section 2 does.

    `side`: pixels a side (None: 256, CIFAR-10 32, Tiny ImageNet 64). `form`: "raw" or "jpeg" (None: raw, ILSVRC jpeg).
    `val_fraction`: of each class, where the source has no val split (None: 0.1). `jobs`: processes (None: one a core).
    `progress` is called with the pictures done and all of them, after each shard.

    The work is done in STORE.part and renamed at the end. After an interruption the same call goes on from there; the
    store has the same bytes however often that was, and whatever `jobs` is.

    Raises UnusableError for unusable arguments or source, FailedError where the store cannot be written.
    """
    started = time.monotonic()
    store = Path(store)
    _check(source, store, side, form, val_fraction, jobs, seed)
    part = store.with_name(store.name + ".part")
    with _writing(part):
        _claim(part)
    try:
        work = plan(read_source(source, part), side=side, form=form, val_fraction=val_fraction, seed=seed)
    except UnusableError:
        if "plan" not in _claimed(part):
            shutil.rmtree(part, ignore_errors=True)
        raise
    with _writing(part):
        done = _resumed(part, work)
    _check_room(part, work, done)
    if progress:
        progress(_tried(work, done), work.pictures)
    with workers(jobs or cores()) as spread:
        for record in spread(_make_shard, [(part, shard) for shard in work.shards if shard.file not in done]):
            done[record.file] = record
            if progress:
                progress(_tried(work, done), work.pictures)
        made = [done[shard.file] for shard in work.shards]
        _check_classes(part, work, made)
        tasks = [
            (part / "store" / r.file, r.sizes, work.side, work.form) for r in made if r.split == "train" and r.sizes
        ]
        total = Sums(0, np.zeros((work.side, work.side, 3), np.int64), np.zeros((3, 3), np.int64))
        for some in spread(_sum_shard, tasks):
            total += some
    with _writing(part):
        meta = _finish(part / "store", work, made, total)
        os.replace(part / "store", store)
        sync(store.parent)
    shutil.rmtree(part, ignore_errors=True)
    notes = [note for record in made for note in record.notes]
    return Summary(
        store=store,
        kind=work.kind,
        side=work.side,
        form=work.form,
        classes=len(work.classes),
        pictures={name: split["count"] for name, split in meta["splits"].items()},
        refused=_reasons(notes, "refused"),
        converted=_reasons(notes, "converted"),
        ignored=work.ignored,
        bytes=sum(record.bytes for record in made),
        digest=meta["digest"],
        seconds=time.monotonic() - started,
    )


def _check(
    source: str | Path,
    store: Path,
    side: int | None,
    form: str | None,
    val_fraction: float | None,
    jobs: int | None,
    seed: int,
) -> None:
    if side is not None and side not in SIDES:
        raise UnusableError(f"side {side} is not usable; give {SIDES.start} to {SIDES.stop - 1} pixels")
    if form is not None and form not in get_args(Form):
        raise UnusableError(f"form {form!r} is not known; give {' or '.join(get_args(Form))}")
    if val_fraction is not None and not 0 <= val_fraction < 1:
        raise UnusableError(f"val fraction {val_fraction} is not usable; give 0 or more and less than 1")
    if jobs is not None and jobs < 1:
        raise UnusableError(f"jobs {jobs} is not usable; give 1 or more")
    if seed < 0:
        raise UnusableError(f"seed {seed} is not usable; give 0 or more")
    if os.path.lexists(store):
        raise UnusableError(f"store {str(store)!r} is there already; give another name or remove it")
    if Path(source).is_dir() and store.resolve().is_relative_to(Path(source).resolve()):
        raise UnusableError(f"store {str(store)!r} lies inside its source {str(source)!r}; give a place outside it")


def _claim(part: Path) -> None:
    """Make the work folder, or take up the one of an interrupted run and clear what that left unfinished."""
    if part.exists() and not (part / "work.json").exists() and any(part.iterdir()):
        raise UnusableError(f"{str(part)!r} is needed for the work and holds something else; move it away")
    for folder in (part / "store", part / "records"):
        folder.mkdir(parents=True, exist_ok=True)
    if not (part / "work.json").exists():
        write(part / "work.json", [json.dumps({"format": FORMAT}).encode()])
    for unfinished in part.rglob("*.tmp"):
        unfinished.unlink()


def _claimed(part: Path) -> dict[str, Any]:
    claim: dict[str, Any] = json.loads((part / "work.json").read_bytes())
    return claim


def _resumed(part: Path, work: Plan) -> dict[str, Record]:
    """The shards that are done already, by their file's name."""
    if _claimed(part).get("plan", work.digest) != work.digest:
        raise UnusableError(
            f"{str(part)!r} was begun from another source, with other options or another Pillow; "
            "repeat that command to go on, or remove the folder to begin anew"
        )
    write(part / "work.json", [json.dumps({"format": FORMAT, "plan": work.digest}).encode()])
    for split in {shard.split for shard in work.shards}:
        (part / "store" / split).mkdir(exist_ok=True)
    done = {}
    for path in sorted((part / "records").glob("*.json")):
        record = Record(**json.loads(path.read_bytes()))
        shard = part / "store" / record.file
        if not record.sizes or (shard.exists() and shard.stat().st_size == record.bytes):
            done[record.file] = record
    return done


def _check_room(part: Path, work: Plan, done: dict[str, Record]) -> None:
    """Before hours of work, not after: raw pixels take a known room."""
    if work.form == "raw":
        need = (work.pictures - _tried(work, done)) * work.side**2 * 3
        free = shutil.disk_usage(part).free
        if need > free:
            raise FailedError(
                f"{part} needs {need / 1e9:.1f} GB more and its disk has {free / 1e9:.1f} GB free; "
                "make room, or remove it and take form jpeg"
            )


def _tried(work: Plan, done: dict[str, Record]) -> int:
    return sum(len(shard.pictures) for shard in work.shards if shard.file in done)


def _make_shard(task: tuple[Path, Shard]) -> Record:
    part, shard = task
    data: list[bytes] = []
    kept = []
    notes: list[dict[str, Any]] = []
    for picture in shard.pictures:
        leave_if_stopped()
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
            raise FailedError(
                f"cannot read {picture.name!r}: {error.strerror or error}; run the same command again to go on"
            ) from None
        if reasons:
            notes.append({"name": picture.name, "split": shard.split, "outcome": "converted", "reasons": reasons})
        data.append(packed(square(image, shard.side), shard.form))
        kept.append(picture)
    with _writing(part):
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
        )
        write(part / "records" / (shard.file.replace("/", "-") + ".json"), [json.dumps(asdict(record)).encode()])
    return record


def _sum_shard(task: tuple[Path, list[int], int, Form]) -> Sums:
    path, sizes, side, form = task
    picture = np.empty((side, side, 3), np.uint8)

    def pictures() -> Iterator[np.ndarray]:
        for record in records(path, sizes):
            leave_if_stopped()
            yield unpack(record, form, picture)

    return sums(pictures(), side)


def _check_classes(part: Path, work: Plan, made: list[Record]) -> None:
    trained = {label for record in made if record.split == "train" for label in record.labels}
    for label, record in enumerate(work.classes):
        if label not in trained:
            notes = [note for shard in made for note in shard.notes if note["outcome"] == "refused"]
            example = f" ({notes[0]['name']!r}: {notes[0]['reasons'][0]})" if notes else ""
            shutil.rmtree(part, ignore_errors=True)  # no run can ever finish it
            raise UnusableError(
                f"class {record.name!r} has no readable picture to train on; {len(notes)} were refused{example}; "
                "mend them or remove the class"
            )


def _finish(folder: Path, work: Plan, made: list[Record], total: Sums) -> dict[str, Any]:
    """Write all but the shards, meta.json last."""
    splits: dict[str, Any] = {}
    for split in sorted({record.split for record in made}):
        parts = [record for record in made if record.split == split and record.sizes]
        index = {
            name: np.array([value for part in parts for value in getattr(part, name)], np.int64)
            for name in ("labels", "sizes", "crc32")
        }
        names = "".join(json.dumps(name) + "\n" for part in parts for name in part.names)
        splits[split] = {
            "count": len(index["labels"]),
            "shards": [{"file": p.file, "bytes": p.bytes, "sha256": p.sha256, "count": len(p.sizes)} for p in parts],
            "index": _described(folder, f"{split}/index.safetensors", save(index)),
            "names": _described(folder, f"{split}/names.jsonl", names.encode()),
        }
    notes = "".join(json.dumps(note) + "\n" for record in made for note in record.notes)
    meta: dict[str, Any] = {
        "format": FORMAT,
        "kind": work.kind,
        "side": work.side,
        "form": work.form,
        "classes": class_records(work.classes),
        "splits": splits,
        "statistics": _described(folder, "statistics.safetensors", save(asdict(statistics(total)))),
        "notes": _described(folder, "prepare.jsonl", notes.encode()),
        "pillow": PIL.__version__,
    }
    meta["digest"] = content_digest(meta)
    write(folder / "meta.json", [json.dumps(meta, indent=1).encode()])
    return meta


def _reasons(notes: list[dict[str, Any]], outcome: str) -> dict[str, int]:
    """How often each reason was given, without the detail after its colon."""
    reasons = [reason.split(":")[0] for note in notes if note["outcome"] == outcome for reason in note["reasons"]]
    return dict(Counter(reasons).most_common())


def _described(folder: Path, file: str, data: bytes) -> dict[str, str]:
    return {"file": file, "sha256": write(folder / file, [data])}


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FailedError(
            f"cannot write {error.filename or part}: {error.strerror or error}; what is done is kept: "
            "mend that and run the same command again to go on"
        ) from None
