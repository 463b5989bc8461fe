"""The labels of WebDataset shards: one of a key's files, and the list of classes beside the shards."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import FilePart, Listing, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.class_folders import SPLITS

FIELDS = ("label", "cls", "class")  # of a .json; the first that it has counts
NAMES = ("classes.txt", "classnames.txt")  # beside the shards: one class a line, in the order of the labels
DATASETS = ("dataset.json", "dataset_info.json", "info.json", "_info.json")  # beside them; may list the classes
CLASS_FIELDS = ("classes", "class_names", "classnames", "names")
MOST_NAMES = 1 << 24  # bytes of the list of classes
MOST_NUMBER = 1 << 31


def read_label(text: str, suffix: str) -> tuple[int | str, str]:
    """Read a label, a number of 0 or more or the name of a class, and the split that a .json names, or "".

    Raises ValueError for anything else.
    """
    value: Any = text.strip()
    split = ""
    if suffix == "json":
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        split = SPLITS.get(str(found.get("split", "")).strip().lower(), "")
        value = next((found[name] for name in FIELDS if name in found), None)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"it has no number or name as {' or '.join(FIELDS)}")
    if isinstance(value, str):
        if not value or "\n" in value:
            raise ValueError("it has no text" if not value else "it has more than one line")
        if not re.fullmatch("-?[0-9]+", value):
            if re.fullmatch(r"[-+0-9.eE\s]*[0-9][-+0-9.eE\s]*", value):
                raise ValueError(f"{value[:40]!r} is neither one whole number nor a name; boxes are not read")
            return value, split
        value = int(value) if len(value) < 20 else MOST_NUMBER
    if not 0 <= value < MOST_NUMBER:
        raise ValueError(f"{text.strip()[:40]} is out of range")
    return int(value), split


def listed_classes(files: Listing) -> list[str]:
    """Read the list of classes beside the shards, if there is one."""
    for name, data in _beside(files):
        try:
            text = data.decode("utf-8-sig")
            if name.endswith(".txt"):
                names: Any = [line.strip() for line in text.splitlines() if line.strip()]
            else:
                names = _listed(json.loads(text))
                if names is None:
                    continue
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{name} cannot be read ({' '.join(str(error).split())[:120]}); mend or remove it"
            ) from None
        if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
            raise InputError(f"{name} lists classes that are not texts; mend it, or leave it out")
        for one, times in Counter(names).items():
            if times > 1:
                raise InputError(f"{name} lists the class {one!r} {times} times; give each class its own name")
        return names
    return []


def _listed(found: Any) -> Any:
    """Find the list of classes in a data set's JSON, also in Hugging Face's features; None if it has none."""
    if not isinstance(found, dict):
        return None
    features = found.get("features")
    for feature in features.values() if isinstance(features, dict) else ():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            return feature.get("names")
    return next((found[name] for name in CLASS_FIELDS if name in found), None)


def _beside(files: Listing) -> Iterator[tuple[str, bytes]]:
    """Read the files that may list the classes: beside the shards, or in the folder above all braces of a pattern."""
    wanted: Iterable[str] = (*NAMES, *DATASETS)
    if files.given:
        folder = Path(str(files.given).partition("{")[0] + "x").parent
        places: dict[str, FilePart] = {}
        for name in wanted:
            if (folder / name).is_file():
                places[name] = Slice(str(folder / name), 0, (folder / name).stat().st_size)
    else:
        places = {name: files.places[name] for name in wanted if name in files.places}
    for name, place in places.items():
        if place.size > MOST_NAMES:
            raise InputError(f"{name} has {place.size} bytes; the limit is {MOST_NAMES}")
        yield name, read_bytes(place)
