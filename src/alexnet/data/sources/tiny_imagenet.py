"""Tiny ImageNet as it is distributed."""

import re

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import Listing, read
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.store import Class


def tiny_imagenet(files: Listing) -> Source:
    """Tiny ImageNet as distributed; its test pictures have no labels and are left out."""
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
    )


def _lines(files: Listing, name: str) -> list[str]:
    if name not in files.places:
        raise InputError(f"Tiny ImageNet's {name} is not there; unpack the archive again")
    return read(files.places[name]).decode("utf-8", "replace").splitlines()


def _pairs(lines: list[str], name: str) -> list[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if "\t" not in line:
            raise InputError(f"{name} line {number} is {line[:60]!r}; it must be two columns with a tab between")
    return [(first, rest) for first, rest in (line.split("\t", 1) for line in lines)]
