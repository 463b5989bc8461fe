"""The runs that a study still needs, as commands for any queue."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.studies import designs
from alexnet.studies.averages import wanted
from alexnet.studies.plan import Request, StudyPlan, plan_all
from alexnet.studies.record import Records, place_of
from alexnet.studies.run import read_kept

PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)  # words that neither a shell nor xargs changes


def missing(
    names: Sequence[str],
    store: str | Path,
    out: str | Path,
    asked: Request,
    records: str | Path | None = None,
    *,
    precision: str,
    options: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """List the work that is left: each missing run once, then the averages of trained nets.

    Args:
        names: Names of claims, or "all".
        store: Folder of the store.
        out: Folder of the studies.
        asked: Options of the study.
        records: Folder of records; OUT/records if None.
        precision: Precision of all runs.
        options: Further words for every command line.

    Returns:
        For each command its text ("command"), the claim, the arm, the seed, and the recipe's digest. Work that depends
        on missing runs, such as an average, is listed once these are done.

    Raises:
        InputError: A claim cannot be decided, or a path holds a character that a shell would interpret.
    """
    kept = Path(records) if records else Path(out) / "records"
    opened, precision = Store(store), choose_compute("cpu", precision).precision
    known = read_kept(kept)
    plans, _ = plan_all(names, opened, asked, known, precision)
    shared = [str(store), str(out), "--records", str(kept), "--precision", precision, *words_of(asked), *options]
    if wrong := next((word for word in shared if not PLAIN.fullmatch(word)), None):
        raise InputError(
            f"--missing: {wrong!r} holds a character that a shell interprets; use folders with plain names"
        )
    rows = dict[tuple[Any, ...], dict[str, Any]]()
    for plan in sorted(plans, key=lambda plan: designs.QUEUE.index(plan.claim.name)):
        rows |= {key: row for key, row in of_plan(plan, known, precision, shared).items() if key not in rows}
    return list(rows.values())


def words_of(asked: Request) -> list[str]:
    """Write a request as options of the command line."""
    if isinstance(asked.recipe, Recipe):
        raise InputError("--missing: a command line needs a recipe's name; give the name of a recipe, or of its file")
    given: dict[str, Any] = {
        "recipe": asked.recipe,
        "seeds": asked.seeds,
        "first-seed": asked.first_seed or None,
        "epochs": asked.epochs,
        "pictures": asked.pictures,
    }
    given |= {"held-out": asked.held_out, "pretrain-on": asked.more and asked.more.path}
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", f"{value}")]


def of_plan(
    plan: StudyPlan, known: Records, precision: str, shared: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """List the missing work of one claim, by a key that is the same for runs shared by claims."""
    name, rows = plan.claim.name, dict[tuple[Any, ...], dict[str, Any]]()
    there = plan.recorded(known, precision)
    for digest, recipe in plan.recipes.items():
        if place_of(recipe) not in there:
            words = ["alexnet", "study", name, *shared, "--run", digest]
            rows[(digest, plan.store.digest)] = line(words, name, plan.arm_of[digest], recipe)
    if not rows and wanted(plan, known, precision):
        rows[(name, "average")] = line(["alexnet", "study", name, *shared], name, "averages of nets", None)
    return rows


def line(words: Sequence[str], claim: str, arm: str, recipe: Recipe | None) -> dict[str, Any]:
    """Describe a command."""
    seed, digest = (recipe.seed, recipe.digest) if recipe else (None, None)
    return {"command": " ".join(words), "claim": claim, "arm": arm, "seed": seed, "digest": digest}
