"""The part of the Parquet source that calls pyarrow, in a separate process with limits: pyarrow trusts a file's sizes.

`look` reads the footers of files; `copy` writes the pictures of one file in sequence. Both exit with a message if a
file is not what it claims to be.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alexnet.data.images.limits import MOST_BYTES
from alexnet.data.sources.class_folders import SPLITS
from alexnet.data.sources.limited import NO_LIBRARY, limit_this_process

# Copying row groups of 100 MB takes about 200 MB of memory; pyarrow itself takes 1 GB of address space.
MEMORY = 3 << 30  # bytes of address space
SECONDS = 60  # of CPU time, and one more for each SLOWEST bytes of the files
SLOWEST = 1 << 21
MOST_ROWS = 1 << 24  # of one file
MOST_CLASSES = 1 << 17
MOST_TEXT = 1000  # characters of a class's name
BATCH_BYTES = 1 << 23  # of rows decoded at a time, by the file's own count
FULL = 4  # the exit status if the copy cannot be written
NO_LABEL, NO_PICTURE = -1, -2  # in the place of a label
PICTURES = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "bytes")  # usual names of columns
LABELS = ("label", "labels", "fine_label", "class", "cls", "target", "category")

SPLIT = ("split", "set", "subset", "partition", "phase", "usage", "data_split", "dataset_split")


class _Wrong(Exception):
    """A file that is refused; the text says why."""


@dataclass(frozen=True)
class _Job:
    """A file to copy: its name in messages, where it lies, its columns, and where its copy goes.

    `names` is the number of class names, or -1 if the file has none. `most` is the bytes that all pictures may have.
    `split` is the column that may name splits, or "". `expected` is the split of the file, or "" if it may be any.
    """

    shown: str
    path: str
    offset: int
    size: int
    picture: str
    label: str
    names: int
    most: int
    out: str
    split: str
    expected: str


class _Section(io.RawIOBase):
    """`size` bytes of a file from `offset`, as a file of its own, so that a file inside a tar can be read."""

    def __init__(self, path: str, offset: int, size: int) -> None:
        self.file = open(path, "rb")  # noqa: SIM115  # pyarrow keeps this object, and the process ends with it
        self.offset, self.length, self.at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(0, offset + (0, self.at, self.length)[whence])
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.length - self.at)
        self.file.seek(self.offset + self.at)
        data = self.file.read(left if size is None or size < 0 else min(size, left))
        self.at += len(data)
        return data


def look() -> None:
    """Print the columns of pictures and of labels of each file, and its classes if it names them.

    Standard input has a JSON list of files: the name to show, the path, the offset and the size of each.
    """
    files = json.loads(sys.stdin.buffer.read())
    with _one_line():
        _limit(sum(size for *_, size in files))
        found = []
        for shown, path, offset, size in files:
            with _one_line(shown):
                file = _opened(path, offset, size)
                found.append(_columns(file.schema_arrow))
        print(json.dumps(found))


def copy() -> None:
    """Copy the pictures of files in sequence, each file whole or not at all.

    Standard input has a JSON list of jobs, each an object with the fields of _Job. For each file `out` gets the bytes
    of all pictures, `out`.rows two int64 for each row, size and label, and last `out`.json the texts that the labels
    number, or null if the labels are numbers. A label is NO_LABEL or NO_PICTURE where the row has none; then its bytes
    are left out and its size is 0.
    """
    jobs = [_Job(**job) for job in json.loads(sys.stdin.buffer.read())]
    with _one_line():
        _limit(sum(job.size for job in jobs))
        for job in jobs:
            with _one_line(job.shown):
                _copy_one(job)


def _copy_one(job: _Job) -> None:
    unfinished = [job.out + suffix + ".tmp" for suffix in ("", ".rows", ".json")]
    with _Output(unfinished[0]) as pictures, _Output(unfinished[1]) as table, _Output(unfinished[2]) as last:
        texts = _copied(job, pictures, table)
        last.write(json.dumps(texts).encode())
    for path in unfinished:
        with _or_full():
            os.replace(path, path.removesuffix(".tmp"))


def _copied(job: _Job, pictures: "_Output", table: "_Output") -> list[str] | None:
    """Write the pictures and the rows of one file; return the texts of the labels, or None if they are numbers."""
    file = _opened(job.path, job.offset, job.size)
    texts: dict[str, int] = {}
    is_text = False
    rows = written = 0
    named = False
    split, strange = job.expected, ""
    for batch in _batches(file, [job.picture, job.label, *filter(None, [job.split])]):
        for word in batch.column(job.split).unique().to_pylist() if job.split else ():
            said = SPLITS.get(str(word).strip().lower(), "")
            strange = strange or ("" if said else str(word))
            named = named or bool(said)
            if named and strange:
                raise _Wrong(
                    f"its column {job.split!r} has {strange[:60]!r} beside names of splits; write a file for each split"
                )
            if said and said != (split := split or said):
                raise _Wrong(
                    f"its column {job.split!r} has {word!r} in a file of {split}; write a file for each split, such as "
                    f"{split}.parquet and {said}.parquet"
                )
        column = batch.column(job.picture)
        data = column.field("bytes") if hasattr(column, "field") else column
        labels = batch.column(job.label)
        for n, value in enumerate(labels.to_pylist()):
            row = rows + n
            if isinstance(value, str):
                is_text = True
                number = _number(texts, value, row)
            else:
                number = _checked(value, job.names, row)
            if not column[n].is_valid or not data[n].is_valid:
                if column[n].is_valid and (elsewhere := column[n].as_py().get("path")):
                    raise _Wrong(
                        f"its row {row} has the path {str(elsewhere)[:200]!r} instead of a picture's bytes; "
                        "save the data set with the pictures embedded"
                    )
                number = NO_PICTURE
            length = 0
            if number >= 0:
                buffer = data[n].as_buffer()
                length = buffer.size
                written += length
                if length > MOST_BYTES:
                    raise _Wrong(f"its row {row} has {length} bytes; the limit of a picture is {MOST_BYTES}")
                if written > job.most:
                    raise _Wrong(f"its {job.size} bytes grow to more than {job.most}; write it again")
                pictures.write(buffer)
            table.write(length.to_bytes(8, "little") + number.to_bytes(8, "little", signed=True))
        rows += batch.num_rows
    if rows != file.metadata.num_rows:
        raise _Wrong(f"it claims {file.metadata.num_rows} rows, but has {rows}")
    return list(texts) if is_text else None


def _opened(path: str, offset: int, size: int) -> Any:
    """Open a file and check the counts in its footer."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(_Section(path, offset, size), pre_buffer=False, buffer_size=1 << 20)
    found = file.metadata
    groups = [found.row_group(n).num_rows for n in range(found.num_row_groups)]
    if found.num_rows < 0 or any(rows < 0 for rows in groups) or sum(groups) != found.num_rows:
        raise _Wrong(f"it claims {found.num_rows} rows, but its row groups have {groups[:9]}")
    if found.num_rows > MOST_ROWS:
        raise _Wrong(f"it claims {found.num_rows} rows; the limit of a file is {MOST_ROWS}")
    return file


def _columns(schema: Any) -> tuple[str, str, list[str] | None, str]:
    """Find the columns of pictures, labels and splits, and the names of the classes in Hugging Face's metadata."""
    features: Any = {}
    if b"huggingface" in (schema.metadata or {}):
        try:
            features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _Wrong(f"its metadata of Hugging Face cannot be read ({error!r})") from None
    if not isinstance(features, dict):
        raise _Wrong("its metadata of Hugging Face has no features")
    if len(set(schema.names)) != len(schema.names):
        raise _Wrong(f"it has two columns of one name: {schema.names[:9]}")

    def are(kind: str) -> list[str]:
        return [n for n in schema.names if isinstance(features.get(n), dict) and features[n].get("_type") == kind]

    taken = [name for name in schema.names if _is_picture(schema.field(name).type)]
    picture = _one([name for name in are("Image") if name in taken] or taken, PICTURES, "of pictures", schema)
    usual = [n for n in schema.names if n.lower() in LABELS]
    if len(found := are("ClassLabel")) == 1 and usual and found[0] not in usual:
        raise _Wrong(f"its labels may be the column {found[0]!r} or {usual[0]!r}; take one of them out")
    label = _one(found or usual, LABELS, "of labels", schema)
    classes = features[label].get("names") if label in are("ClassLabel") else None
    if classes is not None and not (
        isinstance(classes, list)
        and all(isinstance(name, str) and 0 < len(name) <= MOST_TEXT for name in classes)
        and len(set(classes)) == len(classes)
    ):
        raise _Wrong(f"the names of its classes are not a list of different texts: {str(classes)[:200]}")
    _check_label(schema.field(label), classes is not None)
    split = next((name for name in schema.names if name.lower() in SPLIT and _is_text(schema.field(name).type)), "")
    return picture, label, classes, split


def _one(found: list[str], usual: tuple[str, ...], what: str, schema: Any) -> str:
    """Choose a column: the only one, or the one with the most usual name."""
    if len(found) == 1:
        return found[0]
    for name in usual:
        if match := [one for one in found if one.lower() == name]:
            return match[0]
    said = f"several columns {what}, {found[:9]}" if found else f"no column {what} among {schema.names[:20]}"
    raise _Wrong(f"it has {said}; call one {usual[0]!r}")


def _is_picture(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_label(field: Any, named: bool) -> None:
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not pa.types.is_integer(kind) and (named or not text):
        raise _Wrong(f"its column {field.name!r} has the type {field.type}; labels are integers or texts")


def _batches(file: Any, columns: list[str]) -> Iterator[Any]:
    """Decode some rows at a time, of a size that the footer only suggests: the limit of memory holds for any."""
    for group in range(file.num_row_groups):
        claimed = file.metadata.row_group(group)
        each = max(1, claimed.total_byte_size // max(1, claimed.num_rows))
        rows = min(1024, max(1, BATCH_BYTES // each))
        seen = 0
        for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
            seen += batch.num_rows
            if seen > claimed.num_rows:
                raise _Wrong(f"its row group {group} claims {claimed.num_rows} rows, but has more")
            yield batch
        if seen != claimed.num_rows:
            raise _Wrong(f"its row group {group} claims {claimed.num_rows} rows, but has {seen}")


def _number(texts: dict[str, int], text: str, row: int) -> int:
    """Return the number of a text: the place among all texts of its first row."""
    if not text or len(text) > MOST_TEXT:
        raise _Wrong(f"its row {row} has a label of {len(text)} characters: {text[:60]!r}")
    number = texts.setdefault(text, len(texts))
    if number >= MOST_CLASSES:
        raise _Wrong(f"its labels have more than {MOST_CLASSES} different texts, such as {text[:60]!r}")
    return number


def _checked(label: int | None, names: int, row: int) -> int:
    """Check the number of a class. Hidden labels of test pictures are -1 at Hugging Face."""
    if label is None or label == NO_LABEL:
        return NO_LABEL
    most = names if names >= 0 else 1 << 31
    if not 0 <= label < most:
        said = f"0 to {names - 1}" if names >= 0 else "not negative"
        raise _Wrong(f"its row {row} has the label {label}, but its labels are {said}")
    return label


def _limit(size: int) -> None:
    """Import pyarrow, then limit this process."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(NO_LIBRARY)
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # others keep address space, which is limited
    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    limit_this_process(MEMORY, SECONDS + size // SLOWEST)


class _Output:
    """A new file, flushed to disk at the end; an error of the disk ends the process with the status FULL."""

    def __init__(self, path: str) -> None:
        with _or_full():
            self.file = open(path, "wb")  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> "_Output":
        return self

    def write(self, data: Any) -> None:
        with _or_full():
            self.file.write(data)

    def __exit__(self, kind: object, *rest: object) -> None:
        with _or_full(), self.file:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())


@contextmanager
def _or_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        sys.stderr.flush()
        os._exit(FULL)


@contextmanager
def _one_line(shown: str = "") -> Iterator[None]:
    """Turn any error into an exit with one line, which begins with the name of the file."""
    try:
        yield
    except Exception as error:  # a damaged file can raise anything
        words = " ".join(str(error).split())[:200]
        words = words if isinstance(error, _Wrong) else f"it cannot be read: {type(error).__name__}: {words}"
        sys.exit(" ".join(f"{shown}: {words}".split()))
