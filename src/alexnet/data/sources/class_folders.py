"""Pictures sorted into class folders: which folders are splits, which are classes, and which layouts are refused."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.images.formats import START, is_taken, refusal
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources.archives import FilePart, Listing, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.sources.clutter import option
from alexnet.data.sources.unread import way_on
from alexnet.data.store import Class

WNID = re.compile(r"n\d{8}")
SPLITS = {  # a folder's usual name, in lower case -> its split
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
# A folder whose name contains one of these words may be a split, though its whole name is not in SPLITS.
TRAIN_WORDS = {"train", "training", "trn", "trainset"}
HELD_WORDS = {"val", "valid", "validation", "valset", "dev", "test", "testing", "testset", "tst", "eval", "holdout"}
# Names of folders of pictures, and of folders of annotations. One of each side by side are not two classes.
PICTURES = {"image", "images", "img", "imgs", "jpeg", "jpegimages", "jpg", "photo", "photos", "picture", "pictures"}
NOTES = {
    "annotation",
    "annotations",
    "label",
    "labels",
    "mask",
    "masks",
    "segmentation",
    "segmentations",
    "segmim",
    "trimap",
    "trimaps",
    "groundtruth",
    "gt",
    "bbox",
    "bboxes",
    "imagesets",
}
PARTS = {"part", "parts", "batch", "batches", "chunk", "chunks", "volume", "vol", "disc", "disk", "shard", "shards"}
PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def recognises(files: Listing) -> bool:
    """Return whether there are any folders, since each may be a class."""
    return bool(files.folders)


def read(files: Listing, work: Path) -> Source:
    """Read CLASS/..., or train/CLASS/... with val/CLASS/... and test/CLASS/....

    A folder nested in a class belongs to that class.

    Raises:
        InputError: the layout can be read in two ways, a split has no class folders or has a class that train lacks,
            or a class has no picture. The message names the folder and says what to do.
    """
    parts = splits_of(files) or {"train": files}
    divided = parts["train"] is not files
    _check_lost(files, divided)
    below: dict[str, list[str]] = {}  # a folder -> the names of the folders in it
    for name in sorted(files.folders):
        above, _, last = name.rpartition("/")
        below.setdefault(above, []).append(last)
    _check_depth(files, below, divided)
    _check_pairs(files, below)
    for split, listing in parts.items():
        _check_classes(listing, split, divided)
    names = parts["train"].tops()
    _check_parts(parts["train"])
    for listing in parts.values():
        _check_known(listing, parts["train"])
    index = {name: label for label, name in enumerate(names)}
    splits = {
        split: [
            Picture(listing.above.removeprefix(files.above) + name, index[name.split("/")[0]], place)
            for name, place in listing.places.items()
            if "/" in name
        ]
        for split, listing in parts.items()
    }
    _check_pictures(splits, parts)
    return Source(
        "folders",
        tuple(Class(name, wnid=name if WNID.fullmatch(name) else None) for name in names),
        splits,
        open_upright,
        ignored=len(files.places) - sum(map(len, splits.values())),
    )


def splits_of(files: Listing) -> dict[str, Listing]:
    """Find the splits and return the listing of each, train first; empty if the top folders are the classes.

    A folder called "train" beside other folders of pictures is a class: it shows trains.
    """
    tops = files.tops()
    found: dict[str, str] = {}
    for top in tops:
        if split := SPLITS.get(top.lower()):
            if split in found:
                raise InputError(
                    f"{found[split]!r} and {top!r} both name the {split} split; "
                    f"leave one out: {option(files.above + top)}"
                )
            found[split] = top
    others = [top for top in tops if top not in found.values()]
    words = {top: set(_words(top)) for top in others}
    of_train = [top for top in others if words[top] & TRAIN_WORDS] or [found[s] for s in found if s == "train"]
    held = [top for top in others if words[top] & HELD_WORDS]
    if of_train and held:
        raise InputError(
            f"{of_train[0]!r} and {held[0]!r} look like splits; rename them to train/ and val/ (or test/), "
            f"or leave one out: {option(files.above + held[0])}"
        )
    lone = [top.lower() for top in found.values()] == ["train"] and not files.below(found["train"]).folders
    if (
        lone
        and others
        and not set().union(*words.values()) & {*NOTES, *PICTURES, *TRAIN_WORDS, "unlabeled", "unlabelled"}
    ):
        return {}
    if found and "train" not in found:
        first = min(found.values())
        raise InputError(
            f"found {', '.join(f'{top}/' for top in found.values())} but no train/; rename the folder of training "
            f"pictures to train/, or give {files.above}{first}/ as the source, to split it"
            + (f", or leave it out: {option(files.above + first)}" if others else "")
        )
    if found and others:
        raise InputError(
            f"{others[0]!r} is beside {found['train']}/ but is not a split (train, val or test); "
            f"rename it if it is one, or leave it out: {option(files.above + others[0])}"
        )
    return {split: _unwrapped(files.below(found[split]), split) for split in ("train", "val", "test") if split in found}


def _unwrapped(listing: Listing, split: str) -> Listing:
    """Unwrap a split from a folder of the same name: some archives unpack to train/train/CLASS."""
    tops = listing.tops()
    if len(tops) == 1 and SPLITS.get(tops[0].lower()) == split and listing.below(tops[0]).folders:
        return _unwrapped(listing.below(tops[0]), split)
    return listing


def _check_lost(files: Listing, divided: bool) -> None:
    """Raise InputError for a broken link or a packed file in the place of a split or a class."""
    for name in sorted(files.astray):
        if name.count("/") <= divided and not name.lower().endswith((".jpg", ".jpeg", ".png")):
            raise InputError(
                f"{files.above}{name} is a broken link; fix it, or leave it out: {option(files.above + name)}"
            )
    for name in files.places:
        split = SPLITS.get(name.split(".")[0].lower())
        if split and "/" not in name and name.lower().endswith(PACKED):
            raise InputError(
                f"{files.above}{name} is beside the folders and may be the {split} split; unpack it, "
                f"or leave it out: {option(files.above + name)}"
            )


def _check_pairs(files: Listing, below: dict[str, list[str]]) -> None:
    """Raise InputError for a folder of annotations beside its pictures, and for a copy of the folders beside it."""
    for above, names in below.items():
        start = f"{above}/" if above else ""
        if pair := _pictures_and_notes(names):
            shown, notes = (files.above + start + name for name in pair)
            raise InputError(
                f"{shown}/ and {notes}/ look like pictures and their annotations, not like two classes; "
                f"give {shown}/ as the source if it has class folders, rename one if both are classes, "
                f"or leave the annotations out: {option(notes)}"
            )
        for name in names:
            again = set(below.get(start + name, ())) & (set(names) - {name})
            if len(again) > 1 and not SPLITS.keys() & {n.lower() for n in again}:
                raise InputError(
                    f"{files.above}{start}{name}/ looks like a copy: it has {min(again)!r} and other folders that are "
                    f"also beside it; leave it out: {option(files.above + start + name)}"
                )


def _pictures_and_notes(names: list[str]) -> tuple[str, str] | None:
    """Find a folder of pictures and one of their annotations among siblings: images and masks, or a and a_masks."""
    lower = {name.lower(): name for name in names}
    words = {name: _words(name) for name in names}
    shown = [name for name in names if set(words[name]) & PICTURES and not set(words[name]) & NOTES]
    for name in names:
        of, _, kind = name.lower().replace("-", "_").rpartition("_")
        if kind in NOTES and kind.endswith("s") and of in lower:
            return lower[of], name
        if shown and (set(words[name]) & NOTES or words[name] == ["ground", "truth"]):
            return shown[0], name
    return None


def _check_depth(files: Listing, below: dict[str, list[str]], divided: bool) -> None:
    """Raise InputError for splits that are not directly at the top, above all classes."""
    for above, names in {} if divided else below.items():
        splits = {SPLITS.get(name.lower()) for name in names}
        train = next((n for n in names if SPLITS.get(n.lower()) == "train" and f"{above}/{n}" in below), "")
        if above and train and splits & {"val", "test"}:
            raise InputError(
                f"the splits are further down; give {files.above}{above}/, which holds {train}/, as the source"
            )
    for name in sorted(files.folders):
        *outer, last = name.split("/")
        split = SPLITS.get(last.lower(), "train")
        if divided and outer and name in below and {SPLITS.get(folder.lower()) for folder in outer} == {split}:
            continue  # train/train/CLASS
        if outer and (split != "train" or (len(outer) == divided and last.lower() == "training")):
            raise InputError(
                f"{files.above}{name}/ looks like a split inside {'/'.join(outer)}/; put the splits above the classes, "
                f"or leave it out: {option(files.above + name)}"
            )


def _check_parts(listing: Listing) -> None:
    """Raise InputError for class folders that are numbered parts of one set: images_001, images_002."""
    names = listing.tops()
    if len(names) > 1 and len({re.sub("[0-9]+", "", name) for name in names}) == 1:
        words = set(_words(names[0]))
        if words & {*PARTS, *PICTURES} and re.search("[0-9]", names[0]):
            raise InputError(
                f"{listing.above}{names[0]}/ and {listing.above}{names[1]}/ look like parts of one set, not like "
                "classes; put the pictures of both into one folder and give a table of their labels as the source, or "
                "rename the folders if they are classes"
            )


def _check_classes(listing: Listing, split: str, divided: bool) -> None:
    """Raise InputError for a split, or a source, without class folders, and for two with nearly the same name."""
    classes, inside = listing.tops(), listing.above if divided else "the source"
    leave = f"leave it out: {option(listing.above.rstrip('/'))}" if split != "train" else ""
    if not listing.places and not classes:
        raise InputError(f"{inside} has no pictures; {leave or 'add some'}")
    if not classes or (split == "train" and len(classes) == 1 and listing.places):
        has = f"one class folder, {classes[0]!r}, and" if classes else "no class folder, only"
        many = f"{len(listing.places)} file{'s' * (len(listing.places) > 1)}, such as {next(iter(listing.places))!r}"
        how = way_on(listing.places) or (
            "labels come from the names of two or more class folders: "
            f"sort the pictures into {listing.above if divided else ''}CLASS/"
        )
        raise InputError(f"{inside} has {has} {many}; {how}{leave and ', or ' + leave}")
    seen: dict[str, str] = {}
    for name in classes:
        twin = seen.setdefault(alike(name), name)
        if twin != name:
            raise InputError(f"{inside} has {apart(twin, name)}; merge them, or rename one")


def _check_known(listing: Listing, train: Listing) -> None:
    """Raise InputError for a class of a split that train lacks."""
    trained = set(train.tops())
    twins = {alike(name): name for name in trained}
    for name in listing.tops():
        if name in trained:
            continue
        if twin := twins.get(alike(name)):
            raise InputError(f"{train.above} and {listing.above} have {apart(twin, name)}; give both the same name")
        raise InputError(
            f"{listing.above} has the class {name!r}, which {train.above} lacks; "
            f"add that folder to {train.above}, or leave it out: {option(listing.above + name)}"
        )


def _check_pictures(splits: dict[str, list[Picture]], parts: dict[str, Listing]) -> None:
    """Raise InputError for a split without pictures and a class without training pictures, before decoding any."""
    names = parts["train"].tops()
    trained: dict[int, list[Picture]] = {label: [] for label in range(len(names))}
    for picture in splits["train"]:
        trained[picture.label].append(picture)
    for label, pictures in trained.items():
        if why := _lacking(pictures):
            raise InputError(
                f"class {names[label]!r} has no picture to train on{why}; "
                f"add pictures, or leave the class out: {option(parts['train'].above + names[label])}"
            )
    for split, pictures in splits.items():
        if why := _lacking(pictures):
            raise InputError(
                f"{parts[split].above} has class folders but no picture{why}; "
                f"add pictures, or leave it out: {option(parts[split].above.rstrip('/'))}"
            )


def _lacking(pictures: list[Picture]) -> str:
    """Say why no file begins like a picture, with the first as an example; return "" if one does."""
    taken, reason = first_taken(picture.place for picture in pictures)
    return "" if taken else f" ({pictures[0].name!r}: {reason})" if pictures else " (no files)"


def first_taken(places: Iterable[FilePart]) -> tuple[FilePart | None, str]:
    """Find the first file that begins like a picture; if none does, return None and the first refusal."""
    reason = ""
    for place in places:
        try:
            if isinstance(place, Slice):
                start = read_bytes(replace(place, size=min(place.size, START)))
            else:
                start = read_bytes(place)
            if is_taken(start):
                return place, ""
            reason = reason or refusal(start)
        except UnreadablePicture as error:
            reason = reason or str(error)
    return None, reason


def _words(name: str) -> list[str]:
    """Split a name into lower-case words: PedMasks, ped_masks and "ped masks2" all give ped and masks."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def alike(name: str) -> str:
    """Return a key that is equal for names which differ only in case, in spaces or in Unicode form."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def apart(one: str, other: str) -> str:
    """Write two names so that a person can tell them apart, though a terminal may show them as the same."""
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return f"{one!r} in two Unicode forms, {one!a} and {other!a}"
    if " ".join(one.split()) == " ".join(other.split()):
        return f"{one!r} and {other!r}, which differ only in spaces"
    return f"{one!r} and {other!r}, which differ only in case"
