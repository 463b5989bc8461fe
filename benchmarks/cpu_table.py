"""Write the tables of a CPU's figures into pages: python benchmarks/cpu_table.py [--check] FIGURES PAGE...

FIGURES is a folder of the files that alexnet bench --out makes. README's table is of the newest file; the long ones are
of the newest file of each machine. With --check nothing is written, and exit status 1 says that a page is out of date.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gpu_table import table
from pages import add_arguments, rewrite

from alexnet.bench.compare import OWN, Measured, mean_interval
from alexnet.core.errors import InputError
from alexnet.core.text import markdown

SQUARE = "a @ b, 2048 x 2048"  # the product that was the bound up to 0.2.0
PARTS = {  # of README: how its measurements begin, and their name there
    "training step, .*without the norm within maps": "training step, batch {batch}, {precision}",
    "training step, .*owt": "the same of `owt`, torchvision's net",
    "inference, batch 1, [^,]* \\(": "one picture, {precision}",
    "inference, batch 1, .*from float32 views": "the same, from float32 views",
    "inference, batch 64, [^,]* \\(": "64 pictures, {precision}",
    "inference, batch 64, .*from float32 views": "the same, from float32 views",
    "norm across maps, conv1 .*bfloat16": "response norm of conv1, bf16",
    "decode and views": "decoding and training views",
}
BOTH = "training step, .*without the norm within maps"  # has the weakest peer too, for who never compiles
SHORT = (  # what README leaves out of a peer's name
    (r", kept pages$|, fused torch\.optim\.SGD| and torch\.optim\.SGD|, channels last| as plain modules", ""),
    (r"torch\.compile default", "`torch.compile`"),
    (r"^Pillow and torch transforms a picture .*", "Pillow and torch"),
    (r"nn\.LocalResponseNorm", "`nn.LocalResponseNorm`"),
)


class Figures(Measured):
    """The lines of one file."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        every = [line for lines in self.lines.values() for line in lines]
        self.written: str = max(str(line.get("written", "")) for line in every)

    def of(self, what: str) -> list[dict[str, Any]]:
        """List the last line for each peer of a measurement, the fastest peer first."""
        found = [lines[-1] for (name, _), lines in self.lines.items() if name == what]
        return sorted(found, key=lambda line: line["ratio"])

    def peers(self, what: str) -> list[dict[str, Any]]:
        """List those whose peer is not our own code."""
        return [line for line in self.of(what) if not line["peer_name"].startswith(OWN)]

    @property
    def title(self) -> str:
        """The machine, commit and date."""
        every = [line for lines in self.lines.values() for line in lines]
        commits = " and ".join(dict.fromkeys(str(line.get("commit") or "unknown") for line in every))
        return f"{markdown('; '.join(sorted(self.machines)))}, commit {commits}; {self.written[:10]}."


def read(folder: Path) -> list[Figures]:
    """Read the newest file of each machine, the newest first; raises InputError if there is no file."""
    found = [Figures(file) for file in sorted(folder.glob("*.jsonl"))]
    if not found:
        raise InputError(f"{folder} holds no figures (*.jsonl) of alexnet bench --out")
    newest: dict[frozenset[str], Figures] = {}
    for figures in sorted(found, key=lambda figures: figures.written, reverse=True):
        newest.setdefault(frozenset(figures.machines), figures)
    return list(newest.values())


def short(found: list[Figures]) -> str:
    """Write README's table: the strongest peer of each part first, and for a step the weakest too."""
    figures, rows = found[0], []
    for pattern, name in PARTS.items():
        what = next((w for w in figures.whats() if re.match(pattern, w) and "CPU time" in w), None)
        lines = figures.peers(what) if what else []
        if not what or not lines:
            continue
        given = re.search(r"batch (\d+), (\w+)", what)
        words = name.format(batch=given[1], precision=given[2]) if given else name
        kept = [line for line in lines if "default malloc" not in line["peer_name"]]
        for line in dict.fromkeys((0, -1) if pattern == BOTH else (0,)):
            shown = kept[line]
            rows.append([words, brief(shown["peer_name"]), times(shown["ratio"]), share(shown["fraction_of_bound"])])
            words = "the same"
    return f"{figures.title}\n\n{table(['what', 'peer', 'times as fast', 'of the bound'], rows)}"


def brief(peer: str) -> str:
    """Shorten a peer's name."""
    for pattern, words in SHORT:
        peer = re.sub(pattern, words, peer)
    return peer


def long(found: list[Figures]) -> str:
    """Write the table of docs/performance.md for each machine: every measurement, the fastest peer first."""
    heads = ["what", "ours", "of the bound", "of the product of 2048", "peer", "times as fast (95 % interval)"]
    return "\n".join(f"{figures.title}\n\n{table(heads, list(rows(figures)))}" for figures in found)


def rows(figures: Figures) -> Iterator[list[str]]:
    """Make a row for each comparison."""
    for what in figures.whats():
        for i, line in enumerate(figures.of(what)):
            square = line.get("products", {}).get(SQUARE)
            best = max(line.get("products", {}).values(), default=None)
            of_square = line["fraction_of_bound"] * best / square if square and best and "step" in what else None
            _, runs = figures.against(what, line["peer_name"])
            low, high = mean_interval(runs[-1])
            ends = "" if low is None or high is None else f" ({times(low)} to {times(high)})"
            first = [markdown(what), f"{line['ours']:,.4g} {line['unit']}", share(line["fraction_of_bound"])]
            first = [*first, share(of_square)] if not i else ["", "", "", ""]
            yield [*first, markdown(line["peer_name"]), f"{times(line['ratio'])}{ends}"]


def times(ratio: float) -> str:
    """Write a ratio: two decimals below 10."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def share(value: float | None) -> str:
    """Write a share, or a dash where there is no bound."""
    return "-" if value is None else f"{value:.2f}"


MADE = {"cpu": short, "cpu in full": long}


def main(words: list[str] | None = None) -> int:
    """Write the tables, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="folder of files of alexnet bench --out")
    add_arguments(parser)
    asked = parser.parse_args(words)
    try:
        found = read(asked.figures)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    tables = {name: partial(make, found) for name, make in MADE.items()}
    return rewrite(asked.pages, tables, f"the figures in {asked.figures}", asked.check)


if __name__ == "__main__":
    sys.exit(main())
