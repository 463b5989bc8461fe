"""Fill tables 1 and 2 of the paper with our errors on ImageNet, and a separate table with errors on other data."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.core.text import percent
from alexnet.reporting.paper_tables import TABLES
from alexnet.reporting.results import StudyResults, comparable, environment, imagenet, line
from alexnet.runs import log as runlog
from alexnet.runs.folder import read_json

BEST = 3  # number of runs outside studies that a table shows


def tables(
    found: Sequence[StudyResults], alone: Sequence[Path] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Put our errors on ImageNet, of runs that were trained on all of it, below the row of the paper's like it.

    Args:
        found: Studies.
        alone: Runs outside studies; the BEST finished ones that were trained on ImageNet count.

    Returns:
        The two tables, or an empty list if none of ours belongs there; and rows of a third table for studies of other
        data, where `like` names the paper's row.
    """
    singles = [_single(*each) for each in _finished(filter(comparable, alone))[:BEST]]
    made: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    for table in TABLES:
        rows: list[dict[str, Any]] = []
        for row in table.rows:
            rows.append({"model": row.model, "paper": row.paper, "log": row.log, "ours": False})
            ours = [each for study in found for each in study.beneath(row)]
            rows += [each for each in ours if each["comparable"]] + (singles if row.runs else [])
            beside += [each | {"like": row.model} for each in ours if not each["comparable"]]
        made.append({"title": table.title, "words": table.words, "heads": table.heads, "rows": rows})
    return made if any(row["ours"] for table in made for row in table["rows"]) else [], beside


def _finished(runs: Iterable[Path]) -> list[tuple[Path, Mapping[str, Any]]]:
    """List each finished run with the last line of its log, the lowest top-1 error first."""
    ended = []
    for run in runs:
        final = next((entry for entry in reversed(runlog.read(run)) if entry["kind"] == "final"), None)
        if final and isinstance(final.get("top1"), float):
            ended.append((final["top1"], str(run), run, final))
    return [(run, final) for *_, run, final in sorted(ended, key=lambda e: e[:2])]


def _single(run: Path, final: Mapping[str, Any]) -> dict[str, Any]:
    """Make a row of a finished run outside studies."""
    record, known = read_json(run / "recipe.json"), environment(run)
    recipe = record["recipe"]
    data = f"{known['images'].get('train', 0):,} pictures of {known['classes']:,} classes, " if known else ""
    drawn = " The pictures are drawn by program." if known.get("store_kind") == "builtin" else ""
    small = "" if imagenet(known) else " A small-scale result, not ImageNet."
    epochs = f"{recipe['epochs']} epoch{'s' * (recipe['epochs'] > 1)}"
    scale = f"{data}views of {Recipe.of(recipe).net.image_size} pixels, {epochs}.{drawn}{small} Seed: {recipe['seed']}."
    errors = [percent(final["top1"]), percent(final["top5"])]
    return line(f"ours, recipe {record['name']}", errors, f"{scale} Run {run.name}.", comparable=True)
