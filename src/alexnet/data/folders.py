"""Class folders: which folders are splits, which are classes, and what has to be put right before any is decoded."""

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from alexnet.data.files import Files, Place, Slice, read
from alexnet.data.formats import START, is_taken, refusal
from alexnet.data.limits import UnreadablePicture
from alexnet.data.sources import Picture, Source, open_upright
from alexnet.data.store import Class
from alexnet.errors import UnusableError

WNID = re.compile(r"n\d{8}")
SPLITS = {  # by every usual name, in lower case
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
# Folders whose files say something of the pictures beside them; both kinds under one folder are no two classes.
PICTURES = {"image", "images", "img", "imgs", "jpegimages", "photo", "photos", "picture", "pictures", "input", "inputs"}
NOTES = {
    "annotation", "annotations", "label", "labels", "mask", "masks", "segmentation", "segmentations", "trimaps",
    "groundtruth", "ground_truth", "gt", "bbox", "bboxes", "boxes", "keypoints", "depth", "target", "targets",
    "segmentationclass", "segmentationobject", "imagesets",
}  # fmt: skip


def class_folders(files: Files) -> Source:
    """Read CLASS/..., or train/CLASS/... with val/CLASS/... and test/CLASS/...; a nested folder counts to its class.

    Raises UnusableError, naming the folder and what to do, where folders can be read in two ways, where a split has no
    class folders or a class that train lacks, and for a class without a picture.
    """
    tops = splits_of(files)
    _check_nested(files, tops)
    parts = {split: files.below(tops[split]) for split in ("train", "val", "test") if split in tops} or {"train": files}
    for split, listing in parts.items():
        _check_classes(listing, tops.get(split, ""))
    names = parts["train"].tops()
    for split, listing in parts.items():
        _check_known(tops.get(split, ""), listing.tops(), names, tops.get("train", ""))
    index = {name: label for label, name in enumerate(names)}
    splits: dict[str, list[Picture]] = {
        split: [
            Picture(f"{tops[split]}/{name}" if tops else name, index[name.split("/")[0]], place)
            for name, place in listing.places.items()
            if "/" in name
        ]
        for split, listing in parts.items()
    }
    _check_pictures(splits, names)
    return Source(
        "folders",
        tuple(Class(name, wnid=name if WNID.fullmatch(name) else None) for name in names),
        splits,
        open_upright,
        own_val="val" in splits,
    )


def splits_of(files: Files) -> dict[str, str]:
    """The folder of each split at the top of a listing; empty where the folders there are the classes.

    One called "train" beside folders of pictures is a class: it shows trains.
    """
    tops = files.tops()
    found: dict[str, str] = {}
    for top in tops:
        if split := SPLITS.get(top.lower()):
            if split in found:
                raise UnusableError(
                    f"{found[split]!r} and {top!r} are both names of the {split} split; leave one out with --ignore"
                )
            found[split] = top
    others = [top for top in tops if top not in found.values()]
    words = {word for top in others for word in re.split(r"[^a-z]+", top.lower())}
    alone = [top.lower() for top in found.values()] == ["train"] and not files.below(found["train"]).folders
    if alone and others and not words & {*NOTES, *PICTURES, *SPLITS}:
        return {}
    if found and "train" not in found:
        held = ", ".join(f"{top}/" for top in found.values())
        raise UnusableError(
            f"{held} holds pictures to test on, and there is no train/; name the training pictures' folder so, "
            f"or give {min(found.values())}/ itself as the source to divide it"
            + (f", or leave it out: --ignore {min(found.values())}" if others else "")
        )
    if found and others:
        raise UnusableError(
            f"{others[0]!r} lies beside {found['train']}/ and is no split (train, val, test); "
            f"leave it out: --ignore {_quoted(others[0])}"
        )
    return found


def _check_nested(files: Files, tops: dict[str, str]) -> None:
    """Raise UnusableError for splits that lie deeper than they are looked for, and for pictures beside their notes."""
    below: dict[str, list[str]] = {}
    for name in files.folders:
        above, _, last = name.rpartition("/")
        below.setdefault(above, []).append(last)
    for above, names in sorted(below.items()):
        pair = _pictures_and_notes(names)
        if pair:
            shown, notes = (f"{above}/{name}".removeprefix("/") for name in pair)
            raise UnusableError(
                f"{shown}/ and {notes}/ are not classes: one holds pictures, the other notes on them; "
                f"leave the notes out: --ignore {_quoted(pair[1])}"
            )
    if not tops:
        for above, names in sorted(below.items()):
            held = any(SPLITS.get(name.lower()) in ("val", "test") for name in names)
            deep = next((n for n in names if SPLITS.get(n.lower()) == "train" and f"{above}/{n}" in below), "")
            if above and held and deep:
                raise UnusableError(f"the splits lie deeper: give {above}/, which holds {deep}/, as the source")
    for name in sorted(files.folders):
        above, _, last = name.rpartition("/")
        class_itself = name.count("/") == bool(tops)
        inner = SPLITS.get(last.lower(), "train") != "train" or (class_itself and last.lower() == "training")
        if above and inner:
            raise UnusableError(
                f"{name}/ looks like a split inside {above}/; put the splits above the classes, "
                f"or leave it out: --ignore {_quoted(last)}"
            )


def _pictures_and_notes(names: list[str]) -> tuple[str, str] | None:
    """Two folders side by side, of which one has notes on the other's pictures: images and masks, a and a_masks."""
    lower = {name.lower(): name for name in sorted(names)}
    shown = [name for name in lower if name in PICTURES]
    for notes in lower:
        of, _, kind = notes.replace("-", "_").rpartition("_")
        if notes in NOTES and shown:
            return lower[shown[0]], lower[notes]
        if kind in NOTES and of in lower:
            return lower[of], lower[notes]
    return None


def _check_classes(listing: Files, top: str) -> None:
    """Raise UnusableError for a split, or a source, without class folders, and for two that look alike."""
    classes, inside, split = listing.tops(), f"{top}/" if top else "the source", SPLITS.get(top.lower(), "train")
    leave = f"; leave it out: --ignore {_quoted(top)}" if split != "train" else ""
    if not listing.places and not classes:
        raise UnusableError(f"{inside} holds no picture{leave or '; fill it'}")
    if not classes or (split == "train" and len(classes) == 1 and listing.places):
        has = f"one class folder, {classes[0]!r}," if classes else "no class folder"
        raise UnusableError(
            f"{inside} has {has} and {_described(listing)}; labels come from two class folders or more: "
            f"sort the pictures into {top + '/' if top else ''}CLASS/{leave.replace('; ', ', or ')}"
        )
    seen: dict[str, str] = {}
    for name in classes:
        twin = seen.setdefault(_alike(name), name)
        if twin != name:
            raise UnusableError(f"{inside} holds {_apart(twin, name)}; merge them, or rename one")


def _described(listing: Files) -> str:
    """What a listing without classes has, so that its owner sees which layout it is read as."""
    kinds = Counter(PurePosixPath(name).suffix.lower() for name in listing.places)
    last = {name.rpartition("/")[2] for name in listing.places}
    example = next(iter(listing.places))
    tables = [name for name in last if name.endswith((".csv", ".tsv", ".json", ".jsonl"))]
    known = (
        "CIFAR-100" if {"train", "test", "meta"} <= last
        else "a Parquet table" if ".parquet" in kinds
        else "TensorFlow's records" if ".tfrecord" in kinds
        else "a WebDataset shard" if ".cls" in kinds
        else f"a table of labels, {min(tables)!r}" if tables
        else ""
    )  # fmt: skip
    number = f"{len(listing.places)} file{'s' * (len(listing.places) > 1)}, such as {example!r}"
    return f"{number} (it looks like {known}, which is not taken yet)" if known else number


def _check_known(top: str, classes: list[str], trained: list[str], train: str) -> None:
    """Raise UnusableError for a class of a split that train lacks."""
    alike = {_alike(name): name for name in trained}
    for name in classes:
        if name in trained:
            continue
        if twin := alike.get(_alike(name)):
            raise UnusableError(f"{train}/ and {top}/ hold {_apart(twin, name)}; give both one name")
        raise UnusableError(
            f"{top}/ has the class {name!r}, which {train}/ has not; "
            f"give {train}/ that folder too, or leave it out: --ignore {_quoted(name)}"
        )


def _check_pictures(splits: dict[str, list[Picture]], names: list[str]) -> None:
    """Raise UnusableError for a split without pictures, and a class without one to train on, before any is decoded."""
    trained: dict[int, list[Picture]] = {label: [] for label in range(len(names))}
    for picture in splits["train"]:
        trained[picture.label].append(picture)
    for label, pictures in trained.items():
        if why := _lacking(pictures):
            raise UnusableError(
                f"class {names[label]!r} has no picture to train on{why}; "
                f"fill its folder, or leave it out: --ignore {_quoted(names[label])}"
            )
    for split, pictures in splits.items():
        if why := _lacking(pictures):
            raise UnusableError(
                f"the {split} split's class folders hold no picture{why}; fill them, or leave the split out: "
                "--ignore and its folder's name"
            )


def _lacking(pictures: list[Picture]) -> str:
    """Why none of the files begins like a picture, with the first as an example; empty where one does."""
    taken, reason = first_taken(picture.place for picture in pictures)
    return "" if taken else f" ({pictures[0].name!r}: {reason})" if pictures else " at all"


def first_taken(places: Iterable[Place]) -> tuple[Place | None, str]:
    """The first of some files that begins like a picture that is taken; None, and why not the first, if none does."""
    reason = ""
    for place in places:
        try:
            if isinstance(place, Slice):
                start = read(replace(place, size=min(place.size, START)))
            else:
                start = read(place)
            if is_taken(start):
                return place, ""
            reason = reason or refusal(start)
        except UnreadablePicture as error:
            reason = reason or str(error)
    return None, reason


def _alike(name: str) -> str:
    """Equal for names that differ in their Unicode form or in case alone."""
    return unicodedata.normalize("NFC", name).casefold()


def _apart(one: str, other: str) -> str:
    """Two names so that a person can tell them apart, though a terminal may show them alike."""
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return f"{one!r} in two Unicode forms, {one!a} and {other!a}"
    return f"{one!r} and {other!r}, which differ in case"


def _quoted(name: str) -> str:
    """A name as a shell takes it."""
    return shlex.quote(name)
