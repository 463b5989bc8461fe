"""Pictures that a source has twice: identical ones by SHA-256, near-identical ones by a perceptual hash (PDQ)."""

import hashlib
import importlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.prepare import workdir
from alexnet.data.prepare.plan import PreparePlan, Shard

Duplicates = Literal["off", "exact", "near"]
FILE = "duplicates.jsonl"  # in the store; neither in its digest nor in its checksum
MOST_LISTED, MOST_NAMES = 10_000, 20  # lines of each kind, and names in a line
WORDS = 4  # of 64 bits, in a hash of 256
MOST_APART = 31  # bits in which two hashes of near-identical pictures differ, as PDQ's authors advise
LEAST_QUALITY = 50  # of 100; PDQ's hash of a picture with fewer edges says little
SMALL = 64  # pixels; PDQ looks at no more of a side
WINDOW = 128  # pictures of a bucket that each one is compared with, at most
NEEDS = (
    "--duplicates near needs pdqhash, which is not installed: pip install 'alexnet[near]', or use --duplicates exact"
)


@dataclass
class Found:
    """Pairs or groups of pictures of one kind.

    Attributes:
        pictures: Number of pictures that have such a twin.
        groups: Number of groups of identical pictures, or of pairs of near-identical ones.
        across_splits: Number of those that lie in more than one split.
        two_labels: Number of those that have more than one label.
        held_out: Number of pictures of val and test with a twin in train.
        complete: False if there may be more, since a bucket of hashes had too many pictures.
        listed: The first of those across splits or with two labels: numbers of the pictures, and bits apart.
    """

    pictures: int = 0
    groups: int = 0
    across_splits: int = 0
    two_labels: int = 0
    held_out: int = 0
    complete: bool = True
    listed: list[tuple[list[int], int]] = field(default_factory=list)

    def counts(self) -> dict[str, Any]:
        """Return everything but the list."""
        return {name: value for name, value in vars(self).items() if name != "listed"}


class Pictures:
    """The stored pictures of a plan, numbered in its order: label, split and checksum of each, 21 bytes a picture."""

    def __init__(self, part: Path, work: PreparePlan) -> None:
        self.part, self.shards = part, work.shards
        self.classes = [known.name for known in work.classes]
        self.splits = sorted({shard.split for shard in work.shards})
        labels, splits, keys, counts = [], [], [], []
        for shard in work.shards:
            record = workdir.record(part, shard.file)
            labels.append(np.array(record.labels, np.int32))
            splits.append(np.full(len(record.labels), self.splits.index(shard.split), np.uint8))
            crc32, sizes = np.array(record.crc32, np.uint64), np.array(record.sizes, np.uint64)
            keys.append(crc32 << np.uint64(32) | sizes)
            counts.append(len(record.labels))
        self.labels, self.split = np.concatenate(labels), np.concatenate(splits)
        self.keys = np.concatenate(keys)
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    def by_shard(self, numbers: np.ndarray) -> Iterator[tuple[Shard, int, np.ndarray]]:
        """Yield each shard that has some of the pictures (ascending), its first picture, and their places in it."""
        edges = np.searchsorted(numbers, self.starts)
        for at, shard in enumerate(self.shards):
            if edges[at] < edges[at + 1]:
                yield shard, int(self.starts[at]), numbers[edges[at] : edges[at + 1]] - self.starts[at]

    def across(self, numbers: np.ndarray) -> tuple[bool, bool]:
        """Return whether the pictures lie in more than one split, and whether they have more than one label."""
        return len(set(self.split[numbers].tolist())) > 1, len(set(self.labels[numbers].tolist())) > 1


def identical(pictures: Pictures) -> tuple[Found, np.ndarray]:
    """Find the pictures whose stored bytes are equal; return also the group of each, int32 (N,), or -1.

    Equal CRC-32 and size make a candidate. Its bytes are read again, and equal SHA-256 decides.
    """
    order = np.argsort(pictures.keys, kind="stable")
    ordered = pictures.keys[order]
    same = ordered[1:] == ordered[:-1]
    twins = np.zeros(len(order), bool)
    twins[order[1:][same]] = twins[order[:-1][same]] = True
    candidates = np.flatnonzero(twins)
    group = np.full(len(order), -1, np.int32)
    del order, ordered, same, twins
    found = Found()
    if not len(candidates):
        return found, group
    digests = np.concatenate(
        [_digests(pictures.part, shard, places) for shard, _, places in pictures.by_shard(candidates)]
    )
    _, of = np.unique(digests, axis=0, return_inverse=True)
    of = of.reshape(-1)
    order = np.argsort(of, kind="stable")
    groups = [g for g in np.split(candidates[order], np.flatnonzero(np.diff(of[order])) + 1) if len(g) > 1]
    train = pictures.splits.index("train")
    for number, members in enumerate(sorted(groups, key=lambda g: int(g[0]))):
        group[members] = number
        splits, labels = pictures.across(members)
        found.pictures += len(members)
        found.groups += 1
        found.across_splits += splits
        found.two_labels += labels
        held_out = pictures.split[members] != train
        found.held_out += int(held_out.sum()) if not held_out.all() else 0
        if (splits or labels) and len(found.listed) < MOST_LISTED:
            found.listed.append((members.tolist(), 0))
    return found, group


def _digests(part: Path, shard: Shard, places: np.ndarray) -> np.ndarray:
    """Compute the SHA-256 of some of a shard's pictures, uint8 (n, 32)."""
    record, path = workdir.record(part, shard.file), part / "store" / shard.file
    offsets = np.concatenate([[0], np.cumsum(record.sizes)])
    out = np.empty((len(places), 32), np.uint8)
    try:
        with path.open("rb") as file:
            for row, place in enumerate(places.tolist()):
                file.seek(int(offsets[place]))
                data = file.read(record.sizes[place])
                if zlib.crc32(data) != record.crc32[place]:
                    workdir.note_of(part, shard.file).unlink()
                    raise workdir.altered(path)
                out[row] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
    except OSError as error:
        raise WorkFailed(
            f"cannot read {path}: {error.strerror or error}; run the same command again to resume"
        ) from None
    return out


def hasher() -> Any:
    """Import pdqhash and return its function; raise InputError if it is missing."""
    try:
        return importlib.import_module("pdqhash").compute
    except ImportError:
        raise InputError(NEEDS) from None


def hashes(pictures: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the PDQ hash of each picture (uint8, side x side x 3): uint64 (n, 4), zeros where it says too little."""
    compute, out = hasher(), []
    for picture in pictures:
        if len(picture) > SMALL:
            picture = np.asarray(Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX))
        bits, quality = compute(picture)
        packed = np.packbits(np.asarray(bits, np.uint8)) if quality >= LEAST_QUALITY else np.zeros(32, np.uint8)
        out.append(packed.view(np.uint64))
    return np.stack(out) if out else np.zeros((0, WORDS), np.uint64)


def near(pictures: Pictures, hashed: np.ndarray, group: np.ndarray) -> Found:
    """Find the pairs of pictures whose hashes, uint64 (N, 4), differ in at most 31 bits, but which are not identical.

    Pictures are compared if 16 of their 256 bits are equal, at one of 16 places. So a pair that differs in up to 15
    bits is always compared, and about nine in ten that differ in 31. In a bucket of more than 128 pictures each is
    compared with the 128 that follow it in the order of the hashes.
    """
    found, train = Found(), pictures.splits.index("train")
    usable = np.flatnonzero(hashed.any(axis=1))
    usable = usable[np.lexsort(hashed[usable].T[::-1])]
    twin, leaked, kept = np.zeros(len(hashed), bool), np.zeros(len(hashed), bool), list[np.ndarray]()
    for a, b, apart, complete in _pairs(hashed, usable):
        found.complete &= complete
        new = (group[a] < 0) | (group[a] != group[b])
        a, b, apart = a[new], b[new], apart[new]
        twin[a] = twin[b] = True
        splits, labels = pictures.split[a] != pictures.split[b], pictures.labels[a] != pictures.labels[b]
        found.groups += len(a)
        found.across_splits += int(splits.sum())
        found.two_labels += int(labels.sum())
        for one, other in ((a, b), (b, a)):
            leaked[one[splits & (pictures.split[other] == train)]] = True
        of_note = splits | labels
        kept.append(np.stack([apart[of_note], np.minimum(a, b)[of_note], np.maximum(a, b)[of_note]]))
        if sum(some.shape[1] for some in kept) > 10 * MOST_LISTED:
            kept = [_first(kept)]
    found.pictures, found.held_out = int(twin.sum()), int(leaked.sum())
    found.listed = [([a, b], apart) for apart, a, b in _first(kept).T.tolist()] if kept else []
    return found


def _first(kept: list[np.ndarray]) -> np.ndarray:
    """Keep the nearest pairs, (distance, number, number) in columns, in order."""
    whole = np.concatenate(kept, axis=1)
    return whole[:, np.lexsort(whole[::-1])[:MOST_LISTED]]


def _pairs(hashed: np.ndarray, usable: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, bool]]:
    """Yield pairs that differ in few bits, each pair once: their numbers, the bits, and whether all were compared."""
    rows = hashed[usable]
    bands = rows.view(np.uint16)
    for band in range(bands.shape[1]):
        order = np.argsort(bands[:, band], kind="stable")
        key = bands[order, band]
        left = np.arange(len(order) - 1)
        for step in range(1, WINDOW + 2):
            left = left[left + step < len(order)]
            left = left[key[left] == key[left + step]]
            if not len(left):
                break
            if step > WINDOW:
                yield usable[:0], usable[:0], usable[:0], False
                break
            for first in range(0, len(left), 1 << 18):  # in pieces, for the memory
                i, j = order[left[first : first + (1 << 18)]], order[left[first : first + (1 << 18)] + step]
                apart = _ones(rows[i] ^ rows[j])
                close = apart <= MOST_APART
                i, j, apart = i[close], j[close], apart[close]
                new = ~(bands[i, :band] == bands[j, :band]).any(axis=1)  # else an earlier band has found it
                yield usable[i[new]], usable[j[new]], apart[new], True


def _ones(words: np.ndarray) -> np.ndarray:
    """Count the bits that are set in each row of uint64 (n, 4)."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return np.unpackbits(words.view(np.uint8), axis=1).sum(axis=1, dtype=np.int64)


def lines(pictures: Pictures, found: Mapping[str, Found]) -> Iterator[str]:
    """Write what was found, a JSON object a line: the kind, and the names, splits and classes of the pictures."""
    shown = [(kind, numbers, apart) for kind, each in found.items() for numbers, apart in each.listed]
    wanted = np.unique(np.array([n for _, numbers, _ in shown for n in numbers[:MOST_NAMES]], np.int64))
    names: dict[int, str] = {}
    for shard, start, places in pictures.by_shard(wanted):
        record = workdir.record(pictures.part, shard.file)
        names |= {start + place: record.names[place] for place in places.tolist()}
    for kind, numbers, apart in shown:
        line: dict[str, Any] = {
            "kind": kind,
            "pictures": [_described(pictures, names, n) for n in numbers[:MOST_NAMES]],
        }
        line |= {"bits_apart": apart} if kind == "near" else {"count": len(numbers)}
        yield json.dumps(line) + "\n"


def _described(pictures: Pictures, names: Mapping[int, str], number: int) -> dict[str, str]:
    return {
        "name": names[number],
        "split": pictures.splits[pictures.split[number]],
        "class": pictures.classes[pictures.labels[number]],
    }


def look(
    part: Path, work: PreparePlan, hashed: Mapping[str, np.ndarray] | None
) -> tuple[dict[str, Any], Sequence[str]]:
    """Find identical pictures and, given the hashes of each shard, near ones; return counts, and lines for FILE."""
    pictures = Pictures(part, work)
    same, group = identical(pictures)
    found = {"identical": same}
    if hashed is not None:
        found["near"] = near(pictures, np.concatenate([hashed[shard.file] for shard in work.shards]), group)
    counts: dict[str, Any] = {
        "identical": same.counts(),
        "near": found["near"].counts() if hashed is not None else None,
    }
    return counts, list(lines(pictures, found))
