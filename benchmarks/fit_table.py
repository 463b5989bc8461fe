"""Write what `alexnet fit` knows of small folders, and the table of its promises, or check that they are up to date.

    python benchmarks/fit_table.py [--check] RECORDS FITS KNOWN PAGE...

RECORDS is what small_folders.py keeps, FITS a folder of files that fit_times.py keeps, and KNOWN the package's data
file. With --check nothing is written, and exit status 1 means that the file or a page is out of date.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_arguments, rewrite
from small_folders_data import SETS
from small_folders_table import NAMES, Results, read

from alexnet.core.errors import InputError
from alexnet.core.files import parse_json, write
from alexnet.fitting.candidates import SIDES
from alexnet.fitting.known import Known
from alexnet.inference.measures import wilson

APART = ("peer", "tuned")  # arms that `fit` does not choose from
NONE = "`fit` has not been timed yet.\n"
NUMBERS = ("each", "seed", "asked", "promised", "took", "epochs", "top1", "images", "train")  # of a timed fit


def rows(results: Results) -> list[Known]:
    """Average the runs of each setting over its seeds: two or more of a recipe as it is."""
    found = []
    for (place, arm), runs in results.runs.items():
        own = {seed: run for seed, run in runs.items() if run["recipe"] in SIDES and not run.get("changed")}
        estimate = results.error(place, arm, sorted(own)) if arm not in APART else None
        if estimate is None:
            continue
        first, (low, high) = next(iter(own.values())), estimate.interval()
        epochs, seconds, each = (
            float(np.mean([run[n] for run in own.values()])) for n in ("epochs", "seconds", "each")
        )
        found.append(
            Known(
                set=NAMES[first["set"]].partition(",")[0],
                picture=SETS[first["set"]].pixels,
                classes=first["classes"],
                each=round(each),
                unequal=first["unequal"],
                recipe=first["recipe"],
                side=first["side"],
                minutes=first["minutes"],
                epochs=max(1, round(epochs)),
                seconds=round(seconds, 1),
                error=round(estimate.difference, 4),
                low=round(max(0.0, low), 4),
                high=round(min(1.0, high), 4),
                seeds=len(own),
            )
        )
    return found


def known(results: Results) -> bytes:
    """Write the package's data file: a row a line."""
    lines = ",\n".join(json.dumps(asdict(row)) for row in rows(results))
    return f'{{"rows": [\n{lines}\n]}}\n'.encode() if lines else b'{"rows": []}\n'


def timed(folder: Path) -> list[dict[str, Any]]:
    """Read the fits of all files of a folder."""
    found: list[dict[str, Any]] = []
    for file in sorted(folder.glob("*.json")):
        try:
            found += parse_json(file.read_bytes())["fits"]
            for one in found:
                numbers = [one[name] for name in NUMBERS] + [one["expected"] or 0.0]
                if not all(isinstance(n, int | float) for n in numbers) or one["set"] not in NAMES or not one["recipe"]:
                    raise ValueError(f"a fit of {one['set']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} holds no fits of benchmarks/fit_times.py ({error!r})") from None
    return sorted(found, key=lambda one: (list(NAMES).index(one["set"]), one["each"], one["asked"], one["seed"]))


def table(fits: Sequence[dict[str, Any]]) -> str:
    """Write the table of the promises of `fit`: a line for each."""
    made = [
        ["folder, pictures a class", "`--minutes`", "promised, minutes", "took", "recipe, epochs"],
        ["---"] * 7,
    ]
    made[0] += ["error that such folders reached", "error"]
    for one in fits:
        low, high = wilson(one["top1"], one["images"])
        told = "unknown" if one["expected"] is None else f"{100 * one['expected']:.1f} %"
        got = f"{100 * one['top1']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        times = [f"{one['asked']:g}", f"{one['promised']:.1f}", f"{one['took']:.1f}"]
        chosen = f"`{one['recipe']}`, {one['epochs']:,}"
        made.append([f"{NAMES[one['set']]}, {one['each']:,}", *times, chosen, told, got])
    return "".join(f"|{'|'.join(row)}|\n" for row in made) if fits else NONE


def main(words: list[str] | None = None) -> int:
    """Write the file and the table, or list what is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="a file that small_folders.py --keep wrote, or its folder")
    parser.add_argument("fits", type=Path, help="a folder of files that fit_times.py --keep wrote")
    parser.add_argument("known", type=Path, help="the data file of the package")
    add_arguments(parser)
    asked = parser.parse_args(words)
    try:
        data = known(read(asked.records))
        old = asked.known.read_bytes() if asked.known.exists() else b""
        if data != old and not asked.check:
            write(asked.known, [data])
        fits = timed(asked.fits)
        status = rewrite(asked.pages, {"fit": partial(table, fits)}, str(asked.fits), asked.check)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if data != old and asked.check:
        print(f"{asked.known} does not match {asked.records}; run make tables")
        return status or 1
    return status


if __name__ == "__main__":
    sys.exit(main())
