"""Write the ladder of the study since-2012 into pages: python benchmarks/ladder_table.py [--check] RECORDS PAGE...

The table goes between two markers. With --check nothing is written, and exit status 1 means that a page is out of date.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import of_records, rewrite

from alexnet.figures.ladder import CAPTION, TITLE
from alexnet.studies.ladder import judge_ladders, steps_of
from alexnet.studies.record import read_records
from alexnet.studies.wording import amount, between

HEADS = ("net", "error with ten views", "loss, nats", "training error", "seeds", "gain (95 % interval)", "p (Holm)", "")
FIGURE = f"![{TITLE}](images/since-2012.png)\n\n{CAPTION}"  # `make tables` draws it
WORDS = {"holds": "helps", "opposite": "harms", "absent": "no gain", "not shown": "not shown"}


def table(records: Path) -> str:
    """Write a Markdown table with a line for each rung, or a sentence where there are no runs."""
    found = judge_ladders(read_records(records))
    if not found:
        return "No run of this study has a record yet.\n"
    (ladder,) = found
    lines = [HEADS, ("---",) * len(HEADS)]
    for rung, step in zip(ladder["rungs"], [None, *steps_of(ladder)], strict=True):
        lines.append((*of_rung(rung, step is None), *of_step(step)))
    whole = [e for e in ladder["expects"] if not e["judged"] and e["measure"] == "top1"]
    words = "; ".join(
        f"from {e['larger']} to {e['smaller']} {amount(e['difference'], e, '+')} ({between(e, '+')})"
        for e in whole
        if e["low"] is not None
    )
    scale = f"{ladder['scale']}, {ladder['precision']}."
    made = "".join(f"|{'|'.join(line)}|\n" for line in lines) + f"\n{scale}{f' In all: {words}.' if words else ''}\n"
    return f"{made}\n{FIGURE}\n"


def of_rung(rung: Mapping[str, Any], first: bool) -> tuple[str, ...]:
    """Write the cells about a rung's runs."""
    name = rung["rung"] if first else f"+ {rung['rung']}"
    if not rung["seeds"]:
        return name, "-", "-", "-", "-"
    shown = f"{100 * rung['top1']:.2f} %", f"{rung['nats']:.3f}", f"{100 * rung['train']:.1f} %"
    return name, *shown, f"{len(rung['seeds'])}"


def of_step(step: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Write the cells about the step to a rung."""
    if step is None:
        return "", "", ""
    if step["difference"] is None:
        return "-", "-", "not run"
    interval = f" ({between(step, '+')})" if step["low"] is not None else ""
    p = "-" if step["p_holm"] is None else f"{step['p_holm']:.2g}"
    return f"{amount(step['difference'], step, '+')}{interval}", p, WORDS[step["verdict"]]


def main(words: list[str] | None = None) -> int:
    """Write the tables, or list those that are out of date."""
    asked = of_records(__doc__, words)
    tables = {"ladder": lambda: table(asked.records)}
    return rewrite(asked.pages, tables, f"the records in {asked.records}", asked.check)


if __name__ == "__main__":
    sys.exit(main())
