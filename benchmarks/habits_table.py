"""Write the table of tests/habits.py into pages: python benchmarks/habits_table.py [--check] PAGE...

tests/test_habits.py checks each cell. With --check nothing is written, and exit status 1 means that a page is out of
date.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from pages import add_arguments, rewrite
from tests.habits import COLUMNS, HABITS, TORCHVISION, promised


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
    add_arguments(parser)
    asked = parser.parse_args(words)
    return rewrite(asked.pages, {"habits": written}, "tests/habits.py", asked.check)


if __name__ == "__main__":
    sys.exit(main())
