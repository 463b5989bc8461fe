"""One split of a store: its labels, names and pictures. A checksum protects each picture."""

import copy
import operator
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike
from safetensors.numpy import load

from alexnet.core.errors import InputError
from alexnet.core.files import parse_json
from alexnet.data.store_files import Format, damage, read_trusted, unpack, unreadable

MOST_OPEN = 128  # open files; ILSVRC has thousands of shards


class Split:
    """The pictures of one split, numbered from 0 and sorted by label, then by name.

    `split[i]` is a picture (uint8, side x side x 3, RGB) and its label (int). `read` returns many pictures at once.
    A split of a Store is also a torch.utils.data.Dataset, so a DataLoader takes it.

    `name` is "train", "val" or "test". `labels` is int64 (N,), `side` is in pixels, and `format` is "raw" or "jpeg".
    `weights` is float32 (N,), the weight of each picture in the training loss, or None if all weights are 1.
    Threads may share a split. A split can be pickled; the copy opens its files again.
    """

    def __init__(self, folder: Path, name: str, side: int, format: Format, classes: int, meta: dict[str, Any]) -> None:
        self.name, self.side, self.format, self._folder = name, side, format, folder
        index = load(read_trusted(folder, meta["index"]))
        self.labels: np.ndarray = index["labels"]
        self._crc32: np.ndarray = index["crc32"]
        self._sizes: np.ndarray = index["sizes"]
        self.weights: np.ndarray | None = index.get("weights")
        self._names = meta["names"]
        read_trusted(folder, self._names)
        self._shards = [folder / shard["file"] for shard in meta["shards"]]
        counts = [shard["count"] for shard in meta["shards"]]
        starts = np.cumsum([0, *counts])
        self._ids: np.ndarray | None = None  # for a part of a split: the pictures' numbers in the whole split
        for values in (self.labels, self._crc32, self._sizes):
            if values.dtype != np.int64 or values.shape != (meta["count"],) or values.min(initial=0) < 0:
                raise ValueError("the index is not one of pictures")
        weights = self.weights
        if weights is not None and (
            weights.dtype != np.float32
            or weights.shape != (meta["count"],)
            or not np.isfinite(weights).all()
            or weights.min(initial=0) < 0
        ):
            raise ValueError("the weights are not those of pictures")
        if starts[-1] != meta["count"] or self.labels.max(initial=0) >= classes:
            raise ValueError("the counts differ")
        self._shard_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        for shard, path in zip(meta["shards"], self._shards, strict=True):
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise damage(folder, shard["file"])
        ends = np.cumsum(self._sizes)
        self._begins = ends - self._sizes  # made relative to the shard below, in bytes
        for first, last, shard in zip(starts[:-1], starts[1:], meta["shards"], strict=True):
            self._begins[first:last] -= self._begins[first]
            if (
                self._sizes[first:last].max(initial=0) > shard["bytes"]
                or self._sizes[first:last].sum() != shard["bytes"]
            ):
                raise ValueError("the sizes differ")
        if format == "raw" and (self._sizes != side * side * 3).any():
            raise ValueError("the sizes are not the side's")
        self._checked, self._whole = np.zeros(len(self.labels), bool), len(self.labels)
        self._open()

    def _open(self) -> None:
        self._file = lru_cache(_most_open())(_File)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files and the cached names, which the copy reads again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_file", "names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        side = f"{self.side} x {self.side}"
        return f"<split {self.name!r} of {self._folder}: {len(self):,} pictures, {side}, {self.format}>"

    def __getitem__(self, index: SupportsIndex) -> tuple[np.ndarray, int]:
        """Read one picture and its label.

        Args:
            index: Number of the picture; a negative one counts from the end.

        Returns:
            The picture, uint8 (side, side, 3), RGB, and its label, an int.

        Raises:
            IndexError: The split has no picture of that number.
            InputError: The stored picture is damaged or cannot be read.
        """
        number = operator.index(index)
        return self.read([number])[0], int(self.labels[number])

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        return (self[number] for number in range(len(self)))

    @cached_property
    def names(self) -> list[str]:
        """The pictures' names in the source, in order."""
        data = read_trusted(self._folder, self._names)
        try:
            names: list[str] = parse_json(b"[" + b",".join(data.splitlines()) + b"]")
        except ValueError:
            names = []
        if len(names) != self._whole or not all(isinstance(name, str) for name in names):
            raise damage(self._folder, self._names["file"])
        return names if self._ids is None else [names[i] for i in self._ids]

    def take(self, ids: ArrayLike) -> Self:
        """Return a split with some of these pictures, in the given order.

        Args:
            ids: Numbers of the pictures, as for `read`.

        Raises:
            IndexError: The split has no picture of such a number.
            InputError: The numbers are not whole.
        """
        numbers = self._numbers(ids)
        part = copy.copy(self)
        for name in ("labels", "_crc32", "_sizes", "_begins", "_shard_of", "_checked"):
            setattr(part, name, getattr(self, name)[numbers])
        part.weights = None if self.weights is None else self.weights[numbers]
        part._ids = numbers if self._ids is None else self._ids[numbers]
        return part

    def read(self, ids: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Read pictures by number, and check the CRC-32 of each on its first read.

        Args:
            ids: N integers: a list, range, array or CPU tensor. They may repeat and be in any order. Negative numbers
                count from the end.
            out: Array to read into, uint8 (N, side, side, 3); a new one if omitted.

        Returns:
            The pictures, uint8 (N, side, side, 3), RGB, 0 to 255.

        Raises:
            IndexError: The split has no picture of such a number.
            InputError: The numbers are not integers, or a stored picture is damaged or cannot be read.
        """
        numbers = self._numbers(ids)
        if out is None:
            out = np.empty((len(numbers), self.side, self.side, 3), np.uint8)
        places = zip(
            self._shard_of[numbers].tolist(),
            self._begins[numbers].tolist(),
            self._sizes[numbers].tolist(),
            self._checked[numbers].tolist(),
            strict=True,
        )
        for row, (shard, begin, size, checked) in enumerate(places):
            # Raw pixels are read straight into `out`.
            straight = self.format == "raw" and out[row].flags.c_contiguous
            record = out[row].reshape(-1) if straight else np.empty(size, np.uint8)
            self._read(int(numbers[row]), shard, begin, record)
            if not checked:
                self._check(int(numbers[row]), shard, record)
            if straight:
                continue
            try:
                unpack(record, self.format, out[row])
            except MemoryError:
                raise
            except Exception:  # a bad JPEG with a right checksum was made so on purpose; Pillow can raise anything
                raise self._damaged(int(numbers[row]), shard) from None
        return out

    def _numbers(self, ids: ArrayLike) -> np.ndarray:
        """Check the numbers of pictures and count negative ones from the end."""
        numbers = np.asarray(ids)
        if not numbers.size:
            return np.zeros(0, np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            given = f"of shape {numbers.shape} and type {numbers.dtype}"
            raise InputError(f"the pictures' numbers are {given}; give a list of integers")
        if numbers.min() < -len(self) or numbers.max() >= len(self):
            wrong = numbers.min() if numbers.min() < -len(self) else numbers.max()
            raise IndexError(f"split {self.name!r} has no picture {wrong}; it has {len(self)}, numbered from 0")
        return np.where(numbers < 0, numbers + len(self), numbers) if numbers.min() < 0 else numbers

    def _read(self, number: int, shard: int, begin: int, record: np.ndarray) -> None:
        """Read one record's bytes."""
        # Read, not memory-mapped: if a mapped file shrinks or its disk fails, the process dies.
        path = self._shards[shard]
        try:
            file = self._file(path)  # this name keeps it open if another thread drops it from the cache
            taken = 0
            while taken < len(record) and (more := file.read_into(record.data[taken:], begin + taken)):
                taken += more  # a network disk may return less
        except OSError as error:
            raise unreadable(path, error) from None
        if taken != len(record):
            raise self._damaged(number, shard)

    def _check(self, number: int, shard: int, record: np.ndarray) -> None:
        if zlib.crc32(record.data) != self._crc32[number]:
            raise self._damaged(number, shard)
        self._checked[number] = True

    def _damaged(self, number: int, shard: int) -> InputError:
        file = self._shards[shard].relative_to(self._folder).as_posix()
        return damage(self._folder, file, f" at picture {number} ({self.names[number]!r})")


class _File:
    """A file that stays open as long as this object exists."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # in text mode Windows stops at Ctrl-Z
        self.seeking = threading.Lock()

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def read_into(self, buffer: memoryview, begin: int) -> int:
        """Fill `buffer` from byte `begin` on, or part of it, and return the number of bytes; safe for threads."""
        if hasattr(os, "preadv"):
            return os.preadv(self.number, [buffer], begin)
        if hasattr(os, "pread"):  # macOS before 11
            data = os.pread(self.number, len(buffer), begin)
        else:  # Windows
            with self.seeking:
                os.lseek(self.number, begin, os.SEEK_SET)
                data = os.read(self.number, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _most_open() -> int:
    """Return how many files a split may keep open: at most an eighth of this process's limit."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return MOST_OPEN if limit == resource.RLIM_INFINITY else max(1, min(MOST_OPEN, limit // 8))
    return MOST_OPEN
