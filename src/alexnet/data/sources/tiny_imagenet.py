"""Tiny ImageNet as it is distributed."""

import re
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import Listing
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.store import Class


def recognises(files: Listing) -> bool:
    """Whether the labels of its val split are there, which no other source keeps in such a file."""
    return "val/val_annotations.txt" in files.places


def read(files: Listing, work: Path) -> Source:
    """Read train and val; the test pictures have no labels and are left out."""
    wnids = sorted(_lines(files, "wnids.txt"))
    words = dict(_pairs(_lines(files, "words.txt"), "words.txt")) if "words.txt" in files.places else {}
    index = {wnid: label for label, wnid in enumerate(wnids)}
    if files.below("train").tops() != wnids:
        raise InputError(f"wnids.txt names {len(wnids)} classes, and train/ holds others; unpack the archive again")
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
                f"val_annotations.txt says {name!r} is {wnid!r}: one of the two is not there; unpack again"
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
        raise InputError(f"Tiny ImageNet's {name} is not there; unpack the archive again")
    return read_bytes(files.places[name]).decode("utf-8", "replace").splitlines()


def _pairs(lines: list[str], name: str) -> list[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if "\t" not in line:
            raise InputError(f"{name} line {number} is {line[:60]!r}; it must be two columns with a tab between")
    return [(first, rest) for first, rest in (line.split("\t", 1) for line in lines)]
