"""Pictures whose labels stand in a table: a table given as the source, or one beside the pictures."""

import io
import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources.archives import Listing
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.sources.class_folders import NOTES, PICTURES, SPLITS, first_taken
from alexnet.data.sources.clutter import option
from alexnet.data.sources.labelled import OF_TABLE, Labelled
from alexnet.data.sources.table_paths import Listed, OnDisk, Pictures
from alexnet.data.sources.table_rows import NoColumn, read_rows

TAKES_ROOT = True
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")  # of tables beside pictures
LISTS = (".json", ".txt")  # tables only if they have the name of a split: there are many other such files
MOST_COMPARED = 100_000  # rows of a table beside class folders that are compared with them
METADATA = ("metadata.csv", "metadata.jsonl")  # Hugging Face's imagefolder
PACKED = (
    b"PK\3\4",
    b"\x1f\x8b",
    b"PAR1",
    b"\x89HDF",
    b"\x93NUM",
    b"BZh",
    b"\xfd7zX",
    b"7z\xbc\xaf",
    b"\x28\xb5\x2f\xfd",
)


def recognises(files: Listing) -> bool:
    """Return whether the source is a text file, or there is a table beside pictures that are in no class folders."""
    if files.given:
        return _is_text(files.given)
    tops = files.tops()
    known = {*SPLITS, *PICTURES, *NOTES}
    if any("/" in name for name in files.folders) or (len(tops) > 1 and any(top.lower() not in known for top in tops)):
        return False
    return any(_is_table(name) for name in files.places)


def _is_text(given: str | Path) -> bool:
    """Return whether a source is one file that begins like text, or is named like a table and is no archive."""
    try:
        if not Path(given).is_file():
            return False
        with open(given, "rb") as file:
            start = file.read(512)
    except (OSError, ValueError):
        return False
    if start.startswith(PACKED) or start[257:262] == b"ustar":
        return False
    suffix = Path(given).suffix.lower()
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".parquet"):
        return False  # a web page, say, instead of the archive
    return suffix in SUFFIXES + LISTS or (bool(start) and not any(byte < 9 or 13 < byte < 32 for byte in start))


def _is_table(name: str) -> bool:
    folder, _, last = name.lower().rpartition("/")
    stem, suffix = posixpath.splitext(last)
    if folder:
        return last in METADATA and folder in SPLITS
    return "submission" not in stem and (suffix in SUFFIXES or (suffix in LISTS and stem in SPLITS))


def tables_beside(files: Listing) -> list[str]:
    """Return the names of the tables at the top of a listing."""
    return [name for name in files.places if _is_table(name) and "/" not in name]


def check_folders(files: Listing, inner: Listing, found: Source) -> None:
    """Raise InputError if a table beside class folders gives the pictures other classes or splits than their folders.

    The table may call a class otherwise. It must not give two labels to one folder, or one label to two.

    Args:
        files: the whole listing.
        inner: the listing that has the class folders: the whole one, or a folder that it is wrapped in.
        found: what the folders say.
    """
    folders: dict[str, tuple[int, str]] = {}
    while True:
        start = inner.above.removeprefix(files.above)
        for name in tables_beside(files):
            folders = folders or {p.name: (p.label, split) for split, part in found.splits.items() for p in part}
            _check_table(_beside(files, name), start, folders)
        if not start:
            return
        files = files.below(start.split("/")[0])


def _check_table(table: "_Table", start: str, folders: dict[str, tuple[int, str]]) -> None:
    """Compare a table with what the class folders say: the class and split of each picture, by name without `start`."""
    seen: dict[str | int, str | int] = {}
    try:
        for row in islice(read_rows(table.open(), table.shown, table.pictures.has), MOST_COMPARED):
            name, _ = table.pictures.locate(row.path, row.at)
            if (folder := folders.get(name.removeprefix(start))) is None:
                continue
            label, own = folder
            if seen.setdefault(label, row.label) != row.label or seen.setdefault(row.label, label) != label:
                raise _Contradiction(
                    f"{row.at} labels {row.path!r} as {row.label!r}, which differs from the class folders; give "
                    f"{table.shown} as the source, or leave it out: {option(table.shown)}"
                )
            _check_split(table, row.at, row.path, row.split or table.split, own)
    except _Contradiction:
        raise
    except NoColumn:
        _check_list(table, start, folders)
    except (InputError, UnreadablePicture):
        pass  # it is no table of these pictures


def _check_list(table: "_Table", start: str, folders: dict[str, tuple[int, str]]) -> None:
    """Compare a list of the pictures of a split, without labels, with the splits of the folders."""
    with suppress(UnreadablePicture):
        for number, line in enumerate(islice(table.open(), 9) if table.split else (), 1):
            for path in re.split("[,;\t]", line[:4096].decode("utf-8", "replace").strip()):
                name = ""
                with suppress(InputError):
                    name, _ = table.pictures.locate(path.strip(), "")
                if folder := folders.get(name.removeprefix(start)):
                    _check_split(table, f"{table.shown} line {number}", path, table.split, folder[1])


def _check_split(table: "_Table", at: str, path: str, said: str | None, own: str) -> None:
    if said and said != own:
        raise _Contradiction(
            f"{at} says that {path!r} is of {said}, but in the folders it is of {own}; give one table with the "
            f"columns path, label and split as the source, or leave this one out: {option(table.shown)}"
        )


class _Contradiction(InputError):
    pass


def read(files: Listing, work: Path) -> Source:
    """Read the pictures that the table or tables name, with their labels, splits and weights.

    Raises:
        InputError: a table cannot be read, names a picture that is missing, outside its folder or named before, or has
            no usable label; or several tables label the pictures. The message names the row and the value.
    """
    if files.given:
        return _given(Path(files.given), files.root)
    tables = _tables(files)
    collected = Labelled()
    _collect(tables, collected)
    return _checked(collected, " and ".join(table.shown for table in tables), len(files.places))


@dataclass(frozen=True)
class _Table:
    """A table: its name, a function that opens it, its pictures, and the split that its own name or folder tells."""

    shown: str
    open: Callable[[], BinaryIO]
    pictures: Pictures
    split: str | None = None
    within: str = ""  # the folder that its paths start from, for the pictures' names


def _given(path: Path, root: Path | None) -> Source:
    """Read a table that is the source itself."""
    if root is not None and not root.is_dir():
        raise InputError(f"--root {str(root)!r} is not a folder; give the folder that the paths start from")
    collected = Labelled()
    try:
        with path.open("rb") as file:
            table = _Table(str(path), lambda: file, OnDisk(root or path.parent, path.stem.lower()))
            _collect([table], collected)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check its permissions") from None
    return _checked(collected, str(path))


def _tables(files: Listing) -> list[_Table]:
    """Choose the tables of a folder or an archive: Hugging Face's, those named like splits, or the only other one."""
    names = [name for name in files.places if _is_table(name)]
    if found := [name for name in names if posixpath.basename(name).lower() in METADATA]:
        return _each_once({name: _beside(files, name) for name in found}, files)
    usable, why = {}, ""
    for name in names:
        table = _beside(files, name)
        try:
            next(read_rows(table.open(), table.shown, table.pictures.has), None)
            usable[name] = table
        except InputError as error:
            if table.split in ("train", "val") or (table.split and not isinstance(error, NoColumn)):
                raise  # otherwise it would be left out; a test table without labels is usual
            why = why or str(error)
    if not usable:
        raise InputError(why)
    return _each_once(usable, files)


def _each_once(tables: dict[str, _Table], files: Listing) -> list[_Table]:
    """Raise InputError if two tables are for the same pictures: of one split, or one of a split and one of all."""
    seen: dict[str | None, str] = {}
    for name, table in tables.items():
        other = seen.setdefault(table.split, name)
        if other == name and None in seen and len(seen) > 1:
            other = next(n for n in seen.values() if n != name)
        if other != name:
            raise InputError(
                f"{files.above}{other} and {table.shown} both label the pictures; leave one out: {option(table.shown)}"
            )
    return list(tables.values())


def _beside(files: Listing, name: str) -> _Table:
    folder, _, last = name.rpartition("/")
    stem = posixpath.splitext(last)[0].lower()
    return _Table(
        files.above + name,
        lambda: io.BytesIO(read_bytes(files.places[name])),
        Listed(files.below(folder) if folder else files, stem),
        SPLITS.get(folder.lower() if folder else stem),
        folder + "/" if folder else "",
    )


def _collect(tables: list[_Table], into: Labelled) -> None:
    """Add the pictures of all rows. If nothing tells the split of any, their folders do, if these are splits."""
    told = False
    for above, table in enumerate(tables):
        for row in read_rows(table.open(), table.shown, table.pictures.has):
            number = row.number + above * OF_TABLE
            split = row.split or table.split
            if row.split and table.split and split != table.split and (table.split != "train" or len(tables) > 1):
                raise InputError(
                    f"{row.at}: the split is {row.split}, in a table of {table.split}; correct one of them"
                )
            name, place = table.pictures.locate(row.path, row.at)
            told = told or split is not None
            into.add(table.within + name, row.label, place, at=row.at, number=number, split=split, weight=row.weight)
    if not told:
        into.split_by(_splits_of_folders([picture.name for picture in into.splits["train"]], tables[0].shown))


def _splits_of_folders(names: list[str], shown: str) -> dict[str, str]:
    """Map the folders that the names start with to splits; an empty dictionary if they are no splits.

    What all names start with tells nothing, so it is left out of the comparison and is part of the folder.
    """
    if not names:
        return {}
    common = posixpath.commonpath([posixpath.dirname(min(names)), posixpath.dirname(max(names))])
    skip = len(common) + 1 if common else 0
    tops = sorted({name[skip:].partition("/")[0] if "/" in name[skip:] else "" for name in names})
    splits = {
        name[:skip] + top + "/": SPLITS[top.lower()] for name in names[:1] for top in tops if top.lower() in SPLITS
    }
    if len(splits) < len(tops) and set(splits.values()) - {"train"}:
        held = next(folder for folder, split in splits.items() if split != "train")
        raise InputError(
            f"{shown} has pictures in {held} and others in no split; add a column 'split' with train, val or test"
        )
    return splits if len(splits) == len(tops) else {}


def _checked(collected: Labelled, shown: str, files: int | None = None) -> Source:
    """Make the source, and raise InputError for a class none of whose files begins like a picture."""
    source = collected.source("table", open_upright, shown)
    train: dict[int, list[Picture]] = {}
    for picture in source.splits["train"]:
        train.setdefault(picture.label, []).append(picture)
    for label, pictures in train.items():
        taken, reason = first_taken(picture.place for picture in pictures)
        if not taken:
            raise InputError(
                f"{shown}: class {source.classes[label].name!r} has no picture to train on "
                f"({pictures[0].name!r}: {reason}); check the paths, or leave that class out"
            )
    return source if files is None else replace(source, ignored=files - sum(map(len, source.splits.values())))
