"""What is to be prepared: pictures with labels in splits, found in Tiny ImageNet, or drawn."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from alexnet.core.errors import UnusableError
from alexnet.data.images.decode import decode
from alexnet.data.sources.archives import Files, Place, Slice, read
from alexnet.data.sources.drawings import CLASSES, draw
from alexnet.data.store import Class, Form

Opener = Callable[[Place], tuple[Image.Image, list[str]]]
LEAST_DRAWN = 20
VAL_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class Picture:
    """A candidate: its name in the source, the index of its class, where its bytes lie."""

    name: str
    label: int
    place: Place


@dataclass(frozen=True)
class Source:
    """Everything that preparing needs to know of a source.

    `open` is a plain function, so that it travels to other processes: place -> RGB image and what was done to it.
    `ignored` counts the files that belong to no split or class, `left_out` what was not listed, by reason.
    """

    kind: Literal["folders", "tiny-imagenet", "cifar-10", "ilsvrc-2010", "ilsvrc-2012", "builtin"]
    classes: tuple[Class, ...]
    splits: dict[str, list[Picture]]
    open: Opener
    side: int = 256
    form: Form = "raw"
    ignored: int = 0
    own_val: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)


def open_upright(place: Place) -> tuple[Image.Image, list[str]]:
    """A picture file, turned as its EXIF orientation says."""
    return decode(read(place))


def open_as_stored(place: Place) -> tuple[Image.Image, list[str]]:
    """A picture file of an ILSVRC archive, whose EXIF orientation was not looked at in 2012."""
    return decode(read(place), exif=False)


def open_drawing(place: Place) -> tuple[Image.Image, list[str]]:
    """The built-in picture whose index is the place's offset."""
    return Image.fromarray(draw(place.offset)), []


def tiny_imagenet(files: Files) -> Source:
    """Tiny ImageNet as distributed; its test pictures have no labels and are left out."""
    wnids = sorted(_lines(files, "wnids.txt"))
    words = dict(_pairs(_lines(files, "words.txt"), "words.txt")) if "words.txt" in files.places else {}
    index = {wnid: label for label, wnid in enumerate(wnids)}
    if files.below("train").tops() != wnids:
        raise UnusableError(f"wnids.txt names {len(wnids)} classes, and train/ holds others; unpack the archive again")
    shapes = re.compile(r"train/([^/]+)/images/[^/]+")
    train = [
        Picture(name, index[found[1]], place)
        for name, place in files.places.items()
        if (found := shapes.fullmatch(name))
    ]
    val = []
    for name, wnid in _pairs(_lines(files, "val/val_annotations.txt"), "val/val_annotations.txt"):
        full, wnid = f"val/images/{name}", wnid.split("\t")[0]
        if full not in files.places or wnid not in index:
            raise UnusableError(
                f"val_annotations.txt says {name!r} is {wnid!r}: one of the two is not there; unpack again"
            )
        val.append(Picture(full, index[wnid], files.places[full]))
    return Source(
        "tiny-imagenet",
        tuple(Class(wnid, wnid=wnid, words=words.get(wnid)) for wnid in wnids),
        {"train": train, "val": val},
        open_upright,
        side=64,
    )


def drawn(count: int) -> Source:
    """`count` built-in pictures in ten balanced classes, the last fifth of them for validation."""
    if count < LEAST_DRAWN:
        raise UnusableError(f"builtin:{count} is too few pictures; at least {LEAST_DRAWN} are needed")
    pictures = [Picture(f"{n:06d}", n % len(CLASSES), Slice("builtin", n, 0)) for n in range(count)]
    train = count - count // 5
    return Source(
        "builtin", tuple(map(Class, CLASSES)), {"train": pictures[:train], "val": pictures[train:]}, open_drawing
    )


def held_out(pictures: Iterable[Picture], fraction: float, seed: int) -> dict[str, list[Picture]]:
    """Train and val, taking `fraction` of each class for val, at least one and never all.

    Which ones depends on `seed` and the names alone, so neither file order nor another class changes it.
    """
    classes: dict[int, list[Picture]] = {}
    for picture in pictures:
        classes.setdefault(picture.label, []).append(picture)
    splits: dict[str, list[Picture]] = {"train": [], "val": []}
    for members in classes.values():
        members.sort(key=lambda picture: hashlib.sha256(f"{seed}/{picture.name!r}".encode()).digest())
        taken = min(max(1, round(fraction * len(members))), len(members) - 1)
        splits["val"] += members[:taken]
        splits["train"] += members[taken:]
    return splits


def _lines(files: Files, name: str) -> list[str]:
    if name not in files.places:
        raise UnusableError(f"Tiny ImageNet's {name} is not there; unpack the archive again")
    return read(files.places[name]).decode("utf-8", "replace").splitlines()


def _pairs(lines: list[str], name: str) -> list[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if "\t" not in line:
            raise UnusableError(f"{name} line {number} is {line[:60]!r}; it must be two columns with a tab between")
    return [(first, rest) for first, rest in (line.split("\t", 1) for line in lines)]
