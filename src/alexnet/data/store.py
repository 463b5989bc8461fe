"""A prepared store, read only: its classes, statistics and splits, every byte under a checksum."""

import hashlib
import io
import json
import mmap
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from safetensors.numpy import load

from alexnet.data.decode import FAST, unpack_jpeg
from alexnet.errors import UnusableError

Form = Literal["raw", "jpeg"]
FORMAT = 1
MOST_MAPS = 128  # each holds a file descriptor, and ILSVRC has thousands of shards


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
    """The pictures of one split: `side` and `form` as the store's, `labels` (int64), `names`, and `read`.

    A store's pictures are numbered from 0 in the order of label and name. Threads may share a split.
    """

    def __init__(self, folder: Path, side: int, form: Form, meta: dict[str, Any]) -> None:
        self.side, self.form, self._folder = side, form, folder
        index = load(_trusted(folder, meta["index"]))
        self.labels: np.ndarray = index["labels"]
        self._crc32: np.ndarray = index["crc32"]
        self._sizes: np.ndarray = index["sizes"]
        _trusted(folder, meta["names"])
        self._names_file = folder / meta["names"]["file"]
        self._shards = [folder / shard["file"] for shard in meta["shards"]]
        self._starts = np.cumsum([0] + [shard["count"] for shard in meta["shards"]])
        if not len(self.labels) == len(self._crc32) == len(self._sizes) == meta["count"] == self._starts[-1]:
            raise ValueError("the counts differ")
        for shard, path in zip(meta["shards"], self._shards, strict=True):
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise _damage(folder, shard["file"])
        ends = np.cumsum(self._sizes)
        self._begins = ends - self._sizes  # in its shard, in bytes
        for first, last in zip(self._starts[:-1], self._starts[1:], strict=True):
            self._begins[first:last] -= self._begins[first]
        self._ends = self._begins + self._sizes
        self._checked = np.zeros(len(self.labels), bool)
        self._map = lru_cache(MOST_MAPS)(_mapped)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def names(self) -> list[str]:
        """Each picture's name in its source."""
        names: list[str] = json.loads("[" + ",".join(self._names_file.read_text().splitlines()) + "]")
        return names

    def read(self, ids: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The pictures numbered `ids`: uint8, len(ids) x side x side x 3, into `out` where it is given.

        Raises UnusableError for a picture whose bytes are no longer those that were stored; each picture's CRC-32 is
        checked the first time that it is read here.
        """
        ids = np.asarray(ids)
        if out is None:
            out = np.empty((len(ids), self.side, self.side, 3), np.uint8)
        shards = np.searchsorted(self._starts, ids, side="right") - 1
        places = zip(
            shards.tolist(), self._begins[ids].tolist(), self._ends[ids].tolist(), self._checked[ids].tolist(),
            strict=True,
        )  # fmt: skip
        for row, (shard, begin, end, checked) in enumerate(places):
            record = self._map(self._shards[shard])[begin:end]
            if not checked:
                self._check(int(ids[row]), shard, record)
            unpack(record, self.form, out[row])
        return out

    def _check(self, number: int, shard: int, record: np.ndarray) -> None:
        if zlib.crc32(record.data) != self._crc32[number]:
            file = self._shards[shard].relative_to(self._folder).as_posix()
            raise _damage(self._folder, file, f" at picture {number} ({self.names[number]!r})")
        self._checked[number] = True


class Store:
    """The store at `path`: `store["val"]` is a split; `classes`, `mean`, `covariance`, `eigenvalues`, `eigenvectors`.

    `mean` is float32, side x side x 3, RGB in 0..255 (section 2); the colour components are of section 4.1, largest
    first, the eigenvectors as columns. `digest` identifies the content, wherever it lies.

    Opening reads no picture. It raises UnusableError where a file is missing, of another size or, but for the shards,
    of other content; `verify` looks at those too.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        meta = _meta(self.path)
        try:
            self.side: int = meta["side"]
            self.form: Form = meta["form"]
            self.kind: str = meta["kind"]
            self.digest: str = meta["digest"]
            self.classes = tuple(Class(**record) for record in meta["classes"])
            self.splits = {name: Split(self.path, self.side, self.form, part) for name, part in meta["splits"].items()}
            statistics = load(_trusted(self.path, meta["statistics"]))
            self.mean: np.ndarray = statistics["mean"]
            self.covariance: np.ndarray = statistics["covariance"]
            self.eigenvalues: np.ndarray = statistics["eigenvalues"]
            self.eigenvectors: np.ndarray = statistics["eigenvectors"]
        except UnusableError:
            raise
        except (KeyError, TypeError, ValueError, IndexError):
            raise _damage(self.path, "meta.json") from None

    @property
    def held_out(self) -> str:
        """The split that a net is watched and shown on: val, or test where there is no val."""
        return "val" if "val" in self.splits else "test"

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            raise UnusableError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]


def verify(path: str | Path) -> list[str]:
    """The files of the store at `path` that are missing or altered, by their SHA-256; empty for a whole store.

    Raises UnusableError where meta.json itself cannot be believed.
    """
    path = Path(path)
    return [part["file"] for part in _files(_meta(path)) if _sha256(path / part["file"]) != part["sha256"]]


def content_digest(meta: dict[str, Any]) -> str:
    """What identifies a store: side, form, classes and the hashes of its pictures and labels.

    The statistics follow from these up to the last bit of an eigenvector, which differs between machines.
    """
    content = {key: meta[key] for key in ("format", "side", "form", "classes", "splits")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def packed(picture: np.ndarray, form: Form) -> bytes:
    """A picture (uint8, side x side x 3) as a store's record: its bytes, or a JPEG of quality 90 with 4:2:0 colour."""
    if form == "raw":
        return picture.tobytes()
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90, subsampling="4:2:0")
    return out.getvalue()


def unpack(record: np.ndarray, form: Form, out: np.ndarray, fast: bool = FAST) -> np.ndarray:
    """A store's record (uint8) as its picture, in `out` (uint8, side x side x 3); `fast`: as decode's."""
    if form == "raw":
        out[...] = record.reshape(out.shape)
    elif not (fast and unpack_jpeg(record, "RGB", out)):
        with Image.open(io.BytesIO(record.data), formats=("JPEG",)) as image:
            out[...] = np.asarray(image)
    return out


def records(shard: Path, sizes: list[int]) -> Iterator[np.ndarray]:
    """The records of one shard in turn, each uint8."""
    data = _mapped(shard)
    offset = 0
    for size in sizes:
        yield data[offset : offset + size]
        offset += size


def class_records(classes: tuple[Class, ...]) -> list[dict[str, Any]]:
    """The classes as meta.json holds them."""
    return [asdict(record) for record in classes]


def _mapped(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((path / "meta.json").read_bytes())
    except FileNotFoundError:
        raise UnusableError(f"{path} is not a store: it holds no meta.json; make one with 'alexnet prepare'") from None
    except (OSError, ValueError):
        raise _damage(path, "meta.json") from None
    if isinstance(meta, dict) and meta.get("format") not in (None, FORMAT):
        raise UnusableError(f"{path} is a store of format {meta['format']}, not {FORMAT}; prepare it again")
    try:
        if content_digest(meta) != meta["digest"]:
            raise _damage(path, "meta.json")
    except (KeyError, TypeError):
        raise _damage(path, "meta.json") from None
    return meta


def _files(meta: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for split in meta["splits"].values():
        yield split["index"]
        yield split["names"]
        yield from split["shards"]
    yield meta["statistics"]
    yield meta["notes"]


def _trusted(folder: Path, part: dict[str, Any]) -> bytes:
    """The bytes of one of the small files, if they are those that were stored."""
    try:
        data: bytes = (folder / part["file"]).read_bytes()
    except OSError:
        raise _damage(folder, part["file"]) from None
    if hashlib.sha256(data).hexdigest() != part["sha256"]:
        raise _damage(folder, part["file"])
    return data


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _damage(folder: Path, file: str, place: str = "") -> UnusableError:
    return UnusableError(
        f"{folder / file} is missing or damaged{place}; 'alexnet verify {folder}' lists what is, then prepare it again"
    )
