"""Write the table of claims into pages from records: python benchmarks/claims_table.py [--check] RECORDS PAGE...

The table goes between two markers. With --check nothing is written, and exit status 1 means that a page is out of date.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import of_records, rewrite

from alexnet.core.errors import InputError
from alexnet.studies.claims import CLAIMS
from alexnet.studies.judge import judge_records
from alexnet.studies.record import read_records
from alexnet.studies.wording import amount, between, every_claim, of_paper

HEADS = ("claim", "paper", "ours (95 % interval)", "seeds", "scale", "verdict")


def judged(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Judge the records in a folder, which may be empty; return the claims and the files left out."""
    records = read_records(folder)
    left = [f"left out: {each.path}: {each.why}" for each in records.left]
    return judge_records(records) if records.runs else [], left


def table(rows: list[dict[str, Any]]) -> str:
    """Write a Markdown table with a line for every claim."""
    lines = [HEADS, ("---",) * len(HEADS), *(cells(row) for row in every_claim(rows))]
    return "".join(f"|{'|'.join(line)}|\n" for line in lines)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the cells of a claim, with the paper's number, or its words if it gives no number."""
    paper = of_paper(row) or CLAIMS[row["claim"]].paper
    if row["verdict"] == "not run":
        return f"`{row['claim']}`", paper, "-", "-", "-", "not run"
    interval = f" ({between(row, '+')})" if row["low"] is not None else ""
    ours = f"{amount(row['difference'], row, '+')}{interval}" if row["difference"] is not None else "-"
    epochs = f"{row['epochs']} epoch{'s' * (row['epochs'] > 1)}"
    scale = f"{row['kind']} ({row['pictures']:,}), {row['base']}, {epochs}"
    return f"`{row['claim']}`", paper, ours, f"{row['seeds']}", scale, row["verdict"]


def main(words: list[str] | None = None) -> int:
    """Write the tables, or list those that are out of date."""
    asked = of_records(__doc__, words)
    try:
        rows, left = judged(asked.records)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    for line in left:
        print(line, file=sys.stderr)
    return rewrite(asked.pages, {"claims": lambda: table(rows)}, f"the records in {asked.records}", asked.check)


if __name__ == "__main__":
    sys.exit(main())
