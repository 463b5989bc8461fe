"""Write the tables of a GPU's figures into pages: python benchmarks/gpu_table.py [--check] FIGURES PAGE...

FIGURES is a folder of the files that benchmarks/gpu.sh makes; the newest counts. A page has markers for the short table
or for the long ones. With --check nothing is written, and exit status 1 says that a page is out of date.

    python benchmarks/gpu_table.py --keep gpu-figures/figures.json results/gpu/h100.json

keeps a new file there, with only the first kernels of each profile.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pages import rewrite

from alexnet.core.errors import InputError

KERNELS = 15  # of each profile that are kept
NAME = 110  # characters of their figure's name that are kept
BATCHES = (128, 1024)
Figure = dict[str, Any]
Rows = list[list[str]]


class Figures:
    """The figures of one file, by the name of their part."""

    def __init__(self, file: Path) -> None:
        try:
            self.plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            self.stages: dict[str, dict[str, Any]] = self.plain["stages"]
            self.written: str = self.plain["written"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} holds no figures of benchmarks/gpu.sh ({error!r}); move it away") from None
        self.file = file
        self.parts: dict[str, dict[str, Any]] = {}
        for stage in self.stages.values():
            self.parts |= stage["parts"]
        self.all: list[Figure] = [figure for part in self.parts.values() for figure in part["figures"]]

    @property
    def title(self) -> str:
        """The device, versions and commit; each stage may have its own."""
        told = dict[str, list[str]]()
        for stage in self.stages.values():
            of, commit = stage["versions"], stage["commit"]
            short = commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
            words = f"{stage['machine'].get('device', 'unknown device')}, torch {of.get('torch')}"
            words += f", cuDNN {of['cudnn']}" if of.get("cudnn") else ""
            commits = told.setdefault(words, [])
            commits += [short] if short not in commits else []
        each = (f"{words}, commit {' and '.join(commits)}" for words, commits in told.items())
        return "; ".join(each) + f"; {self.written[:10]}"

    @property
    def failed(self) -> list[str]:
        """The parts that did not go well, each with its reason."""
        return [f"`{name}`: {part.get('why', '')[:120]}" for name, part in self.parts.items() if part["status"] != "ok"]

    def named(self, pattern: str) -> Iterator[tuple[re.Match[str], Figure]]:
        """Iterate over the figures whose whole name has a pattern."""
        for figure in self.all:
            if found := re.fullmatch(pattern, figure["name"]):
                yield found, figure

    def rate(self, recipe: str, batch: int, form: str = "triton") -> float | None:
        """Return the pictures a second of a recipe's step, as a run queues them: of the most steps a reading."""
        pattern = rf"step of {recipe}, batch {batch}, \w+, {form}, (\d+) between two readings"
        rates = [(int(match[1]), figure["pictures_per_second"]) for match, figure in self.named(pattern)]
        return max(rates)[1] if rates else None

    def peers(self, batch: int) -> list[Figure]:
        """Return the comparisons of a training step with peers that are not ours."""
        what = rf"training step, batch {batch}, .*without the norm within maps.*"
        return [figure for _, figure in self.named(what) if not figure["peer_name"].startswith("ours")]

    def fed(self, batch: int) -> tuple[str, float] | None:
        """Return the fastest training from a store: its cache and workers, and its pictures a second."""
        found = self.named(rf"end to end, \S+, batch {batch}, \w+, (cache \w+, \d+ workers)")
        return max(((match[1], figure["value"]) for match, figure in found), key=lambda each: each[1], default=None)


def newest(folder: Path) -> Figures:
    """Read the newest file of a folder; raises InputError if it has no file."""
    found = [Figures(file) for file in sorted(folder.glob("*.json"))]
    if not found:
        raise InputError(f"{folder} holds no figures (*.json) of benchmarks/gpu.sh")
    return max(found, key=lambda figures: figures.written)


def short(figures: Figures) -> str:
    """Write README's table: pictures a second of a step, of the best peer, and from end to end."""
    rows = [["training step of `source`", *(rate(figures.rate("source", batch)) for batch in BATCHES)]]
    rows.append(["training step of `paper`", *(rate(figures.rate("paper", batch)) for batch in BATCHES)])
    compared = [figures.peers(batch) for batch in BATCHES]
    ours = "`source` without its norm within maps"
    rows.append([ours, *(rate(found[0]["value"] if found else None) for found in compared)])
    best = [max(found, key=lambda each: each["peer"], default=None) for found in compared]
    names = dict.fromkeys(figure["peer_name"] for figure in best if figure)
    rows.append(
        [
            f"the same layers: {'; '.join(names) or 'best peer'}",
            *(rate(each["peer"] if each else None) for each in best),
        ]
    )
    fed = [figures.fed(batch) for batch in BATCHES]
    how = "; ".join(dict.fromkeys(each[0] for each in fed if each))
    rows.append([f"training from a store{', ' * bool(how)}{how}", *(rate(each[1] if each else None) for each in fed)])
    heads = ["pictures/s", *(f"batch {batch:,}" for batch in BATCHES)]
    rows = [row for row in rows if set(row[1:]) != {"-"}]
    left = len(figures.failed)
    note = f" {left} part{'s' * (left > 1)} of the run did not end well." if left else ""
    return f"{figures.title}. A dash was not measured.{note}\n\n{table(heads, rows)}"


def long(figures: Figures) -> str:
    """Write the tables of docs/performance.md: every figure that a decision could rest on."""
    parts = [f"{figures.title}.\n"]
    for title, make in SECTIONS.items():
        heads, rows = make(figures)
        if rows:
            parts.append(f"**{title}**\n\n{table(heads, rows)}")
    if figures.failed:
        parts.append("**Did not end well**\n\n" + "".join(f"- {line}\n" for line in figures.failed))
    return "\n".join(parts)


def steps(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of whole steps."""
    rows = []
    for recipe in ("source", "paper"):
        for batch in BATCHES:
            for form, words in (("triton", "Triton"), ("pytorch", "PyTorch alone")):
                if found := figures.rate(recipe, batch, form):
                    name = f"step of {recipe}, batch {batch}, {form}"
                    kernels = one(figures, f"{name}, all kernels", lambda f: f"{f['value'] / 1e3:.3g}")
                    launches = one(figures, f"{name}, launches", lambda f: f"{f['value']:.0f}")
                    took = f"{1e3 * batch / found:.3g}"
                    rows.append([f"`{recipe}`", f"{batch:,}", words, rate(found), took, kernels, launches])
    return ["recipe", "batch", "kernels", "pictures/s", "ms a step", "of it kernels", "launches"], rows


def compared(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of `alexnet bench`."""
    rows = []
    for figure in figures.all:
        if "peer_name" in figure and not figure["name"].startswith("training from end to end"):
            unit, bound = figure["unit"], figure.get("fraction_of_bound")
            what = figure["name"].removesuffix(" (wall time)")
            numbers = [*(f"{amount(figure[n])} {unit}" for n in ("value", "peer")), f"{figure['ratio']:.2f}"]
            rows.append([what, figure["peer_name"], *numbers, "-" if bound is None else f"{bound:.2f}"])
    return ["what", "peer", "ours", "peer's", "times as fast", "of the bound"], rows


def fed(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of training from a store."""
    found = figures.named(r"end to end, (\S+), batch (\d+), (\w+), cache (\w+), (\d+) workers")
    rows = [
        [f"`{m[1]}`", m[2], m[3], m[4], m[5], rate(figure["value"]), f"{100 * figure['data_wait']:.1f} %"]
        for m, figure in found
    ]
    return ["recipe", "batch", "precision", "cache", "workers", "pictures/s", "waiting for pictures"], rows


def errors(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of the precisions."""
    rows = []
    for match, figure in figures.named(r"(\w+), top1 of ten views"):
        low, high = figure.get("interval", (None, None))
        between = f"{100 * low:.2f} to {100 * high:.2f} %" if low is not None else "-"
        rows.append([match[1], f"{100 * figure['value']:.2f} %", between, f"{figure['seeds']}"])
    return ["precision", "top-1 error, ten views", "95 % interval of the mean", "seeds"], rows


def ceilings(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of what the device does at best."""
    found = figures.named(r"copy, read and written|product of .*|operation of .*")
    return ["what", "at best"], [[figure["name"], f"{figure['value']:.4g} {figure['unit']}"] for _, figure in found]


def convolutions(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of the convolutions: a form a row, a pass a column."""
    passes = ["forward", "gradient of the input", "gradient of the weights", "then bias and ReLU"]
    passes.append("bias and ReLU in cuDNN")
    forms: dict[tuple[str, str], dict[str, str]] = {}
    for match, figure in figures.named(rf"(conv\d.*), ({'|'.join(passes)}), batch (\d+)"):
        forms.setdefault((match[1], match[3]), {})[match[2]] = f"{figure['value']:,.0f} ({figure['tflops']:.0f})"
    heads = ["us (TFLOP/s)", "batch", *passes]
    return heads, [[name, batch, *(found.get(each, "-") for each in passes)] for (name, batch), found in forms.items()]


def kernels(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of Triton's kernels."""
    rows = [
        [figure["name"], f"{figure['value']:,.1f}", f"{figure['terabytes_per_second']:.2f}"]
        for figure in figures.all
        if "terabytes_per_second" in figure
    ]
    return ["kernel", "us", "TB/s, of the least bytes"], rows


def profile(figures: Figures) -> tuple[list[str], Rows]:
    """Make the rows of where the time of a step goes."""
    rows = []
    for match, figure in figures.named(r"step of source, batch (128|1024), triton: (.*)"):
        kernel = f"`{match[2][:70].translate({ord('|'): '/', ord('`'): None})}`"
        rows.append([match[1], kernel, f"{figure['value']:,.0f}", f"{figure['launches']:g}"])
    return ["batch", "kernel", "us a step", "launches"], rows


SECTIONS: dict[str, Callable[[Figures], tuple[list[str], Rows]]] = {
    "Steps": steps,
    "Training from a store, without validations": fed,
    "Beside peers": compared,
    "Errors by precision": errors,
    "The device at best": ceilings,
    "Convolutions": convolutions,
    "Kernels": kernels,
    "Where the time of a step of `source` goes": profile,
}
MADE = {"gpu": short, "gpu in full": long}


def one(figures: Figures, name: str, write: Callable[[Figure], str]) -> str:
    """Write the figure of a name, or a dash."""
    return next((write(figure) for _, figure in figures.named(re.escape(name))), "-")


def rate(value: float | None) -> str:
    """Write pictures a second, or a dash."""
    return "-" if value is None else f"{value:,.0f}"


def amount(value: float) -> str:
    """Write a number to four digits or to the unit."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def table(heads: Iterable[str], rows: Rows) -> str:
    """Write a table as Markdown."""
    heads = list(heads)
    return "".join(f"|{'|'.join(line)}|\n" for line in [heads, ["---"] * len(heads), *rows])


def kept(figures: Figures) -> str:
    """Write figures for keeping: all of them, but only the first kernels of each profile."""
    plain: dict[str, Any] = json.loads(json.dumps(figures.plain))
    for stage in plain["stages"].values():
        for part in stage["parts"].values():
            shown, profiled = [], 0
            for figure in part["figures"]:
                if figure["unit"] == "us a step":
                    profiled += 1
                    figure["name"] = figure["name"][:NAME]
                if profiled <= KERNELS or figure["unit"] != "us a step":
                    shown.append(figure)
            part["figures"] = shown
    lines = json.dumps(plain, separators=(",", ":")).replace('{"name"', '\n{"name"')  # a figure a line
    return lines + "\n"


def main(words: list[str] | None = None) -> int:
    """Write the tables, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="folder of figures; with --keep, a file of them")
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files with the markers; with --keep, the copy")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is out of date")
    given.add_argument("--keep", action="store_true", help="copy a file of figures, cut to what the tables read")
    asked = parser.parse_args(words)
    try:
        if asked.keep:
            asked.pages[0].write_text(kept(Figures(asked.figures)), encoding="utf-8")
            return 0
        figures = newest(asked.figures)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables = {name: partial(make, figures) for name, make in MADE.items()}
    return rewrite(asked.pages, tables, f"the figures in {asked.figures}", asked.check)


if __name__ == "__main__":
    sys.exit(main())
