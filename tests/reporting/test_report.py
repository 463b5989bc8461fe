import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.planted import plant
from tests.trained import put, resign

import alexnet
from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.figures import catalogue
from alexnet.inference.evaluate import evaluate
from alexnet.inference.measures import wilson
from alexnet.reporting.report import report
from alexnet.reporting.results import nets_averaged
from alexnet.reporting.tables import tables
from alexnet.studies import designs
from alexnet.studies import run as study
from alexnet.studies.claims import ALL, CLAIMS

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


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw one figure of each run, which takes a third of the time, except in the tests that look at all."""
    if not request.node.name.startswith(("test_a_finished_run_is", "test_a_run_that_has_just", "test_a_store_that_is")):
        monkeypatch.setattr(catalogue, "QUICK", ("curves",))


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
    assert f"1 - recall: {100 * final['measures']['balanced_error']:.1f} % (" in words
    assert f" of 3 classes are never found: {', '.join(final['measures']['never_found'])}." in words
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
    resign(recipe, name=HOSTILE)
    page = Page(report(out))
    assert "x" not in page.loads
    assert page.words.count(HOSTILE) >= 4


def test_a_run_that_has_just_begun_is_reported_without_a_number_made_up(begun: Path) -> None:
    page = Page(report(begun))
    words = text(page)
    assert "0 of 3 epochs trained" in words
    assert "Not finished: the run has no final evaluation." in words
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
    top1 = json.loads(lines[-1])["top1"]
    low, high = (100 * bound for bound in wilson(top1, 12))
    assert f"{100 * top1:.1f} % ({low:.1f} to {high:.1f})" in words


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


def test_a_run_folder_can_be_reported_by_itself_and_be_named_by_a_string(out: Path) -> None:
    assert alexnet.report(str(out / "mine")) == out / "mine" / "report.html"
    assert "trained here: one run" in text(Page(out / "mine" / "report.html"))


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_runs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"no run in .*{name}"):
        report(tmp_path / name)


@pytest.fixture(scope="module")
def decided(store: Path, small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder below which a study has decided three claims, one epoch a run."""
    out = tmp_path_factory.mktemp("decided")
    brief, names = small.replace(epochs=1), ["momentum", "ten-views", "ensemble"]
    study.study(names, store, out / "deep" / "st", brief, seeds=2, precision="fp32", workers=1, quiet=True)
    return out


@pytest.fixture
def studied(decided: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(decided, tmp_path / "studied")
    return tmp_path / "studied"


def change(result: Path, **fields: object) -> None:
    result.write_text(json.dumps(json.loads(result.read_text()) | fields))


def racing(out: Path, small: Recipe, errors: dict[str, list[list[float]]]) -> None:
    """A study of ReLU against tanh that was stopped: what its runs' folders would hold."""
    (out / "race").mkdir(parents=True)
    (out / "race" / "study.json").write_text(json.dumps({"store": "/made/up", "store_digest": "0"}))
    for arm, of_seeds in errors.items():
        for seed, epochs in enumerate(of_seeds):
            recipe = small.replace(net={"classes": 10}, seed=seed).plain()
            recipe["net"]["activation"] = arm
            run = out / "race" / "runs" / f"{arm}{seed}-fp32"
            run.mkdir(parents=True)
            record = {"name": f"relu-tanh, {arm}", "digest": f"{arm}{seed}", "recipe": recipe, "sha256": {}}
            (run / "recipe.json").write_text(json.dumps(record))
            lines = [{"kind": "epoch", "step": i, "epoch": i, "train_error": e} for i, e in enumerate(epochs, 1)]
            (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_every_claim_is_listed_once_with_what_was_found_or_why_not(studied: Path) -> None:
    path = report(studied)
    words, markdown = text(Page(path)), path.with_name("report.md").read_text()
    for found in (json.loads((studied / "deep" / "st" / f"{n}.json").read_text()) for n in ("momentum", "ten-views")):
        (judged,) = [e for e in found["expects"] if e["judged"]]
        mean = f"{100 * judged['mean']:+.2f} points".replace("-", "−")
        assert mean in words
        assert mean in markdown
        assert found["words"] in words
        assert found["arms"][next(iter(found["arms"]))]["digests"][1] in words
        assert found["verdict"] in words
    assert (
        "30 pictures of 3 classes, 64 pixels a side, recipe given, 1 epoch. A small-scale result, not ImageNet."
        in words
    )
    assert "Seeds: 2." in words
    others = [claim.name for claim in ALL if claim.name not in ("momentum", "ten-views", "ensemble")]
    line = f"No result: {', '.join(others)}."
    assert line in words
    assert f"\n{line}\n" in markdown


def of_imagenets_classes(folder: Path, names: str = "n{:08d}", pictures: int = 1_281_167) -> None:
    """Let every run below have seen as many classes and pictures as ILSVRC has, with such names."""
    for file in folder.rglob("environment.json"):
        change(file, classes=1000, images={"train": pictures, "val": 12})
        file.with_name("classes.json").write_text(json.dumps([{"name": names.format(i)} for i in range(1000)]))


OTHERS = "Studies on other data than the paper's"


def of_other_data(words: str) -> str:
    """The table of studies with other data."""
    return words[words.index(OTHERS) : words.index("Runs of study")]


def test_ours_of_imagenets_classes_stands_in_the_papers_tables_with_its_scale(studied: Path) -> None:
    of_imagenets_classes(studied)
    words = text(Page(report(studied)))
    found = json.loads((studied / "deep" / "st" / "ensemble.json").read_text())
    seen = found["arms"]["net"]["measures"]
    together = f"top-1 {100 * seen['ensemble_top1'][0]:.1f} %"
    assert f"5 CNNs 38.1 % 16.4 % 16.4 % ours, 2 nets averaged: {together}" in words
    single = 100 * sum(seen["top1"]) / 2
    assert f"1 CNN 40.7 % 18.2 % – 40.66 % 18.21 % ours, mean over seeds: top-1 {single:.1f} %" in words
    assert "small-scale" not in words
    assert OTHERS not in words
    assert OTHERS not in (studied / "report.md").read_text()


def test_ours_of_other_classes_stands_in_a_table_of_its_own_that_cannot_be_compared(studied: Path) -> None:
    words, markdown = text(Page(report(studied))), (studied / "report.md").read_text()
    assert "Tables 1 and 2 of the paper" not in words
    assert "tables 1 and 2 are left out: no finished run here was trained on all of ImageNet's 1,000 classes" in words
    found = json.loads((studied / "deep" / "st" / "ensemble.json").read_text())
    seen = found["arms"]["net"]["measures"]
    own = of_other_data(words)
    assert "They cannot be compared with the paper's numbers" in own
    assert f"ours, 2 nets averaged 5 CNNs {100 * seen['ensemble_top1'][0]:.1f} %" in own
    assert f"ours, mean over seeds 1 CNN {100 * sum(seen['top1']) / 2:.1f} %" in own
    assert own.count("30 pictures of 3 classes") == 4
    assert "## Table 1" not in markdown
    assert "| ours, 2 nets averaged | 5 CNNs |" in markdown.split(f"## {OTHERS}")[1]


def test_a_thousand_classes_of_other_things_are_not_imagenets(studied: Path) -> None:
    of_imagenets_classes(studied, names="street {}")
    words = text(Page(report(studied)))
    assert "Tables 1 and 2 of the paper" not in words
    assert "ours, 2 nets averaged 5 CNNs" in of_other_data(words)


def test_a_small_part_of_imagenet_is_small_scale_and_stands_in_none_of_the_papers_tables(studied: Path) -> None:
    of_imagenets_classes(studied, pictures=30_000)
    words = text(Page(report(studied)))
    assert "Tables 1 and 2 of the paper" not in words
    assert "Table 1" not in (studied / "report.md").read_text()
    assert "ours, 2 nets averaged 5 CNNs" in of_other_data(words)
    assert of_other_data(words).count("A small-scale result, not ImageNet.") == 4


def test_the_papers_tables_have_every_row_in_its_order(studied: Path) -> None:
    of_imagenets_classes(studied)
    markdown = report(studied).with_name("report.md").read_text()
    rows = [line.split(" |")[0] for line in markdown[markdown.index("## Table 1") :].splitlines()]
    models = [row.removeprefix("| ") for row in rows if row.startswith("| ") and not row.startswith("| ours")]
    assert [m.replace("\\", "") for m in models if "CNN" in m or "SIFT" in m or "Sparse" in m] == [
        "Sparse coding", "SIFT + FVs", "CNN", "CNN, one view (section 4.1)",
        "SIFT + FVs", "1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*",
    ]  # fmt: skip


def test_the_rows_of_a_table_2_study_stand_beneath_their_models(studied: Path) -> None:
    of_imagenets_classes(studied)
    folder = studied / "deep" / "st"
    found = json.loads((folder / "ensemble.json").read_text())
    seven = {"model": "7 CNNs*", "nets": {"CNN": 5, "CNN*": 2}, "top1": 0.25, "top5": 0.125}
    one = {"model": "1 CNN", "nets": {"CNN": 2}, "top1": 0.5, "top5": 0.25}
    rows = [one | {"each_top1": [0.4, 0.6], "each_top5": [0.2, 0.3]}, seven | {"each_top1": [1] * 7, "each_top5": []}]
    (folder / "table-2.json").write_text(json.dumps(found | {"claim": "table-2", "rows": rows}))
    words = text(Page(report(studied)))
    assert "18.21 % ours, mean of 2 nets: top-1 50.0 % , top-5 25.0 % 30 pictures of 3 classes" in words
    assert "15.3 % ours, averaged: 5 CNN, 2 CNN*: top-1 25.0 % , top-5 12.5 % 30 pictures of 3 classes" in words
    (folder / "table-2.json").write_text('{"rows": [{"model": "1 CNN"}]}')
    with pytest.raises(InputError, match=r"table-2\.json is not what alexnet study writes"):
        report(studied)


def test_a_finished_run_of_imagenets_classes_stands_in_the_papers_tables_and_no_other_does(out: Path) -> None:
    shutil.copytree(out / "mine", out / "stopped")
    log = out / "stopped" / "log.jsonl"
    log.write_text("".join(f"{line}\n" for line in log.read_text().splitlines() if '"final"' not in line))
    words = text(Page(report(out)))
    assert "ours, recipe" not in words
    assert words.count("Not finished: the run has no final evaluation.") == 1
    of_imagenets_classes(out)
    words = text(Page(report(out)))
    assert words.count("ours, recipe") == words.count("Run mine.") == 2  # in table 1, and in table 2
    assert "1,281,167 pictures of 1,000 classes, views of 56 pixels, 3 epochs. Seed: " in words
    assert OTHERS not in words


def test_of_many_runs_the_best_three_are_shown_and_those_of_few_classes_take_no_place(out: Path) -> None:
    for i in range(4):
        for kind in ("few", "thousand"):
            folder = shutil.copytree(out / "mine", out / f"{kind}-{i}")
            lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
            lines[-1]["top1"] = (0.1 if kind == "few" else 0.6) + i / 100
            (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    shutil.rmtree(out / "mine")
    for i in range(4):
        of_imagenets_classes(out / f"thousand-{i}")
    papers, own = tables([], sorted(out.iterdir()))
    shown = [[row["scale"].split()[-1] for row in table["rows"] if row["ours"]] for table in papers]
    assert shown == [["thousand-0.", "thousand-1.", "thousand-2."]] * 2
    assert own == []
    assert tables([], sorted(out.glob("few-*"))) == ([], [])


def test_a_readers_own_runs_come_first(studied: Path, out: Path, records: Path) -> None:
    shutil.move(out / "mine", studied / "mine")
    shutil.move(records, studied / "kept")
    of_imagenets_classes(studied)
    path = report(studied)
    for words in (text(Page(path)), path.with_name("report.md").read_text()):
        assert 0 < words.index("3 of 3 epochs trained") < words.index("Claims, from records")
        assert words.index("Claims, from records") < words.index("The paper's claims") < words.index("Sparse coding")


def test_chance_and_the_commonest_class_stand_beside_the_errors(out: Path) -> None:
    """Of training pictures the third class is the commonest, and of the held-out ones it has 3 of 12."""
    change(out / "mine" / "environment.json", class_counts={"train": [1, 9, 20], "val": [6, 3, 3]})
    words = text(Page(report(out)))
    assert "chance 66.7 % 0.0 %" in words
    assert "commonest class 75.0 % 0.0 %" in words


def test_the_commonest_class_is_counted_in_the_store_where_the_run_did_not_and_left_out_where_that_is_gone(
    out: Path, two: Path, tmp_path: Path
) -> None:
    environment = json.loads((out / "mine" / "environment.json").read_text())
    del environment["class_counts"]  # as alexnet 0.1.0 wrote it
    for store, known in ((environment["store"], True), (str(tmp_path / "gone"), False), (str(two), False)):
        put(out / "mine", "environment.json", json.dumps(environment | {"store": store}).encode())
        words = text(Page(report(out)))
        assert "chance 66.7 %" in words
        assert ("commonest class 66.7 % 0.0 %" in words) == known


def test_the_split_is_named_and_ten_views_come_before_one(out: Path) -> None:
    words, markdown = text(Page(report(out))), (out / "report.md").read_text()
    found = words[words.index("val top-1 error") :]
    assert 0 < found.index("10 views") < found.index("one view") < found.index("chance") < found.index("commonest")
    assert "| val, 10 views |" in markdown


def test_claims_without_a_result_are_one_line_for_studies_and_records_together(studied: Path, records: Path) -> None:
    shutil.move(records, studied / "kept")
    words, markdown = text(Page(report(studied))), (studied / "report.md").read_text()
    others = [c.name for c in ALL if c.name not in ("momentum", "ten-views", "ensemble", "two-towers")]
    for page in (words, markdown):
        assert page.count("No result: ") == page.count(f"No result: {', '.join(others)}.") == 1


def test_classes_that_no_training_wrote_are_refused_in_one_line(out: Path) -> None:
    of_imagenets_classes(out)
    (out / "mine" / "classes.json").write_text("[1, 2]")
    with pytest.raises(InputError, match=r"classes\.json is not what alexnet train writes") as refused:
        report(out)
    assert "\n" not in str(refused.value)


def test_a_verdict_has_a_shape_beside_its_word(studied: Path) -> None:
    shapes = {"holds": "●", "opposite": "✕", "absent": "⊘", "not shown": "○", "does not hold": "✕"}
    for some in (["holds", "opposite", "absent"], ["not shown", "does not hold", "holds"]):
        for claim, verdict in zip(("momentum", "ten-views", "ensemble"), some, strict=True):
            change(studied / "deep" / "st" / f"{claim}.json", verdict=verdict)
        markdown, words = report(studied).with_name("report.md").read_text(), text(Page(studied / "report.html"))
        for verdict in some:
            assert f"| {shapes[verdict]} {verdict} |" in markdown
            assert f"{shapes[verdict]} {verdict} " in words


def test_what_a_study_says_is_shown_and_not_obeyed(studied: Path) -> None:
    change(studied / "deep" / "st" / "momentum.json", words=HOSTILE, commit=f"{HOSTILE}|\n# x", notes=[HOSTILE])
    page = Page(report(studied))
    assert "x" not in page.loads
    assert page.words.count(HOSTILE) == 3
    markdown = (studied / "report.md").read_text()
    assert "<img" not in markdown
    assert "\n# x" not in markdown
    assert "&gt;\\| # x |" in markdown


def test_a_report_changes_nothing_in_a_study_and_can_be_written_into_it(studied: Path) -> None:
    folder = studied / "deep" / "st"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    report(folder)
    assert {p: p.read_bytes() for p in before} == before
    assert {p.name for p in folder.iterdir()} - {p.name for p in before} >= {"report.html", "report.md"}


def test_a_result_that_no_study_wrote_is_refused_in_one_line(studied: Path) -> None:
    (studied / "deep" / "st" / "lrn.json").write_text('{"claim": "lrn"}')
    with pytest.raises(InputError, match=r"lrn\.json is not what alexnet study writes") as refused:
        report(studied)
    assert "\n" not in str(refused.value)


def test_figure_1_is_drawn_of_an_unfinished_study_with_the_ratio_so_far(tmp_path: Path, small: Recipe) -> None:
    # From chance, 0.9: ReLU is at 25 % in the middle of epoch 2 and of 1; tanh in that of 4, and not at all yet.
    racing(tmp_path, small, {"relu": [[0.5, 0.25], [0.25]], "tanh": [[0.6, 0.5, 0.4, 0.25], [0.7, 0.6]]})
    page = Page(report(tmp_path))
    words = text(page)
    assert "Begun, not finished: relu-tanh (4 runs). No result: two-towers, " in words
    assert "No claim has been decided yet." in words
    assert "ReLU 1.5, 0.5; tanh 3.5, not in the 2 so far." in words
    assert "tanh took 4.04 times as many in the mean of 1 and 2 seeds (one seed has no interval" in words
    assert page.tags.count("img") == 1
    assert {p.name for p in tmp_path.iterdir()} >= {"figure-1.png", "figure-1.svg", "report.md"}
    assert "![Figure 1](figure-1.png)" in (tmp_path / "report.md").read_text()


def compared(**of: object) -> dict[str, object]:
    """An expectation as alexnet 0.1.0 wrote it."""
    before = {"more": "a", "less": "b", "measure": "top1", "than": None, "judged": True, "ratio": False, "paper": 0.01}
    found = {
        "mean": -0.012,
        "low": -0.02,
        "high": -0.004,
        "verdict": "does not hold",
        "why": "w",
        "paper_inside": False,
    }
    return before | found | {"log": None, "differences": [-0.012], "needed": 4, "needed_paper": 9} | of


def test_what_alexnet_0_1_0_found_is_still_reported_in_its_words(studied: Path) -> None:
    folder = studied / "deep" / "st"
    expects = [compared(), compared(judged=False, verdict="not shown", mean=0.5, low=-0.5, high=1.5, measure="top5")]
    change(folder / "momentum.json", verdict="does not hold", expects=expects)
    words = text(Page(report(studied)))
    assert "✕ does not hold" in words
    assert "−1.20 points (95 % interval −2.00 to −0.40; the paper's number lies outside the interval)" in words
    assert "the paper's number would take about 9 seeds" in words
    assert "an effect of this size" not in words
    assert words.count("would take about 9 seeds") == 1  # only what is not shown asks for more seeds


def test_an_average_stands_beneath_its_row_by_what_each_version_averaged(decided: Path) -> None:
    found = json.loads((decided / "deep" / "st" / "ensemble.json").read_text())
    assert nets_averaged(found | {"seeds": 10}) == "5 of 10 nets averaged"
    assert nets_averaged(found | {"seeds": 4}) == "4 nets averaged"
    assert nets_averaged(found | {"seeds": 10, "expects": [compared()]}) == "10 nets averaged"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A folder with records of two-towers, one of them damaged."""
    claim = CLAIMS["two-towers"]
    _, base, _ = designs.base_of(claim, 32, None)
    two, one = designs.arms_of(claim, base.replace(net={"classes": 10})).values()
    plant(tmp_path / "kept", two, [0.25, 0.251, 0.249, 0.25], held_out=10_000)
    (path, *_) = plant(tmp_path / "kept", one, [0.27, 0.271, 0.269, 0.27, 0.3], held_out=10_000)[::-1]
    path.write_text(path.read_text().replace('"seconds":100.0', '"seconds":101.0'))
    return tmp_path / "kept"


def test_records_alone_are_reported_with_verdict_scale_figure_and_what_is_left_out(records: Path) -> None:
    page = Page(report(records))
    words, markdown = text(page), (records / "report.md").read_text()
    section = words[words.index("Claims, from records") :]
    assert "two-towers 3.2 1.7 points 1.70 points +2.00 points (" in section
    assert "● holds" in section
    assert "50,000 pictures of 10 classes, 32 pixels a side, judged on 10,000" in section
    assert "its checksum is wrong" in section
    others = [claim.name for claim in ALL if claim.name not in ("two-towers", "ten-views")]  # that wants the base alone
    assert f"No result: {', '.join(others)}." in section
    assert page.tags.count("img") == 1
    assert (records / "claims.svg").is_file()
    assert "![The claims, from records](claims.png)" in markdown
    assert "| two-towers | 3.2 | 1.7 points | 1.70 points | **+2.00 points (" in markdown
    assert "its checksum is wrong" in markdown
    assert "8 records of runs" in words


def test_files_of_runs_and_studies_are_not_called_records_that_are_left_out(records: Path, out: Path) -> None:
    shutil.move(records, out / "kept")
    words = text(Page(report(out)))
    section = words[words.index("Left out") : words.index("No result: ")]
    assert section.count(".json") == 1
    assert "How it was made" in words


def test_damaged_records_alone_are_named(records: Path) -> None:
    for path in records.glob("*.json"):
        path.write_text(path.read_text().replace("bf16", "fp32"))
    words = text(Page(report(records)))
    assert "The records decide no claim" in words
    assert words.count("its checksum is wrong") == 9


def test_a_study_that_has_not_begun_is_reported(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"store": "/made/up", "store_digest": "0"}')
    words = text(Page(report(tmp_path)))
    assert "No run has begun." in words
    assert "No result: relu-tanh, two-towers, " in words


def test_kept_results_stand_in_the_report_with_their_worst_classes_and_damaged_ones_are_named(
    out: Path, store: Path
) -> None:
    mine = out / "mine"
    assert "Measured with alexnet evaluate" not in text(Page(report(out)))
    found = evaluate(store, mine, split="train", views=1, precision="fp32", keep=True)
    evaluate(store, mine, views=1, precision="fp32", keep=True)
    (mine / "results" / "test-1-x.json").write_text("{")
    words, markdown = text(Page(report(out))), (out / "report.md").read_text()
    low, high = found.errors.top1_interval
    top1 = f"{100 * found.errors.top1:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    at = "1 view, fp32; checkpoint 00000012, epoch 3 of 3"
    assert f"train {at} {top1} " in words
    assert f"| train | {top1} | " in markdown
    assert words.count(at) == markdown.count(at) == 2
    assert words.index("Measured with") < words.index(f"val {at} 66.7 %") < words.index(f"train {at} {top1} ")
    worst = found.measures.order()[0]
    least = f"{found.measures.classes[worst]} {100 * found.measures.recall[worst]:.1f} % of 10"
    for page in (words, markdown):
        assert f"Found least in train (recall, pictures): {least}" in page
        assert "damaged" in page
    assert "results/test-1-x.json is left out: damaged" in words


def test_a_result_of_another_store_names_it(out: Path, two: Path) -> None:
    evaluate(two, out / "mine", views=1, precision="fp32", keep=True)
    assert "val of store " in text(Page(report(out)))
