"""What the tests of slides share: records of runs that never were, and a deck taken apart."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.planted import plant

from alexnet.config.recipe import Recipe
from alexnet.studies import designs
from alexnet.studies.claims import CLAIMS


def plant_claims(folder: Path) -> None:
    """Plant records that decide two-towers, leave crops undecided for too few seeds, and draw figure 1."""
    two, one = arms_of("two-towers").values()
    plant(folder, two, [0.25, 0.251, 0.249, 0.25], held_out=10_000)
    plant(folder, one, [0.27, 0.271, 0.269, 0.27], held_out=10_000)
    for arm, error in (("crops and mirrors", 0.3), ("centre alone", 0.4)):
        plant(folder, arms_of("crops")[arm], [error, error + 0.01], curve=0.3)
    for names in CLAIMS["relu-tanh"].tune.values():
        for name in names:
            plant(folder, arms_of("relu-tanh")[name], [0.3], first_seed=designs.TUNING_SEED, curve=0.2)
        plant(
            folder, arms_of("relu-tanh")[min(names)], [0.3, 0.31], curve=0.2
        )  # all rates are as good, so the first is chosen


def arms_of(claim: str) -> dict[str, Recipe]:
    """The recipes of a claim's arms on CIFAR-10."""
    base = designs.base_of(CLAIMS[claim], 32, None)[1]
    return designs.arms_of(CLAIMS[claim], base.replace(net={"classes": 10}))


@dataclass(frozen=True)
class Slide:
    """One slide of slides.md: what is shown, and the notes."""

    shown: str
    notes: str

    @property
    def heading(self) -> str:
        """The first heading."""
        return re.findall(r"^#+ (.+)$", self.shown, re.M)[0]

    def found(self, pattern: str) -> list[str]:
        """What a pattern finds in the slide and its notes."""
        return re.findall(pattern, f"{self.shown}\n{self.notes}")


def slides(text: str) -> list[Slide]:
    """Take a deck apart."""
    body = text.split("\n---\n", 1)[1]
    parts = [part.partition("\nNote:") for part in re.split(r"^-{3,4}$", body, flags=re.M)]
    return [Slide(shown.strip(), notes.strip()) for shown, _, notes in parts]
