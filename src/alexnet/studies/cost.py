"""A list of the claims, with an estimate of what it costs to decide each."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import named
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.models import layer_table
from alexnet.runs import log
from alexnet.runs.folder import is_run
from alexnet.runs.run import Run
from alexnet.studies import claims, designs
from alexnet.studies.claim import Claim
from alexnet.studies.plan import Request, plan_claim
from alexnet.studies.record import Records

RATE = 6e10  # multiply-adds a second of one core in training, if no run shows it; measured on an AMD EPYC in bf16
CIFAR_10 = (32, 50_000)  # side and training pictures, if no store is named


def listing(
    names: Sequence[str] = ("all",),
    store: str | Path | None = None,
    out: str | Path | None = None,
    recipe: str | Recipe | None = None,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    pictures: int | None = None,
    held_out: int | None = None,
    pretrain_on: str | Path | None = None,
) -> list[dict[str, Any]]:
    """List claims with their section, the paper's number, that of 2012, their arms, and the cost of deciding them.

    The cost is that of training every run from the start. A training step takes three times the multiply-adds of a
    forward pass. They run at the speed of the runs in `out`, or at RATE.

    Args:
        names: Names of claims, or "all", which here has the studies after the paper's claims too.
        store: Folder of the store; the cost is that of CIFAR-10 if None.
        out: Folder of studies, whose runs show the machine's speed.
        recipe: Base recipe for the claims without their own; by default it follows from the store.
        seeds: Number of seeds of each arm; the claim's design if None.
        epochs: Number of epochs of each run; the recipe's if None.
        pictures: Number of pictures to train on; the claim's design if None.
        held_out: Number of pictures to judge on; all if None. It changes no cost.
        pretrain_on: Store of more classes, for arms that train on it first.

    Returns:
        A row for each claim. If it cannot be decided on the store, "cost" says why, and the numbers are None.

    Raises:
        InputError: A name is not a claim, or the store or the recipe cannot be read.
    """
    opened = Store(store) if store else None
    side, whole = (opened.side, len(opened["train"])) if opened else CIFAR_10
    asked = Request(recipe, seeds, epochs, pictures, held_out, Store(pretrain_on) if pretrain_on else None)
    given = named(recipe) if isinstance(recipe, str) else recipe
    speed = measured_rate(Path(out)) if out else None
    rate, origin = speed or RATE, "measured in OUT" if speed else "assumed"
    rows = []
    ladders = [claim.name for claim in claims.LADDERS] if "all" in names else []
    for claim in claims.claims_named([*names, *ladders]):
        row: dict[str, Any] = {"claim": claim.name, "section": claim.section, "plain": claim.plain}
        row |= {"paper": claim.paper, "log": claim.log}
        row["arms"] = list(claim.arms)
        try:
            base, arms, seen = priced(claim, opened, asked, given, side)
            work = sum(3.0 * count * r.epochs * (seen or pictures or whole) * forward_products(r) for r, count in arms)
            minutes = work / rate / 60
            words = f"{'at most ' if claim.until else ''}about {minutes:,.0f} core-minutes"
            row |= {"recipe": base, "multiply_adds": work, "core_minutes": round(minutes, 1), "cost": words}
        except InputError as error:
            row |= {"recipe": None, "multiply_adds": None, "core_minutes": None, "cost": str(error)}
        rows.append(row | {"rate": rate, "rate_is": origin, "seeds": asked.seeds or claim.seeds})
    return rows


def priced(
    claim: Claim, store: Store | None, asked: Request, given: Recipe | None, side: int
) -> tuple[str, list[tuple[Recipe, int]], int | None]:
    """Return a claim's base, its recipes with their numbers of seeds, and the number of pictures (None for all)."""
    if store:
        plan = plan_claim(claim, store, asked, given, Records((), (), ()), "")
        return plan.base, [(r, 1) for r in plan.recipes.values()], len(plan.store["train"])
    base, recipe, few = designs.base_of(claim, side, given)
    recipe = recipe if asked.epochs is None else recipe.replace(epochs=asked.epochs)
    seeds = asked.seeds or claim.seeds
    arms, tuned = designs.arms_of(claim, recipe), [name for names in claim.tune.values() for name in names]
    each = {r.digest: (r, seeds) for name, r in arms.items() if name not in tuned}
    chosen = [(arms[names[0]], seeds) for names in claim.tune.values()]  # any: they differ only in their rates
    return base, [*each.values(), *((arms[name], 1) for name in tuned), *chosen], asked.pictures or few


def forward_products(recipe: Recipe) -> int:
    """Count the multiply-adds of a forward pass for one picture."""
    return sum(layer.multiply_adds for layer in layer_table.layers_of(recipe.net))


def measured_rate(out: Path) -> float | None:
    """Compute the multiply-adds per second and thread of the runs in `out`; None if no run has logged its speed."""
    rates = []
    for folder in sorted((out / "runs").glob("*")) if (out / "runs").is_dir() else []:
        if not is_run(folder):
            continue
        if speeds := [line["pictures_per_second"] for line in log.read(folder) if line["kind"] == "step"]:
            run = Run(folder)
            work = 3 * forward_products(run.recipe) / run.environment["threads"]
            rates.append(statistics.median(speeds) * work)
    return statistics.median(rates) if rates else None
