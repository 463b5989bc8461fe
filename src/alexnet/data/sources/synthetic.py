"""The source of drawn pictures: builtin, or builtin:N."""

from pathlib import Path

from PIL import Image

from alexnet.core.errors import InputError
from alexnet.core.text import shorten
from alexnet.data.sources.archives import FilePart, Listing, Slice
from alexnet.data.sources.base import Picture, Source
from alexnet.data.sources.drawings import CLASSES, draw
from alexnet.data.store import Class

NAME = "builtin"
LEAST_DRAWN, MOST_DRAWN = 20, 1_000_000
USUAL = 1000  # pictures, if no number is given


def recognises(files: Listing) -> bool:
    """Return whether the source is the string builtin or builtin:N; a Path of that name is a folder."""
    return isinstance(files.given, str) and files.given.partition(":")[0] == NAME


def read(files: Listing, work: Path) -> Source:
    """Plan N built-in pictures in ten balanced classes, the last fifth of them for validation."""
    number = str(files.given).partition(":")[2]
    if number and not number.isdecimal():
        raise InputError(f"source {files.given!r} needs a number after the colon, such as builtin:1000")
    count = int(number[:20]) if number else USUAL  # of a longer number, these digits are too many already
    if count > MOST_DRAWN:
        raise InputError(f"builtin:{shorten(number)} gives too many pictures; use builtin:{MOST_DRAWN} or fewer")
    if count < LEAST_DRAWN:
        raise InputError(f"builtin:{count} gives too few pictures; use builtin:{LEAST_DRAWN} or more")
    pictures = [Picture(f"{n:06d}", n % len(CLASSES), Slice(NAME, n, 0)) for n in range(count)]
    train = count - count // 5
    return Source(NAME, tuple(map(Class, CLASSES)), {"train": pictures[:train], "val": pictures[train:]}, open_drawing)


def open_drawing(place: FilePart) -> tuple[Image.Image, list[str]]:
    """Draw the built-in picture whose index is the place's offset."""
    return Image.fromarray(draw(place.offset)), []
