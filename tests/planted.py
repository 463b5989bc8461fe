"""Records of runs that never were: their errors are planted, so that a verdict on them is known."""

from pathlib import Path
from typing import Any

import numpy as np

from alexnet.config.recipe import Recipe
from alexnet.studies.record import Record, pack, write_record

VERSIONS = {"alexnet": "0.2.0", "torch": "2.13.0", "python": "3.11.2"}


def plain_record(
    recipe: Recipe,
    error: float,
    *,
    held_out: int = 1000,
    store: str = "0" * 64,
    side: int = 32,
    curve: float | None = None,
) -> dict[str, Any]:
    """What the record of a run says whose error with ten views is `error`, and one point more with one view."""
    rng = np.random.default_rng(recipe.seed)
    wrong = rng.permutation(held_out)
    credit = {name: np.ones(held_out) for name in ("one", "ten", "five")}
    for name, more in (("ten", 0.0), ("one", 0.01), ("five", -0.9 * error)):
        credit[name][wrong[: round((error + more) * held_out)]] = 0
    found = {name: 1 - float(of.mean()) for name, of in credit.items()}
    last = error if curve is None else curve
    return {
        "record": "run",
        "recipe": recipe.plain(),
        "digest": recipe.digest,
        "seed": recipe.seed,
        "store": {"digest": store, "kind": "cifar-10", "side": side, "classes": 10, "pictures": 50_000}
        | {"held_out": held_out, "subset": None},
        "precision": "bf16",
        "start": None,
        "until": None,
        "curve": [[2.0 - i / recipe.epochs, last, error, 0.1, 1.0] for i in range(recipe.epochs)],
        "errors": {
            "one_view": {"top1": found["one"], "top5": 0.1, "nats": 1.0},
            "ten_views": {"top1": found["ten"], "top5": found["five"], "nats": 0.9},
            "train": {"top1": error / 2, "top5": 0.1, "nats": 0.5},
        },
        "right": {name: pack(of) for name, of in credit.items()},
        "processor": "a processor",
        "kernels": "native",
        "threads": 1,
        "versions": VERSIONS,
        "commit": "0" * 12,
        "seconds": 100.0,
    }


def plant(folder: Path, recipe: Recipe, errors: list[float], first_seed: int = 0, **of: Any) -> list[Path]:
    """Write a record of a recipe for each error, with seeds from `first_seed` on."""
    recipes = [recipe.replace(seed=seed) for seed in range(first_seed, first_seed + len(errors))]
    pairs = zip(recipes, errors, strict=True)
    return [write_record(folder, Record(folder, plain_record(r, error, **of))) for r, error in pairs]
