"""Write the tables of small folders into pages: python benchmarks/small_folders_table.py [--check] RESULTS PAGE...

RESULTS is a file that small_folders.py --keep wrote, or its folder. With --check nothing is written, and exit status 1
means that a page is out of date.
"""

import argparse
import base64
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_arguments, rewrite
from small_folders_cells import CAUSE_SET, CAUSES, TUNED
from small_folders_data import PARTS

from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.core.files import parse_json
from alexnet.models import layer_table
from alexnet.studies.designs import TUNING_SEED
from alexnet.studies.statistics import Estimate, crossed

NAMES = {"imagenette": "Imagenette", "cifar10": "CIFAR-10", "tiny-imagenet": "Tiny ImageNet, 50 classes"}
ARMS = ("today", "peer", "small", "today-32", "tiny", "tuned", "demo")
NONE = "No setting has been run with two seeds yet.\n"

Place = tuple[str, bool, int, float]  # set, unequal counts, pictures of the largest class, minutes


class Results:
    """The runs of one file, and estimates over their seeds and held-out pictures."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.runs: dict[tuple[Place, str], dict[int, dict[str, Any]]] = {}
        self.tuning: dict[tuple[str, float], list[float]] = {}
        try:
            for one in sorted(records, key=lambda one: (*place_of(one), one["arm"], one["seed"])):
                if one["seed"] >= TUNING_SEED:
                    self.tuning.setdefault((one["arm"], one["lr_factor"]), []).append(one["top1"])
                else:
                    self.runs.setdefault((place_of(one), one["arm"]), {})[one["seed"]] = one | {"wrong": wrong(one)}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"no results of benchmarks/small_folders.py ({error!r})") from None
        for (place, arm), runs in self.runs.items():
            if len(made := {run["of"] for run in runs.values()}) > 1:
                raise InputError(f"{named(place)}, {arm}: runs of different recipes, {' and '.join(sorted(made))}")
        self.places = sorted(dict.fromkeys(place for place, _ in self.runs), key=lambda p: (list(NAMES).index(p[0]), p))

    def seeds(self, place: Place, *arms: str) -> list[int]:
        """List the seeds that all of some arms have."""
        return sorted(set.intersection(*(set(self.runs.get((place, arm), ())) for arm in arms)))

    def error(self, place: Place, arm: str, seeds: Sequence[int]) -> Estimate | None:
        """Estimate the error of an arm over some seeds; None with fewer than two."""
        return estimate([self.runs[place, arm][seed]["wrong"] for seed in seeds])

    def gain(self, place: Place) -> Estimate | None:
        """Estimate by how much the error of `today` is lower than the peer's, by seed and picture."""
        ours, peer = (self.runs.get((place, arm), {}) for arm in TUNED)
        return estimate([peer[s]["wrong"] - ours[s]["wrong"] for s in self.seeds(place, *TUNED)])

    def mean(self, place: Place, arm: str, what: str, seeds: Sequence[int]) -> float:
        """Compute the mean of a number of an arm over some seeds."""
        return float(np.mean([self.runs[place, arm][seed][what] for seed in seeds]))


def place_of(run: dict[str, Any]) -> Place:
    """Return what the arms of a comparison share."""
    return run["set"], run["unequal"], run["most"], run["minutes"]


def wrong(run: dict[str, Any]) -> np.ndarray:
    """Return which held-out pictures a run got wrong, 0 or 1 for each."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(run["right"]), np.uint8), count=run["held_out"])
    if not math.isclose(1 - bits.mean(), run["top1"], abs_tol=1e-6):
        raise ValueError(f"top1 is {run['top1']}, and {1 - bits.mean()} by picture")
    return 1.0 - bits


def estimate(by_seed: Sequence[np.ndarray]) -> Estimate | None:
    """Estimate the mean of numbers for each picture, by seed; None with fewer than two seeds."""
    if len(by_seed) < 2:
        return None
    over_seeds = np.mean(by_seed, axis=0)
    return crossed([float(one.mean()) for one in by_seed], float(over_seeds.std(ddof=1)) / math.sqrt(len(over_seeds)))


def versus(results: Results) -> str:
    """Write the table of `today` against the peer: a line for each setting that both have."""
    rows = [["folder, pictures a class", "minutes of one core", "`today`", "the peer", "`today` is better by"]]
    rows[0] += ["CPU seconds", "seeds"]
    rows.append(["---"] * len(rows[0]))
    for place in results.places:
        seeds, gain = results.seeds(place, *TUNED), results.gain(place)
        if gain:
            errors = [results.error(place, arm, seeds) for arm in TUNED]
            seconds = " and ".join(f"{results.mean(place, arm, 'seconds', seeds):.0f}" for arm in TUNED)
            said = [worded(one, " %") for one in errors if one] + [worded(gain, " points")]
            rows.append([named(place), f"{place[3]:g}", *said, seconds, str(len(seeds))])
    return written(rows)


PARTED = {
    "today": "`today`",
    "peer-layers": "the layers of `today`, trained as the peer is",
    "peer-unnormed": "the peer without batch norm",
    "peer-straight": "the peer without shortcuts",
    "peer": "the peer",
}


def causes(results: Results) -> str:
    """Write the table of nets that lack a part of the peer, on the set that they are compared on."""
    place: Place = (CAUSE_SET, False, 200, 3.0)
    rows = [["net and training", "error", "more than the peer's by", "weights", "epochs", "seeds"], ["---"] * 6]
    for arm, words in PARTED.items():
        seeds = results.seeds(place, arm, "peer")
        found = results.error(place, arm, seeds)
        more = estimate([results.runs[place, arm][s]["wrong"] - results.runs[place, "peer"][s]["wrong"] for s in seeds])
        if found and more and any(results.seeds(place, cause) for cause in CAUSES):
            worse = "-" if arm == "peer" else worded(more, " points")
            weights = weights_of(results.runs[place, arm][seeds[0]])
            epochs = f"{results.mean(place, arm, 'epochs', seeds):.0f}"
            rows.append([words, worded(found, " %"), worse, f"{weights:,}", epochs, str(len(seeds))])
    return written(rows)


def weights_of(run: dict[str, Any]) -> int:
    """Count the weights of a run's net."""
    if run["recipe"] is None:
        return int(run["of"].split()[0])
    recipe = RECIPES[run["recipe"]].replace(net={"classes": run["classes"]})
    return sum(layer.weights for layer in layer_table.layers_of(recipe.net))


def every(results: Results) -> str:
    """Write the table of all arms: the mean error of each setting, with the number of epochs."""
    rows = [["folder, pictures a class", "minutes of one core", *(f"`{arm}`" for arm in ARMS), "seeds"]]
    rows.append(["---"] * len(rows[0]))
    for place in results.places:
        cells, counts = [], []
        for arm in ARMS:
            seeds = results.seeds(place, arm)
            found = results.error(place, arm, seeds)
            counts += [len(seeds)] if found else []
            epochs = f" ({results.mean(place, arm, 'epochs', seeds):.0f})" if found else ""
            cells.append(f"{100 * found.difference:.1f} %{epochs}" if found else "-")
        if counts:
            between = " to ".join(map(str, sorted({min(counts), max(counts)})))
            rows.append([named(place), f"{place[3]:g}", *cells, between])
    return written(rows)


def rates(results: Results) -> str:
    """Write the table of the runs that chose the learning rates: the mean error over the sets."""
    factors = sorted({factor for _, factor in results.tuning})
    rows = [["arm", *(f"{factor:g} times its rate" for factor in factors)], ["---"] * (1 + len(factors))]
    for arm in sorted({arm for arm, _ in results.tuning}):
        found = [results.tuning.get((arm, factor), []) for factor in factors]
        rows.append([f"`{arm}`", *(f"{100 * sum(f) / len(f):.1f} % of {counted(len(f))}" if f else "-" for f in found)])
    return written(rows)


def counted(sets: int) -> str:
    """Write a number of sets."""
    return "1 set" if sets == 1 else f"{sets} sets"


def named(place: Place) -> str:
    """Write a folder in words."""
    of, unequal, most, _ = place
    return f"{NAMES[of]}, {f'{most} to {max(3, most // PARTS[-1])}' if unequal else most}"


def written(rows: list[list[str]]) -> str:
    """Write a table in Markdown; without lines, say so."""
    return "".join(f"|{'|'.join(row)}|\n" for row in rows) if len(rows) > 2 else NONE


def worded(of: Estimate, unit: str) -> str:
    """Write an estimate in percent with its 95 % interval."""
    low, high = of.interval()
    return f"{100 * of.difference:.1f}{unit} ({100 * low:.1f} to {100 * high:.1f})"


TABLES = {
    "small-folders": versus,
    "small-folders-causes": causes,
    "small-folders-all": every,
    "small-folders-rates": rates,
}


def read(path: Path) -> Results:
    """Read a file of results, or all *.jsonl of a folder."""
    try:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        return Results([parse_json(line) for file in files for line in file.read_bytes().splitlines() if line.strip()])
    except (InputError, OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def main(words: list[str] | None = None) -> int:
    """Write the tables, or list the pages that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a file that small_folders.py --keep wrote, or its folder")
    add_arguments(parser)
    asked = parser.parse_args(words)
    try:
        results = read(asked.results)
        tables = {name: partial(table, results) for name, table in TABLES.items()}
        return rewrite(asked.pages, tables, str(asked.results), asked.check)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
