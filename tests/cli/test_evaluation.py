import csv
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alexnet.cli.evaluation import CLASSES, show_evaluation
from alexnet.cli.main import main
from alexnet.inference.evaluation import Errors
from alexnet.inference.measures import Measures, csv_rows, measures


def of(counts: list[int], names: list[str] | None = None, lost: int | None = None) -> Measures:
    """Measures of random answers, none of which names the class `lost`."""
    random = np.random.Generator(np.random.Philox(1))
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = random.dirichlet(np.ones(len(counts)), len(labels))
    rows[np.arange(len(labels)), labels] += 0.4
    if lost is not None:
        rows[:, lost] = 0
    rows /= rows.sum(1, keepdims=True)
    return measures(rows, labels, names or [f"class {i}" for i in range(len(counts))], counts)


def shown(seen: Measures, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a terminal of 80 columns shows."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    n = int(seen.counts.sum())
    one, ten = (Errors(n, views, 0.325, 0.05, 1.0234) for views in (1, 10))
    where = SimpleNamespace(run="run", words=lambda: "checkpoint 00001140, epoch 30 of 30")
    found = SimpleNamespace(
        errors=ten, one_view=one, measures=seen, split="val", among="run", runs=("run",), progress=[where]
    )
    show_evaluation(found, as_json=False, per_class=True)
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()


def test_the_table_fits_80_columns_and_names_the_class_that_is_never_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a garment of a very long name, {i}" for i in range(9)] + ["scarf"]
    lines = shown(of([200, 20, 5] * 3 + [5], names, lost=9), capsys, monkeypatch)
    assert max(map(len, lines)) <= 80
    assert lines[:2] == [
        "val: 680 pictures of 10 classes; error with 95 % interval",
        "run: checkpoint 00001140, epoch 30 of 30",
    ]
    words = [" ".join(line.split()) for line in lines]
    assert any(line.startswith("balanced error ") and "classes of 5 to 200 pictures" in line for line in words)
    assert "never found 1 of 10 classes scarf" in words
    assert any(line.startswith("10 views 32.5 % (29.1 % to 36.1 %) 5.0 % (3.6 % to 6.9 %) 1.0234") for line in words)
    first = next(i for i, line in enumerate(words) if line.startswith("class pictures recall"))
    assert words[first + 2].startswith("scarf 5 0.0 %")


def test_equal_classes_need_no_balanced_error_and_of_five_classes_no_top_5_error_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(shown(of([20] * 5), capsys, monkeypatch))
    assert "balanced" not in text
    assert "top-5" not in text
    assert "top-5" in "\n".join(shown(of([20] * 6), capsys, monkeypatch))


def test_of_a_thousand_classes_the_worst_are_shown_and_where_to_find_all(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(of([2] * 999 + [0]), capsys, monkeypatch)
    assert len(lines) < CLASSES + 30
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "These are the 40 that are found least, of 999 classes; --json has all classes"


def test_a_class_without_pictures_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(of([4, 0, 4]), capsys, monkeypatch)
    assert lines[0] == "val: 8 pictures of 2 of the run's 3 classes; error with 95 % interval"
    assert lines[-2].split()[:3] == ["class", "1", "0"]
    assert lines[-2].rstrip().endswith("no picture in this split")


def test_a_class_without_pictures_that_no_picture_was_taken_for_has_no_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(of([4, 0, 4], lost=1), capsys, monkeypatch)
    assert sum(line.split()[:1] == ["class"] for line in lines) == 3  # the heading, and classes 0 and 2
    assert not any("no picture in this split" in line for line in lines)


def test_the_confusion_matrix_is_written_with_names_rows_true(tmp_path: Path) -> None:
    seen = of([3, 2], ["a, b", 'c"d'])
    (tmp_path / "c.csv").write_bytes(b"".join(csv_rows(seen)))
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["true / predicted", "a, b", 'c"d']
    assert rows[0][1:] == ["a, b", 'c"d']
    assert [[float(x) for x in row[1:]] for row in rows[1:]] == [seen.matrix_row(0), seen.matrix_row(1)]


def test_evaluate_keeps_writes_and_prints_all_of_it(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = shutil.copytree(run, tmp_path / "mine")

    def said(*words: object) -> tuple[int | str | None, str, str]:
        code: int | str | None = 0
        try:
            main(["evaluate", str(store), str(mine), *map(str, words), "--precision", "fp32"])
        except SystemExit as end:
            code = end.code
        return code or 0, *capsys.readouterr()

    code, out, err = said("--json", "--confusion", tmp_path / "c.csv", "--views", "1", "--checkpoint", "12")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["kept"] == str(next((mine / "results").iterdir()))
    assert (found["split"], found["checkpoints"][0]["checkpoint"]) == ("val", "00000012")
    assert sum(pictures for _, _, pictures in found["confusion"]) == found["images"] == 12
    assert [each["class"] for each in found["per_class"]] == ["blue", "green", "red"]
    assert (tmp_path / "c.csv").read_text().startswith("true / predicted,blue,green,red\nblue,")
    assert said("--no-keep", "--split", "train")[0] == 0
    assert len(list((mine / "results").iterdir())) == 1
    code, _, err = said("--checkpoint", "7")
    assert code == 2
    assert "--checkpoint 7: run " in err
    assert "00000012" in err
    code, _, err = said("--confusion", tmp_path / "c.txt")
    assert (code, "ends in .csv" in err) == (2, True)
    shutil.rmtree(mine / "results")
    (mine / "results").write_text("")
    code, out, err = said("--views", "1")
    assert (code, out.startswith("val: 12 pictures of 3 classes")) == (0, True)
    assert err == f"alexnet: the result is not kept in run {mine}: File exists\n"
