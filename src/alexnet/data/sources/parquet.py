"""Hugging Face's Parquet files: a column of pictures, one of labels, and the splits in the names of the files."""

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.images.formats import SUFFIXES
from alexnet.data.sources import parquet_reader
from alexnet.data.sources.archives import FREE_GROWTH, MOST_GROWTH, FilePart, Listing, Slice
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.sources.label_values import FREE_CLASSES
from alexnet.data.sources.limited import NO_LIBRARY, answer_of
from alexnet.data.sources.shard_names import by_split, distinct, expanded, is_pattern, split_word, stem
from alexnet.data.store import Class

SUFFIX = ".parquet"
READER = "alexnet.data.sources.parquet_reader"


@dataclass(frozen=True)
class _Table:
    """One Parquet file: where it is, and its columns and classes."""

    shown: str
    place: Slice
    picture: str
    label: str
    classes: tuple[str, ...] | None
    split: str  # the column that may name splits, or ""


def recognises(files: Listing) -> bool:
    """Return whether the source is a Parquet file or a pattern for some, or has Parquet files above all folders."""
    if files.given:
        given = Path(files.given)
        return (given.suffix.lower() == SUFFIX and given.is_file()) or is_pattern(files.given, (SUFFIX,))
    beside = {stem(name) for name in files.places if name.lower().endswith((".tar", ".tar.gz", ".tgz"))}
    found = [name for name in files.places if name.lower().endswith(SUFFIX) and name.count("/") <= 2]
    # img2dataset writes a table of its own beside each shard.
    return not all(stem(name) in beside for name in found) and not any(
        name.lower().endswith(SUFFIXES) and "/" in name for name in files.places
    )


def read(files: Listing, work: Path) -> Source:
    """Copy the bytes of all pictures to the folder `work`, since Parquet allows no random access, and list them.

    Raises:
        InputError: pyarrow is not installed; a file is not what its name or its footer says; a label is out of range;
            a class has no picture to train on; or val or test has a class that train lacks.
        WorkFailed: there is no room for the copy.
    """
    splits = _splits(files)
    places = [(name, place) for tables in splits.values() for name, place in tables]
    tables = {table.shown: table for table in _looked(places)}
    first = next(iter(tables.values()))
    for table in tables.values():
        if table.classes != first.classes:
            raise InputError(f"{first.shown} and {table.shown} have other classes; give files of one data set")
    work.mkdir(parents=True, exist_ok=True)
    _check_room(work, list(tables.values()))
    expected = {name: "" if files.given and len(places) == 1 else split for split, t in splits.items() for name, _ in t}
    copies = _copied(list(tables.values()), expected, work)
    labelled = {split: [copies[name] for name, _ in inside] for split, inside in splits.items()}
    classes = _classes(first, labelled)
    index = {name: label for label, name in enumerate(classes)}
    left_out = dict.fromkeys(("row without a label", "row without a picture"), 0)
    pictures: dict[str, list[Picture]] = {}
    for split, inside in labelled.items():
        found = pictures[split] = []
        for copy in inside:
            left_out["row without a label"] += int((copy.labels == parquet_reader.NO_LABEL).sum())
            left_out["row without a picture"] += int((copy.labels == parquet_reader.NO_PICTURE).sum())
            for name, label, place in copy.pictures():
                if label not in index:
                    raise InputError(f"{name}: its class {label!r} is in no row of the train split; leave it out")
                found.append(Picture(name, index[label], place))
    kept = {split: found for split, found in pictures.items() if found}
    if "train" not in kept:
        raise InputError(f"{first.shown}: no row of the train split has a picture and a label; give labelled pictures")
    trained = {picture.label for picture in kept["train"]}
    for name, number in index.items():
        if number not in trained:
            raise InputError(
                f"class {name!r} has no picture to train on; write the files again with the classes that they have"
            )
    return Source(
        "parquet",
        tuple(Class(name) for name in classes),
        kept,
        open_upright,
        ignored=max(0, len(files.places) - len(places)),
        left_out={reason: number for reason, number in left_out.items() if number},
    )


def _splits(files: Listing) -> dict[str, list[tuple[str, Slice]]]:
    """Find the files of each split, with their names."""
    if files.given and is_pattern(files.given, (SUFFIX,)):
        paths = expanded(str(files.given))
        places: dict[str, FilePart] = {name: Slice(str(path), 0, path.stat().st_size) for name, path in paths.items()}
    elif files.given:
        path = Path(files.given)
        return {"train": [(path.name, Slice(str(path), 0, path.stat().st_size))]}
    else:
        places = {name: place for name, place in files.places.items() if name.lower().endswith(SUFFIX)}
    sets = sorted({"/".join(part for part in name.split("/")[:-1] if not split_word(part)) for name in places})
    if len(sets) > 1:
        shown = ", ".join(repr(f"{files.above}{name}/") for name in sets[:9])
        raise InputError(f"the source has Parquet files in several folders, {shown}; give one of them as the source")
    splits = by_split(places, files.above, whole=not files.given)
    found: dict[str, list[tuple[str, Slice]]] = {}
    for split, names in splits.items():
        found[split] = []
        for name in names:
            place = places[name]
            if not isinstance(place, Slice):
                raise InputError(f"{name} is in a zip; unpack the zip")
            found[split].append((name, place))
    return found


def _looked(places: list[tuple[str, Slice]]) -> Iterator[_Table]:
    """Read the footers of all files in one process."""
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{places[0][0]} needs pyarrow, which is not installed; pip install 'alexnet[parquet]'")
    asked = [(name, place.path, place.offset, place.size) for name, place in places]
    status, answered, why = answer_of(READER, "look", data=json.dumps(asked).encode())
    _check_status(status, why, places[0][0])
    for (name, place), (picture, label, classes, split) in zip(places, json.loads(answered), strict=True):
        yield _Table(name, place, picture, label, None if classes is None else tuple(classes), split)


def _check_status(status: int, why: str, first: str) -> None:
    """Raise InputError if the process that read Parquet files failed; only it knows which file it was reading."""
    if status == NO_LIBRARY:
        raise InputError(f"{first} needs pyarrow, which cannot be loaded ({why}); pip install 'alexnet[parquet]'")
    if status:
        shown = "" if status == 1 and why else f"{first} or a file beside it: "
        raise InputError(f"{shown}{why or 'it ended early'}; fetch it again or write it anew")


@dataclass(frozen=True)
class _Copy:
    """The pictures of one Parquet file, copied in sequence: sizes, labels (or the numbers of texts), and the texts."""

    shown: str
    path: Path
    sizes: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] | None

    def names(self) -> set[str] | set[int]:
        """Return the classes that occur."""
        numbers = {int(label) for label in np.unique(self.labels) if label >= 0}
        return numbers if self.classes is None else {self.classes[number] for number in numbers}

    def pictures(self) -> Iterator[tuple[str, str, Slice]]:
        """Yield the name, class and place of each picture that has a label."""
        start, path, base = 0, str(self.path), stem(self.shown)
        for row, (size, label) in enumerate(zip(self.sizes.tolist(), self.labels.tolist(), strict=True)):
            if label >= 0:
                known = str(label) if self.classes is None else self.classes[label]
                yield f"{base}/{row:07d}", known, Slice(path, start, size)
            start += size


def _paths(table: _Table, work: Path) -> tuple[Path, Path, Path]:
    """Return where a file's pictures, its rows and its texts are copied to; the texts are written last."""
    place = table.place
    status = Path(place.path).stat()
    facts = (Path(place.path).resolve(), place.offset, place.size, status.st_mtime_ns, table.picture, table.label)
    mark = hashlib.sha256("\n".join(map(str, facts)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    plain = work / f"source-{mark}.pictures"
    return plain, work / f"{plain.name}.rows", work / f"{plain.name}.json"


def _check_room(work: Path, tables: list[_Table]) -> None:
    """Raise WorkFailed before anything is copied if the disk is too small. Pictures do not shrink in Parquet."""
    need = sum(table.place.size for table in tables if not _paths(table, work)[2].exists())
    free = shutil.disk_usage(work).free
    if need > free:
        raise WorkFailed(
            f"{work} needs about {need / 1e9:.1f} GB for a copy of the pictures, but its disk has only "
            f"{free / 1e9:.1f} GB free; make room and run the same command again"
        )


def _copied(tables: list[_Table], expected: dict[str, str], work: Path) -> dict[str, _Copy]:
    """Copy the pictures of all files that no earlier run has copied; `expected` has the split of each file by name."""
    jobs = []
    for table in tables:
        if not _paths(table, work)[2].exists():
            job = asdict(table.place) | {"shown": table.shown, "picture": table.picture, "label": table.label}
            job["names"] = -1 if table.classes is None else len(table.classes)
            job |= {"split": table.split, "expected": expected[table.shown]}
            job["most"] = max(FREE_GROWTH, MOST_GROWTH * table.place.size)
            jobs.append(job | {"out": str(_paths(table, work)[0])})
    if jobs:
        status, _, why = answer_of(READER, "copy", data=json.dumps(jobs).encode())
        for left in work.glob("source-*.tmp") if status else ():
            left.unlink(missing_ok=True)
        if status == parquet_reader.FULL:
            raise WorkFailed(f"cannot write into {work}: {why}; make room and run the same command again")
        _check_status(status, why, tables[0].shown)
    found = {}
    for table in tables:
        plain, rows, texts = _paths(table, work)
        said = json.loads(texts.read_text(encoding="utf-8"))
        both = np.fromfile(rows, "<i8").reshape(-1, 2)
        classes = table.classes if said is None else tuple(said)
        found[table.shown] = _Copy(table.shown, plain, both[:, 0], both[:, 1], classes)
    return found


def _classes(first: _Table, labelled: dict[str, list[_Copy]]) -> list[str]:
    """List the names of the classes: the file's own in their order, else the sorted texts or numbers that occur."""
    if first.classes is not None:
        return list(first.classes)
    copies = [copy for copies in labelled.values() for copy in copies]
    kinds = {copy.classes is None for copy in copies if copy.names()}
    if len(kinds) > 1:
        raise InputError(f"{first.shown}: some files have texts as labels and others numbers; write them alike")
    found: set[str | int] = set().union(*(copy.names() for copy in labelled["train"]))
    rows = sum(int((copy.labels >= 0).sum()) for copy in labelled["train"])
    if len(found) > FREE_CLASSES and 2 * len(found) > rows:
        raise InputError(
            f"{first.shown}: {rows} rows have {len(found)} different labels, such as {str(next(iter(found)))[:60]!r}; "
            "these look like captions or measures: give a column of classes"
        )
    return distinct([str(name) for name in sorted(found)], first.shown)
