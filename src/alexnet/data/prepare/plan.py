"""The plan of a preparation: which pictures go into which shards, and a digest of all choices."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import PIL

from alexnet.core.errors import InputError
from alexnet.data.images.formats import optional_decoders
from alexnet.data.images.resize import Fit
from alexnet.data.sources.base import Opener, Picture, Source
from alexnet.data.store import FORMAT, Class, class_records
from alexnet.data.store_files import Format

SHARD_BYTES = 64 << 20  # of raw pixels


@dataclass(frozen=True)
class Shard:
    """One piece of the work: the pictures to try, and the name of the file for them."""

    split: str
    file: str
    pictures: tuple[Picture, ...]
    open: Opener
    side: int
    format: Format
    fit: Fit = "crop"


@dataclass(frozen=True)
class PreparePlan:
    """The whole work. Plans with equal digests make equal stores."""

    kind: str
    classes: tuple[Class, ...]
    side: int
    format: Format
    shards: tuple[Shard, ...]
    ignored: int
    left_out: Mapping[str, int]
    digest: str
    fit: Fit = "crop"

    @property
    def pictures(self) -> int:
        return sum(len(shard.pictures) for shard in self.shards)


def plan_shards(
    source: Source,
    *,
    side: int | None,
    format: Format | None,
    val_fraction: float | None,
    seed: int,
    fit: Fit = "crop",
) -> PreparePlan:
    """Plan the shards for `source`.

    With `side` or `format` None, the source decides. With `val_fraction` None, 0.1 of each class is held out, or
    nothing if the source has a test split.

    Raises InputError for a val fraction if the source has its own val split.
    """
    if "val" in source.splits and val_fraction is not None:
        raise InputError(f"val fraction {val_fraction} has no use: the source has its own val split; omit it")
    splits = source.splits
    if "val" not in splits:
        usual = 0.0 if "test" in splits else VAL_FRACTION  # the test pictures can serve to watch training
        fraction = usual if val_fraction is None else val_fraction
        if fraction > 0:
            splits = splits | held_out(splits["train"], fraction, seed)
    side, format = side or source.side, format or source.format
    each = max(1, SHARD_BYTES // (side * side * 3))
    shards = []
    for split in sorted(splits):
        pictures = sorted(splits[split], key=lambda picture: (picture.label, picture.name))
        for number, first in enumerate(range(0, len(pictures), each)):
            inside = tuple(pictures[first : first + each])
            shards.append(Shard(split, f"{split}/{number:05d}.bin", inside, source.open, side, format, fit))
    return PreparePlan(
        source.kind,
        source.classes,
        side,
        format,
        tuple(shards),
        source.ignored,
        source.left_out,
        _digest(source, shards),
        fit,
    )


def _digest(source: Source, shards: list[Shard]) -> str:
    """Hash the listing, every choice, and the decoders: another version may round differently, or refuse less."""
    total = hashlib.sha256(json.dumps([FORMAT, PIL.__version__, source.kind, class_records(source.classes)]).encode())
    total.update(source.content.encode())
    if decoders := optional_decoders():  # another set of them would refuse other pictures
        total.update(json.dumps(decoders).encode())
    for shard in shards:
        warped = [shard.fit] if shard.fit != "crop" else []
        total.update(json.dumps([shard.file, shard.side, shard.format, *warped]).encode())
        for picture in shard.pictures:
            weighted = [picture.weight] if picture.weight != 1 else []
            total.update(json.dumps([picture.name, picture.label, picture.place.size, *weighted]).encode())
    return total.hexdigest()


VAL_FRACTION = 0.1


def held_out(pictures: Iterable[Picture], fraction: float, seed: int) -> dict[str, list[Picture]]:
    """Split pictures into train and val: `fraction` of each class goes to val, at least one picture and never all.

    The choice depends only on `seed` and the names, so neither the file order nor another class changes it.
    """
    classes: dict[int, list[Picture]] = {}
    for picture in pictures:
        classes.setdefault(picture.label, []).append(picture)
    splits: dict[str, list[Picture]] = {"train": [], "val": []}
    for members in classes.values():
        members.sort(key=lambda picture: hashlib.sha256(f"{seed}/{picture.name!r}".encode()).digest())
        taken = min(max(1, round(fraction * len(members))), len(members) - 1)
        splits["val"] += members[:taken]
        splits["train"] += members[taken:]
    return splits
