"""A prepared dataset, opened read-only: its classes, statistics and splits. Checksums protect every byte."""

import copy
import errno
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from alexnet.core.errors import InputError
from alexnet.core.files import checksum, digest, parse_json
from alexnet.data.images.resize import Fit
from alexnet.data.split import Split as Split
from alexnet.data.store_files import Format, damage, read_trusted, unreadable

if TYPE_CHECKING:
    from alexnet.data.dataset import SplitDataset

FORMAT = 1
SIDES = range(8, 4097)
MOST_META = 1 << 28  # bytes of meta.json; ILSVRC's has a few hundred thousand
KEYS = {"format", "kind", "side", "form", "classes", "splits", "statistics", "notes", "pillow", "digest", "checksum"}
SOMETIMES = {"fit"}  # a key that meta.json has where its value is not the default
SHA256 = re.compile(r"[0-9a-f]{64}")
INSIDE = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)  # a file inside the store, never outside it


@dataclass(frozen=True)
class Class:
    """One class: its name in the source and, if known, its WordNet id, ILSVRC id and description in words."""

    name: str
    wnid: str | None = None
    ilsvrc_id: int | None = None
    words: str | None = None


def labels(classes: Sequence[Class]) -> list[str]:
    """Return the text to show for each class: its words if they are unique (ILSVRC has two cranes), else its name."""
    shared = Counter(c.words for c in classes)
    return [c.words if c.words and shared[c.words] == 1 else c.name for c in classes]


class Store:
    """A prepared dataset. `store["train"]` is one of its splits, a torch.utils.data.Dataset.

    Args:
        path: The folder that `prepare` made. Opening it reads no pictures.

    Attributes:
        classes: One Class for each label, in the order of the labels.
        splits: The splits by name: "train", and "val" or "test" or both if the store has them.
        side: Side of every picture, in pixels.
        format: "raw" or "jpeg".
        kind: Kind of source that the pictures came from, such as "folders".
        fit: How pictures were made square: "crop", "pad" or "warp".
        mean: Mean training picture: float32 (side, side, 3), RGB, 0 to 255 (section 2).
        covariance: Covariance of the training pictures' RGB values: float64 (3, 3) (section 4.1).
        eigenvalues: Its eigenvalues, largest first: float64 (3,).
        eigenvectors: Its eigenvectors, one per column: float64 (3, 3).
        digest: Hash of the content; equal for equal stores, wherever they are.

    Raises:
        InputError: A file is missing, or its size or content has changed. The content of the shards is not checked
            here: `alexnet verify` does that, and each picture is checked on its first read.
    """

    def __init__(self, path: str | Path) -> None:
        from alexnet.data.dataset import SplitDataset  # imports torch, which `prepare` does without

        self.path = Path(path)
        meta = _meta(self.path)
        try:
            self.side: int = meta["side"]
            self.format: Format = meta["form"]
            self.kind: str = meta["kind"]
            self.fit: Fit = meta.get("fit", "crop")
            self.digest: str = meta["digest"]
            self.drawn: dict[str, int | None] = {}  # the arguments of `subset`, if this is a subset
            self.classes = tuple(Class(**record) for record in meta["classes"])
            self.splits = {
                name: SplitDataset(self.path, name, self.side, self.format, len(self.classes), part)
                for name, part in meta["splits"].items()
            }
            statistics = load(read_trusted(self.path, meta["statistics"]))
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
            raise unreadable(self.path, error) from None
        except (KeyError, TypeError, ValueError, IndexError, SafetensorError):
            raise damage(self.path, "meta.json") from None

    @property
    def held_out(self) -> str:
        """The name of the split to evaluate on: val, or test if there is no val."""
        return "val" if "val" in self.splits else "test"

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """The number of pictures of each class, in the classes' order, by split."""
        classes = len(self.classes)
        return {name: np.bincount(split.labels, minlength=classes).tolist() for name, split in self.splits.items()}

    def __getitem__(self, split: str) -> "SplitDataset":
        """Return a split by its name; raise InputError if the store has no such split."""
        if split not in self.splits:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def subset(self, pictures: int | None = None, held_out: int | None = None) -> "Store":
        """Draw a balanced subset of this store, with the same number of pictures of each class.

        The draw is random but the same on every machine, and a smaller subset is part of every larger one. The mean
        picture and the colour statistics stay those of all training pictures. The subset has another `digest`.

        Args:
            pictures: Number of training pictures, a multiple of the number of classes; all if omitted.
            held_out: Number of pictures from the split named by `Store.held_out`, likewise a multiple.

        Returns:
            A store that reads the same files.

        Raises:
            InputError: A number is not a multiple of the number of classes, or a class has too few pictures.
        """
        part, wanted = copy.copy(self), {"train": pictures, self.held_out: held_out}
        part.splits = dict(self.splits)
        for name, (what, count) in zip(wanted, (("--pictures", pictures), ("--held-out", held_out)), strict=True):
            if count is not None:
                part.splits[name] = self[name].take(self._drawn(name, what, count))
        if pictures is not None or held_out is not None:
            part.drawn = {"pictures": pictures, "held_out": held_out}
            part.digest = checksum({"store": self.digest} | part.drawn)
        return part

    def _drawn(self, name: str, what: str, count: int) -> np.ndarray:
        """Draw `count` pictures of a split, balanced by class, and return their numbers in ascending order."""
        from alexnet.core import rng

        labels, classes = self[name].labels, len(self.classes)
        each = count // classes
        if count < classes or count % classes:
            raise InputError(f"{what} is {count}; give a multiple of the {classes} classes of store {self.path}")
        fewest = int(np.bincount(labels, minlength=classes).min())
        if each > fewest:
            raise InputError(
                f"{what} {count} needs {each} pictures of each class, but a class of {name} has only {fewest} in store "
                f"{self.path}; give {fewest * classes} or fewer"
            )
        order = rng.permutation(len(labels), 0, f"subset {name}").numpy()
        return np.sort(np.concatenate([order[labels[order] == label][:each] for label in range(classes)]))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        content = f"{len(self.classes):,} classes, {self.side} x {self.side}, {self.format}"
        return f"<store {self.path} from {self.kind}: {content}; {counts}>"

    def __bool__(self) -> bool:
        return True  # without this, bool() would call __len__, which raises

    def __len__(self) -> int:
        raise self._take_a_split()

    def __iter__(self) -> Iterator[Any]:
        raise self._take_a_split()

    def _take_a_split(self) -> InputError:
        name = self.held_out if {"val", "test"} & self.splits.keys() else "train"
        return InputError(f"{self.path} is a store of splits ({', '.join(self.splits)}); use one: store[{name!r}]")


def verify(path: str | Path) -> list[str]:
    """Read every byte of a store and compare each file with its stored checksum.

    Args:
        path: The folder that `prepare` made.

    Returns:
        The names of missing or altered files, relative to the store; an empty list if the store is intact.

    Raises:
        InputError: meta.json itself is damaged, or a file cannot be read.
    """
    path = Path(path)
    return [part["file"] for part in _files(_meta(path)) if _sha256(path / part["file"]) != part["sha256"]]


def content_digest(meta: dict[str, Any]) -> str:
    """Compute the digest of a store from its side, form, classes and the hashes of its pictures and labels.

    The statistics are left out: they follow from these, except the last bit of an eigenvector, which differs between
    machines.
    """
    content = {key: meta[key] for key in ("format", "side", "form", "classes", "splits")}
    return checksum(content)


def own_checksum(meta: dict[str, Any]) -> str:
    """Compute the SHA-256 over everything else in meta.json."""
    return checksum({key: value for key, value in meta.items() if key != "checksum"})


def class_records(classes: tuple[Class, ...]) -> list[dict[str, Any]]:
    """Return the classes as meta.json holds them."""
    return [asdict(record) for record in classes]


def _meta(path: Path) -> dict[str, Any]:
    """Read meta.json and check its checksum, if it has one, and every value that is used."""
    file = path / "meta.json"
    try:
        if file.exists() and not (file.is_file() and file.stat().st_size <= MOST_META):
            raise damage(path, "meta.json")
        meta: dict[str, Any] = parse_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a store: it has no meta.json; make one with 'alexnet prepare'") from None
    except OSError as error:
        raise unreadable(file, error) from None
    except InputError:
        raise
    except ValueError:
        raise damage(path, "meta.json") from None
    try:
        if type(meta["format"]) is int and meta["format"] > FORMAT:
            raise InputError(
                f"{path} is a store of format {str(meta['format'])[:20]}, made by a newer alexnet; this one reads "
                f"format {FORMAT}: upgrade alexnet"
            )
        if not _sound(meta):
            raise damage(path, "meta.json")
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise damage(path, "meta.json") from None
    return meta


def _sound(meta: dict[str, Any]) -> bool:
    splits = meta["splits"].values()
    shards = [shard for split in splits for shard in split["shards"]]
    counts = [part["count"] for part in (*splits, *shards)] + [shard["bytes"] for shard in shards]
    return (
        meta.keys() <= KEYS | SOMETIMES
        and ("checksum" not in meta or meta["checksum"] == own_checksum(meta))
        and content_digest(meta) == meta["digest"]
        and meta["format"] == FORMAT
        and type(meta["side"]) is int
        and meta["side"] in SIDES
        and meta["form"] in get_args(Format)
        and meta.get("fit", "crop") in get_args(Fit)
        and {"train"} <= meta["splits"].keys() <= {"train", "val", "test"}
        and all(type(value) is int and 0 <= value < 1 << 60 for value in counts)
        and all(INSIDE.fullmatch(part["file"]) and SHA256.fullmatch(part["sha256"]) for part in _files(meta))
        and all(type(value) in (str, int, type(None)) for record in meta["classes"] for value in record.values())
        and all(isinstance(record["name"], str) for record in meta["classes"])
        and isinstance(meta["kind"], str)
    )


def _files(meta: dict[str, Any]) -> list[dict[str, Any]]:
    """List the entries of meta.json for the other files of the store."""
    splits = meta["splits"].values()
    inside = [part for split in splits for part in (split["index"], split["names"], *split["shards"])]
    return [*inside, meta["statistics"], meta["notes"]]


def _sha256(path: Path) -> str | None:
    try:
        return digest(path)
    except OSError as error:
        if error.errno == errno.EIO:
            return None
        raise unreadable(path, error) from None
