"""The errors that recipes reached on small folders: known.json, which `make tables` writes from records."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alexnet.core.text import percent

FILE = Path(__file__).with_name("known.json")  # by benchmarks/fit_table.py, from results/small-folders
FEWER = 2.0  # a record of up to this many times as many epochs still tells of a run


@dataclass(frozen=True)
class Known:
    """The error of a recipe on a small folder, as a mean over seeds.

    Attributes:
        set: The dataset that the folder was drawn from.
        picture: Shorter side of its pictures, in pixels.
        classes: Number of classes.
        each: Training pictures a class; the mean, where counts are unequal.
        unequal: Whether classes have unequal counts.
        recipe: Name of the recipe.
        side: Side of the store, in pixels.
        minutes: CPU time of one core that the run was to take.
        epochs: Epochs of the schedule.
        seconds: CPU time of the training.
        error: Mean top-1 error, 0 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        seeds: Number of seeds.
    """

    set: str
    picture: int
    classes: int
    each: int
    unequal: bool
    recipe: str
    side: int
    minutes: float
    epochs: int
    seconds: float
    error: float
    low: float
    high: float
    seeds: int

    def words(self) -> str:
        """Say what was reached, and on what."""
        counts = "unequal counts, " * self.unequal
        return (
            f"{percent(self.error)} ({100 * self.low:.1f} to {100 * self.high:.1f}) on {self.set} of "
            f"{self.picture} pixels, {self.classes} classes, {counts}{self.each:,} pictures a class, {self.epochs:,} "
            "epochs"
        )


@cache
def known() -> tuple[Known, ...]:
    """Read the rows of known.json."""
    return tuple(Known(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))["rows"])


def comparable(
    rows: Iterable[Known], epochs: Mapping[str, float], each: float, unequal: bool = False
) -> dict[str, list[Known]]:
    """Find the rows that tell most of a folder: of each recipe one row a set, of the same sets for all recipes.

    Of each set, they are of the size that is nearest to `each`. Of these, a recipe's row is the one with the nearest
    number of epochs. More epochs than any row has count as those of the longest; far fewer than the shortest has leave
    the recipe out.

    Args:
        rows: Rows of `known`.
        epochs: Number of epochs that each recipe could train, by its name.
        each: Mean number of training pictures a class.
        unequal: Whether the classes have unequal counts. Rows of the other kind serve where a set has no other.

    Returns:
        The rows by recipe. Recipes without a row are left out.
    """
    sets: dict[str, list[Known]] = {}
    for row in rows:
        if row.recipe in epochs:
            sets.setdefault(row.set, []).append(row)
    found: dict[str, dict[str, Known]] = {}
    for name, of in sets.items():
        of = [row for row in of if row.unequal == unequal] or of
        size = min({row.each for row in of}, key=lambda n: abs(math.log(n / each)))
        for recipe, most in epochs.items():
            own = [row for row in of if (row.recipe, row.each) == (recipe, size) and row.epochs <= FEWER * most]
            if own:
                found.setdefault(recipe, {})[name] = min(own, key=lambda row: abs(math.log(row.epochs / most)))
    common = set.intersection(*(set(of) for of in found.values())) if found else set()
    if not common:  # no set has them all: compare on the one that has most of them
        counts = {name: sum(name in of for of in found.values()) for name in sets}
        common = {max(counts, key=lambda name: counts[name])} if counts else set()
    return {recipe: [of[name] for name in sorted(common)] for recipe, of in found.items() if common <= of.keys()}
