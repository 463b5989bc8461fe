"""Write the table of tests/habits.py into pages: python benchmarks/habits_table.py [--check] PAGE...

tests/test_habits.py checks each cell. With --check nothing is written, and exit status 1 means that a page is out of
date.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from claims_table import between_markers
from tests.habits import COLUMNS, HABITS, TORCHVISION, promised

from alexnet.core.errors import InputError


def written() -> str:
    """Write the table, and under it the lines that refuse, each with the letter that stands in its cells."""
    letters = dict[str, str]()
    rows = [["", *(f"`{net}`" if net != TORCHVISION else "torchvision's" for net in COLUMNS)], ["---"] * 8]
    for habit in HABITS.values():
        row = [habit.words]
        for net in COLUMNS:
            said = promised(habit, net)
            if said != "right":
                letter = letters.setdefault(said, chr(ord("a") + len(letters)))
                said = f"{'error' if net == TORCHVISION else 'refused'} ({letter})"
            row.append(said)
        rows.append(row)
    notes = [f"({letter}) `{line}`" for line, letter in letters.items()]
    return "".join(f"|{'|'.join(row)}|\n" for row in rows) + "".join(f"\n{note}\n" for note in notes)


def main(words: list[str] | None = None) -> int:
    """Write the table, or list the pages that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files with the markers")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is out of date")
    asked = parser.parse_args(words)
    status = 0
    for page in asked.pages:
        text = page.read_text(encoding="utf-8")
        try:
            made = between_markers(text, page, "habits", written())
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        if made == text:
            continue
        if asked.check:
            print(f"{page} does not match tests/habits.py; run make tables")
            status = 1
        else:
            page.write_text(made, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
