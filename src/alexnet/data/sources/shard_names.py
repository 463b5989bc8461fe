"""The splits and the numbers in the names of shards, such as train-00000-of-00002.parquet and val-000017.tar."""

import re
from collections.abc import Iterable
from itertools import pairwise, product
from math import prod
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.sources.class_folders import SPLITS, alike, apart
from alexnet.data.sources.clutter import option

NUMBERED = re.compile(r"(.*?)([0-9]+)(?:-of-([0-9]{1,9})(?:-[0-9a-f]{16})?)?")
BRACES = re.compile(r"\{([^{}]*)\}")
MOST_SHARDS = 100_000  # that a pattern in braces may name


def by_split(names: Iterable[str], above: str = "", whole: bool = True) -> dict[str, list[str]]:
    """Sort shards into their splits, train first; without any name of a split, all are train.

    A shard's split is the one that its file's name says, else the nearest folder: train-0.tar, imagenet-val-03.tar,
    data/validation-00000-of-00002.parquet, default/test/0000.parquet.

    Args:
        names: the paths of the shards in the source.
        above: the path from the top of the source to them, for messages.
        whole: whether no number may be missing; False if the user has named each shard.

    Raises:
        InputError: a name says two splits, or none beside others that say one; two words mean one split; there is no
            train split; or a numbered shard is missing.
    """
    found: dict[str, list[str]] = {}
    words: dict[str, str] = {}  # a split -> the word that stands for it
    lost = ""
    for name in sorted(names):
        said = split_word(name)
        if not said:
            lost = lost or name
            continue
        split = SPLITS[said]
        other = words.setdefault(split, said)
        if other != said:
            raise InputError(
                f"{found[split][0]!r} and {name!r} both name the {split} split; leave one out: {option(above + name)}"
            )
        found.setdefault(split, []).append(name)
    if not found:
        found = {"train": sorted(names)}
    elif lost:
        raise InputError(
            f"{lost!r} names no split (train, val or test), but {next(iter(found.values()))[0]!r} does; "
            f"rename it, or leave it out: {option(above + lost)}"
        )
    if "train" not in found:
        first = min(found.values())[0]
        raise InputError(
            f"found {first!r} but no train split; add it, or give one file as the source, to hold out a part of it"
        )
    for shards in found.values() if whole else ():
        _check_numbers(shards, above)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def is_pattern(given: str | Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether a source is a pattern in braces for files with one of these suffixes, and not itself a file."""
    name = str(given)
    return bool(BRACES.search(name)) and name.lower().endswith(suffixes) and not Path(name).exists()


def expanded(pattern: str) -> dict[str, Path]:
    """Expand a pattern, such as 'data/train-{000000..000009}.tar' or 'data/{train,val}-{0..3}.tar', to its files.

    Returns a map from each file's name below the folder above all braces to its path.

    Raises InputError for braces without a range or a list, for more than 100,000 names, and for a missing file.
    """
    pieces = BRACES.split(pattern)
    choices = [_choices(piece, pattern) for piece in pieces[1::2]]
    if prod(map(len, choices)) > MOST_SHARDS:
        raise InputError(f"{pattern!r} names more than {MOST_SHARDS} files; give fewer, or their folder")
    start = pieces[0].rpartition("/")[0]
    found: dict[str, Path] = {}
    missing = []
    for chosen in product(*choices):
        name = pieces[0] + "".join(a + b for a, b in zip(chosen, pieces[2::2], strict=True))
        if not Path(name).is_file():
            missing.append(name)
        if name.removeprefix(start).lstrip("/") in found:
            raise InputError(f"{pattern!r} names {name!r} twice; name each file once")
        found[name.removeprefix(start).lstrip("/")] = Path(name)
    if missing:
        raise InputError(
            f"{pattern!r} names {len(found)} files, but {missing[0]!r} is missing"
            + (f", and {len(missing) - 1} others" if len(missing) > 1 else "")
            + "; fetch them, or give another range"
        )
    return found


def _choices(inside: str, pattern: str) -> list[str]:
    """List what one pair of braces stands for: 000..009 keeps its zeros."""
    if limits := re.fullmatch("([0-9]{1,12})[.][.]([0-9]{1,12})", inside):
        first, last = int(limits[1]), int(limits[2])
        if first > last or last - first >= MOST_SHARDS:
            raise InputError(f"{pattern!r} has the range {inside!r}; it must count up, to {MOST_SHARDS} files at most")
        width = len(limits[1]) if limits[1].startswith("0") else 0
        return [f"{number:0{width}d}" for number in range(first, last + 1)]
    if "," not in inside:
        raise InputError(
            f"{pattern!r} has {{{inside}}} in braces; give a range, {{000..009}}, or a list, {{train,val}}"
        )
    return inside.split(",")


def split_word(name: str) -> str:
    """Find the word for a split in a path, in lower case: the file's name first, then the nearest folder; "" if none.

    Raises InputError for a part of the path that names two splits.
    """
    for part in reversed(name.split("/")):
        found = [word for word in re.findall("[a-z]+", part.lower()) if word in SPLITS]
        if len({SPLITS[word] for word in found}) > 1:
            raise InputError(f"{name!r} names two splits, {found[0]!r} and {found[1]!r}; rename it")
        if found:
            return found[0]
    return ""


def stem(name: str) -> str:
    """Return a shard's name without its suffixes."""
    return re.sub(r"\.(tar\.gz|tgz|tar|parquet)$", "", name, flags=re.IGNORECASE)


def distinct(names: list[str], shown: str) -> list[str]:
    """Return the names of classes; raise InputError for two that differ only in case or in Unicode form."""
    seen: dict[str, str] = {}
    for name in names:
        twin = seen.setdefault(alike(name), name)
        if twin != name:
            raise InputError(f"{shown}: there are the classes {apart(twin, name)}; write both in the same way")
    return names


def _check_numbers(shards: list[str], above: str) -> None:
    """Raise InputError for a missing shard: a gap in the numbers, or fewer than "-of-" says."""
    series: dict[str, dict[int, str]] = {}  # what comes before the number -> number -> name
    totals: dict[str, tuple[int, str]] = {}
    for name in shards:
        found = NUMBERED.fullmatch(stem(name))
        if not found or len(found[2]) > 9:
            continue
        twin = series.setdefault(found[1], {}).setdefault(int(found[2]), name)
        if twin != name:
            raise InputError(f"{twin!r} and {name!r} have one number; leave one out: {option(above + name)}")
        if found[3]:
            total, first = totals.setdefault(found[1], (int(found[3]), name))
            if total != int(found[3]):
                raise InputError(
                    f"{first!r} and {name!r} are of two sets of shards; leave one set out: {option(above + name)}"
                )
    for start, numbers in series.items():
        if start in totals:
            total, first = totals[start]
            if len(numbers) != total or max(numbers) >= total:
                missing = next((n for n in range(total) if n not in numbers), total)
                raise InputError(
                    f"{first!r} is one of {total} shards, but number {missing} is missing or there are others; "
                    "fetch them again"
                )
        for one, after in pairwise(sorted(numbers)):
            if after != one + 1:
                raise InputError(
                    f"the shards between {numbers[one]!r} and {numbers[after]!r} are missing; fetch them, "
                    "or name the shards that you want in braces: 'train-{000000..000009}.tar'"
                )
