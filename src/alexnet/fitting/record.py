"""The record of a fit, fit.json: what was asked, chosen, promised and reached, so that the same command goes on."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from alexnet.core.errors import InputError
from alexnet.core.files import read_signed, sign, write_json
from alexnet.core.text import shorten
from alexnet.data.sources.base import Source
from alexnet.fitting.candidates import SIDES
from alexnet.fitting.known import Known
from alexnet.fitting.plan import Choice

NAME = "fit.json"


@dataclass(frozen=True)
class Record:
    """The content of fit.json.

    Attributes:
        pictures: Number of pictures of the source.
        listing: Hash of their names, sizes and classes.
        minutes: Minutes that were asked for.
        seed: Seed of everything random.
        device: Device that was asked for.
        recipe: Name of the chosen recipe.
        side: Side of the store, in pixels.
        why: Why the recipe was chosen.
        known: What it reached on small folders.
        promised: Minutes that were promised before anything was prepared.
        epochs: Number of epochs, once it is fixed.
        spent: Seconds that were spent so far, in all sessions.
        result: What was reached; None until the end.
    """

    pictures: int
    listing: str
    minutes: float
    seed: int
    device: str
    recipe: str
    side: int
    why: str
    known: tuple[dict[str, Any], ...]
    promised: float
    epochs: int | None = None
    spent: float = 0.0
    result: dict[str, Any] | None = field(default=None)

    @classmethod
    def of(cls, chosen: Choice, **asked: Any) -> Self:
        """Make the record of a choice, for what was asked."""
        return cls(
            **asked,
            recipe=chosen.candidate.name,
            side=chosen.candidate.side,
            why=chosen.why,
            known=tuple(asdict(row) for row in chosen.known),
            promised=round(chosen.times.total(chosen.epochs) / 60, 3),
        )

    @classmethod
    def read(cls, out: Path) -> Self | None:
        """Read the record of a folder; None if it has none. Raise InputError if it is damaged."""
        path = out / NAME
        try:
            found = cls(**read_signed(path))
            found.check_fields()
            return found
        except FileNotFoundError:
            return None
        except InputError:
            raise
        except (OSError, ValueError, TypeError, AttributeError) as error:
            why = getattr(error, "strerror", None) or error
            if isinstance(error, TypeError | AttributeError):
                why = "it lacks fields of a fit, or has others"
            raise InputError(f"{path} cannot be used ({why}); name another folder") from None

    def check_fields(self) -> None:
        """Raise ValueError or TypeError if a field has a value that no fit writes."""
        sound = {
            "recipe": SIDES.get(self.recipe) == self.side,
            "why": isinstance(self.why, str),
            "epochs": self.epochs is None or (type(self.epochs) is int and self.epochs > 0),
            "spent": 0 <= self.spent < math.inf,
            "promised": 0 < self.promised < math.inf,
            "known": all(0 <= Known(**row).error <= 1 for row in self.known),
            "result": self.result is None or (self.epochs is not None and 0 < self.result.get("took", 0) < math.inf),
        }
        for name, holds in sound.items():
            if not holds:
                raise ValueError(f"{name} is {shorten(repr(getattr(self, name)))}")

    def write(self, out: Path, **changes: Any) -> Self:
        """Write the record, with some fields changed, and return it."""
        made = replace(self, **changes)
        write_json(out / NAME, sign(asdict(made)))
        return made

    def check(self, out: Path, asked: dict[str, Any]) -> None:
        """Raise InputError if other things are asked for than those that the fit was begun with."""
        for name, value in asked.items():
            then = getattr(self, name)
            if name in ("pictures", "listing"):
                continue
            if then != value:
                before, now = (f"{v:g}" if isinstance(v, float) else v for v in (then, value))
                raise InputError(
                    f"{out} was begun with --{name} {before}, now {now}: give the same to go on, or another folder"
                )
        if (self.pictures, self.listing) != (asked["pictures"], asked["listing"]):
            many = (
                f"{self.pictures:,} then, {asked['pictures']:,} now"
                if self.pictures != asked["pictures"]
                else "other names or sizes"
            )
            raise InputError(f"the pictures are not those that {out} was begun with ({many}): give another folder")


def listing(source: Source) -> tuple[int, str]:
    """Count the pictures of a source, and hash their names, sizes and classes."""
    total, count = hashlib.sha256(source.content.encode()), 0
    for split in sorted(source.splits):
        for picture in sorted(source.splits[split], key=lambda p: p.name):
            of = [split, picture.name, source.classes[picture.label].name, picture.place.size, picture.weight]
            total.update(json.dumps(of).encode())
            count += 1
    return count, total.hexdigest()
