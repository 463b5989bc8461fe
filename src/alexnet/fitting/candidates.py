"""The recipes that `fit` chooses from, and the side of the store that each needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.models import layer_table

# The side of the store, in pixels, by recipe. ADD YOURS as one line.
SIDES = {
    "small": 32,
    "today": 32,
    "tiny": 64,
    "today-64": 64,
    "demo": 256,
    "source": 256,
    "today-256": 256,
}
ENLARGED = 2  # pictures this many times smaller than a store's side would gain size alone


@dataclass(frozen=True)
class Candidate:
    """A recipe, for a store of a side."""

    name: str
    side: int

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe itself."""
        return RECIPES[self.name]

    @property
    def batch(self) -> int:
        """Pictures of a step."""
        return self.recipe.sgd.batch

    @cached_property
    def work(self) -> int:
        """The multiply-adds of a picture's forward pass."""
        return sum(layer.multiply_adds for layer in layer_table.layers_of(self.recipe.net))


def candidates(side: int, sides: Mapping[str, int] = SIDES) -> list[Candidate]:
    """List the recipes for pictures of a size, those with the least work first.

    Args:
        side: Shorter side of the pictures, in pixels: the median.
        sides: The recipes to choose from.
    """
    fitting = {s for s in sides.values() if s < ENLARGED * side} or {min(sides.values())}
    return sorted((Candidate(n, s) for n, s in sides.items() if s in fitting), key=lambda c: c.work)
