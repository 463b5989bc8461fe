"""The texts of the course: both languages say the same, and the glossary has each term."""

import re

import pytest
from tests.course.conftest import COURSE

from coursekit import texts
from coursekit.glossary import LANGUAGES, glossary

NOTEBOOKS = sorted(path.stem for path in COURSE.glob("[0-9][0-9]_*.py") if path.stem != "00_glossary")
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.S)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.S)
FIGURE = re.compile(r"(?<![\w.])\d(?:[\d,]*\d)?(?:\.\d+)?")
SIMPLIFIED = set("们这为对应网训练数层积过时间两样来问题误错话说变图张权弃质认识习单与从会类")
MAINLAND = re.compile("信息|默認|質量|圖像|(?<!演)算法|歸一化|響應|網絡|數據|優化器")


def test_each_notebook_has_its_texts_in_both_languages() -> None:
    found = {path.name for path in (COURSE / "texts").iterdir()}
    assert found == {f"{name}.{language}.md" for name in NOTEBOOKS for language in LANGUAGES}
    assert texts.names() == NOTEBOOKS


def essence(text: str) -> dict[str, list[str]]:
    """What both languages must share: formulas, code, numbers to fill in, terms, links, and figures."""
    plain = texts.TERM.sub("", texts.NUMBER.sub("", FORMULA.sub("", CODE.sub("", text))))
    return {
        "formulas": sorted(FORMULA.findall(CODE.sub("", text))),
        "code": sorted(CODE.findall(text)),
        "numbers": sorted(texts.NUMBER.findall(text)),
        "terms": sorted({key for key, _ in texts.TERM.findall(text)}),
        "links": re.findall(r"\]\(([^)]+)\)", text),
        "figures": sorted(set(FIGURE.findall(plain))),
    }


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_both_languages_have_the_same_sections_formulas_code_numbers_terms_and_links(name: str) -> None:
    english, chinese = (texts.sections(name, language) for language in LANGUAGES)
    assert list(english) == list(chinese)
    for section in english:
        assert essence(english[section]) == essence(chinese[section]), section


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_three_to_five_questions_each_with_its_answer(name: str) -> None:
    found = texts.sections(name, "en")
    questions = [section for section in found if texts.QUESTION.fullmatch(section)]
    assert 3 <= len(questions) <= 5
    assert {section.replace("question", "answer") for section in questions} <= found.keys()
    assert {"title", "paper", "slides", "questions", "try"} <= found.keys()


def test_the_glossary_has_each_term_that_a_text_names_and_only_words_written_in_taiwan() -> None:
    named = {
        key for name in NOTEBOOKS for text in texts.sections(name, "en").values() for key, _ in texts.TERM.findall(text)
    }
    assert named <= glossary().keys()
    pages = [path.read_text(encoding="utf-8") for path in (COURSE / "texts").glob("*.zh.md")]
    written = set("".join([*pages, *(term.zh + term.meaning_zh for term in glossary().values())]))
    assert not written & SIMPLIFIED
    assert not [page for page in pages if MAINLAND.search(page)]


def test_a_term_in_chinese_has_the_english_beside_it_at_its_first_use_only() -> None:
    shown = "".join(texts.sections("01_data_and_errors", "zh").values())
    assert shown.count("訓練集（training set）") == 1


def test_a_number_or_term_that_is_not_there_is_an_error() -> None:
    assert texts.fill("{{a}} of {{b}}", {"a": 1, "b": "2"}, "en") == "1 of 2"
    with pytest.raises(KeyError, match="b"):
        texts.fill("{{a}} of {{b}}", {"a": 1}, "en")
    with pytest.raises(KeyError, match="no-such-term"):
        texts.fill("[[no-such-term]]", {}, "en")


def test_the_words_of_each_control_are_in_both_languages() -> None:
    labels = [
        label
        for path in sorted(COURSE.glob("[0-9][0-9]_*.py"))
        for label in re.findall(r'label="([^"]+)"', path.read_text(encoding="utf-8"))
    ]
    words = [label for label in labels if re.search(r"[A-Za-z]{3}", label)]
    assert len(words) > 20
    assert [label for label in words if not re.search(" / .*[\u4e00-\u9fff]", label)] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_word_stands_twice_once_the_terms_are_filled_in(name: str) -> None:
    for section, text in texts.sections(name, "en").items():
        numbers = {each: str(at) for at, each in enumerate(texts.NUMBER.findall(text))}
        shown = re.sub(r"<[^>]+>", "", texts.fill(CODE.sub("", text), numbers, "en"))
        twice = re.findall(r"\b([A-Za-z]{2,})\s+\1\b", shown)
        assert twice in ([], ["on"]), section  # "on on GPU 2" stands in the paper
