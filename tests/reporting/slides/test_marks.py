"""Marks of ==words==: as HackMD's Markdown reads them."""

import re
from html.parser import HTMLParser

import pytest
from tests.reporting.slides.conftest import Decks

from alexnet.reporting.slides.page import renderer

pytest.importorskip("latex2mathml", reason="pip install 'alexnet[slides]'")


@pytest.mark.parametrize(
    ("text", "shown"),  # what markdown-it 10 with markdown-it-mark 3 makes of it
    [
        ("a==b==c", "a<mark>b</mark>c"),
        ("==a==b==", "<mark>a</mark>b=="),
        ("字==甲==。乙", "字<mark>甲</mark>。乙"),
        ("字==甲。==乙", "字==甲。==乙"),
        ("==*a（b）*==與", "==<em>a（b）</em>==與"),
        ("**==a==** ==*b*==", "<strong><mark>a</mark></strong> <mark><em>b</em></mark>"),
        ("==a **b== c**", "<mark>a **b</mark> c**"),
        ("[==a==](b)", '<a href="b"><mark>a</mark></a>'),
        ("x == y `==a==` ==b", "x == y <code>==a==</code> ==b"),
        (r"\=\=a\=\=", "==a=="),
    ],
)
def test_signs_begin_and_end_a_mark_where_hackmd_lets_them(text: str, shown: str) -> None:
    assert renderer()(text) == f"<p>{shown}</p>\n"


class Words(HTMLParser):
    """The words of a page without its code, formulas, style and script."""

    OUT = ("code", "math", "style", "script")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.depth, self.found = 0, [""]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += tag in self.OUT

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in self.OUT

    def handle_data(self, data: str) -> None:
        if not self.depth:
            self.found.append(data)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_mark_of_markdown_is_left_in_the_words_of_a_page(decks: Decks, language: str) -> None:
    words = Words(getattr(decks, language)["slides.html"].decode()).found
    assert len(words) > 500
    stars = {"1 CNN*", "7 CNNs*"}  # of table 2
    assert stars < set(words)
    assert [each for each in words if each not in stars and re.search(r"[*`$\\]|==|~~|\+\+|\{\{|\{%", each)] == []
