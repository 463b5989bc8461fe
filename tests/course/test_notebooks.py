"""The notebooks in their short form: each runs, shows what it is to show, and has its texts in both languages."""

import re
from pathlib import Path

import pytest
from tests.course.conftest import COURSE

from coursekit import texts
from coursekit.glossary import glossary, table
from coursekit.handout import outputs_of, page_of
from coursekit.page import Picture, Text

NOTEBOOKS = sorted(path.stem for path in COURSE.glob("[0-9][0-9]_*.py") if path.stem != "00_glossary")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_each_section_in_both_languages(name: str, cache: Path) -> None:
    outputs, variables = outputs_of(COURSE, name, "en", short=True)
    page = variables["page"]
    assert set(page.used) == set(texts.sections(name, "en")), "each section of the texts is shown"
    assert sum(isinstance(output, Picture) for output in outputs) >= 2
    assert sum(isinstance(output, Text) for output in outputs) >= 4
    for section, text in texts.sections(name, "zh").items():  # with the numbers that the notebook gave
        assert not re.search(r"\{\{|\[\[", texts.fill(text, page.used[section], "zh"))
    shown = page_of(name, outputs, "en")
    assert "<math" in shown
    assert "<details>" in shown
    assert 'class="control"' in shown, "something can be moved"
    assert not re.search(r'(?:src|href)="(?!data:)|marimo-|\{\{|\[\[|\|\|\(', shown), "the page needs no other file"


def test_the_glossary_shows_each_term_and_finds_one_in_either_language() -> None:
    outputs, _ = outputs_of(COURSE, "00_glossary", "en")
    shown = page_of("glossary", outputs, "en")
    assert all(term.en in shown and term.zh in shown for term in glossary().values())
    for sought in ("STRIDE", "步幅"):
        assert len(table(glossary().values(), sought).splitlines()) == 3, "the heading's two lines, and the term"
