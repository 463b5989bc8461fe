"""The ILSVRC-2010 and ILSVRC-2012 sources: a folder with the tar of tars, the flat tars and the development kit."""

import gzip
import io
import zlib
from pathlib import Path, PurePosixPath

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import Listing, Slice, members_within, tar_members
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_as_stored
from alexnet.data.sources.ilsvrc_devkit import synsets
from alexnet.data.store import Class

TRAIN_TARS = {"ILSVRC2012_img_train.tar": "2012", "ILSVRC2010_images_train.tar": "2010"}
MOST_DEVKIT = 1 << 26  # bytes of either development kit, decompressed
NAMES = {
    "2012": {"val": "ILSVRC2012_img_val.tar", "devkit": "ILSVRC2012_devkit_t12.tar.gz"},
    "2010": {
        "val": "ILSVRC2010_images_val.tar",
        "test": "ILSVRC2010_images_test.tar",
        "devkit": "ILSVRC2010_devkit-1.0.tar.gz",
        "test labels": "ILSVRC2010_test_ground_truth.txt",
    },
}


def recognises(files: Listing) -> bool:
    """Return whether a tar of training pictures is there, or is the source itself."""
    return _is_lone_tar(files.given) or any(name in files.places for name in TRAIN_TARS)


def _is_lone_tar(given: str | Path) -> bool:
    return Path(given).name in TRAIN_TARS and Path(given).is_file()


def read(files: Listing, work: Path) -> Source:
    """Find all pictures and labels inside the tars, and the 2010 test split if its labels are there.

    A label is the position of the class's wnid in sorted order. The ground truth files use the ILSVRC id instead, so
    each class keeps both. The number of pictures in each class and split must match the development kit.
    """
    if _is_lone_tar(files.given):
        raise InputError(
            f"{Path(files.given)} has no labels; give the folder that holds it, the other tars and the development kit"
        )
    train_tar = next(name for name in TRAIN_TARS if name in files.places)
    year = TRAIN_TARS[train_tar]
    names = NAMES[year]
    classes, expected, truth = _devkit(_place(files, names["devkit"]), year)
    index = {record.wnid: label for label, record in enumerate(classes)}
    label_of_id = {record.ilsvrc_id: label for label, record in enumerate(classes)}

    train = []
    seen = set()
    for name, place in _members(_place(files, train_tar), train_tar):
        wnid = PurePosixPath(name).stem
        if wnid not in index or not name.endswith(".tar"):
            raise InputError(f"{train_tar} holds {name!r}, which is not a class in the development kit; fetch it again")
        inner = [
            Picture(f"train/{wnid}/{PurePosixPath(member).name}", index[wnid], spot)
            for member, spot in _members(place, f"{train_tar}/{name}")
        ]
        _count(f"{train_tar}/{name}", len(inner), expected[wnid])
        train += inner
        seen.add(wnid)
    _count(f"{train_tar} (classes)", len(seen), len(classes))

    splits = {"train": train, "val": _flat(files, names["val"], "val", truth, label_of_id)}
    if year == "2010" and names["test"] in files.places and names["test labels"] in files.places:
        labels = _numbers(read_bytes(files.places[names["test labels"]]), names["test labels"])
        splits["test"] = _flat(files, names["test"], "test", labels, label_of_id)
    used = {train_tar, names["val"], names["devkit"]} | (
        {names["test"], names["test labels"]} if "test" in splits else set()
    )
    ignored = len(set(files.places) - used)
    return Source(f"ilsvrc-{year}", classes, splits, open_as_stored, format="jpeg", ignored=ignored)


def _flat(files: Listing, tar: str, split: str, ids: list[int], label_of_id: dict[int | None, int]) -> list[Picture]:
    members = sorted((PurePosixPath(name).name, place) for name, place in _members(_place(files, tar), tar))
    _count(tar, len(members), len(ids))
    if unknown := set(ids) - set(label_of_id):
        raise InputError(f"the labels of {tar} have the unknown ILSVRC id {min(unknown)}; fetch them again")
    return [
        Picture(f"{split}/{name}", label_of_id[number], place)
        for (name, place), number in zip(members, ids, strict=True)
    ]


def _devkit(place: Slice, year: str) -> tuple[tuple[Class, ...], dict[str, int], list[int]]:
    """Read the classes in wnid order, the number of training pictures of each, and the ILSVRC ids of the val split."""
    path = Path(place.path)
    truth = f"ILSVRC{year}_validation_ground_truth.txt"
    if place.size > MOST_DEVKIT:
        raise InputError(
            f"{path} has {place.size} bytes, but a development kit has at most {MOST_DEVKIT}; fetch it again"
        )
    try:
        with gzip.open(path) as packed:
            tar = packed.read(MOST_DEVKIT + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path} is not a whole .tar.gz ({error}); fetch it again") from None
    if len(tar) > MOST_DEVKIT:
        raise InputError(
            f"{path} grows to more than {MOST_DEVKIT} bytes, which no development kit does; fetch it again"
        )
    found = {}
    for name, spot in members_within(io.BytesIO(tar), 0, len(tar), path):
        at, size = spot or (0, 0)
        if PurePosixPath(name).parent.name == "data":
            found[PurePosixPath(name).name] = tar[at : at + size]
    for name in ("meta.mat", truth):
        if name not in found:
            raise InputError(f"{path} has no data/{name}; fetch it again")
    classes, expected = synsets(found["meta.mat"], path, f"ILSVRC{year}_ID")
    return classes, expected, _numbers(found[truth], truth)


def _members(place: Slice, shown: str) -> list[tuple[str, Slice]]:
    members = tar_members(Path(place.path), place.offset, place.size, shown)
    return [(name, spot) for name, spot in members if spot is not None]


def _place(files: Listing, name: str) -> Slice:
    place = files.places.get(name)
    if not isinstance(place, Slice):
        raise InputError(f"{name} is missing; put it into the folder of the training tar")
    return place


def _numbers(data: bytes, shown: str) -> list[int]:
    try:
        return [int(line) for line in data.split()]
    except ValueError:
        raise InputError(f"{shown} must have one ILSVRC id per line, and nothing else; fetch it again") from None


def _count(shown: str, found: int, expected: int) -> None:
    if found != expected:
        raise InputError(f"{shown} holds {found}, but the development kit says {expected}; fetch it again")
