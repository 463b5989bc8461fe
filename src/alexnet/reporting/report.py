"""Write one page about every run, study and record in a folder, a reader's own runs first."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from alexnet.core.errors import InputError
from alexnet.core.files import write
from alexnet.core.text import escape_control, listed, markdown
from alexnet.figures import catalogue, relu_tanh
from alexnet.figures.run_data import RunData
from alexnet.figures.style import rendered, save
from alexnet.inference.measures import wilson
from alexnet.reporting import results
from alexnet.reporting.kept import balance, kept
from alexnet.reporting.recorded import recorded
from alexnet.reporting.tables import tables
from alexnet.runs import log as runlog
from alexnet.runs.folder import read_json
from alexnet.version import __version__

TIGHT: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
VERDICTS = (
    "● holds. ✕ opposite: the difference has the other sign. ⊘ absent: the 90 % interval lies inside the margin (not "
    "adjusted for the number of claims). ○ not shown: none of these. A verdict is only about the scale named with it."
)
DOTS = 110  # per inch: sharp on the page, at half the bytes of a slide's


def report(out: str | Path) -> Path:
    """Write OUT/report.html, one self-contained page about the studies, runs and records at OUT and below.

    Runs that belong to no study come first, then the claims, then the paper's tables 1 and 2 if something was measured
    on ImageNet's classes. OUT/report.md holds the same without the runs' figures. Once a study of ReLU against tanh
    has begun, OUT/figure-1.png and .svg are written too; with records, OUT/claims.png and .svg.

    Args:
        out: Folder that holds runs (with recipe.json and log.jsonl), studies (with study.json) or records, at any
            depth, or is one.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder holds no run, study or record, or their JSON cannot be read.
    """
    out = Path(out)
    studies = results.studies(out)
    theirs = {run for study in studies for run in study.runs}
    runs = sorted(path.parent for path in out.rglob("recipe.json") if (path.parent / "log.jsonl").is_file())
    records = recorded(out) if out.is_dir() else {}
    if not (runs or studies or records.get("runs") or records.get("left")):
        raise InputError(
            f"no run in {out}, and no study or record; name a folder that holds runs (recipe.json and log.jsonl), "
            "studies or records"
        )
    alone = [run for run in runs if run not in theirs]
    titles = [out.resolve().name if run == out else run.relative_to(out).as_posix() for run in alone]
    sections = list(map(_section, alone, titles))  # before the tables, to name a broken file
    papers, others = tables(studies, alone)
    recorded_claims = [row["claim"] for row in records["rows"]]
    said = {
        "runs": sections,
        "records": records,
        "claims": results.decided(studies),
        "undecided": results.undecided(studies, recorded_claims) if studies or records["runs"] else "",
        "tables": papers,
        "others": others,
        "figures_1": _figures_1(studies, out),
        "studies": [{"title": s.title, "store": s.record.get("store"), "runs": s.listing()} for s in studies],
        "verdicts": VERDICTS,
        "version": __version__,
    }
    loader = PackageLoader("alexnet.reporting")
    page = Environment(loader=loader, autoescape=True, finalize=_shown, undefined=StrictUndefined, **TIGHT)
    plain = Environment(loader=loader, autoescape=False, finalize=markdown, undefined=StrictUndefined, **TIGHT)
    write(out / "report.md", [plain.get_template("report.md.jinja").render(said).encode(errors="replace")])
    write(out / "report.html", [page.get_template("report.html.jinja").render(said).encode(errors="replace")])
    return out / "report.html"


def _shown(value: Any) -> Any:
    """Escape the characters that would turn or hide the text after them on the page."""
    return "\n".join(map(escape_control, value.split("\n"))) if type(value) is str else value


def _figures_1(studies: Sequence[results.StudyResults], out: Path) -> list[dict[str, str]]:
    """Draw figure 1 of each study that has runs for it, and write it next to the page."""
    made: list[dict[str, str]] = []
    for study in studies:
        try:
            errors = relu_tanh.training_errors(study.path)
        except InputError:
            continue
        drawn = relu_tanh.figure_1(errors)
        name = f"figure-1-{len(made) + 1}" if made else "figure-1"
        save(drawn, out / name)
        data = base64.b64encode(rendered(drawn, "png", DOTS)).decode()
        caption = f"{relu_tanh.CAPTION} {relu_tanh.reached(errors)}"
        made.append({"study": study.title, "caption": caption, "file": f"{name}.png", "data": _uri(data)})
    return made


def _uri(data: str) -> str:
    return f"data:image/png;base64,{data}"


def _section(run: Path, title: str) -> dict[str, Any]:
    """Describe one run for the page; raise InputError if its files are not a run's."""
    try:
        return _told(run, title)
    except InputError:
        raise
    except results.UNLIKE as error:
        raise results.unlike(run, error, "train", "move it away") from None


def _told(run: Path, title: str) -> dict[str, Any]:
    recipe, log = read_json(run / "recipe.json"), runlog.read(run)
    environment = results.environment(run)
    return {
        "title": title,
        "recipe": recipe,
        "numbers": json.dumps(recipe["recipe"], indent=2, ensure_ascii=False),
        "scale": _scale(environment, log, recipe["recipe"]["epochs"]),
        "split": _held_out(environment.get("images", {})),
        "errors": _errors(run, log, environment),
        "finished": "imported" in environment or any(line["kind"] == "final" for line in log),
        "hidden": _hidden(log),
        "kept": kept(run),
        "facts": _facts(environment, log),
        "figures": [_figure(name, drawn) for name, drawn in catalogue.draw_run(run, catalogue.QUICK).items()],
    }


def _scale(environment: Mapping[str, Any], log: Sequence[Mapping[str, Any]], asked: int) -> list[str]:
    """Describe the size of the experiment in sentences."""
    done = max((line["epoch"] for line in log if "epoch" in line), default=0)
    trained = f"{done:,.4g} of {asked:,} epochs trained."
    if not environment:
        return [f"{trained} environment.json is missing, so the data are not known."]
    if imported := environment.get("imported"):
        what = f"{environment['classes']:,} classes. Imported, not trained here: {imported['kind']} weights."
        return [what, "Measure it with alexnet evaluate on a store of the same classes."]
    images = environment["images"]
    held_out = ", ".join(f"{count:,} held out ({name})" for name, count in images.items() if name != "train")
    of = "pictures drawn by program" if environment["store_kind"] == "builtin" else "pictures"
    classes, training = environment["classes"], images.get("train", 0)
    said = [f"{classes:,} classes; {training:,} {of} to train on, {held_out or 'none held out'}.", trained]
    if results.imagenet(environment):
        return said
    return [*said, "A small-scale result, not ImageNet."]


def _held_out(splits: Mapping[str, Any]) -> str:
    """Name the split that errors are measured on, as `Store.held_out` does; empty if it is not known."""
    return next((name for name in ("val", "test") if name in splits), "")


def _errors(run: Path, log: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the rows of the table of errors: what was measured, the one to quote first, then what takes no net."""
    final = next((line for line in reversed(log) if line["kind"] == "final"), None)
    epoch = next((line for line in reversed(log) if line["kind"] == "epoch"), None)
    rows: list[dict[str, Any]] = []
    if final:
        rows.append(_row("one view" if final["views"] == 1 else f"{final['views']} views", final))
        if final.get("one_view"):
            rows.append(_row("one view", final["one_view"]))
    elif epoch:
        images = environment.get("images", {})
        pictures = images.get(_held_out(images))
        known = {f"{e}_interval": wilson(epoch[e], pictures) for e in ("top1", "top5")} if pictures else {}
        known |= {"images": pictures} if pictures else {}
        rows.append(_row(f"one view, after epoch {epoch['epoch']}", epoch | known))
    return rows + _baselines(run, environment) if rows else []


def _hidden(log: Sequence[Mapping[str, Any]]) -> str:
    """Write what the final error alone hides; empty for runs that did not measure it, as those of alexnet 0.1.0."""
    measures = next((line.get("measures") for line in reversed(log) if line["kind"] == "final"), None)
    if not measures:
        return ""
    lost, of = measures["never_found"], measures["classes_with_pictures"]
    words = f"Balanced error, the mean over the classes of 1 - recall: {balance(measures)}."
    if not lost:
        return words
    names = listed(lost)
    return f"{words} {len(lost):,} of {of:,} classes {'is' if len(lost) == 1 else 'are'} never found: {names}."


def _baselines(run: Path, environment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the errors of guessing, and of naming the commonest classes of the training pictures always."""
    rows = []
    if classes := environment.get("classes"):
        chance = {"top1": 1 - 1 / classes, "top5": 1 - min(5, classes) / classes, "nats": math.log(classes)}
        rows.append(_row("chance", chance, ours=False))
    counts = environment.get("class_counts") or _counts_in_store(run)
    held_out = counts.get(_held_out(counts))
    if held_out and counts.get("train"):
        seen = sorted(range(len(held_out)), key=lambda i: -counts["train"][i])
        named = {f"top{k}": 1 - sum(held_out[i] for i in seen[:k]) / sum(held_out) for k in (1, 5)}
        rows.append(_row("commonest class", named, ours=False))
    return rows


def _counts_in_store(run: Path) -> dict[str, list[int]]:
    """Count each split's pictures by class, for runs of alexnet 0.1.0; empty if the store is gone or is another."""
    try:
        return RunData(run, lambda done, of: None).store.class_counts
    except InputError:
        return {}


def _row(name: str, line: Mapping[str, Any], ours: bool = True) -> dict[str, Any]:
    """Make one row; each error has its 95 % interval if the number of pictures is known."""
    cells = []
    for error in ("top1", "top5"):
        low, high = line.get(f"{error}_interval", (None, None))
        interval = "" if low is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        cells.append(f"{100 * line[error]:.1f} %{interval}")
    loss, pictures = f"{line['nats']:.3f}" if "nats" in line else "", f"{line['images']:,}" if "images" in line else ""
    return {"name": name, "cells": [*cells, loss, pictures], "ours": ours}


def _facts(environment: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """List where, when and with what the run was made; leave out what was not recorded."""
    versions, imported = environment.get("versions", {}), environment.get("imported", {})
    facts = {
        "Imported from": imported.get("file"),
        "SHA-256": imported.get("sha256"),
        "Licence of the weights": imported.get("licence"),
        "Source": environment.get("store_kind"),
        "Store": environment.get("store"),
        "Store digest": environment.get("store_digest"),
        "Device": environment.get("device"),
        "Threads": environment.get("threads"),
        "Precision": environment.get("precision"),
        "Started": environment.get("started"),
        "Time logged": results.duration(runlog.total_seconds(log)) if log else None,
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "Commit": environment.get("commit"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def _figure(name: str, drawn: Any) -> dict[str, str]:
    """Make a data URI of a figure, or give the reason why it is missing."""
    module = catalogue.module_of(name)
    if isinstance(drawn, str):
        return {"title": module.TITLE, "missing": drawn}
    data = base64.b64encode(rendered(drawn, "png", DOTS)).decode()
    return {"title": module.TITLE, "caption": module.CAPTION, "data": _uri(data)}
