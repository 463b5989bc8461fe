"""The Tiny ImageNet source, as distributed."""

import re
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import Listing
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.store import Class


def recognises(files: Listing) -> bool:
    """Return whether the file of val labels is there, which no other kind of source has."""
    return "val/val_annotations.txt" in files.places


def read(files: Listing, work: Path) -> Source:
    """Read train and val; leave out the test pictures, which have no labels."""
    wnids = sorted(_lines(files, "wnids.txt"))
    words = dict(_pairs(_lines(files, "words.txt"), "words.txt")) if "words.txt" in files.places else {}
    index = {wnid: label for label, wnid in enumerate(wnids)}
    if files.below("train").tops() != wnids:
        raise InputError(f"the {len(wnids)} classes in wnids.txt differ from those in train/; unpack the archive again")
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
            raise InputError(
                f"val_annotations.txt labels {name!r} as {wnid!r}, but one of the two is missing; "
                "unpack the archive again"
            )
        val.append(Picture(full, index[wnid], files.places[full]))
    return Source(
        "tiny-imagenet",
        tuple(Class(wnid, wnid=wnid, words=words.get(wnid)) for wnid in wnids),
        {"train": train, "val": val},
        open_upright,
        side=64,
        ignored=len(files.places) - len(train) - len(val),
    )


def _lines(files: Listing, name: str) -> list[str]:
    if name not in files.places:
        raise InputError(f"Tiny ImageNet's {name} is missing; unpack the archive again")
    return read_bytes(files.places[name]).decode("utf-8", "replace").splitlines()


def _pairs(lines: list[str], name: str) -> list[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if "\t" not in line:
            raise InputError(f"{name} line {number} is {line[:60]!r}; it must be two columns separated by a tab")
    return [(first, rest) for first, rest in (line.split("\t", 1) for line in lines)]
