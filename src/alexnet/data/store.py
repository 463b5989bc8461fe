"""A prepared store, read only: its classes, statistics and splits, every byte under a checksum."""

import errno
import hashlib
import io
import os
import re
import resource
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load

from alexnet.core.errors import InputError
from alexnet.core.files import checksum, digest, parse_json
from alexnet.data.images.decode import FAST, unpack_jpeg

Format = Literal["raw", "jpeg"]
FORMAT = 1
SIDES = range(8, 4097)
MOST_OPEN = 128  # ILSVRC has thousands of shards
MOST_META = 1 << 28  # bytes; ILSVRC's take a few hundred thousand
KEYS = {"format", "kind", "side", "form", "classes", "splits", "statistics", "notes", "pillow", "digest", "checksum"}
SHA256 = re.compile(r"[0-9a-f]{64}")
INSIDE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)  # a file of the store, never one beside it


@dataclass(frozen=True)
class Class:
    """One class: its name in the source, and where they are known its WordNet id, ILSVRC id and words."""

    name: str
    wnid: str | None = None
    ilsvrc_id: int | None = None
    words: str | None = None


def labels(classes: Sequence[Class]) -> list[str]:
    """What a person is shown for each class: its words where they are its own (ILSVRC has two cranes), or its name."""
    shared = Counter(c.words for c in classes)
    return [c.words if c.words and shared[c.words] == 1 else c.name for c in classes]


class Split:
    """The pictures of one split: `side` and `format` as the store's, `labels` (int64), `names`, and `read`.

    A store's pictures are numbered from 0 in the order of label and name. Threads may share a split.
    """

    def __init__(self, folder: Path, side: int, format: Format, classes: int, meta: dict[str, Any]) -> None:
        self.side, self.format, self._folder = side, format, folder
        index = load(_trusted(folder, meta["index"]))
        self.labels: np.ndarray = index["labels"]
        self._crc32: np.ndarray = index["crc32"]
        self._sizes: np.ndarray = index["sizes"]
        self._names = meta["names"]
        _trusted(folder, self._names)
        self._shards = [folder / shard["file"] for shard in meta["shards"]]
        self._starts = np.cumsum([0] + [shard["count"] for shard in meta["shards"]])
        for values in (self.labels, self._crc32, self._sizes):
            if values.dtype != np.int64 or values.shape != (meta["count"],) or values.min(initial=0) < 0:
                raise ValueError("the index is not one of pictures")
        if self._starts[-1] != meta["count"] or self.labels.max(initial=0) >= classes:
            raise ValueError("the counts differ")
        for shard, path in zip(meta["shards"], self._shards, strict=True):
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise _damage(folder, shard["file"])
        ends = np.cumsum(self._sizes)
        self._begins = ends - self._sizes  # in its shard, in bytes
        for first, last, shard in zip(self._starts[:-1], self._starts[1:], meta["shards"], strict=True):
            self._begins[first:last] -= self._begins[first]
            if (
                self._sizes[first:last].max(initial=0) > shard["bytes"]
                or self._sizes[first:last].sum() != shard["bytes"]
            ):
                raise ValueError("the sizes differ")
        if format == "raw" and (self._sizes != side * side * 3).any():
            raise ValueError("the sizes are not the side's")
        self._checked = np.zeros(len(self.labels), bool)
        self._file = lru_cache(_most_open())(_File)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> list[str]:
        """Each picture's name in its source."""
        data = _trusted(self._folder, self._names)
        try:
            names: list[str] = parse_json(b"[" + b",".join(data.splitlines()) + b"]")
        except ValueError:
            names = []
        if len(names) != len(self) or not all(isinstance(name, str) for name in names):
            raise _damage(self._folder, self._names["file"])
        return names

    def read(self, ids: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The pictures numbered `ids`: uint8, len(ids) x side x side x 3, into `out` where it is given.

        Raises InputError for a picture whose bytes are no longer those that were stored; each picture's CRC-32 is
        checked the first time that it is read here.
        """
        ids = np.asarray(ids)
        if out is None:
            out = np.empty((len(ids), self.side, self.side, 3), np.uint8)
        shards = np.searchsorted(self._starts, ids, side="right") - 1
        places = zip(
            shards.tolist(),
            self._begins[ids].tolist(),
            self._sizes[ids].tolist(),
            self._checked[ids].tolist(),
            strict=True,
        )
        for row, (shard, begin, size, checked) in enumerate(places):
            # Raw pixels are read to where they are wanted.
            straight = self.format == "raw" and out[row].flags.c_contiguous
            record = out[row].reshape(-1) if straight else np.empty(size, np.uint8)
            self._read(int(ids[row]), shard, begin, record)
            if not checked:
                self._check(int(ids[row]), shard, record)
            if straight:
                continue
            try:
                unpack(record, self.format, out[row])
            except MemoryError:
                raise
            except Exception:  # the checksum is right, so that someone made it so; for what Pillow raises see decode
                raise self._damaged(int(ids[row]), shard) from None
        return out

    def _read(self, number: int, shard: int, begin: int, record: np.ndarray) -> None:
        """One record's bytes; read, not mapped, for a map of a file that fails or shrinks is the process's death."""
        path = self._shards[shard]
        try:
            file = self._file(path)  # held here, for another thread may put it out of the cache
            taken = 0
            while more := os.preadv(file.number, [record.data[taken:]], begin + taken):  # a network disk may give less
                taken += more
        except OSError as error:
            raise _unreadable(path, error) from None
        if taken != len(record):
            raise self._damaged(number, shard)

    def _check(self, number: int, shard: int, record: np.ndarray) -> None:
        if zlib.crc32(record.data) != self._crc32[number]:
            raise self._damaged(number, shard)
        self._checked[number] = True

    def _damaged(self, number: int, shard: int) -> InputError:
        file = self._shards[shard].relative_to(self._folder).as_posix()
        return _damage(self._folder, file, f" at picture {number} ({self.names[number]!r})")


class Store:
    """The store at `path`: `store["val"]` is a split; `classes`, `mean`, `covariance`, `eigenvalues`, `eigenvectors`.

    `mean` is float32, side x side x 3, RGB in 0..255 (section 2); the colour components are of section 4.1, largest
    first, the eigenvectors as columns. `digest` identifies the content, wherever it lies.

    Opening reads no picture. It raises InputError where a file is missing, of another size or, but for the shards,
    of other content; `verify` looks at those too.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = _meta(self.path)
        try:
            self.side: int = meta["side"]
            self.format: Format = meta["form"]
            self.kind: str = meta["kind"]
            self.digest: str = meta["digest"]
            self.classes = tuple(Class(**record) for record in meta["classes"])
            self.splits = {
                name: Split(self.path, self.side, self.format, len(self.classes), part)
                for name, part in meta["splits"].items()
            }
            statistics = load(_trusted(self.path, meta["statistics"]))
            self.mean: np.ndarray = statistics["mean"]
            self.covariance: np.ndarray = statistics["covariance"]
            self.eigenvalues: np.ndarray = statistics["eigenvalues"]
            self.eigenvectors: np.ndarray = statistics["eigenvectors"]
            if [(statistics[name].dtype.name, statistics[name].shape) for name in sorted(statistics)] != [
                ("float64", (3, 3)),
                ("float64", (3,)),
                ("float64", (3, 3)),
                ("float32", (self.side, self.side, 3)),
            ]:
                raise ValueError("statistics of another shape")
        except InputError:
            raise
        except OSError as error:
            raise _unreadable(self.path, error) from None
        except (KeyError, TypeError, ValueError, IndexError, SafetensorError):
            raise _damage(self.path, "meta.json") from None

    @property
    def held_out(self) -> str:
        """The split that a net is watched and shown on: val, or test where there is no val."""
        return "val" if "val" in self.splits else "test"

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]


def verify(path: str | Path) -> list[str]:
    """The files of the store at `path` that are missing or altered, by their SHA-256; empty for a whole store.

    Raises InputError where meta.json itself cannot be believed.
    """
    path = Path(path)
    return [part["file"] for part in _files(_meta(path)) if _sha256(path / part["file"]) != part["sha256"]]


def content_digest(meta: dict[str, Any]) -> str:
    """What identifies a store: side, form, classes and the hashes of its pictures and labels.

    The statistics follow from these up to the last bit of an eigenvector, which differs between machines.
    """
    content = {key: meta[key] for key in ("format", "side", "form", "classes", "splits")}
    return checksum(content)


def own_checksum(meta: dict[str, Any]) -> str:
    """SHA-256 over all else that meta.json says."""
    return checksum({key: value for key, value in meta.items() if key != "checksum"})


def pack(picture: np.ndarray, format: Format) -> bytes:
    """A picture (uint8, side x side x 3) as a store's record: its bytes, or a JPEG of quality 90 with 4:2:0 colour."""
    if format == "raw":
        return picture.tobytes()
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90, subsampling="4:2:0")
    return out.getvalue()


def unpack(record: np.ndarray, format: Format, out: np.ndarray, fast: bool = FAST) -> np.ndarray:
    """A store's record (uint8) as its picture, in `out` (uint8, side x side x 3); `fast`: as decode's."""
    if format == "raw":
        out[...] = record.reshape(out.shape)
    elif not (fast and unpack_jpeg(record, "RGB", out)):
        with Image.open(io.BytesIO(record.data), formats=("JPEG",)) as image:
            if image.size != out.shape[1::-1]:  # before any pixel is decoded
                raise ValueError(f"{image.size} pixels")
            out[...] = np.asarray(image)
    return out


def class_records(classes: tuple[Class, ...]) -> list[dict[str, Any]]:
    """The classes as meta.json holds them."""
    return [asdict(record) for record in classes]


class _File:
    """A file that is open as long as this is in use."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


def _most_open() -> int:
    """How many files a split keeps open: no more than an eighth of those that this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if limit == resource.RLIM_INFINITY else max(1, min(MOST_OPEN, limit // 8))


def _meta(path: Path) -> dict[str, Any]:
    """What meta.json says, if it can be believed: its checksum, where it has one, and each value that is used."""
    file = path / "meta.json"
    try:
        if file.exists() and not (file.is_file() and file.stat().st_size <= MOST_META):
            raise _damage(path, "meta.json")
        meta: dict[str, Any] = parse_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a store: it holds no meta.json; make one with 'alexnet prepare'") from None
    except OSError as error:
        raise _unreadable(file, error) from None
    except InputError:
        raise
    except ValueError:
        raise _damage(path, "meta.json") from None
    try:
        if type(meta["format"]) is int and meta["format"] > FORMAT:
            raise InputError(
                f"{path} is a store of format {str(meta['format'])[:20]}, made by a newer alexnet; this one reads "
                f"format {FORMAT}: upgrade it"
            )
        if not _sound(meta):
            raise _damage(path, "meta.json")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise _damage(path, "meta.json") from None
    return meta


def _sound(meta: dict[str, Any]) -> bool:
    splits = meta["splits"].values()
    shards = [shard for split in splits for shard in split["shards"]]
    counts = [part["count"] for part in (*splits, *shards)] + [shard["bytes"] for shard in shards]
    return (
        meta.keys() <= KEYS
        and ("checksum" not in meta or meta["checksum"] == own_checksum(meta))
        and content_digest(meta) == meta["digest"]
        and meta["format"] == FORMAT
        and type(meta["side"]) is int
        and meta["side"] in SIDES
        and meta["form"] in get_args(Format)
        and {"train"} <= meta["splits"].keys() <= {"train", "val", "test"}
        and all(type(value) is int and 0 <= value < 1 << 60 for value in counts)
        and all(INSIDE.fullmatch(part["file"]) and SHA256.fullmatch(part["sha256"]) for part in _files(meta))
        and all(type(value) in (str, int, type(None)) for record in meta["classes"] for value in record.values())
        and all(isinstance(record["name"], str) for record in meta["classes"])
        and isinstance(meta["kind"], str)
    )


def _files(meta: dict[str, Any]) -> list[dict[str, Any]]:
    """What meta.json says of each file beside it."""
    splits = meta["splits"].values()
    inside = [part for split in splits for part in (split["index"], split["names"], *split["shards"])]
    return [*inside, meta["statistics"], meta["notes"]]


def _trusted(folder: Path, part: dict[str, Any]) -> bytes:
    """The bytes of one of the small files, if they are those that were stored."""
    path = folder / part["file"]
    try:
        data = path.read_bytes() if path.is_file() else None  # a pipe would be waited for
    except OSError as error:
        raise _unreadable(path, error) from None
    if data is None or hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise _damage(folder, part["file"])
    return data


def _sha256(path: Path) -> str | None:
    try:
        return digest(path)
    except OSError as error:
        if error.errno == errno.EIO:
            return None
        raise _unreadable(path, error) from None


def _damage(folder: Path, file: str, place: str = "") -> InputError:
    return InputError(
        f"{folder / file} is missing or damaged{place}; 'alexnet verify {folder}' lists what is, then prepare it again"
    )


def _unreadable(path: Path, error: OSError) -> InputError:
    """Not to be read now, which says nothing about its content."""
    return InputError(f"{path} cannot be read: {error.strerror or error}; mend that, its content may be whole")
