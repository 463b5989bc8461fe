"""The grid of small_folders.py: which runs there are, and in which order they are made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from small_folders_data import SETS

from alexnet.studies.designs import TUNING_SEED

SIZES = {"imagenette": (50, 200, 450), "cifar10": (50, 200, 1000), "tiny-imagenet": (50, 200, 500)}  # a class
MINUTES = (1.0, 3.0, 10.0)
SEEDS = (0, 1, 2, 3, 4)
TUNED = ("today", "peer")  # arms whose learning rate is tuned here, on all sets
CAUSES = (
    "peer-layers",
    "peer-unnormed",
    "peer-straight",
)  # tuned and compared on one set: what the difference is due to
CAUSE_SET = "cifar10"
FACTORS = (0.5, 1.0, 2.0)
CAUSE_FACTORS = (0.1, 0.3, 1.0, 2.0)  # a net without batch norm might ask for lower rates


@dataclass(frozen=True)
class Cell:
    """One run of the grid. `most` is the number of pictures of the largest class; `factor` is that of the rates."""

    set: str
    most: int
    unequal: bool
    minutes: float
    arm: str
    seed: int
    factor: float | None = None  # of a run that tunes

    @property
    def group(self) -> str:
        """The cell without its seed and budget: runs of one group take the same time an epoch."""
        return f"{self.set}-{self.most}-{'unequal' if self.unequal else 'equal'}-{self.arm}"

    @property
    def name(self) -> str:
        """The name of the record's file."""
        tuning = f"-lr{self.factor:g}" if self.factor is not None else ""
        return f"{self.group}-{self.minutes:g}min-{self.seed}{tuning}"

    @property
    def recipe(self) -> str | None:
        """The name of the recipe; None for the peer."""
        if self.arm == "today" and SETS[self.set].side == 64:
            return "today-64"
        if self.arm.startswith("peer"):
            return None
        return {"tuned": "tiny", "today-32": "today"}.get(self.arm, self.arm)

    @property
    def tuned_as(self) -> str | None:
        """The arm whose tuning runs choose the learning rate; None for the rate of the recipe."""
        arm = self.arm.removesuffix("-32")
        return arm if arm in (*TUNED, *CAUSES) else None

    @property
    def side(self) -> int:
        """The side of the store."""
        sides = {"small": 32, "today-32": 32, "tiny": 64, "tuned": 64, "demo": 256}
        return sides.get(self.arm, SETS[self.set].side)

    @property
    def enlarged(self) -> bool:
        """Whether a recipe asks for pictures of twice the set's side or more: `alexnet fit` would not choose it."""
        return self.arm != "tuned" and self.side >= 2 * SETS[self.set].pixels


def arms(name: str) -> tuple[str, ...]:
    """List the arms on a set, the smallest stores first."""
    return ("today", "peer", "small", *(["today-32"] if SETS[name].side > 32 else []), "tiny", "tuned", "demo")


def tuning(arm: str) -> list[Cell]:
    """List the runs that tune the learning rate of an arm."""
    sets, factors = (SETS, FACTORS) if arm in TUNED else ([CAUSE_SET], CAUSE_FACTORS)
    return [Cell(name, 200, False, 3.0, arm, TUNING_SEED, factor) for name in sets for factor in factors]


def grid(seeds: Sequence[int]) -> list[Cell]:
    """List all cells in their order: a part of the queue is balanced, and the comparison at equal time comes first."""

    def stage(minutes: float, unequal: bool, sizes: Mapping[str, tuple[int, ...]], few: bool = False) -> Iterator[Cell]:
        for seed in seeds:
            for name, counts in sizes.items():
                for most in counts:
                    for arm in TUNED if few else arms(name):
                        yield Cell(name, most, unequal, minutes, arm, seed)

    two_hundred = {name: (200,) for name in SETS}
    order: list[Cell] = [*stage(3.0, False, two_hundred, few=True)]
    order += [Cell(CAUSE_SET, 200, False, 3.0, arm, seed) for seed in seeds for arm in CAUSES]
    order += stage(1.0, False, two_hundred, few=True)
    order += [*stage(1.0, False, SIZES), *stage(3.0, False, SIZES), *stage(1.0, True, SIZES), *stage(3.0, True, SIZES)]
    order += [*stage(10.0, False, two_hundred, few=True), *stage(10.0, False, SIZES), *stage(10.0, True, SIZES)]
    return sorted(dict.fromkeys(order), key=lambda cell: cell.enlarged)
