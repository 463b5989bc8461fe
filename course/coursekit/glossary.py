"""The glossary: the field's terms in English and traditional Chinese, from course/glossary.csv."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
FILE = Path(__file__).parents[1] / "glossary.csv"


@dataclass(frozen=True)
class Term:
    """A term: its names and meanings, and the notebook that explains it (two digits)."""

    key: str
    en: str
    zh: str
    meaning_en: str
    meaning_zh: str
    notebook: str

    def name(self, language: Language, first: bool) -> str:
        """Return the term; at its first use in Chinese with the English beside it."""
        if language == "en":
            return self.en
        return f"{self.zh}（{self.en}）" if first and self.en not in self.zh else self.zh

    def meaning(self, language: Language) -> str:
        """Return what the term means, in a sentence."""
        return self.meaning_en if language == "en" else self.meaning_zh


@cache
def glossary() -> dict[str, Term]:
    """Read the terms by their keys, in the order of the file.

    Raises:
        ValueError: Two terms have one key, or a field is empty.
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        terms = [Term(**row) for row in csv.DictReader(file)]
    if len({term.key for term in terms}) != len(terms) or not all(all(vars(term).values()) for term in terms):
        raise ValueError(f"{FILE.name}: two terms have one key, or a field is empty")
    return {term.key: term for term in terms}


def table(terms: Iterable[Term], sought: str = "") -> str:
    """Write terms as a table of Markdown, those that contain the sought words in either language."""
    lines = ["| English | 中文 | | | part |", "|---|---|---|---|---|"]
    for term in terms:
        row = (term.en, term.zh, term.meaning_en, term.meaning_zh, term.notebook)
        if sought.casefold() in " ".join(row).casefold():
            lines.append(f"| **{term.en}** | **{term.zh}** | {' | '.join(row[2:])} |")
    return "\n".join(lines)
