"""Write the table of class weights into pages: python benchmarks/class_weights_table.py [--check] RESULTS PAGE...

RESULTS is the file that benchmarks/class_weights.py keeps. With --check nothing is written, and exit status 1 means
that a page is out of date.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_arguments, rewrite

from alexnet.core.errors import InputError
from alexnet.studies.statistics import Estimate, crossed

ARMS = ("none", "balanced")


class Results:
    """The runs of one file, and estimates over their seeds and held-out pictures."""

    def __init__(self, plain: Any) -> None:
        try:
            self.runs: dict[tuple[str, int], dict[str, Any]] = {(r["arm"], r["seed"]): r for r in plain["runs"]}
            self.wrong = {key: wrong(run) for key, run in self.runs.items()}
            self.labels = {key: np.repeat(np.arange(len(r["labels"])), r["labels"]) for key, r in self.runs.items()}
            self.seeds = sorted(set.intersection(*({s for a, s in self.runs if a == arm} for arm in ARMS)))
            self.counts = sorted({count for run in self.runs.values() for count in run["counts"]}, reverse=True)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"no results of benchmarks/class_weights.py ({error!r})") from None
        if len(self.seeds) < 2:
            raise InputError("fewer than two seeds have both arms")

    def shares(self, key: tuple[str, int], count: int | None) -> np.ndarray:
        """Return factors of the held-out pictures, with a mean of 1: those of the classes with `count` alone, if given.

        Without it, a class counts as often as in training.
        """
        counts = np.array(self.runs[key]["counts"])
        of = counts if count is None else (counts == count).astype(float)
        found: np.ndarray = of[self.labels[key]] / of[self.labels[key]].mean()
        return found

    def error(self, arm: str, factors: Callable[[tuple[str, int]], np.ndarray]) -> Estimate:
        """Estimate an error of an arm."""
        return self.estimate([(self.wrong[arm, seed], factors((arm, seed))) for seed in self.seeds])

    def gain(self, factors: Callable[[tuple[str, int]], np.ndarray]) -> Estimate:
        """Estimate by how much balanced weights lower an error, seed by seed and picture by picture."""
        pairs = [(self.wrong["none", s] - self.wrong["balanced", s], factors(("none", s))) for s in self.seeds]
        return self.estimate(pairs)

    def estimate(self, by_seed: list[tuple[np.ndarray, np.ndarray]]) -> Estimate:
        """Estimate the mean of numbers for each picture, by seed, with factors whose mean is 1."""
        means = [float((values * factors).mean()) for values, factors in by_seed]
        # Factors vary by class, and not by chance: the spread over pictures is that of the numbers about their mean.
        apart = np.mean([f * (v - mean) for (v, f), mean in zip(by_seed, means, strict=True)], axis=0)
        found = crossed(means, float(apart.std(ddof=1)) / math.sqrt(len(apart)))
        assert found is not None
        return found


def wrong(run: dict[str, Any]) -> np.ndarray:
    """Return which held-out pictures a run got wrong, 0 or 1 for each."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(run["right"]), np.uint8), count=sum(run["labels"]))
    if not math.isclose(1 - bits.mean(), run["top1"], abs_tol=1e-9):
        raise ValueError(f"top1 is {run['top1']}, and {1 - bits.mean()} by picture")
    return 1.0 - bits


def table(results: Results) -> str:
    """Write the table: a line for each error."""
    rows = [["error with ten views", "`none`", "`balanced`", "`balanced` is better by"], ["---"] * 4]
    kinds: list[tuple[str, Callable[[tuple[str, int]], np.ndarray]]] = [
        ("balanced: the mean over the classes", lambda key: np.ones_like(results.wrong[key])),
        ("at the frequencies of training", lambda key: results.shares(key, None)),
    ]
    for count in results.counts:
        kinds.append((f"of the classes with {count} pictures", partial(results.shares, count=count)))
    for name, factors in kinds:
        errors = [worded(results.error(arm, factors), " %", 0.0) for arm in ARMS]
        rows.append([name, *errors, worded(results.gain(factors), " points")])
    return "".join(f"|{'|'.join(row)}|\n" for row in rows)


def worded(of: Estimate, unit: str, least: float = -1.0) -> str:
    """Write an estimate in percent with its 95 % interval, cut at `least` and 1, beyond which it cannot be."""
    low, high = (min(max(end, least), 1.0) for end in of.interval())
    return f"{100 * of.difference:.1f}{unit} ({100 * low:.1f} to {100 * high:.1f})"


def main(words: list[str] | None = None) -> int:
    """Write the table, or list the pages that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the file that class_weights.py --keep wrote")
    add_arguments(parser)
    asked = parser.parse_args(words)
    try:
        results = Results(json.loads(asked.results.read_text(encoding="utf-8")))
        return rewrite(asked.pages, {"class-weights": partial(table, results)}, str(asked.results), asked.check)
    except (InputError, OSError, ValueError) as error:
        print(f"{asked.results}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
