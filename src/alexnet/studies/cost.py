"""List the claims, and estimate the cost of deciding each."""

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

RATE = 6e10  # multiply-adds a second of one core in training, assumed where no run tells: an AMD EPYC's, in bf16
CIFAR_10 = (32, 50_000)  # side and training pictures, assumed where no store is named


def listing(
    names: Sequence[str] = ("all",),
    store: str | Path | None = None,
    out: str | Path | None = None,
    recipe: str | Recipe | None = None,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    pretrain_on: str | Path | None = None,
) -> list[dict[str, Any]]:
    """List the claims with section, the paper's number and 2012's, arms, and the cost of deciding each here.

    Cost is of training from nothing: 3 times a forward pass's multiply-adds, at the rate that the runs in OUT show or
    RATE. Without a store it is CIFAR-10's.
    """
    opened = Store(store) if store else None
    side, pictures = (opened.side, len(opened["train"])) if opened else CIFAR_10
    asked = Request(recipe, seeds, epochs, more=Store(pretrain_on) if pretrain_on else None)
    given = named(recipe) if isinstance(recipe, str) else recipe
    speed = measured_rate(Path(out)) if out else None
    rate, origin = speed or RATE, "measured in OUT" if speed else "assumed"
    rows = []
    for claim in claims.claims_named(names):
        row: dict[str, Any] = {"claim": claim.name, "section": claim.section, "paper": claim.paper, "log": claim.log}
        row["arms"] = list(claim.arms)
        try:
            base, arms, seen = priced(claim, opened, asked, given, side)
            work = sum(3.0 * count * r.epochs * (seen or pictures) * forward_products(r) for r, count in arms)
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
    """Return a claim's base, each recipe with how many seeds it has, and of how many pictures (None: all)."""
    if store:
        plan = plan_claim(claim, store, asked, given, Records((), (), ()), "")
        return plan.base, [(r, 1) for r in plan.recipes.values()], len(plan.store["train"])
    base, recipe, few = designs.base_of(claim, side, given)
    recipe = recipe if asked.epochs is None else recipe.replace(epochs=asked.epochs)
    seeds = asked.seeds or claim.seeds
    arms, tuned = designs.arms_of(claim, recipe), [name for names in claim.tune.values() for name in names]
    each = {r.digest: (r, seeds) for name, r in arms.items() if name not in tuned}
    chosen = [(arms[names[0]], seeds) for names in claim.tune.values()]  # any: they differ in their rates
    return base, [*each.values(), *((arms[name], 1) for name in tuned), *chosen], few


def forward_products(recipe: Recipe) -> int:
    """Count the multiply-adds of a forward pass for one picture."""
    return sum(layer.multiply_adds for layer in layer_table.layers_of(recipe.net))


def measured_rate(out: Path) -> float | None:
    """Measure the multiply-adds a second and thread of the runs in OUT; None if no run tells."""
    rates = []
    for folder in sorted((out / "runs").glob("*")) if (out / "runs").is_dir() else []:
        speeds = [line["pictures_per_second"] for line in log.read(folder) if line["kind"] == "step"]
        if is_run(folder) and speeds:
            run = Run(folder)
            work = 3 * forward_products(run.recipe) / run.environment["threads"]
            rates.append(statistics.median(speeds) * work)
    return statistics.median(rates) if rates else None
