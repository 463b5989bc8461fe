"""What every kind of source gives: classes, and pictures with labels in splits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from alexnet.data.images.decode import decode
from alexnet.data.sources.archives import FilePart, read
from alexnet.data.store import Class
from alexnet.data.store_files import Format

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

    `kind` is its name in the store: lower case, with dashes. `splits` has "train", and "val" and "test" where the
    source has them. `open` is a function at the top of a module, so that it travels to other processes: it takes a
    place, and returns the RGB image and a word on each thing that was done to it. `side` (pixels) and `format` are
    used unless the user gives others. Without "val" a part of the training pictures is held out. `ignored` counts the
    files that belong to no split or class, `left_out` what was not listed, by reason.
    """

    kind: str
    classes: tuple[Class, ...]
    splits: dict[str, list[Picture]]
    open: Opener
    side: int = 256
    format: Format = "raw"
    ignored: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def open_upright(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Open a picture file, turned as its EXIF orientation says."""
    return decode(read(place))


def open_as_stored(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Open a picture file of an ILSVRC archive, whose EXIF orientation was not looked at in 2012."""
    return decode(read(place), exif=False)
