"""The types that every kind of source returns: classes, and labelled pictures in splits."""

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
    """A picture to prepare: its name in the source, the index of its class, and where its bytes are.

    `weight` is its weight in the training loss, a finite float32 of 0 or more.
    """

    name: str
    label: int
    place: FilePart
    weight: float = 1.0


@dataclass(frozen=True)
class Source:
    """Everything that `prepare` needs from a source.

    `kind` is the name of the kind in the store: lower case, with dashes. `splits` has "train", and "val" and "test" if
    the source has them; without either, `prepare` holds out some training pictures as "val". `open` takes a place and
    returns the RGB image and a word for each conversion; it must be a top-level function, so that it can be pickled
    for other processes. `side` (pixels) and `format` are defaults that the user can override. `ignored` counts the
    files outside every split and class. `left_out` counts the files that were not listed, and the pictures without a
    label, by reason. `content` is a hash of pictures that could change without a change of their names and sizes.
    """

    kind: str
    classes: tuple[Class, ...]
    splits: dict[str, list[Picture]]
    open: Opener
    side: int = 256
    format: Format = "raw"
    ignored: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    content: str = ""


def open_upright(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Decode a picture file and apply its EXIF orientation."""
    return decode(read(place))


def open_as_stored(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Decode a picture file of an ILSVRC archive; as in 2012, its EXIF orientation is ignored."""
    return decode(read(place), exif=False)
