"""The text of a deck: the seed's outline, its corrections, the verdicts of records, and the same in both languages."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reporting.slides.conftest import Decks
from tests.reporting.slides.decks import Slide, slides

from alexnet.reporting.slides.source import Source, open_source
from alexnet.reporting.slides.words import Language, escaped, write_words
from alexnet.studies.claims import ALL
from alexnet.studies.wording import number

SEED = (  # the headings of the deck of 2018, in order
    "PyTorch Tainan 090118", "Outline", "1 Introduction", "Contribution 1", "Contribution 2", "Contribution 3",
    "Contribution 4", "Final architecture (1)", "Final architecture (2)", "Supplement (1)", "Supplement (2)",
    "2 The Dataset", "Supplement (3)", "3 The Architecture", "3.1 ReLU Nonlinearity", "Supplement (4)",
    "3.2 Training on Multiple GPUs (1)", "3.2 Training on Multiple GPUs (2)", "3.3 Local Response Normalization (1)",
    "3.3 Local Response Normalization (2)", "3.4 Overlapping Pooling (1)", "3.4 Overlapping Pooling (2)",
    "3.5 Overall Architecture (1)", "3.5 Overall Architecture (2)", "4 Reducing Overfitting",
    "4.1 Data Augmentation", "4.2 Dropout", "Supplement (7)", "5 Details of learning", "Supplement (8)",
    "6 Result: ILSVRC-2010", "6 Result: ILSVRC-2012", "Thanks for listening", "Reference",
)  # fmt: skip
ALIKE = {  # what a translation keeps: the pattern, and what it means
    "pictures": r"!\[[^\]]*\]\(([^)]*)\)",
    "formulas": r"\$\$[^$]+\$\$|(?<![$\\])\$[^$\n]+\$(?!\$)",
    "code": r"`[^`]+`",
    "links": r"(?<!!)\[[^\]]*\]\(([^)]*)\)",
    "numbers": r"\d[\d,.]*\d|\d",
}


def amount(number: str) -> str:
    """A number without its commas and the zeros behind its point."""
    plain = number.replace(",", "").strip(".")
    return f"{float(plain):.9g}" if plain.count(".") < 2 else plain


def of(decks: Decks, language: str) -> list[Slide]:
    return slides(getattr(decks, language)["slides.md"].decode())


def test_the_outline_is_that_of_the_deck_of_2018_with_every_part_and_supplement(decks: Decks) -> None:
    headings = iter(slide.shown for slide in of(decks, "en"))
    for name in SEED:
        assert any(re.search(rf"^#+ {re.escape(name)}", shown, re.M) for shown in headings), name


@pytest.mark.parametrize("kind", ALIKE)
def test_both_languages_have_the_same_slides_with_the_same_contents(decks: Decks, kind: str) -> None:
    english, chinese = of(decks, "en"), of(decks, "zh")
    assert len(english) == len(chinese) > 70
    for one, other in zip(english, chinese, strict=True):
        # The words beside a picture may count what it shows.
        texts = [re.sub(r"!\[[^\]]*\]", "![]", f"{each.shown}\n{each.notes}") for each in (one, other)]
        pair = [sorted(re.findall(ALIKE[kind], text)) for text in texts]
        if kind == "numbers":
            texts[1] = re.sub(r"([\d,]+) 萬", lambda of: f"{float(of[1].replace(',', '')) / 100:g} million", texts[1])
            pair = [sorted({amount(part) for part in re.findall(ALIKE[kind], text)}) for text in texts]
        assert pair[0] == pair[1], f"{one.heading}: {pair}"


def test_chinese_is_traditional_and_says_every_slide_in_chinese(decks: Decks) -> None:
    text = decks.zh["slides.md"].decode()
    body = text[: text.rindex("## 參考資料")]  # the deck's own list has a title in simplified characters
    assert not set("网络图与学习训练层权变数据类误验证测试维为这说对时间过响应个机样张输优减动评单") & set(body)
    for slide in of(decks, "zh"):
        for part in (slide.shown, slide.notes):
            assert re.search("[\u4e00-\u9fff]", part), slide.heading


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_eleven_slips_are_corrected_where_they_stood(decks: Decks, language: str) -> None:
    word = {"en": "Correction", "zh": "更正"}[language]
    places: dict[int, list[str]] = {}
    for slide in of(decks, language):
        for slip in slide.found(rf"\*\*{word} (\d+)[.。]\*\*"):
            places.setdefault(int(slip), []).append(slide.heading)
    assert set(places) == set(range(1, 12))
    starts = {1: "3.3", 2: "3 ", 3: "2 ", 4: "4.1", 5: "4.1", 7: "3.4", 8: "5 ", 11: "5 "}
    assert all(heading.startswith(starts[slip]) for slip in starts for heading in places[slip])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_notes_of_every_slide_name_the_papers_section_or_say_that_it_is_not_the_papers(
    decks: Decks, language: str
) -> None:
    words = {
        "en": r"[Ss]ections? \d|Figure 2|supplement of the deck|Not in the deck|Srivastava|deck|alexnet slides",
        "zh": r"第 \d[\d.]*|圖 2|原投影片|2018 年的?投影片|Srivastava|alexnet slides",
    }[language]
    for slide in of(decks, language):
        assert re.search(words, slide.notes), slide.heading


def test_each_claim_has_its_verdict_on_a_slide_with_the_numbers_of_the_records(decks: Decks) -> None:
    tests: dict[str, str] = {}
    for slide in of(decks, "en"):
        tests |= dict(re.findall(r"> \*\*Our test, `([\w-]+)`:\*\* (.+)", slide.shown))
    assert set(tests) == {claim.name for claim in ALL}
    row = decks.source.rows["two-towers"]
    low, high = (number(row[end], row, "+") for end in ("low", "high"))
    assert row["verdict"] == "holds"
    assert (
        f"● **holds**: {number(row['difference'], row, '+')} points (95 % interval {low} to {high}), 4 seeds."
        in (tests["two-towers"])
    )
    assert "The paper: 1.7 points." in tests["two-towers"]
    assert "Scale: cifar-10, 50,000 pictures, small, ground A, 20 epochs, bf16." in tests["two-towers"]
    assert "○ **not shown**" in tests["crops"]
    assert "Fewer than 3 seeds give no verdict." in tests["crops"]
    assert (
        tests["decay"] == "– not run: the records hold no run of it. `alexnet study decay --list` tells what it costs."
    )


def test_what_a_run_or_records_alone_cannot_show_is_said_on_its_slide(decks: Decks) -> None:
    run_alone = {name: "" if name in ("relu-tanh", "overfitting") else png for name, png in decks.drawn.items()}
    run_alone = {name: png for name, png in run_alone.items() if not name.startswith("claims-")}
    text, used = write_words(Source(decks.source.run, None), run_alone, "en")
    assert text.count("no records were given. `alexnet slides RUN OUT --records results`") == len(ALL)
    assert "`alexnet slides RUN OUT --records results` shows the claims here." in text
    assert {"kernels", "curves", "top5", "maps", "saturation"} <= set(used)
    records_alone = {
        name: "" if name in ("kernels", "curves", "top5", "maps", "saturation") else png
        for name, png in decks.drawn.items()
    }
    text, used = write_words(replace(decks.source, run=None), records_alone, "en")
    assert text.count("*No run was given.* `alexnet slides RUN OUT`") == 5
    assert {"relu-tanh", "overfitting", "claims-1"} <= set(used)
    for slide in slides(text):
        assert re.sub(r"^#.*$|^\s*$", "", slide.shown, flags=re.M) or slide.heading == "Thanks for listening!"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_imported_weights_have_no_epochs_and_no_errors_and_are_not_said_to_be_unfinished(
    decks: Decks, run: Path, language: Language, tmp_path: Path
) -> None:
    bare = tmp_path / "run"
    shutil.copytree(run, bare)
    (bare / "log.jsonl").write_text("")
    source = open_source(bare)
    assert source.run is not None
    source.run.opened.environment.update(imported={"kind": "torchvision"}, images={})
    text, _ = write_words(source, decks.drawn, language)
    heading = {"en": "6 Result: this run", "zh": "6 結果：這次訓練"}[language]
    (shown,) = [each.shown for each in slides(text) if each.heading == heading]
    assert {"en": "The weights were imported", "zh": "權重是匯入的"}[language] in shown
    assert len(re.findall(r"^\|", shown, re.M)) == 4  # heads, recipe, and classes


@pytest.mark.parametrize(
    ("classes", "dropout", "said"), [(6, 0.5, "with dropout and random views"), (5, 0.0, "with random views")]
)
def test_a_training_error_says_what_it_holds_and_a_top_5_error_needs_six_classes(
    decks: Decks, run: Path, monkeypatch: pytest.MonkeyPatch, classes: int, dropout: float, said: str
) -> None:
    source = open_source(run)
    assert source.run is not None
    opened = source.run.opened
    monkeypatch.setattr(opened, "recipe", opened.recipe.replace(net={"classes": classes, "dropout": dropout}))
    text, _ = write_words(source, decks.drawn, "en")
    assert f"| training error, {said} |" in text
    assert ("| top-5 error |" in text) == (classes > 5)


def test_a_reason_and_a_name_are_words_and_never_markup(decks: Decks) -> None:
    hostile = "<script>alert(1)</script> $x$ ==a== **b** `c` | d\n# e"
    drawn = decks.drawn | {"kernels": hostile}
    text, _ = write_words(decks.source, drawn, "en")
    assert escaped(hostile) in text
    from alexnet.reporting.slides.page import renderer, slide

    (shown,) = [each.shown for each in slides(text) if each.heading == "6.1 Kernels of conv1"]
    body = slide(renderer(), shown, {})["body"]
    for markup in ("<script", "<math", "<mark>", "<code>c", "<h1"):
        assert markup not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $x$ ==a== **b** `c` | d # e" in body
