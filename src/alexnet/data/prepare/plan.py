"""What preparing will do, settled before it begins: which pictures become which shards, and a digest of all that."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import PIL

from alexnet.core.errors import UnusableError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources import cifar10
from alexnet.data.sources.archives import Files, list_files
from alexnet.data.sources.base import VAL_FRACTION, Opener, Picture, Source, drawn, held_out, tiny_imagenet
from alexnet.data.sources.class_folders import SPLITS, class_folders
from alexnet.data.sources.ilsvrc import TRAIN_TARS, ilsvrc
from alexnet.data.store import FORMAT, Class, Form, class_records

SHARD_BYTES = 64 << 20  # of raw pixels


@dataclass(frozen=True)
class Shard:
    """One piece of the work: the pictures to try, and what the file they go into is called."""

    split: str
    file: str
    pictures: tuple[Picture, ...]
    open: Opener
    side: int
    form: Form


@dataclass(frozen=True)
class Plan:
    """All of the work. Equal digests mean equal stores."""

    kind: str
    classes: tuple[Class, ...]
    side: int
    form: Form
    shards: tuple[Shard, ...]
    ignored: int
    left_out: Mapping[str, int]
    digest: str

    @property
    def pictures(self) -> int:
        return sum(len(shard.pictures) for shard in self.shards)


def read_source(source: str | Path, work: Path, ignore: Iterable[str] = ()) -> Source:
    """Recognise the source called `source` by its names; `work` is a folder for what has to be unpacked.

    `ignore`: names, patterns or paths of folders and files to leave out.

    Raises UnusableError for one that is missing, damaged, can be read in two ways, or has no pictures of at least two
    classes.
    """
    if isinstance(source, str) and (source == "builtin" or source.startswith("builtin:")):
        if ignored := [*ignore]:
            raise UnusableError(f"--ignore {ignored[0]}: {source} is drawn and has no files; leave the option out")
        count = source.removeprefix("builtin").removeprefix(":") or "1000"
        if not count.isdecimal():
            raise UnusableError(f"source {source!r} is no number of pictures; write builtin:N, such as builtin:1000")
        return drawn(int(count))
    path = Path(source)
    if not path.exists():
        raise UnusableError(f"source {str(path)!r} is not there; give a folder, a .tar, a .tar.gz, a .zip or 'builtin'")
    if path.name in TRAIN_TARS and path.is_file():
        raise UnusableError(f"{path} needs its labels; give the folder that holds it, the other tars and the devkit")
    try:
        files = list_files(path, work, ignore)
        found = _recognised(_unwrapped(files), work)
        if found.kind in ("folders", "tiny-imagenet"):  # the others count files of which each holds many pictures
            found = replace(found, ignored=len(files.places) - sum(map(len, found.splits.values())))
        found = replace(found, left_out=files.left_out)
    except UnreadablePicture as error:
        raise UnusableError(f"{path} has a file that cannot be read ({error}); fetch it again") from None
    if len(found.classes) < 2:
        raise UnusableError(f"{path} has {len(found.classes)} classes, and at least two are needed; see docs/data.md")
    return found


def plan(source: Source, *, side: int | None, form: Form | None, val_fraction: float | None, seed: int) -> Plan:
    """Settle the work for `source`; None stands for its own side and form, and a val fraction of 0.1.

    Where the source has a test split, None holds out nothing.

    Raises UnusableError for a val fraction where the source has its own val split.
    """
    if source.own_val and val_fraction is not None:
        raise UnusableError(f"val fraction {val_fraction} is not for a source with its own val split; leave it out")
    splits = source.splits
    if not source.own_val:
        usual = 0.0 if "test" in splits else VAL_FRACTION  # pictures to watch training on are there
        fraction = usual if val_fraction is None else val_fraction
        if fraction > 0:
            splits = splits | held_out(splits["train"], fraction, seed)
    side, form = side or source.side, form or source.form
    each = max(1, SHARD_BYTES // (side * side * 3))
    shards = []
    for split in sorted(splits):
        pictures = sorted(splits[split], key=lambda picture: (picture.label, picture.name))
        for number, first in enumerate(range(0, len(pictures), each)):
            inside = tuple(pictures[first : first + each])
            shards.append(Shard(split, f"{split}/{number:05d}.bin", inside, source.open, side, form))
    return Plan(
        source.kind, source.classes, side, form, tuple(shards), source.ignored, source.left_out, _digest(source, shards)
    )


def _digest(source: Source, shards: list[Shard]) -> str:
    """Over the listing and every choice; Pillow's version too, for another one may resize by another rounding."""
    total = hashlib.sha256(json.dumps([FORMAT, PIL.__version__, source.kind, class_records(source.classes)]).encode())
    for shard in shards:
        total.update(json.dumps([shard.file, shard.side, shard.form]).encode())
        for picture in shard.pictures:
            total.update(json.dumps([picture.name, picture.label, picture.place.size]).encode())
    return total.hexdigest()


def _unwrapped(files: Files) -> Files:
    """The listing inside a top folder that wraps all others, as archives tend to have one; files may lie beside it."""
    tops = files.tops()
    if len(tops) == 1 and tops[0].lower() not in SPLITS:
        within = files.below(tops[0])
        if within.folders or _is_cifar(within):
            return _unwrapped(within)
    return files


def _is_cifar(files: Files) -> bool:
    return "data_batch_1.bin" in files.places or "data_batch_1" in files.places


def _recognised(files: Files, work: Path) -> Source:
    if any(name in files.places for name in TRAIN_TARS):
        return ilsvrc(files)
    if _is_cifar(files):
        work.mkdir(parents=True, exist_ok=True)
        return (cifar10.binary if "data_batch_1.bin" in files.places else cifar10.python)(files, work)
    if "val/val_annotations.txt" in files.places:
        return tiny_imagenet(files)
    return class_folders(files)
