"""WebDataset shards: tars in which KEY.jpg and KEY.cls, KEY.json or KEY.txt are one labelled picture."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.images.formats import SUFFIXES
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources.archives import FilePart, Listing, Slice, decompressed, tar_members
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_upright
from alexnet.data.sources.class_folders import SPLITS
from alexnet.data.sources.clutter import is_clutter, option
from alexnet.data.sources.shard_labels import FIELDS, listed_classes, read_label
from alexnet.data.sources.shard_names import by_split, distinct, expanded, is_pattern, split_word, stem
from alexnet.data.store import Class

TARS = (".tar", ".tar.gz", ".tgz")
PICTURES = {suffix.removeprefix(".") for suffix in SUFFIXES}
LABELS = ("cls", "json", "txt")  # the first that a key has counts
SHARD = re.compile(r"(?:.*[0-9]|[^/]*\b(?:train|val)\b[^/]*)\.(?:tar|tar\.gz|tgz)", re.IGNORECASE)
MOST_COMPARED = 100  # labels in .json files beside class folders
MOST_LABEL, MOST_JSON = 1000, 1 << 20  # bytes of a label, and of a KEY.json


_Labelled = tuple[str, int | str, FilePart]  # a picture's name, its label, and where its bytes are


@dataclass
class _Shard:
    """One shard: its name, and the files of each key by suffix."""

    name: str
    keys: dict[str, dict[str, FilePart]] = field(default_factory=dict)
    others: int = 0  # files that are no part of a picture


def recognises(files: Listing) -> bool:
    """Return whether the source is a pattern for shards, has shards and no pictures, or is one shard itself."""
    if files.given:
        return is_pattern(files.given, TARS)
    if any(SHARD.fullmatch(name) and name.count("/") <= 1 for name in files.places):
        last = {name.rpartition("/")[2] for name in files.places}
        return not any(name.startswith("ILSVRC") or name.rpartition(".")[2].lower() in PICTURES for name in last)
    return _is_shard(files)


def _is_shard(files: Listing) -> bool:
    """Return whether files go in pairs of a picture and its label, as class folders have none."""
    suffixes = ("cls",) if files.folders else LABELS
    for name in files.places:
        key, suffix = _key(name)
        if suffix in PICTURES and any(f"{key}.{label}" in files.places for label in suffixes):
            return True
    return False


def read(files: Listing, work: Path) -> Source:
    """List the pictures inside the shards, and read their labels. A .tar.gz is decompressed into the folder `work`.

    Raises:
        InputError: a shard is missing or damaged; a key is in two shards of a split, has two pictures, no picture or no
            label; a label is out of range; a class has no picture to train on; or val or test has one that train lacks.
            The message names the shard and the key.
    """
    alone = not files.given and _is_shard(files)
    names = listed_classes(files)
    labelled: dict[str, list[_Labelled]] = {}
    others = used = 0
    for split, shards in (_one_shard(files) if alone else _shards(files, work)).items():
        found: list[_Labelled] = []
        own = "" if alone else split  # one shard has no split of its own
        seen: dict[str, str] = {}
        for shard in shards:  # one at a time, since a list of all members takes much memory
            for key, parts in shard.keys.items():
                if (other := seen.setdefault(key, shard.name)) != shard.name:
                    raise InputError(
                        f"{other} and {shard.name} overlap: both have the key {key!r}; write each key once, "
                        f"or leave a shard out: {option(files.above + shard.name)}"
                    )
                labelled_one, said = _labelled(shard, key, parts)
                if said and said != (own := own or said):
                    raise InputError(
                        f"{shard.name}: {key}.json names the split {said}, but the shard is of {own}; "
                        "write shards for each split, and give them its name: train-000.tar, test-000.tar"
                    )
                found.append(labelled_one)
                used += len(parts) * alone
            others += shard.others
            used += not alone
        labelled[split] = found
    ignored = len(files.places) - used if alone else others + max(0, len(files.places) - used)
    classes = _classes(labelled, names)
    pictures = _pictures(labelled, classes, bool(names))
    trained = {picture.label for picture in pictures["train"]}
    for label, name in enumerate(classes):
        if label not in trained:
            raise InputError(f"class {name!r} has no picture to train on; add shards, or take it out of the list")
    return Source("webdataset", tuple(map(Class, classes)), pictures, open_upright, ignored=ignored)


def check_folders(files: Listing, found: Source) -> None:
    """Raise InputError if a KEY.json beside KEY.jpg labels a picture otherwise than its class folder does.

    A shard may have folders only to hold its keys. The first hundred such files are compared.
    """
    seen: dict[str | int, str | int] = {}
    beside = ((p, f"{_key(p.name)[0]}.json") for part in found.splits.values() for p in part)
    labelled = ((p, name, files.places[name]) for p, name in beside if name in files.places and name != p.name)
    for picture, name, place in islice(labelled, MOST_COMPARED):
        try:
            label, _ = (
                read_label(read_bytes(place).decode("utf-8-sig"), "json") if place.size <= MOST_JSON else ("", "")
            )
        except (ValueError, RecursionError, UnreadablePicture):
            continue
        own, said = picture.label, f"label {label}"
        if seen.setdefault(own, said) != said or seen.setdefault(said, own) != own:
            raise InputError(
                f"{name} has the label {label!r}, which differs from the class folders; leave such files out if the "
                f"folders are the classes: {option('*.json')}; otherwise give the folder that has the shard"
            )


def _pictures(labelled: dict[str, list[_Labelled]], classes: list[str], listed: bool) -> dict[str, list[Picture]]:
    """Give each picture the number of its class; raise InputError for a label of an unknown class."""
    numbers = listed and not _are_texts(labelled)
    index = {name: label for label, name in enumerate(classes)}
    known = f"one of the {len(classes)} listed classes" if listed else "a class of the train split"
    pictures: dict[str, list[Picture]] = {}
    for split, found in labelled.items():
        made = pictures[split] = []
        found.reverse()
        while found:  # freed one by one
            name, label, place = found.pop()
            number = label if numbers and isinstance(label, int) else index.get(str(label), -1)
            if not 0 <= number < len(classes):
                raise InputError(f"{name} has the label {label!r}, which is not {known}; mend the label or the list")
            made.append(Picture(name, number, place))
    return pictures


def _key(name: str) -> tuple[str, str]:
    """Split a name as WebDataset does: the key ends at the first dot of the file's own name."""
    folder, slash, last = name.rpartition("/")
    key, _, suffix = last.partition(".")
    return folder + slash + key, suffix.lower()


def _add(shard: _Shard, name: str, place: FilePart) -> None:
    key, suffix = _key(name)
    if is_clutter(name.rpartition("/")[2]) or suffix not in (*PICTURES, *LABELS):
        shard.others += 1
        return
    parts = shard.keys.setdefault(key, {})
    if suffix in parts:
        raise InputError(f"{shard.name} has {name!r} twice; write each key once")
    parts[suffix] = place


def _one_shard(files: Listing) -> dict[str, Iterator[_Shard]]:
    """Sort the files of one shard, or of an unpacked one, into splits by their folders, if these name splits."""
    found: dict[str, _Shard] = {}
    for name, place in files.places.items():
        word = split_word(name.rpartition("/")[0])
        shard = found.setdefault(SPLITS.get(word, "train"), _Shard("the shard"))
        _add(shard, name, place)
    for shard in found.values():  # a loose text, such as a README, belongs to no picture
        loose = [key for key, parts in shard.keys.items() if parts.keys() <= {"txt", "json"} and "/" not in key]
        for key in loose:
            if key.lower() in (
                "readme",
                "license",
                "classes",
                "classnames",
                "dataset",
                "dataset_info",
                "info",
                "_info",
            ):
                shard.others += len(shard.keys.pop(key))
    found = {split: shard for split, shard in found.items() if shard.keys}
    if "train" not in found:
        raise InputError(f"found pictures in a folder for {min(found, default='val')!r} but none to train on; add some")
    return {split: iter([found[split]]) for split in ("train", "val", "test") if split in found}


def _shards(files: Listing, work: Path) -> dict[str, Iterator[_Shard]]:
    """Sort the shards into splits; each is read when its turn comes."""
    if files.given:
        paths = expanded(str(files.given))
        places: dict[str, FilePart] = {name: Slice(str(path), 0, path.stat().st_size) for name, path in paths.items()}
    else:
        places = {name: place for name, place in files.places.items() if name.lower().endswith(TARS)}
    return {
        split: (_read(name, places[name], work, files.above) for name in names)
        for split, names in by_split(places, files.above, whole=not files.given).items()
    }


def _read(name: str, place: FilePart, work: Path, above: str) -> _Shard:
    shard = _Shard(name)
    if not isinstance(place, Slice):
        raise InputError(f"{name} is in a zip; unpack the zip")
    path, offset, size = Path(place.path), place.offset, place.size
    if not name.lower().endswith(".tar"):
        if offset or size != path.stat().st_size:
            raise InputError(f"{name} is a packed tar inside a tar; unpack the outer one")
        work.mkdir(parents=True, exist_ok=True)
        path = decompressed(path, work)
        size = path.stat().st_size
    for member, spot in tar_members(path, offset, size, name):
        if spot is not None:
            _add(shard, member, spot)
    if not any(parts.keys() & PICTURES for parts in shard.keys.values()):
        raise InputError(
            f"{name} has no picture KEY.jpg with its label KEY.cls; unpack it if it has class folders, "
            f"or leave it out: {option(above + name)}"
        )
    return shard


def _labelled(shard: _Shard, key: str, parts: dict[str, FilePart]) -> tuple[_Labelled, str]:
    """Return the name, label and place of one key's picture, and the split that its .json names, or ""."""
    pictures = sorted(parts.keys() & PICTURES)
    if len(pictures) != 1:
        has = f"the pictures .{' and .'.join(pictures)}" if pictures else f"no picture, only .{', .'.join(parts)}"
        raise InputError(f"{shard.name}: the key {key!r} has {has}; give each key one picture")
    suffix = next((label for label in LABELS if label in parts), "")
    if not suffix:
        raise InputError(
            f"{shard.name}: the key {key!r} has no label; add {key}.cls, or {key}.json with {FIELDS[0]!r}, "
            "or unpack the shard if its folders are the classes"
        )
    place = parts[suffix]
    most = MOST_JSON if suffix == "json" else MOST_LABEL
    if place.size > most:
        raise InputError(f"{shard.name}: {key}.{suffix} has {place.size} bytes; a label has {most} at most")
    try:
        label, split = read_label(read_bytes(place).decode("utf-8-sig"), suffix)
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{shard.name}: {key}.{suffix} is not a label ({why}); mend it") from None
    name = key if shard.name == "the shard" else f"{stem(shard.name)}/{key}"
    return (name, label, parts[pictures[0]]), split


def _are_texts(labels: dict[str, list[_Labelled]]) -> bool:
    """Return whether the labels are names; raise InputError if only some of them are."""
    texts = numbers = ""
    for found in labels.values():
        for name, label, _ in found:
            if isinstance(label, str):
                texts = texts or name
            else:
                numbers = numbers or name
            if texts and numbers:
                raise InputError(f"{texts} has a name as its label, but {numbers} a number; write them alike")
    return bool(texts)


def _classes(labels: dict[str, list[_Labelled]], names: list[str]) -> list[str]:
    """List the classes: those beside the shards, else the sorted names or numbers that train has."""
    if names:
        return names
    found = {label for _, label, _ in labels["train"]}
    if _are_texts(labels):
        if len(found) > 2 and 2 * len(found) > len(labels["train"]):
            raise InputError(
                f"{len(labels['train'])} pictures have {len(found)} different labels, such as "
                f"{str(min(map(str, found)))[:60]!r}; these look like captions: give each key a class as KEY.cls"
            )
        return distinct(sorted(map(str, found)), "the labels")
    return [str(number) for number in sorted(label for label in found if isinstance(label, int))]
