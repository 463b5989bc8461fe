"""Write tables between markers in Markdown pages, or tell which pages are out of date."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alexnet.core.errors import InputError


def add_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the arguments of a script that writes tables: the pages, and --check."""
    parser.add_argument("pages", type=Path, nargs="+", help="Markdown files with the markers")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is out of date")


def of_records(about: str | None, words: Sequence[str] | None) -> argparse.Namespace:
    """Read the words of a script that writes tables from records: a folder of them, the pages, and --check."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, help="folder of records")
    add_arguments(parser)
    return parser.parse_args(words)


def rewrite(pages: Sequence[Path], tables: Mapping[str, Callable[[], str]], source: str, check: bool) -> int:
    """Write each page's tables, by the names in its markers; with `check`, only list the pages that are out of date.

    Args:
        pages: The pages.
        tables: A function for each name that writes its table.
        source: What the tables are made of, for messages.
        check: Write nothing.

    Returns:
        The exit status: 0, 1 if a page is out of date under `check`, or 2 after a page without markers.
    """
    status = 0
    for page in pages:
        try:
            text = made = page.read_text(encoding="utf-8")
            here = [name for name in tables if f"<!-- {name}: begin" in text]
            for name in here or list(tables)[:1]:  # a page without markers is refused with those of the first
                made = between_markers(made, page, name, tables[name]())
        except (InputError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
        if made != text and check:
            print(f"{page} does not match {source}; run make tables")
            status = 1
        elif made != text:
            page.write_text(made, encoding="utf-8")
    return status


def between_markers(text: str, page: Path, name: str, new: str) -> str:
    """Put a table between its markers in a page; raises InputError where they are not there, once and in order."""
    first, last = f"<!-- {name}: begin (make tables) -->", f"<!-- {name}: end -->"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in after or last in before + after:
        raise InputError(f"{page} must have the lines {first} and {last}, each once")
    return f"{before}{first}\n\n{new}\n{last}{after}"
