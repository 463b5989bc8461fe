"""Write the table of fine-tuning into pages: python benchmarks/finetune_table.py [--check] RESULTS PAGE...

RESULTS is the file that benchmarks/finetune.py keeps. --figure FILE.png draws the curves too. With --check nothing is
written, and exit status 1 means that a page is out of date.
"""

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pages import add_arguments, rewrite

from alexnet.core.errors import InputError
from alexnet.core.files import write
from alexnet.figures.style import INK, PALE, SOFT, TEXT, TRUE, footnote, new_figure, rendered, title
from alexnet.studies.statistics import Estimate, crossed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"scratch": "from scratch", "from": "`--from`"}
CHANCE = 0.9  # of ten classes


class Results:
    """The results of one file."""

    def __init__(self, file: Path) -> None:
        try:
            plain: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            self.start: dict[str, Any] = plain["start"]
            self.runs: dict[tuple[str, int, int], dict[str, Any]] = {
                (run["arm"], run["each"], run["seed"]): run for run in plain["runs"]
            }
            self.wrong = {key: ~right(run) for key, run in self.runs.items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} holds no results of benchmarks/finetune.py ({error!r}); move it away") from None
        self.sizes = sorted({each for _, each, _ in self.runs})

    def seeds(self, each: int) -> list[int]:
        """List the seeds that have both arms at a size."""
        found = ({seed for a, size, seed in self.runs if (a, size) == (arm, each)} for arm in NAMES)
        return sorted(set.intersection(*found))

    def error(self, arm: str, each: int) -> Estimate:
        """Estimate the mean error of an arm: over seeds, which draw the pictures too, and over held-out pictures."""
        return self.estimate(each, [self.wrong[arm, each, seed].astype(float) for seed in self.seeds(each)])

    def gain(self, each: int) -> Estimate:
        """Estimate by how much `--from` lowers the error, seed by seed and picture by picture."""
        pairs = ((self.wrong["scratch", each, s], self.wrong["from", each, s]) for s in self.seeds(each))
        return self.estimate(each, [one.astype(float) - other for one, other in pairs])

    def estimate(self, each: int, by_seed: list[np.ndarray]) -> Estimate:
        """Estimate the mean of numbers for each picture, by seed."""
        if len(by_seed) < 2:
            raise InputError(f"{each} pictures a class: fewer than two seeds have both arms")
        over_seeds = np.mean(by_seed, axis=0)
        picture_se = float(over_seeds.std(ddof=1)) / math.sqrt(len(over_seeds))
        found = crossed([float(one.mean()) for one in by_seed], picture_se)
        assert found is not None
        return found


def right(run: dict[str, Any]) -> np.ndarray:
    """Return which held-out pictures a run got right."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(run["right"]), np.uint8), count=run["pictures"])
    if not math.isclose(1 - bits.mean(), run["top1"], abs_tol=1e-9):
        raise ValueError(f"top1 is {run['top1']}, and {1 - bits.mean()} by picture")
    return bits.astype(bool)


def table(results: Results) -> str:
    """Write the table: a line for each size."""
    rows = [
        [
            "training pictures a class",
            *(f"{name}, error with ten views" for name in NAMES.values()),
            "`--from` is better by",
            "epochs",
            "CPU seconds a run",
            "seeds",
        ],
        ["---"] * 7,
    ]
    for each in results.sizes:
        seeds = results.seeds(each)
        errors = [worded(results.error(arm, each), " %") for arm in NAMES]
        runs = [[results.runs[arm, each, seed] for seed in seeds] for arm in NAMES]
        epochs = " and ".join(arm[0]["changed"]["epochs"] for arm in runs)
        seconds = " and ".join(f"{np.median([run['seconds'] for run in arm]):.0f}" for arm in runs)
        rows.append([str(each), *errors, worded(results.gain(each), " points"), epochs, seconds, str(len(seeds))])
    return "".join(f"|{'|'.join(row)}|\n" for row in rows)


def worded(of: Estimate, unit: str) -> str:
    """Write an estimate in percent with its 95 % interval."""
    low, high = of.interval()
    return f"{100 * of.difference:.1f}{unit} ({100 * low:.1f} to {100 * high:.1f})"


def drawn(results: Results) -> "Figure":
    """Draw the error against the number of pictures a class, for both arms, with 95 % intervals."""
    figure = new_figure(12, 6.4)
    axes = figure.subplots()
    axes.axhline(100 * CHANCE, color=SOFT, dashes=(6, 3), linewidth=1.2, label="chance")
    for arm, color, marker, shift in (("scratch", INK, "s", 0.985), ("from", TRUE, "o", 1.015)):
        found = [results.error(arm, each) for each in results.sizes]
        middle = [100 * one.difference for one in found]
        below, above = ([100 * abs(one.interval()[side] - one.difference) for one in found] for side in (0, 1))
        places = [each * shift for each in results.sizes]  # apart, so that the intervals do not hide each other
        label = "from scratch" if arm == "scratch" else "started from another run (--from)"
        style: dict[str, Any] = {"color": color, "marker": marker, "linewidth": 2.2, "markersize": 8, "capsize": 5}
        axes.errorbar(places, middle, yerr=[below, above], label=label, **style)
        for place, value in zip(places, middle, strict=True):
            axes.annotate(
                f"{value:.1f} %",
                (place, value),
                xytext=(10, 6 if arm == "scratch" else -16),
                textcoords="offset points",
                fontsize=TEXT,
                color=color,
            )
    axes.set_xscale("log")
    axes.set_xticks(results.sizes, [str(each) for each in results.sizes])
    axes.minorticks_off()
    axes.set(ylim=(0, 100), xlim=(0.8 * results.sizes[0], 1.3 * results.sizes[-1]))
    axes.set_xlabel("training pictures of each class", fontsize=TEXT)
    axes.set_ylabel("error with ten views (%)", fontsize=TEXT)
    axes.tick_params(labelsize=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=TEXT, loc="lower left")
    title(figure, "Fine-tuning on few pictures")
    seeds = sorted({len(results.seeds(each)) for each in results.sizes})
    footnote(
        figure,
        f"Imagenette at 64 pixels, ten classes, recipe {results.start['name']}. The start saw 50 other classes of Tiny "
        f"ImageNet. Bars are 95 % intervals over {' or '.join(map(str, seeds))} seeds and 1,500 held-out pictures. A "
        "small-scale result.",
    )
    return figure


def main(words: list[str] | None = None) -> int:
    """Write the table and draw the figure, or list the pages that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the file that finetune.py --keep wrote")
    add_arguments(parser)
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    asked = parser.parse_args(words)
    try:
        results = Results(asked.results)
        status = rewrite(asked.pages, {"finetune": partial(table, results)}, str(asked.results), asked.check)
        if asked.figure and not asked.check:
            write(asked.figure, [rendered(drawn(results), "png", dots=100)])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
