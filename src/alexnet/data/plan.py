"""What preparing will do, settled before it begins: which pictures become which shards, and a digest of all that."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import PIL

from alexnet.data import cifar
from alexnet.data.files import Files, list_files
from alexnet.data.ilsvrc import TRAIN_TARS, ilsvrc
from alexnet.data.limits import UnreadablePicture
from alexnet.data.sources import VAL_FRACTION, Opener, Picture, Source, class_folders, drawn, held_out, tiny_imagenet
from alexnet.data.store import FORMAT, Class, Form, class_records
from alexnet.errors import UnusableError

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
    digest: str

    @property
    def pictures(self) -> int:
        return sum(len(shard.pictures) for shard in self.shards)


def read_source(source: str | Path, work: Path) -> Source:
    """The source called `source`, recognised by its names; `work` is a folder for what has to be unpacked.

    Raises UnusableError for one that is missing, damaged, or has no pictures of at least two classes.
    """
    if isinstance(source, str) and (source == "builtin" or source.startswith("builtin:")):
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
        found = _recognised(_unwrapped(list_files(path, work)), work)
    except UnreadablePicture as error:
        raise UnusableError(f"{path} has a file that cannot be read ({error}); fetch it again") from None
    if len(found.classes) < 2:
        raise UnusableError(
            f"{path} has {len(found.classes)} class folders, and at least two are needed; see docs/data.md"
        )
    return found


def plan(source: Source, *, side: int | None, form: Form | None, val_fraction: float | None, seed: int) -> Plan:
    """The work for `source`, where None stands for the source's own side and form and a val fraction of 0.1.

    Raises UnusableError for a val fraction where the source has its own val split.
    """
    if source.own_val and val_fraction is not None:
        raise UnusableError(f"val fraction {val_fraction} is not for a source with its own val split; leave it out")
    splits = source.splits
    if not source.own_val:
        fraction = VAL_FRACTION if val_fraction is None else val_fraction
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
    return Plan(source.kind, source.classes, side, form, tuple(shards), source.ignored, _digest(source, shards))


def _digest(source: Source, shards: list[Shard]) -> str:
    """Over the listing and every choice; Pillow's version too, for another one may resize by another rounding."""
    total = hashlib.sha256(json.dumps([FORMAT, PIL.__version__, source.kind, class_records(source.classes)]).encode())
    for shard in shards:
        total.update(json.dumps([shard.file, shard.side, shard.form]).encode())
        for picture in shard.pictures:
            total.update(json.dumps([picture.name, picture.label, picture.place.size]).encode())
    return total.hexdigest()


def _unwrapped(files: Files) -> Files:
    """The listing inside a top folder that wraps everything, as archives tend to have one."""
    tops = files.tops()
    inside = len(tops) == 1 and tops[0] != "train" and not any("/" not in name for name in files.places)
    if inside and files.places:
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
        return (cifar.binary if "data_batch_1.bin" in files.places else cifar.python)(files, work)
    if "val/val_annotations.txt" in files.places:
        return tiny_imagenet(files)
    return class_folders(files)
