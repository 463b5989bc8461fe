"""The rows of a table of labels: CSV, TSV, JSON lines, a JSON list, or one of Caffe's text lists ("path 3")."""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from alexnet.core.errors import InputError
from alexnet.core.files import parse_json
from alexnet.data.sources.class_folders import SPLITS
from alexnet.data.sources.label_values import checked_label, checked_weight, quote

PATHS = ("path", "file", "file_name", "filename", "image", "image_path", "filepath", "file_path", "image_name")
IDS = ("id", "image_id")  # the column of pictures only if there is none of PATHS, as in Kaggle's tables
LABELS = ("label", "class", "category", "target")
WEIGHTS = ("weight", "sample_weight")
SPLIT = "split"
# A first value that names a split makes a column of any other name the split. A column called so, but without names of
# splits, is refused. Without these two rules, test pictures would be trained on.
FLAG = re.compile(r"(is_?|in_)?(train|training|val|valid|validation|test|testing)(_?(set|img|image|picture))?")
SPLIT_LIKE = ("partition", "subset", "data_split", "dataset_split", "train_test_split", "split_name", "split_id")
ROLES = {*PATHS, *IDS, *LABELS, *WEIGHTS, SPLIT}
MOST_ROW = 1 << 20  # bytes of a row
MOST_LIST = 1 << 23  # bytes of a JSON list, which is read as a whole and takes up to 20 times as much memory
CAFFE = re.compile(r"(.*\S)\s+(\d+)", re.ASCII)


class NoColumn(InputError):
    """The error for a table without a column of pictures or without one of labels."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number from 1, that in words ("pictures.csv row 7"), the path and label as written, and the rest."""

    number: int
    at: str
    path: str
    label: str
    split: str | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class _Columns:
    """The positions or keys of the columns; `split` and `weight` are None if the table has no such column."""

    path: Any
    label: Any
    split: Any = None
    weight: Any = None
    maybe: tuple[Any, ...] = ()  # columns that are the split if the first value that is not empty names one


def read_rows(file: BinaryIO, shown: str, exists: Callable[[str], bool]) -> Iterator[Row]:
    """Yield the rows of a table, one at a time.

    The content decides the form. A first row that names columns is a header. Without one, the first column must have
    the path of a picture that exists, and the second its label; or each line is a path, a space and a whole number.

    Args:
        file: the table, open for reading from its start; it must be seekable.
        shown: its name, for messages.
        exists: a function that tells whether a path as written in the table is that of a picture.

    Raises:
        NoColumn: no column of pictures or of labels is found.
        InputError: the table cannot be read, or can be read in two ways; the message names the row and the value.
    """
    start = file.read(4096)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{shown} is UTF-16; save it as UTF-8")
    file.seek(0)
    if re.match(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\]|$)", start):
        return _json_list(file, shown)
    first = next((line for line in _Lines(file, shown) if line.strip()), "")
    file.seek(0)
    if not first:
        raise InputError(f"{shown} is empty; give each picture a row with its path and its label")
    if first.lstrip().startswith("{"):
        return _json_lines(file, shown)
    if delimiter := _delimiter(first):
        return _csv(file, shown, delimiter)
    for delimiter in ",\t;|":
        fields = [field.strip() for field in _fields(first, delimiter)]
        third = len(fields) == 3 and fields[2].lower() in SPLITS
        if (len(fields) == 2 or third) and exists(fields[0]):
            return _csv(file, shown, delimiter, _Columns(0, 1, 2 if third else None))
    if CAFFE.fullmatch(first.strip()):
        return _text(file, shown)
    _check_names(max((_fields(first, d) for d in ",\t;|"), key=len), shown)
    raise NoColumn(f"{shown} has no row")


class _Lines:
    """The lines of a UTF-8 file as text. A line is never longer in memory than MOST_ROW.

    `size` counts the bytes since the reader last set it to 0: a quoted field of a CSV may span many lines.
    """

    def __init__(self, file: BinaryIO, shown: str) -> None:
        self.file, self.shown, self.number, self.size = file, shown, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MOST_ROW + 1 - self.size)
        if not line:
            raise StopIteration
        self.number, self.size = self.number + 1, self.size + len(line)
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if self.size > MOST_ROW:
            raise InputError(
                f"{self.shown} line {self.number}: the row has more than {MOST_ROW} bytes; "
                "check the quotes and the line ends"
            )
        if b"\0" in line:
            raise InputError(f"{self.shown} line {self.number} has a zero byte; save the table as plain UTF-8 text")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.shown} line {self.number} is not UTF-8: byte 0x{line[error.start]:02x} "
                f"after {quote(line[: error.start].decode()[-20:])}; save the table as UTF-8"
            ) from None


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])  # a quoted name may go on in the next line
    except csv.Error:
        return []


def _delimiter(line: str) -> str:
    """Return the delimiter under which a line is a header, or ""."""
    known = {*PATHS, *IDS, *LABELS}
    found = {d: sum(_plain(field) in known for field in _fields(line, d)) for d in ",\t;|"}
    best = max(found, key=lambda d: found[d])
    return best if found[best] else ""


def _plain(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _columns(names: Sequence[str], shown: str) -> _Columns:
    """Find the columns by their names."""
    _check_names(names, shown)
    plain = [_plain(name) for name in names]

    def one(known: Sequence[str], what: str) -> int | None:
        found = [n for n, name in enumerate(plain) if name in known]
        if len(found) > 1:
            several = ", ".join(quote(names[n]) for n in found[:5])
            raise InputError(
                f"{shown} has {len(found)} columns that may be the {what}: {several}; keep one, and rename the others"
            )
        return found[0] if found else None

    path = one(PATHS, "picture")
    split = one((SPLIT,), "split")
    return _Columns(
        one(IDS, "picture") if path is None else path,
        one(LABELS, "label"),
        split,
        one(WEIGHTS, "weight"),
        tuple(n for n, name in enumerate(plain) if name not in ROLES) if split is None else (),
    )


def _check_names(names: Sequence[str], shown: str) -> None:
    """Raise NoColumn unless there is a column of pictures and one of labels."""
    plain = {_plain(name) for name in names}
    for what, known, such in (("pictures", PATHS + IDS, "'path' or 'file_name'"), ("labels", LABELS, "'label'")):
        if not plain & {*known}:
            some = ", ".join(map(quote, names[:6])) + (", ..." if len(names) > 6 else "")
            raise NoColumn(
                f"{shown} has no column of {what} among {some}; name that column {such}, or "
                "add a first row such as path,label"
            )


def _csv(file: BinaryIO, shown: str, delimiter: str, columns: _Columns | None = None) -> Iterator[Row]:
    lines = _Lines(file, shown)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    number, width, begun = 0, 0, False
    names: list[str] = []
    while True:
        lines.size = 0
        number += 1
        at = f"{shown} row {number}"
        try:
            fields = next(rows, None)
        except csv.Error as error:
            raise InputError(f"{at}: {error}; check its quotes and line ends") from None
        if fields is None:
            return
        if not fields or (len(fields) == 1 and not fields[0].strip()):
            continue
        if columns is None:
            columns, width, names = _columns(fields, shown), len(fields), fields
            continue
        width = width or len(fields)
        if len(fields) != width and (len(fields) < width or any(fields[width:])):
            raise InputError(
                f"{at} has {len(fields)} fields, but the first row has {width}; "
                f"quote the fields that have {delimiter!r} in them"
            )
        if not begun:
            columns, begun = _with_split(columns, fields, names, shown), True
        elif columns.maybe:
            columns = _still_empty(columns, fields, at)
        yield _row(number, at, fields, columns)


def _json_lines(file: BinaryIO, shown: str) -> Iterator[Row]:
    lines = _Lines(file, shown)
    keys: list[str] = []
    columns: _Columns | None = None
    for line in lines:
        lines.size = 0
        if not line.strip():
            continue
        at = f"{shown} line {lines.number}"
        try:
            record = parse_json(line.encode())
        except ValueError:
            raise InputError(f"{at} is not JSON: {quote(line)}; write one object on each line") from None
        columns, keys = _object_columns(record, at, shown, columns, keys)
        yield _row(lines.number, at, record, columns)


def _json_list(file: BinaryIO, shown: str) -> Iterator[Row]:
    data = file.read(MOST_LIST + 1)
    if len(data) > MOST_LIST:
        raise InputError(
            f"{shown} is a JSON list of more than {MOST_LIST} bytes; write one object on each line instead"
        )
    try:
        records = parse_json(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise InputError(f"{shown} is not JSON ({str(error)[:80]}); check it") from None
    keys: list[str] = []
    columns: _Columns | None = None
    for number, record in enumerate(records, 1):
        at = f"{shown} item {number}"
        columns, keys = _object_columns(record, at, shown, columns, keys)
        yield _row(number, at, record, columns)


def _object_columns(
    record: Any, at: str, shown: str, columns: _Columns | None, keys: list[str]
) -> tuple[_Columns, list[str]]:
    """Find the columns of a JSON object, anew if its keys differ from those of the object before."""
    if not isinstance(record, dict):
        raise InputError(f"{at} is {quote(record)}; write an object with the path and the label")
    names = list(record)
    if columns is None or names != keys:
        again, split = _columns(names, at), columns.split if columns else None
        path, label, own, weight = (
            None if n is None else names[n] for n in (again.path, again.label, again.split, again.weight)
        )
        found = _Columns(path, label, own, weight, tuple(names[n] for n in again.maybe))
        if columns is None:
            columns = _with_split(found, record, {name: name for name in names}, shown)
        elif split is not None and split not in record:
            raise InputError(f"{at} has no {quote(split)}; give every row one")
        else:
            columns = _Columns(found.path, found.label, split or found.split, found.weight)
    elif columns.maybe:
        columns = _still_empty(columns, record, at)
    return columns, names


def _text(file: BinaryIO, shown: str) -> Iterator[Row]:
    lines = _Lines(file, shown)
    for line in lines:
        lines.size = 0
        if not line.strip():
            continue
        at = f"{shown} line {lines.number}"
        if not (found := CAFFE.fullmatch(line.strip())):
            raise InputError(
                f"{at} is {quote(line.strip())}; it must be a path, a space and a whole number of 0 or more"
            )
        yield _row(lines.number, at, found.groups(), _Columns(0, 1))


def _with_split(columns: _Columns, values: Any, names: Any, shown: str) -> _Columns:
    """Take a column of another name for the split if its first value names one.

    Raises InputError if two columns do, or if none does but one has a name such as is_valid or partition.
    """
    found = [column for column in columns.maybe if _names_split(values[column])]
    if len(found) > 1:
        raise InputError(f"{shown} has {len(found)} columns that may be the split; name one of them 'split'")
    if found:
        return _Columns(columns.path, columns.label, found[0], columns.weight)
    for column in columns.maybe:
        plain = _plain(names[column])
        if plain in SPLIT_LIKE or FLAG.fullmatch(plain):
            raise InputError(
                f"{shown} has the column {quote(names[column])}; write it as a column 'split' with train, val or "
                "test, or take it out if it is no split"
            )
    empty = tuple(column for column in columns.maybe if _is_empty(values[column]))
    return _Columns(columns.path, columns.label, columns.split, columns.weight, empty)


def _still_empty(columns: _Columns, values: Any, at: str) -> _Columns:
    """Raise InputError if a column that was empty until now names a split; keep those that are empty still."""
    for column in columns.maybe:
        if _names_split(values[column]):
            raise InputError(
                f"{at} has the split {quote(values[column])}, but rows above have none; give every row one, "
                "or take that column out if it is no split"
            )
    empty = tuple(column for column in columns.maybe if _is_empty(values[column]))
    return _Columns(columns.path, columns.label, columns.split, columns.weight, empty)


def _names_split(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in SPLITS


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null"))


def _row(number: int, at: str, values: Any, columns: _Columns) -> Row:
    """Check one row's values; JSON's may be of any type."""
    path = values[columns.path]
    if not isinstance(path, str):
        raise InputError(f"{at}: the picture is {quote(path)}; give its path as text")
    split = None
    if columns.split is not None:
        split = SPLITS.get(str(values[columns.split]).strip().lower())
        if split is None:
            raise InputError(
                f"{at}: the split is {quote(str(values[columns.split]))}; write train, val or test, "
                "or take that column out if it is no split"
            )
    weight = 1.0 if columns.weight is None else checked_weight(values[columns.weight], at)
    return Row(number, at, path.strip(), checked_label(values[columns.label], at), split, weight)
