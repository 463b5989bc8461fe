"""What is to be prepared: pictures with labels in splits, found in Tiny ImageNet, or drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from PIL import Image

from alexnet.data.images.decode import decode
from alexnet.data.sources.archives import FilePart, read
from alexnet.data.store import Class, Format

Opener = Callable[[FilePart], tuple[Image.Image, list[str]]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A candidate: its name in the source, the index of its class, where its bytes lie."""

    name: str
    label: int
    place: FilePart


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
    format: Format = "raw"
    ignored: int = 0
    own_val: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)


def open_upright(place: FilePart) -> tuple[Image.Image, list[str]]:
    """A picture file, turned as its EXIF orientation says."""
    return decode(read(place))


def open_as_stored(place: FilePart) -> tuple[Image.Image, list[str]]:
    """A picture file of an ILSVRC archive, whose EXIF orientation was not looked at in 2012."""
    return decode(read(place), exif=False)
