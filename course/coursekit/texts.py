"""The texts of the course: a file for each notebook and language, in sections that the notebooks name.

`texts/NAME.en.md` and `texts/NAME.zh.md` have the same sections in the same order. A line `<!-- name -->` begins a
section. {{name}} stands for a number that the notebook computes, and [[name]] for a term of the glossary, which
`[[name|other words]]` shows in other words. tests/course/test_texts.py checks that both languages agree.
"""

import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path

from coursekit.glossary import LANGUAGES, Language, glossary

FOLDER = Path(__file__).parents[1] / "texts"
SECTION = re.compile(r"^<!-- ([a-z0-9-]+) -->$", re.M)
NUMBER = re.compile(r"\{\{(\w+)\}\}")
TERM = re.compile(r"\[\[([a-z0-9-]+)(?:\|([^\]]+))?\]\]")
QUESTION = re.compile(r"question-(\d+)")


@cache
def sections(name: str, language: Language) -> dict[str, str]:
    """Read the sections of a notebook's texts, in order.

    Args:
        name: Name of the notebook without its suffix, such as "01_data_and_errors".
        language: "en" or "zh".

    Raises:
        OSError: There is no such text.
        ValueError: Two sections have one name, or text stands before the first.
    """
    text, seen = (FOLDER / f"{name}.{language}.md").read_text(encoding="utf-8"), set[str]()

    def name_first(term: re.Match[str]) -> str:
        """Give the first use of a term in Chinese its English name beside it."""
        first, words = term[1] not in seen, term[2]
        seen.add(term[1])
        return f"[[{term[1]}|{words or glossary()[term[1]].name(language, first)}]]"

    before, *parts = SECTION.split(TERM.sub(name_first, text))
    found = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    if before.strip() or len(found) != len(parts) // 2:
        raise ValueError(f"{name}.{language}.md: text before the first section, or two sections of one name")
    return found


def title(name: str, language: Language) -> str:
    """Return the heading of a notebook's texts."""
    return sections(name, language)["title"].splitlines()[0].lstrip("# ")


def names() -> list[str]:
    """List the notebooks by their texts, in order."""
    return sorted(path.name.removesuffix(".en.md") for path in FOLDER.glob("*.en.md"))


def fill(text: str, numbers: Mapping[str, object], language: Language) -> str:
    """Put numbers and terms into the text of a section.

    Args:
        text: The text.
        numbers: What {{name}} stands for. Numbers should be formatted, since both languages show the same.
        language: "en" or "zh".

    Raises:
        KeyError: The text names a number or a term that is not there.
    """
    text = NUMBER.sub(lambda found: str(numbers[found[1]]), text)
    return TERM.sub(lambda found: _term(found[1], found[2], language), text)


def _term(key: str, words: str | None, language: Language) -> str:
    """Show a term with its meaning, which appears when the pointer rests on it."""
    term = glossary()[key]
    return f'<abbr title="{escape(term.meaning(language))}">{escape(words or term.name(language, False))}</abbr>'


__all__ = ["LANGUAGES", "Language", "fill", "names", "sections", "title"]
