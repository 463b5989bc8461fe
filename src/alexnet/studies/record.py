"""Records: the results of a run without its weights, each in one small file that can be copied and merged.

The record of a run holds its recipe, its pictures, its curve by epoch, its final errors, and for each held-out picture
whether the net was right. The record of an average of nets holds how often the average was right. `read_records` checks
that each record is consistent, and lists those it leaves out with the reason.
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config.recipe import Plateau, Recipe
from alexnet.core.errors import InputError
from alexnet.core.files import check_signed, read_bytes, sign, write

MOST = 1 << 20  # bytes of a record, at most; one of 10,000 pictures takes a hundredth of that
MOST_CHOICES = 252  # choices of five nets among ten; a count of them fits a byte
UNLIKE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, zlib.error)
VIEWS = {"one": ("one_view", "top1"), "ten": ("ten_views", "top1"), "five": ("ten_views", "top5")}
MACHINE = ("processor", "kernels", "threads", "versions", "commit")  # equal in two runs: equal bits
CURVE = ("train_loss", "train_error", "top1", "top5", "nats")


@dataclass(frozen=True)
class Record:
    """The record of a run: the file's path, and its JSON in `plain`."""

    path: Path
    plain: Mapping[str, Any]

    @cached_property
    def recipe(self) -> Recipe:
        """The run's recipe, including its seed."""
        return Recipe.of(self.plain["recipe"])

    @property
    def scale(self) -> tuple[str, str]:
        """The digest of the pictures and the precision, which all runs in a comparison share."""
        return self.plain["store"]["digest"], self.plain["precision"]

    @cached_property
    def key(self) -> str:
        """The run's key: a digest of its recipe, seed, pictures, precision, and the weights it started from."""
        return key_of(self.recipe, *self.scale, self.plain["start"])

    @cached_property
    def arm(self) -> str:
        """The digest of the recipe without its seed and without the net that it started from."""
        return arm_digest(self.recipe)

    @cached_property
    def right(self) -> dict[str, np.ndarray]:
        """1 or 0 for each held-out picture, or a part of 1 at a tie: with one view, ten views, and in the top five."""
        return {name: unpack(self.plain["right"][name], self.plain["store"]["held_out"]) for name in VIEWS}

    @property
    def curve(self) -> list[dict[str, float]]:
        """For each epoch, the training loss and error, and the held-out errors and loss with one view."""
        return [dict(zip(CURVE, line, strict=True)) for line in self.plain["curve"]]

    @property
    def curve_is_whole(self) -> bool:
        """True if the held-out errors of the curve are those of all held-out pictures, and not of a few."""
        held_out: int = self.plain["store"]["held_out"]
        return bool(self.plain.get("validated", held_out) == held_out)  # older records do not say: all

    def check(self) -> None:
        """Raise ValueError if the record contradicts itself."""
        plain = self.plain
        if not self.recipe.has_digest(plain["digest"]):
            raise ValueError(f"its digest is {plain['digest']}, but that of its recipe is {self.recipe.digest}")
        for name, (views, measure) in VIEWS.items():
            found, said = 1 - float(self.right[name].mean()), plain["errors"][views][measure]
            if not abs(found - said) < 1e-6:
                raise ValueError(f"{views} {measure} is {said}, but its pictures give {found:.6f}")
        until, errors = plain["until"], [line["train_error"] for line in self.curve]
        ended = until is not None and any(error <= until for error in errors)
        plateau = isinstance(self.recipe.schedule, Plateau) and len(errors) > 0
        if len(errors) != self.recipe.epochs and not ended and not plateau:
            raise ValueError(f"its curve has {len(errors)} epochs, but its recipe has {self.recipe.epochs}")
        if not all(math.isfinite(number) for line in self.curve for number in line.values()):
            raise ValueError("its curve holds NaN or infinity")


def place_of(recipe: Recipe) -> tuple[str, int]:
    """Return the arm and the seed, which together identify a run among those on one scale."""
    return arm_digest(recipe), recipe.seed


@dataclass(frozen=True)
class Average:
    """The record of an average: the nets' probabilities averaged `size` at a time, for every choice of nets."""

    path: Path
    plain: Mapping[str, Any]

    @property
    def members(self) -> tuple[str, ...]:
        """The keys of the nets' own records, in the order of their seeds."""
        return tuple(self.plain["members"])

    @cached_property
    def key(self) -> str:
        """The average's key: a digest of its nets and of the number averaged at a time."""
        text = json.dumps([self.members, self.plain["size"]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def right(self, measure: str) -> np.ndarray:
        """Compute for each held-out picture the share of choices that were right; `measure` is top1 or top5."""
        counts = zlib.decompress(base64.b64decode(self.plain["right"][measure], validate=True), bufsize=MOST)
        return np.frombuffer(counts, np.uint8) / int(self.plain["choices"])

    def check(self) -> None:
        """Raise ValueError if the record contradicts itself."""
        if not 1 <= self.plain["choices"] <= MOST_CHOICES:
            raise ValueError(f"it has {self.plain['choices']} choices of nets, which must be 1 to {MOST_CHOICES}")
        for measure in ("top1", "top5"):
            right = self.right(measure)
            if len(right) != self.plain["store"]["held_out"] or right.max() > 1:
                raise ValueError(f"its {measure} is not about {self.plain['store']['held_out']} pictures")
            if not abs(1 - right.mean() - self.plain["errors"][measure]) < 1e-6:
                said = self.plain["errors"][measure]
                raise ValueError(f"{measure} is {said}, but its pictures give {1 - right.mean():.6f}")
            if len(self.plain["without"][measure]) != len(self.members):
                raise ValueError("it lacks the errors without each net")


@dataclass(frozen=True)
class LeftOut:
    """A file that is left out, and the reason."""

    path: Path
    why: str


def key_of(recipe: Recipe, store_digest: str, precision: str, start: str | None) -> str:
    """Compute the sixteen hexadecimal digits that identify a run."""
    text = json.dumps([recipe.digest, store_digest, precision, recipe.seed, start])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def arm_digest(recipe: Recipe) -> str:
    """Compute the digest of a recipe without its seed; a "+" marks one that starts from another net."""
    return recipe.replace(seed=0, start=None).digest + ("+" if recipe.start else "")


@dataclass(frozen=True)
class Records:
    """The records of a folder: runs and averages, each in the order of their keys, and the files left out."""

    runs: tuple[Record, ...]
    averages: tuple[Average, ...]
    left: tuple[LeftOut, ...]

    @cached_property
    def by_arm(self) -> dict[tuple[str, ...], dict[int, Record]]:
        """The runs by (arm, store, precision) and then by seed."""
        found = dict[tuple[str, ...], dict[int, Record]]()
        for record in self.runs:
            found.setdefault((record.arm, *record.scale), {})[record.recipe.seed] = record
        return found

    def of(self, arm: str, scale: tuple[str, str]) -> dict[int, Record]:
        """Find the runs of an arm on one scale, by seed."""
        return self.by_arm.get((arm, *scale), {})

    def places(self, *scale: str, whole_curve: bool = False) -> set[tuple[str, int]]:
        """List the arms and seeds that have a run on a scale, with `whole_curve` one that validated on all pictures."""
        return {place_of(r.recipe) for r in self.runs if r.scale == scale and (r.curve_is_whole or not whole_curve)}


def write_record(folder: Path, record: Record | Average) -> Path:
    """Write a record to `folder`, with its key as the file's name, and return the path; may raise OSError."""
    record.check()
    path = folder / f"{record.key}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write(path, [(json.dumps(sign(dict(record.plain)), separators=(",", ":")) + "\n").encode()])
    return path


def read_records(folder: Path) -> Records:
    """Read the records in a folder, at any depth, each run once.

    A file is left out if its checksum is wrong or if it contradicts itself. If two records of one run contradict each
    other, both are left out. Raises InputError if the folder does not exist.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; give a folder that holds records")
    found, left = dict[str, list[Record]](), list[LeftOut]()
    averages = dict[str, Average]()
    for path in sorted(folder.rglob("*.json")):
        try:
            plain = check_signed(path, read_bytes(path, MOST))
            if plain.get("record") == "run":
                record = Record(path, plain)
                record.check()
                found.setdefault(record.key, []).append(record)
            elif plain.get("record") == "average":
                average = Average(path, plain)
                average.check()
                averages.setdefault(average.key, average)
        except InputError as error:
            left.append(LeftOut(path, str(error)))
        except OSError as error:
            left.append(LeftOut(path, error.strerror or str(error)))
        except UNLIKE as error:
            left.append(LeftOut(path, reason(error)))
    spread = typical_spread([r for same in found.values() for r in same[:1]])
    kept = list[Record]()
    for key in sorted(found):
        same = distinct(found[key])
        if why := contradiction(same, spread):
            left += [LeftOut(r.path, why) for r in same]
        else:
            kept.append(max(same, key=lambda record: record.curve_is_whole))
    return Records(tuple(kept), tuple(averages[key] for key in sorted(averages)), tuple(left))


def reason(error: Exception) -> str:
    """Explain why a file cannot be read as a record."""
    words = str(error)
    if words == "altered":
        return "its checksum is wrong: a bit of it has changed, or it was edited"
    return words if type(error) is ValueError else f"it is not a record ({type(error).__name__}: {words})"


def distinct(same: Iterable[Record]) -> list[Record]:
    """Return the records of one run that differ in content, each once, ordered by content."""
    by_content = {json.dumps(r.plain, sort_keys=True): r for r in same}
    return [by_content[content] for content in sorted(by_content)]


def contradiction(same: list[Record], spread: float) -> str:
    """Explain how records of one run contradict each other; empty if they do not.

    On the same processor and versions, a run ends with the same bits. Elsewhere it may end differently, but by no more
    than runs of other seeds do.
    """
    for i, one in enumerate(same):
        for other in same[i + 1 :]:
            machine = [[r.plain[name] for name in MACHINE] for r in (one, other)]
            if machine[0] == machine[1] and one.plain["right"] != other.plain["right"]:
                return f"{one.path.name} and {other.path} are of one run on one processor and version, but differ"
            apart = abs(one.plain["errors"]["ten_views"]["top1"] - other.plain["errors"]["ten_views"]["top1"])
            if apart > 6 * spread:
                return f"{one.path.name} and {other.path} are of one run, but {100 * apart:.1f} points apart"
    return ""


def typical_spread(records: Iterable[Record]) -> float:
    """Estimate the standard deviation of a run's error over seeds; 0.01 if no arm has two seeds."""
    arms = dict[tuple[str, ...], list[float]]()
    for r in records:
        arms.setdefault((r.arm, *r.scale), []).append(r.plain["errors"]["ten_views"]["top1"])
    each = [np.var(errors, ddof=1) for errors in arms.values() if len(errors) > 1]
    return max(float(np.sqrt(np.mean(each))), 0.001) if each else 0.01


def pack(credit: np.ndarray) -> dict[str, Any]:
    """Pack which pictures were right as bits in base64, with those at a tie, which earn a part, by number."""
    ties = {str(i): float(credit[i]) for i in np.flatnonzero((credit > 0) & (credit < 1))}
    bits = base64.b64encode(np.packbits(credit > 0).tobytes()).decode()
    return {"bits": bits} | ({"ties": ties} if ties else {})


def unpack(packed: Mapping[str, Any], count: int) -> np.ndarray:
    """Undo `pack`; raise ValueError unless it holds `count` pictures."""
    data = np.frombuffer(base64.b64decode(packed["bits"], validate=True), np.uint8)
    if len(data) != -(-count // 8):
        raise ValueError(f"it has bits for about {8 * len(data)} pictures, but {count} were held out")
    credit = np.unpackbits(data, count=count).astype(float)
    for place, part in packed.get("ties", {}).items():
        if not (0 < part < 1 and credit[int(place)] == 1):
            raise ValueError(f"its tie at picture {place} is not a tie")
        credit[int(place)] = part
    return credit
