"""Results of studies in words for a report: the claims, ours next to the paper's, and our errors for tables 1 and 2."""

import re
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alexnet.core.errors import InputError
from alexnet.core.text import percent
from alexnet.figures.style import MARKS
from alexnet.reporting.paper_tables import PaperRow
from alexnet.runs import log as runlog
from alexnet.runs.folder import read_json
from alexnet.studies import claims
from alexnet.studies.averages import FIVE
from alexnet.studies.claim import MEASURES
from alexnet.studies.wording import amount, between

CLASSES = 1000  # in ILSVRC, the data of tables 1 and 2
WNID = re.compile(r"n\d{8}")  # a WordNet id, as ILSVRC names its classes
# Errors that JSON of another shape raises.
UNLIKE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True)
class StudyResults:
    """A folder that `alexnet study` made. Nothing is written to it."""

    path: Path
    title: str

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The study's record, study.json, which names its store."""
        return dict(read_json(self.path / "study.json"))

    @cached_property
    def results(self) -> dict[str, Mapping[str, Any]]:
        """The results, by claim."""
        files = {claim.name: self.path / f"{claim.name}.json" for claim in claims.ALL}
        return {name: read_json(file) for name, file in files.items() if file.is_file()}

    @cached_property
    def runs(self) -> list[Path]:
        """The runs, which all its claims share."""
        return [path.parent for path in sorted(self.path.glob("runs/*/recipe.json"))]

    def row(self, name: str) -> dict[str, Any]:
        """Describe the result of claim `name`; raise InputError if its file is not a study's."""
        try:
            return self._row(self.results[name])
        except UNLIKE as error:
            raise unlike(self.path / f"{name}.json", error) from None

    def _row(self, found: Mapping[str, Any]) -> dict[str, Any]:
        expects = sorted(found["expects"], key=lambda e: not e["judged"])
        digests = {arm: of["digests"] for arm, of in found["arms"].items()}
        store = found["store"]
        return {
            "claim": found["claim"],
            "section": found["section"],
            "words": found["words"],
            "paper": found["paper"],
            "log": found["log"],
            "mark": MARKS[found["verdict"]],
            "verdict": found["verdict"],
            "study": self.title,
            "ours": [_compared(e) for e in expects if e["judged"]],
            "beside": [_compared(e) for e in expects if not e["judged"]],
            "scale": self.scale_of_seeds(found),
            "time": duration(found["seconds"]),
            "digests": "; ".join(f"{arm}: {' '.join(each)}" for arm, each in digests.items()),
            "commit": found["commit"] or "not known",
            "precision": found["precision"],
            "store": f"{store['kind']} {store['path']}, {store['digest'][:12]}",
            "notes": list(found["notes"]),
            "failed": [f"seed {f['seed']}, recipe {f['digest']}: {f['why']}" for f in found["failed"]],
        }

    def scale(self, found: Mapping[str, Any]) -> str:
        """Describe the size of the experiment in sentences."""
        drawn = " The pictures are drawn by program." if found["store"]["kind"] == "builtin" else ""
        small = "" if imagenet(environment(self.first_run(found))) else " A small-scale result, not ImageNet."
        return f"{found['scale']}.{drawn}{small}"

    def first_run(self, found: Mapping[str, Any]) -> Path:
        """Find the first run of a result that recorded its store; a missing folder if none did."""
        runs = [self.path / run for arm in found["arms"].values() for run in arm["runs"]]
        return next((run for run in runs if (run / "environment.json").is_file()), self.path / "missing")

    def ours(self, name: str, measures: Sequence[str]) -> list[str]:
        """Average the errors of a study with one arm over its seeds; empty if it has not measured them."""
        try:
            (arm,) = self.results[name]["arms"].values()
            errors = [[e for e in arm["measures"].get(m, ()) if e is not None] for m in measures]
            return [percent(statistics.fmean(each)) for each in errors] if all(errors) else []
        except UNLIKE as error:
            raise unlike(self.path / f"{name}.json", error) from None

    @cached_property
    def table_2(self) -> Mapping[str, Any]:
        """The content of table-2.json: nets and averages of nets, under the paper's names."""
        path = self.path / "table-2.json"
        return dict(read_json(path)) if path.is_file() else {}

    def averaged(self, model: str) -> list[dict[str, Any]]:
        """Make the rows below `model` from table-2.json; raise InputError if that is not a study's."""
        try:
            rows = [row for row in self.table_2.get("rows", ()) if row["model"] == model]
            return [self._line(_of_nets(r), [percent(r["top1"]), percent(r["top5"])], self.table_2) for r in rows]
        except UNLIKE as error:
            raise unlike(self.path / "table-2.json", error) from None

    def beneath(self, row: PaperRow) -> list[dict[str, Any]]:
        """Make our rows below a row of table 1 or 2."""
        if found := self.averaged(row.model):
            return found
        if row.study not in self.results or not (errors := self.ours(row.study, row.measures)):
            return []
        of = nets_averaged(self.results[row.study]) if "CNNs" in row.model else "mean over seeds"
        return [self._line(f"ours, {of}", errors, self.results[row.study])]

    def _line(self, model: str, errors: Sequence[str], found: Mapping[str, Any]) -> dict[str, Any]:
        return line(model, errors, self.scale_of_seeds(found), comparable(self.first_run(found)))

    def scale_of_seeds(self, found: Mapping[str, Any]) -> str:
        """Describe the size of the experiment, with the number of seeds."""
        return f"{self.scale(found)} Seeds: {found['seeds']}."

    def listing(self) -> list[dict[str, str]]:
        """Make a row for each run."""
        rows = []
        for run in self.runs:
            record, log = read_json(run / "recipe.json"), runlog.read(run)
            epochs = [line for line in log if line["kind"] == "epoch"]
            final = next((line for line in reversed(log) if line["kind"] == "final"), None)
            few = (environment(run).get("subset") or {}).get("held_out")  # a study validates on few, and records all
            of = f" of {few:,}" if few else ""
            rows.append(
                {
                    "name": str(record["name"]),
                    "seed": str(record["recipe"]["seed"]),
                    "epochs": f"{epochs[-1]['epoch'] if epochs else 0} of {record['recipe']['epochs']}",
                    "train": f"{100 * epochs[-1]['train_error']:.1f} %" if epochs else "",
                    "top1": f"{100 * final['top1']:.1f} %{of}" if final else "",
                    "top5": f"{100 * final['top5']:.1f} %{of}" if final else "",
                    "time": duration(runlog.total_seconds(log)),
                    "digest": str(record["digest"]),
                }
            )
        return rows


def studies(out: Path) -> list[StudyResults]:
    """Find the studies at OUT and below."""
    paths = sorted(path.parent for path in out.rglob("study.json"))
    return [StudyResults(p, out.resolve().name if p == out else p.relative_to(out).as_posix()) for p in paths]


def decided(found: Iterable[StudyResults]) -> list[dict[str, Any]]:
    """Make a row for each claim and each study that decided it, in the order of the paper."""
    return [study.row(claim.name) for claim in claims.ALL for study in found if claim.name in study.results]


def undecided(found: Sequence[StudyResults], recorded: Collection[str] = ()) -> str:
    """Name the claims without a result in one line; empty if every claim has one.

    Args:
        found: Studies.
        recorded: Names of the claims that records decide.
    """
    decided = {name for study in found for name in study.results} | set(recorded)
    left = [claim.name for claim in claims.ALL if claim.name not in decided]
    runs = [str(read_json(run / "recipe.json")["name"]) for study in found for run in study.runs]
    begun = {name: sum(run.startswith((f"{name},", f"{name} ")) for run in runs) for name in left}
    unfinished = [f"{name} ({count} run{'s' * (count > 1)})" for name, count in begun.items() if count]
    parts = {"Begun, not finished": unfinished, "No result": [name for name, count in begun.items() if not count]}
    return " ".join(f"{title}: {', '.join(names)}." for title, names in parts.items() if names)


def nets_averaged(found: Mapping[str, Any]) -> str:
    """Say how many nets the result of `ensemble` averages: five of them, or all before alexnet 0.2.0."""
    seeds, today = found["seeds"], "difference" in found["expects"][0]
    return f"{FIVE} of {seeds} nets averaged" if today and seeds > FIVE else f"{seeds} nets averaged"


def line(model: str, errors: Sequence[str], scale: str, comparable: bool) -> dict[str, Any]:
    """Make a row with our errors; `comparable` tells whether it may go below the paper's numbers."""
    return {"model": model, "errors": list(errors), "scale": scale, "ours": True, "comparable": comparable}


def environment(run: Path) -> Mapping[str, Any]:
    """Read what a run recorded of its store and machine; empty if it recorded nothing."""
    file = run / "environment.json"
    return read_json(file) if file.is_file() else {}


def comparable(run: Path) -> bool:
    """Tell whether a run saw the pictures and the 1,000 classes of ILSVRC: an error on others is another quantity."""
    if not imagenet(environment(run)) or not (run / "classes.json").is_file():
        return False
    try:
        ids = {str(each.get("wnid") or each.get("name")) for each in read_json(run / "classes.json")}
    except UNLIKE as error:
        raise unlike(run / "classes.json", error, "train", "move the run away") from None
    return len(ids) == CLASSES and all(map(WNID.fullmatch, ids))


def imagenet(environment: Mapping[str, Any]) -> bool:
    """Tell whether a run saw as many pictures and classes as all of ILSVRC has."""
    images = environment.get("images")
    pictures = images.get("train") if isinstance(images, Mapping) else None
    return environment.get("classes") == CLASSES and isinstance(pictures, int) and pictures > 1_000_000


def duration(count: float) -> str:
    """Write seconds as hours and minutes, minutes and seconds, or seconds."""
    whole = round(count)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def _of_nets(row: Mapping[str, Any]) -> str:
    """Say how many nets a row of table-2.json averages."""
    each = len(row["each_top1"])
    if row["model"].startswith("1 "):
        return f"ours, mean of {each} net{'s' * (each != 1)}"
    nets = ", ".join(f"{count} {name}" for name, count in row["nets"].items())
    return f"ours, averaged: {nets}"


def _compared(e: Mapping[str, Any]) -> dict[str, str]:
    """Describe an expectation with our number: what is compared, the difference, and how to read it."""
    measure, than = (MEASURES.get(m, str(m)) for m in (e["measure"], e["than"] or e["measure"]))
    of = (
        f"{measure}, less {than}"
        if e["than"]
        else f"{measure}: {e['more']} {'over' if e['ratio'] else 'less'} {e['less']}"
    )
    if e["mean"] is None:
        return {"of": of, "number": "no number", "why": str(e["why"])}
    said = [_interval(e)]
    if e["verdict"] == "not shown":
        said.append(str(e["why"]))
    if e["paper_inside"] is not None:
        said.append(f"the paper's number lies {'inside' if e['paper_inside'] else 'outside'} the interval")
    if e["verdict"] == "not shown" and e["needed_paper"]:
        said.append(f"the paper's number would take about {e['needed_paper']:,} seeds")
    return {"of": of, "number": amount(e["mean"], e, "+"), "why": "; ".join(s for s in said if s)}


def _interval(e: Mapping[str, Any]) -> str:
    return "" if e["low"] is None else f"95 % interval {between(e, '+')}"


def unlike(path: Path, error: Exception, verb: str = "study", advice: str = "run the study again") -> InputError:
    """Make the error for a file or folder that is not what the command `verb` writes."""
    return InputError(f"{path} is not what alexnet {verb} writes ({type(error).__name__}: {error}); {advice}")
