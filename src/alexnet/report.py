"""One page about all runs in a folder: what was trained, on how much, and how well; it reads what the runs wrote."""

import base64
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import alexnet
from alexnet import figures, runlog
from alexnet.disk import write
from alexnet.errors import UnusableError
from alexnet.run import read_json

CAPTIONS = {
    "curves": (
        "Learning curves",
        "Training is measured in passing, with dropout and random views; validation with one central view. "
        "A dotted line marks where the rate falls.",
    ),
    "kernels": (
        "Kernels of conv1",
        "As in figure 3 of the paper. Each tile is scaled on its own, so brightness cannot be compared between tiles.",
    ),
    "top5": (
        "Held-out pictures and the five likeliest classes",
        "As in figure 4 of the paper, from ten views. The true label stands beneath each picture; its bar is hatched "
        "and bold. The pictures lie evenly across the split and were not picked by result.",
    ),
}
DOTS = 110  # an inch: sharp on the page, and half the bytes of a slide's


def report(out: Path) -> Path:
    """Write OUT/report.html, one self-contained page about the runs at OUT and below it; returns its path.

    A run is a folder with recipe.json and log.jsonl. What a run lacks is said on the page. Raises UnusableError where
    there is no run, or a run's JSON cannot be read.
    """
    runs = sorted(path.parent for path in out.rglob("recipe.json") if (path.parent / "log.jsonl").is_file())
    if not runs:
        raise UnusableError(f"no run in {out}; name a folder that holds run folders (recipe.json and log.jsonl)")
    templates = Environment(loader=PackageLoader("alexnet"), autoescape=True, undefined=StrictUndefined)
    templates.trim_blocks = templates.lstrip_blocks = True
    titles = [out.resolve().name if run == out else run.relative_to(out).as_posix() for run in runs]
    sections = [_section(run, title) for run, title in zip(runs, titles, strict=True)]
    page = templates.get_template("report.html.jinja").render(runs=sections, version=alexnet.__version__)
    write(out / "report.html", [page.encode()])
    return out / "report.html"


def _section(run: Path, title: str) -> dict[str, Any]:
    """What the page says of one run."""
    recipe, log = read_json(run / "recipe.json"), runlog.read(run)
    environment = read_json(run / "environment.json") if (run / "environment.json").is_file() else {}
    return {
        "title": title,
        "recipe": recipe,
        "numbers": json.dumps(recipe["recipe"], indent=2, ensure_ascii=False),
        "scale": _scale(environment, log, recipe["recipe"]["epochs"]),
        "errors": _errors(log, environment.get("classes")),
        "finished": any(line["kind"] == "final" for line in log),
        "facts": _facts(environment, log),
        "figures": [_figure(name, drawn) for name, drawn in figures.of_run(run).items()],
    }


def _scale(environment: Mapping[str, Any], log: Sequence[Mapping[str, Any]], asked: int) -> list[str]:
    """How large the experiment was, in sentences."""
    done = max((line["epoch"] for line in log if "epoch" in line), default=0)
    trained = f"{done:,.4g} of {asked:,} epochs trained."
    if not environment:
        return [f"{trained} environment.json is missing, so the data are not known."]
    images = environment["images"]
    held_out = ", ".join(f"{count:,} held out ({name})" for name, count in images.items() if name != "train")
    of = "pictures drawn by program" if environment["store_kind"] == "builtin" else "pictures"
    classes, training = environment["classes"], images.get("train", 0)
    said = [f"{classes:,} classes; {training:,} {of} to train on, {held_out or 'none held out'}.", trained]
    if classes == 1000 and training > 1_000_000:
        return said
    return [*said, "A small-scale result, not ImageNet."]


def _errors(log: Sequence[Mapping[str, Any]], classes: int | None) -> list[dict[str, Any]]:
    """The rows of the table of errors: what was measured, then chance."""
    final = next((line for line in reversed(log) if line["kind"] == "final"), None)
    epoch = next((line for line in reversed(log) if line["kind"] == "epoch"), None)
    rows: list[dict[str, Any]] = []
    if final:
        if final.get("one_view"):
            rows.append(_row("one view", final["one_view"]))
        rows.append(_row(f"{final['views']} views", final))
    elif epoch:
        rows.append(_row(f"one view, after epoch {epoch['epoch']}", epoch))
    if rows and classes:
        chance = {"top1": 1 - 1 / classes, "top5": 1 - min(5, classes) / classes, "nats": math.log(classes)}
        rows.append(_row("chance", chance))
    return rows


def _row(name: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """One row; each error has its 95 % interval beside it where the number of pictures is known."""
    cells = []
    for error in ("top1", "top5"):
        low, high = line.get(f"{error}_interval", (None, None))
        interval = "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        cells.append(f"{100 * line[error]:.1f} %{interval}")
    return {"name": name, "cells": [*cells, f"{line['nats']:.3f}", f"{line['images']:,}" if "images" in line else ""]}


def _facts(environment: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Where, when and with what the run was made; a fact that was not recorded is left out."""
    versions = environment.get("versions", {})
    facts = {
        "Source": environment.get("store_kind"),
        "Store": environment.get("store"),
        "Store digest": environment.get("store_digest"),
        "Device": environment.get("device"),
        "Threads": environment.get("threads"),
        "Precision": environment.get("precision"),
        "Started": environment.get("started"),
        "Time logged": _duration(_seconds(log)) if log else None,
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "Commit": environment.get("commit"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Seconds over all sittings; where a log's count began again, the sittings are added up."""
    marks: list[float] = [line["seconds"] for line in log if "seconds" in line]
    ends = [before for before, after in itertools.pairwise(marks) if after < before]
    return sum(ends) + (marks[-1] if marks else 0)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _figure(name: str, drawn: Any) -> dict[str, str]:
    """A figure as a data URI, or the reason why there is none."""
    title, caption = CAPTIONS[name]
    if isinstance(drawn, str):
        return {"title": title, "missing": drawn}
    data = base64.b64encode(figures.rendered(drawn, "png", DOTS)).decode()
    return {"title": title, "caption": caption, "data": f"data:image/png;base64,{data}"}
