"""The page of a deck in a real browser: nothing is cut off, keys turn it, it prints one slide a page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser import load_axe, opened
from tests.reporting.slides.conftest import Decks

from alexnet.reporting.slides.page import renderer, size, slide

OVERFLOW = """() => {
  const found = [];
  for (const slide of document.querySelectorAll(".slide")) {
    slide.classList.add("now");
    const frame = slide.getBoundingClientRect(), body = slide.querySelector(".body");
    const parts = [...body.querySelectorAll("*")].map((part) => part.getBoundingClientRect());
    const out = parts.some((part) => part.bottom > frame.bottom || part.right > frame.right || part.left < frame.left);
    const small = [...body.querySelectorAll("img")].some((image) => image.getBoundingClientRect().height < 240);
    if (out || small || body.scrollHeight > body.clientHeight) found.push(slide.id);
    slide.classList.toggle("now", slide.id === "1");
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser, or the reason to skip."""
    with opened() as found:
        yield found


@pytest.fixture(params=["en", "zh"])
def page(request: pytest.FixtureRequest, decks: Decks, browser: Any, tmp_path: Path) -> Iterator[Any]:
    """The page of a deck; a request to another host or an error of the page fails the test."""
    wrong: list[str] = []
    file = tmp_path / "slides.html"
    file.write_bytes(getattr(decks, request.param)["slides.html"])
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    opened.on(
        "request", lambda asked: wrong.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None
    )
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert not wrong


def test_no_slide_is_cut_off_and_each_prints_on_a_page_of_its_own(page: Any) -> None:
    count = page.locator(".slide").count()
    assert count > 70
    assert page.evaluate(OVERFLOW) == []
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == count
    assert page.evaluate("matchMedia('print').matches") is False


def test_keys_buttons_and_the_address_turn_the_slides_and_show_the_notes(
    browser: Any, decks: Decks, tmp_path: Path
) -> None:
    file = tmp_path / "slides.html"
    file.write_bytes(decks.en["slides.html"])
    page = browser.new_page(viewport={"width": 640, "height": 720})
    page.goto(file.as_uri())
    count = page.locator(".slide").count()

    def now() -> str:
        assert page.locator(".slide.now:visible").count() == page.locator(".slide:visible").count() == 1
        return str(page.locator(".slide.now").get_attribute("id"))

    turns = (
        ("ArrowRight", 2),
        ("PageDown", 3),
        ("ArrowLeft", 2),
        ("Home", 1),
        ("ArrowUp", 1),
        ("End", count),
        (" ", count),
    )
    for key, place in turns:
        page.keyboard.press(key)
        assert now() == f"{place}", key
        assert page.url.endswith(f"#{place}")
    page.click("#before")
    assert now() == f"{count - 1}"
    assert not page.locator(".slide.now .notes").is_visible()
    page.keyboard.press("n")
    assert page.locator(".slide.now .notes").is_visible()
    page.goto(f"{file.as_uri()}#3")
    assert now() == "3"
    width = page.evaluate("document.querySelector('.slide.now').getBoundingClientRect().width")
    assert width == pytest.approx(640, abs=1)  # the whole slide fits the window
    page.close()


@pytest.mark.parametrize("page", ["en"], indirect=True)
def test_no_rule_of_accessibility_is_broken(page: Any, tmp_path: Path) -> None:
    load_axe(page, tmp_path)
    page.evaluate("document.documentElement.classList.remove('live')")  # all slides at once
    broken = page.evaluate("async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])")
    assert broken == []


def test_formulas_are_mathml_and_marks_end_where_they_began() -> None:
    body = slide(renderer(), "## a\n\n==the mean $x$ of **all**==\n\n$$y=\\frac{1}{2}$$\nNote:\nSection 2.", {})
    assert re.search(
        r'<mark>the mean <span class="math inline"><math .*</math></span> of <strong>all</strong></mark>', body["body"]
    )
    assert "<mfrac>" in body["body"]
    assert body["notes"] == "<p>Section 2.</p>\n"


def test_a_slide_of_few_words_has_large_print_and_a_chinese_character_counts_twice() -> None:
    assert [size(f"<p>{'a' * count}</p>") for count in (419, 420, 800)] == ["largest", "large", ""]
    assert [size(f"<p>{'字' * count}</p>") for count in (209, 210, 400)] == ["largest", "large", ""]
    assert size('<p>a</p><img src="">') == ""
