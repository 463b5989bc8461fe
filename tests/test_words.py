"""Words: how long README is, and the habits that CONTRIBUTING.md asks to avoid."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src/alexnet").rglob("*.py"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "log.md"),  # log.md tells of the past
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "course", "results")),
]
HABITS = (
    r"\b(is|are|was|were) none\b",
    r"\b(is|are|was|were) no (number|file|folder|run|store|picture|class|net|record|recipe)s?\b",
    r"\b(cannot|could not) be (had|told)\b",
    r"\b[Ww]hoever\b",
    r"\b[Ss]o many\b",
    r"\bnone of an?\b",
    r"\b(is|are) (said|told)\b",
)
# Of a docstring, which says what is done, or what something is.
OPENINGS = ("What ", "Whether ", "Where ", "Which ", "How ", "As ")


def without_quotes(text: str) -> str:
    """Leave out what stands in quotes, backticks or code: a page may name a habit."""
    return re.sub(r'```.*?```|`[^`]*`|"[^"\n]*"', "", text, flags=re.S)


def found(text: str) -> list[str]:
    """List where a text has a habit; "there is no file" is an idiom, and stays."""
    line = re.sub(r"\b(there) (is|are|was|were)\b", r"\1_\2", re.sub(r"\s+", " ", text), flags=re.I)
    hits = (hit for habit in HABITS for hit in re.finditer(habit, line))
    return [line[max(0, hit.start() - 40) : hit.end() + 40] for hit in hits]


def openings(path: Path) -> Iterator[str]:
    """Read the first line of each docstring of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (ast.get_docstring(node) or "").partition("\n")[0]


def test_readme_has_at_most_1200_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 1200


def test_the_pictures_of_the_docs_take_at_most_600_kb() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs/images").iterdir()) <= 600_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_none_of_the_habits(page: Path) -> None:
    assert not found(without_quotes(page.read_text()))


def test_the_sources_have_none_of_the_habits() -> None:
    assert not {str(path.relative_to(ROOT)): habits for path in SOURCES if (habits := found(path.read_text()))}


def test_no_docstring_begins_with_a_question_word() -> None:
    lines = [f"{path.relative_to(ROOT)}: {line}" for path in SOURCES for line in openings(path)]
    assert not [line for line in lines if line.split(": ", 1)[1].startswith(OPENINGS)]


def test_a_habit_is_found_across_a_line_break_and_an_idiom_is_not() -> None:
    assert found("a line that is\nnone of a log")
    assert found("There are so many")
    assert not found("There is no file, and none of the others is missing.")
