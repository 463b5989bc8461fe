"""ILSVRC-2012 unpacked: Kaggle's tree, with flat val/ and LOC_val_solution.csv, and the folders of torchvision."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from alexnet.core.errors import InputError
from alexnet.core.files import read_bytes as read_file
from alexnet.data.sources import ilsvrc
from alexnet.data.sources.archives import Listing, Slice
from alexnet.data.sources.archives import read as read_bytes
from alexnet.data.sources.base import Picture, Source, open_as_stored
from alexnet.data.sources.class_folders import WNID
from alexnet.data.sources.clutter import option
from alexnet.data.store import Class

TOPS = ("", "CLS-LOC/", "Data/CLS-LOC/", "ILSVRC/Data/CLS-LOC/")  # where train/ and val/ may be
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
HEADER = ["ImageId", "PredictionString"]
VAL = re.compile(r"ILSVRC2012_val_\d{8}\.JPEG", re.ASCII)
TARS = {"ILSVRC2012_img_train.tar", ilsvrc.NAMES["2012"]["val"], ilsvrc.NAMES["2012"]["devkit"]}
CLASSES = 1000
LEVELS = 4  # folders above the source in which the two files are looked for
MOST_BYTES = 1 << 26  # of either file


def recognises(files: Listing) -> bool:
    """Return whether train/ has folders named by wnids, and val/ has ILSVRC's val pictures, flat or in such folders.

    Pictures in folders are of this kind only if there are all 1,000 classes; fewer are class folders like any. Beside
    all the tars that ilsvrc.py reads, the tars are read.
    """
    return not files.places.keys() >= TARS and _top(files) is not None


def _top(files: Listing) -> str | None:
    """Find the folder that has train/ and val/."""
    for top in TOPS:
        wnids = _wnids(files, top)
        if not wnids or not all(map(WNID.fullmatch, wnids)):
            continue
        val = [name.removeprefix(f"{top}val/") for name in files.places if name.startswith(f"{top}val/")]
        if any(VAL.fullmatch(name) for name in val):
            return top
        if len(wnids) == CLASSES and val and all(VAL.fullmatch(name.rpartition("/")[2]) for name in val):
            return top
    return None


def _wnids(files: Listing, top: str) -> list[str]:
    """List the class folders of train/, sorted."""
    start = f"{top}train/"
    return sorted(
        name.removeprefix(start)
        for name in files.folders
        if name.startswith(start) and "/" not in name.removeprefix(start)
    )


def read(files: Listing, work: Path) -> Source:
    """Read train and val; leave out the test pictures, which have no labels.

    A label is the position of the class's wnid in sorted order, as in the tars, and the names of pictures are the same.

    Raises:
        InputError: the labels of a flat val/ are missing, or those of another set of pictures; or a class of val is not
            one of train.
    """
    top = _top(files)
    assert top is not None
    words = dict(_mapping(files))
    wnids = _wnids(files, top)
    for wnid in wnids if words else ():
        if wnid not in words:
            raise InputError(
                f"train/{wnid} is not one of the {len(words)} classes of {MAPPING}; "
                f"leave it out: {option(f'{files.above}{top}train/{wnid}')}"
            )
    index = {wnid: label for label, wnid in enumerate(wnids)}
    train, val, unlabelled = [], [], 0
    flat = {}
    for name, place in files.places.items():
        parts = name.removeprefix(top).split("/") if name.startswith(top) else []
        last = parts[-1] if parts else ""
        if parts[:1] == ["train"] and len(parts) > 2:
            train.append(Picture(f"train/{parts[1]}/{last}", index[parts[1]], place))
        elif parts[:1] == ["val"] and len(parts) == 2:
            flat[last] = place
        elif parts[:1] == ["val"]:
            val.append(Picture(f"val/{last}", _label(index, parts[1], name), place))
        elif parts[:1] == ["test"]:
            unlabelled += 1
    if flat and val:
        raise InputError(
            f"{files.above}{top}val/ has {len(flat)} files beside its class folders, such as {next(iter(flat))!r}; "
            f"leave them out: {option(f'{files.above}{top}val/{next(iter(flat))}')}"
        )
    if flat:
        solution = _solution(files, f"{files.above}{top}val", len(flat))
        for name, place in flat.items():
            wnid = solution.pop(PurePosixPath(name).stem, "")
            if not wnid:
                raise InputError(
                    f"val/{name} is not in {SOLUTION}; leave it out: {option(f'{files.above}{top}val/{name}')}"
                )
            val.append(Picture(f"val/{name}", _label(index, wnid, name), place))
        if solution:
            raise InputError(
                f"{SOLUTION} labels {next(iter(solution))!r}, but val/ lacks that picture and {len(solution) - 1} "
                "others; unpack the archive again"
            )
    trained = {picture.label for picture in train}
    for wnid, label in index.items():
        if label not in trained:
            raise InputError(
                f"class {wnid!r} has no picture to train on; add pictures, or leave the class out: "
                f"{option(f'{files.above}{top}train/{wnid}')}"
            )
    return Source(
        "ilsvrc-2012",
        tuple(Class(wnid, wnid=wnid, words=words.get(wnid)) for wnid in wnids),
        {"train": train, "val": val},
        open_as_stored,
        format="jpeg",
        ignored=len(files.places) - len(train) - len(val) - unlabelled,
        left_out={"test picture without a label": unlabelled} if unlabelled else {},
    )


def _label(index: dict[str, int], wnid: str, picture: str) -> int:
    if wnid not in index:
        raise InputError(f"{picture} is of the class {wnid!r}, which train/ lacks; add that folder to train/")
    return index[wnid]


def _solution(files: Listing, val: str, pictures: int) -> dict[str, str]:
    """Read the wnid of each val picture; a line also has the boxes of the objects, which are not used."""
    data = _found(files, SOLUTION)
    if data is None:
        raise InputError(
            f"{val}/ holds {pictures} pictures in no class folder; put {SOLUTION} beside it or up to {LEVELS} levels "
            f"above, or leave them out: {option(val)}"
        )
    rows = csv.reader(io.StringIO(_text(data, SOLUTION)))
    found: dict[str, str] = {}
    try:
        if next(rows, None) != HEADER:
            raise ValueError(f"its first line is not {','.join(HEADER)}")
        for row in filter(None, rows):
            if len(row) != 2 or not WNID.fullmatch(row[1].split(" ")[0]):
                raise ValueError(f"line {rows.line_num} is {','.join(row)[:80]!r}")
            if row[0] in found:
                raise ValueError(f"line {rows.line_num} labels {row[0][:80]!r} again")
            found[row[0]] = row[1].split(" ")[0]
    except (ValueError, csv.Error) as error:
        raise InputError(f"{SOLUTION} is not Kaggle's list of val labels: {error}; fetch it again") from None
    return found


def _mapping(files: Listing) -> Iterator[tuple[str, str]]:
    """Read the words of each wnid, if the file is there."""
    data = _found(files, MAPPING)
    for number, line in enumerate(_text(data, MAPPING).splitlines() if data else (), 1):
        wnid, _, words = line.strip().partition(" ")
        if not WNID.fullmatch(wnid) or not words:
            raise InputError(f"{MAPPING} line {number} is {line[:60]!r}, not a wnid and its words; fetch it again")
        yield wnid, words.strip()


def _found(files: Listing, name: str) -> bytes | None:
    """Read one of Kaggle's two files, in the listing or in the folders above it."""
    for place in (files.places.get(f"{folder}{name}") for folder in ("", *TOPS, "ILSVRC/", "ILSVRC/Data/", "Data/")):
        if place is not None:
            if place.size > MOST_BYTES:
                raise InputError(f"{name} has {place.size} bytes; the limit is {MOST_BYTES}; fetch it again")
            return read_bytes(place)
    inside, place = next(iter(files.places.items()))
    if isinstance(place, Slice) and place.path.endswith(f"/{inside}"):  # a folder, not an archive
        folder = Path(place.path.removesuffix(f"/{inside}")).resolve()
        for above in list(folder.parents)[:LEVELS]:
            try:
                if (above / name).is_file():
                    return read_file(above / name, MOST_BYTES)
            except OSError as error:
                raise InputError(f"cannot read {above / name}: {error.strerror}; check it") from None
    return None


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeError:
        raise InputError(f"{name} is not UTF-8; fetch it again") from None
