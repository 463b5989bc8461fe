"""The designs of studies: the pictures and the base recipe of a claim's arms. docs/log.md gives the reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.studies.claim import Changes, Claim

# The order of --missing: claims that show most for the least training come first.
QUEUE = (
    *("ten-views", "ensemble", "init", "fc-conv", "momentum", "crops", "relu-tanh", "dropout", "two-towers", "depth"),
    *("lrn", "columns", "norm-order", "colour", "decay", "overlap", "lrn-cifar", "pretrain", "table-2"),
    "since-2012",
)
BASE_SEEDS = 10  # seeds of a ground's own recipe, which many claims share
TUNING_SEED = 1000  # seed of the runs that choose a learning rate; no judged run has it


@dataclass(frozen=True)
class Ground:
    """A base recipe and the number of training pictures; None means all."""

    recipe: Recipe
    pictures: int | None = None


# For stores of 32 pixels. On A the base recipe underfits a little. B has a tenth of the pictures and 18,840 steps:
# there a net without dropout reaches less than 5 % training error, so remedies against overfitting can show an effect.
GROUNDS = {
    "A": Ground(RECIPES["small"]),
    "B": Ground(RECIPES["small"].replace(sgd={"batch": 32, "lr": 0.004, "bias_lr": 0.008}, epochs=120), 5_000),
}


def changed(base: Recipe, changes: Changes) -> Recipe:
    """Apply changes to a recipe."""
    made: Mapping[str, Any] = changes(base) if callable(changes) else changes
    return base.replace(**made)


def base_of(claim: Claim, side: int, recipe: Recipe | None) -> tuple[str, Recipe, int | None]:
    """Find the base of a claim's arms: its name, its recipe, and the number of training pictures (None for all).

    The base is the claim's own recipe, the given one, or the one that suits pictures of `side` pixels. Raises
    InputError if the claim has its own and another is given, or if the given net lacks the layers that the claim needs.
    """
    if claim.base:
        if recipe:
            raise InputError(f"claim {claim.name} has its own recipe, a net for CIFAR-10; leave out --recipe")
        return "its own", claim.base, None
    if recipe:
        if claim.shape and not isinstance(recipe.net, Net):
            raise InputError(
                f"claim {claim.name} is about AlexNet's layers, which a {type(recipe.net).__name__} lacks; "
                "give --recipe small, tiny, source or paper"
            )
        return "given", recipe, None
    if side < 56:
        ground = GROUNDS[claim.ground]
        return f"small, ground {claim.ground}", changed(ground.recipe, claim.adjust), ground.pictures
    name = "tiny" if side < 112 else "source"
    return name, RECIPES[name], None


def arms_of(claim: Claim, base: Recipe) -> dict[str, Recipe]:
    """Build the recipe of each arm."""
    return {name: changed(base, changes) for name, changes in claim.arms.items()}
