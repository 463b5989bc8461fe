import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alexnet.errors import UnusableError
from alexnet.report import report

HOSTILE = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What a browser would see: the tags, the attributes that could load something, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.words += f"{data} "


def text(page: Page) -> str:
    return " ".join(page.words.split())


@pytest.fixture
def out(run: Path, tmp_path: Path) -> Path:
    """A folder with one finished run."""
    shutil.copytree(run, tmp_path / "out" / "mine")
    return tmp_path / "out"


@pytest.fixture
def begun(out: Path) -> Path:
    """The same run as it stood before its first step."""
    (out / "mine" / "log.jsonl").write_text("")
    shutil.rmtree(out / "mine" / "checkpoints")
    return out


def test_a_finished_run_is_reported_with_its_errors_chance_and_scale(out: Path) -> None:
    page = Page(report(out))
    words = text(page)
    final = json.loads((out / "mine" / "log.jsonl").read_text().splitlines()[-1])
    assert f"10 views {100 * final['top1']:.1f} %" in words
    assert f"one view {100 * final['one_view']['top1']:.1f} %" in words
    assert "chance 66.7 % 0.0 % 1.099" in words
    assert "3 classes; 30 pictures to train on, 12 held out (val). 3 of 3 epochs trained." in words
    assert "A small-scale result, not ImageNet." in words
    assert "Not finished" not in words
    assert page.tags.count("img") == 3


def test_the_recipe_and_the_store_are_named_with_their_digests(out: Path) -> None:
    words = text(Page(report(out)))
    assert json.loads((out / "mine" / "recipe.json").read_text())["digest"] in words
    assert json.loads((out / "mine" / "environment.json").read_text())["store_digest"] in words


def test_a_page_loads_nothing_from_elsewhere(out: Path) -> None:
    path = report(out)
    page = Page(path)
    assert all(load.startswith(("data:image/png;base64,", "#run-")) for load in page.loads)
    assert not re.search(r"https?:|@import|url\(", path.read_text(encoding="utf-8"))
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_hostile_names_are_shown_and_not_obeyed(out: Path) -> None:
    (out / "mine").rename(out / HOSTILE)
    environment = out / HOSTILE / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"device": HOSTILE, "store": HOSTILE}))
    recipe = out / HOSTILE / "recipe.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"name": HOSTILE}))
    page = Page(report(out))
    assert "x" not in page.loads
    assert page.words.count(HOSTILE) >= 4


def test_a_run_that_has_just_begun_is_reported_without_a_number_made_up(begun: Path) -> None:
    page = Page(report(begun))
    words = text(page)
    assert "0 of 3 epochs trained" in words
    assert "Not finished: there is no final evaluation." in words
    assert "No error has been measured yet." in words
    assert words.count("Not drawn:") == 3
    assert "img" not in page.tags


def test_an_unfinished_run_shows_its_last_validation(out: Path) -> None:
    log = out / "mine" / "log.jsonl"
    lines = [line for line in log.read_text().splitlines() if '"final"' not in line]
    log.write_text("\n".join(lines) + '\n{"kind": "step", "st')  # cut short by a crash
    words = text(Page(report(out)))
    assert "one view, after epoch 3" in words
    assert "Not finished" in words


def test_a_missing_environment_is_said(begun: Path) -> None:
    (begun / "mine" / "environment.json").unlink()
    assert "environment.json is missing" in text(Page(report(begun)))


def test_a_store_that_is_gone_costs_only_the_panel(out: Path) -> None:
    environment = out / "mine" / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"store": str(out / "gone")}))
    page = Page(report(out))
    assert page.tags.count("img") == 2
    assert text(page).count("Not drawn:") == 1


def test_only_a_thousand_classes_and_a_million_pictures_are_not_called_small(begun: Path) -> None:
    environment = begun / "mine" / "environment.json"
    images = {"train": 1_281_167, "val": 50_000}
    record = json.loads(environment.read_text()) | {"classes": 1000, "images": images}
    environment.write_text(json.dumps(record))
    words = text(Page(report(begun)))
    assert "1,000 classes; 1,281,167 pictures to train on, 50,000 held out (val)" in words
    assert "small-scale" not in words


def test_time_is_added_up_over_resumptions(out: Path) -> None:
    log = out / "mine" / "log.jsonl"
    line = '{{"kind": "step", "step": {}, "epoch": 0.1, "loss": 1, "error": 1, "rate": 1, "seconds": {}}}\n'
    log.write_text("".join(line.format(*pair) for pair in ((1, 100), (2, 200), (3, 5), (4, 41))))
    assert "Time logged 4 min 1 s" in text(Page(report(out)))


def test_several_runs_are_found_at_any_depth_and_listed_first(out: Path) -> None:
    shutil.copytree(out / "mine", out / "deep" / "er" / "second")
    words = text(Page(report(out)))
    assert "2 runs" in words
    assert words.index("deep/er/second") < words.index("How it was made")


def test_a_run_folder_can_be_reported_by_itself(out: Path) -> None:
    assert report(out / "mine") == out / "mine" / "report.html"
    assert "trained here: one run" in text(Page(out / "mine" / "report.html"))


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableError, match=f"no run in .*{name}"):
        report(tmp_path / name)
