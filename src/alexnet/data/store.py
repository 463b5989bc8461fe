"""A prepared store, read only: its classes, statistics and splits, every byte under a checksum."""

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
from alexnet.data.split import Split as Split
from alexnet.data.store_files import Format, damage, read_trusted, unreadable

if TYPE_CHECKING:
    from alexnet.data.dataset import SplitDataset

FORMAT = 1
SIDES = range(8, 4097)
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
    """Return what to show for each class: its words where no other has them (ILSVRC has two cranes), or its name."""
    shared = Counter(c.words for c in classes)
    return [c.words if c.words and shared[c.words] == 1 else c.name for c in classes]


class Store:
    """A prepared store, opened to read: `store["val"]` is one split of it, a torch.utils.data.Dataset.

    `classes` has a Class for each label. `mean` is the mean training picture: float32, side x side x 3, RGB in 0..255
    (section 2). `covariance` (3 x 3), `eigenvalues` (3) and `eigenvectors` (3 x 3, as columns), all float64, are of
    the training pictures' colours (section 4.1), largest first. `side` (pixels) and `format` are those of every
    picture, `kind` says from which kind of source they came. `digest` identifies the content, wherever it lies.

    Args:
        path: the folder that `prepare` made. Opening it reads no picture.

    Raises:
        InputError: a file is missing, of another size or, but for the shards, of other content; `verify` looks at
            the shards' content too.
    """

    def __init__(self, path: str | Path) -> None:
        from alexnet.data.dataset import SplitDataset  # and with it torch, which preparing does without

        self.path = Path(path)
        meta = _meta(self.path)
        try:
            self.side: int = meta["side"]
            self.format: Format = meta["form"]
            self.kind: str = meta["kind"]
            self.digest: str = meta["digest"]
            self.drawn: dict[str, int | None] = {}  # how many pictures `subset` has left, if it has
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
        """The split that a net is watched and shown on: val, or test where there is no val."""
        return "val" if "val" in self.splits else "test"

    def __getitem__(self, split: str) -> "SplitDataset":
        """Return a split by its name; raises InputError for one that is not there."""
        if split not in self.splits:
            raise InputError(f"{self.path} has no split {split!r}; it has {', '.join(self.splits)}")
        return self.splits[split]

    def subset(self, pictures: int | None = None, held_out: int | None = None) -> "Store":
        """Return this store with fewer pictures to train on, and fewer held out: as many of each class.

        Which they are is drawn by chance, class by class, and the same in every place; the first of N are the first of
        any more. The mean picture and the colours' statistics stay those of all training pictures. `digest` is another.

        Args:
            pictures: of split train, a multiple of the number of classes; all unless given.
            held_out: of the split `held_out`, likewise.

        Raises:
            InputError: it is no multiple of the classes, or a class has fewer.
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
        """The numbers of so many pictures of a split, as many of each class, in the order of the split."""
        from alexnet.core import rng

        labels, classes = self[name].labels, len(self.classes)
        each = count // classes
        if count < classes or count % classes:
            raise InputError(f"{what} {count}; give a multiple of the {classes} classes of store {self.path}")
        fewest = int(np.bincount(labels, minlength=classes).min())
        if each > fewest:
            raise InputError(
                f"{what} {count} is {each} of each class, and a class of {name} has {fewest} in store {self.path}; "
                f"give {fewest * classes} or fewer"
            )
        order = rng.permutation(len(labels), 0, f"subset {name}").numpy()
        return np.sort(np.concatenate([order[labels[order] == label][:each] for label in range(classes)]))

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        content = f"{len(self.classes):,} classes, {self.side} x {self.side}, {self.format}"
        return f"<store {self.path} from {self.kind}: {content}; {counts}>"

    def __bool__(self) -> bool:
        return True  # else it would be asked for its length

    def __len__(self) -> int:
        raise self._take_a_split()

    def __iter__(self) -> Iterator[Any]:
        raise self._take_a_split()

    def _take_a_split(self) -> InputError:
        name = self.held_out if {"val", "test"} & self.splits.keys() else "train"
        return InputError(f"{self.path} is a store of splits ({', '.join(self.splits)}); take one: store[{name!r}]")


def verify(path: str | Path) -> list[str]:
    """Read every byte of a store, and compare it with the checksums that were taken when it was made.

    Args:
        path: the folder that `prepare` made.

    Returns:
        The files that are missing or altered, by their name in the store; empty for a whole store.

    Raises:
        InputError: meta.json itself is damaged, or a file cannot be read.
    """
    path = Path(path)
    return [part["file"] for part in _files(_meta(path)) if _sha256(path / part["file"]) != part["sha256"]]


def content_digest(meta: dict[str, Any]) -> str:
    """Return what identifies a store: side, form, classes and the hashes of its pictures and labels.

    The statistics follow from these up to the last bit of an eigenvector, which differs between machines.
    """
    content = {key: meta[key] for key in ("format", "side", "form", "classes", "splits")}
    return checksum(content)


def own_checksum(meta: dict[str, Any]) -> str:
    """Return the SHA-256 over all else that meta.json says."""
    return checksum({key: value for key, value in meta.items() if key != "checksum"})


def class_records(classes: tuple[Class, ...]) -> list[dict[str, Any]]:
    """Return the classes as meta.json holds them."""
    return [asdict(record) for record in classes]


def _meta(path: Path) -> dict[str, Any]:
    """What meta.json says, if it can be believed: its checksum, where it has one, and each value that is used."""
    file = path / "meta.json"
    try:
        if file.exists() and not (file.is_file() and file.stat().st_size <= MOST_META):
            raise damage(path, "meta.json")
        meta: dict[str, Any] = parse_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is not a store: it holds no meta.json; make one with 'alexnet prepare'") from None
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
                f"format {FORMAT}: upgrade it"
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


def _sha256(path: Path) -> str | None:
    try:
        return digest(path)
    except OSError as error:
        if error.errno == errno.EIO:
            return None
        raise unreadable(path, error) from None
