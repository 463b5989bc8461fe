"""A deck's folder: its files name each other and nothing else, and nothing of a reader's is replaced."""

import re
from pathlib import Path

import pytest
from tests.reporting.slides.conftest import Decks

from alexnet.cli.main import main
from alexnet.reporting.slides import pictures
from alexnet.reporting.slides.write import deck


def test_the_files_name_their_pictures_and_ask_no_other_host_for_anything(decks: Decks) -> None:
    for files in (decks.en, decks.zh):
        text, page = files["slides.md"].decode(), files["slides.html"].decode()
        named = set(re.findall(r"!\[[^\]]+\]\((pictures/[\w-]+\.png)\)", text))
        assert named == files.keys() - {"slides.md", "slides.html"}
        assert text.count("![") == len(re.findall(r"!\[[^\]]+\]\(pictures/", text)) == page.count("<img ")
        assert "imgur" not in text + page
        asked = re.sub(r'<a href="[^"]*"|xmlns="[^"]*"', "", page)
        assert "http" not in re.sub(r"http-equiv", "", asked)
        assert set(re.findall(r'src="([^"]{10})', page)) == {"data:image"}
        assert all(alt for alt in re.findall(r'<img [^>]*alt="([^"]*)"', page))
        assert text.startswith('---\ntitle: "')
        assert "\nslideOptions:\n" in text.partition("\n---\n")[0]
        assert len(text) < 100_000  # HackMD's limit of a note


def test_every_picture_of_the_package_is_on_a_slide(decks: Decks) -> None:
    kept = {name for name, png in decks.drawn.items() if isinstance(png, bytes)}
    shown = {name.removeprefix("pictures/").removesuffix(".png") for name in decks.en if name.startswith("pictures/")}
    # With records of relu-tanh their figure 1 takes the place of the run's own activations.
    assert kept - shown == {"saturation"}
    assert {*pictures.ALWAYS, *pictures.OF_A_RUN, *pictures.OF_RECORDS, "claims-1"} == kept


def test_published_pictures_are_named_by_their_address_in_the_markdown_alone(decks: Decks) -> None:
    files = deck(decks.source, decks.drawn, "en", "https://example.org/talk/")
    names = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", files["slides.md"].decode())
    assert all(name.startswith("https://example.org/talk/pictures/") for name in names)
    assert files["slides.html"] == decks.en["slides.html"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}", "{used}"], "exists; slides never replace a folder, which may hold your changes: give a new one"),
        (["{run}", "{gone}/talk"], "cannot be made, because"),
        (["{empty}", "{new}"], "is not a run and holds no record of a run; name what train or study made"),
        (["{gone}", "{new}"], "does not exist; give a folder that holds records"),
        (["{records}", "{new}", "--records", "{records}"], "is not a run: it has no recipe.json; name a run first"),
        (["{run}", "{new}", "--records", "{empty}"], "holds no record of a run"),
        (["{run}", "{new}", "--pictures-at", "talk"], "--pictures-at talk is not an address"),
        (["{run}", "{new}", "--pictures-at", "https://a.example/) b"], "and has no spaces, quotes, brackets"),
        (["{damaged}", "{new}"], "recipe.json"),
        (["{run}", "{new}", "--lang", "fr"], "fr"),
    ],
)
def test_unusable_input_is_one_line_and_leaves_nothing(
    words: list[str], said: str, run: Path, records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = {name: tmp_path / name for name in ("used", "empty", "damaged", "gone", "new")}
    for name in ("used", "empty", "damaged"):
        folders[name].mkdir()
    (folders["used"] / "slides.md").write_text("my own")
    (folders["damaged"] / "recipe.json").write_text('{"recipe": 1')
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["slides", *(word.format(run=run, records=records, **folders) for word in words)])
    line = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in line
    assert line.count("\n") == 1 or "fr" in words
    assert sorted(tmp_path.rglob("*")) == before
    assert (folders["used"] / "slides.md").read_text() == "my own"
