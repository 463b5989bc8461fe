"""Pictures drawn by program: builtin, and builtin:N."""

from PIL import Image

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import FilePart, Slice
from alexnet.data.sources.base import Picture, Source
from alexnet.data.sources.drawings import CLASSES, draw
from alexnet.data.store import Class

LEAST_DRAWN = 20


def open_drawing(place: FilePart) -> tuple[Image.Image, list[str]]:
    """The built-in picture whose index is the place's offset."""
    return Image.fromarray(draw(place.offset)), []


def drawn(count: int) -> Source:
    """`count` built-in pictures in ten balanced classes, the last fifth of them for validation."""
    if count < LEAST_DRAWN:
        raise InputError(f"builtin:{count} is too few pictures; at least {LEAST_DRAWN} are needed")
    pictures = [Picture(f"{n:06d}", n % len(CLASSES), Slice("builtin", n, 0)) for n in range(count)]
    train = count - count // 5
    return Source(
        "builtin", tuple(map(Class, CLASSES)), {"train": pictures[:train], "val": pictures[train:]}, open_drawing
    )
