"""The pictures of a deck: what is computed for them, and what happens where one cannot be drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lab.slides.conftest import Decks

from alexnet.core.errors import InputError
from alexnet.figures.run_data import RunData
from alexnet.lab.slides import draw_records, draw_runs, pictures
from alexnet.lab.slides.source import Source, open_source


def only(monkeypatch: pytest.MonkeyPatch, *of_a_run: str) -> None:
    """Let a deck have the pictures of runs that are named, and no others."""
    monkeypatch.setattr(pictures, "DOTS", 10)
    monkeypatch.setattr(pictures, "ALWAYS", {})
    monkeypatch.setattr(pictures, "OF_A_RUN", {name: pictures.OF_A_RUN[name] for name in of_a_run})


def test_a_run_whose_store_is_gone_still_has_its_curves_and_kernels_and_says_what_it_lacks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "curves", "kernels", "top5", "maps")
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    opened = Source(RunData(moved, lambda done, of: None), None)
    assert opened.run is not None
    monkeypatch.setitem(opened.run.opened.environment, "store", str(tmp_path / "gone"))
    drawn = pictures.draw_pictures(opened)
    assert isinstance(drawn["curves"], bytes)
    assert isinstance(drawn["kernels"], bytes)
    assert isinstance(drawn["top5"], str)
    assert "gone" in drawn["top5"]
    assert drawn["relu-tanh"] == drawn["overfitting"] == ""


def test_a_run_without_a_checkpoint_says_so_in_place_of_its_kernels(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "kernels")
    bare = tmp_path / "run"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("checkpoints"))
    drawn = pictures.draw_pictures(open_source(bare))
    assert "no checkpoint" in str(drawn["kernels"])


def test_a_log_of_another_shape_is_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alexnet.lab.slides.words import told_of

    odd = tmp_path / "run"
    shutil.copytree(run, odd)
    (odd / "log.jsonl").write_text(json.dumps({"kind": "epoch", "step": 1, "epoch": 1, "train_error": 0.5}) + "\n")
    with pytest.raises(InputError, match=r"is not what alexnet train writes \(KeyError"):
        told_of(open_source(odd))
    only(monkeypatch, "curves")
    assert "is not what alexnet train writes" in str(pictures.draw_pictures(open_source(odd))["curves"])


def test_the_towers_are_compared_in_numbers(run: Path) -> None:
    found = draw_runs.towers(RunData(run, lambda done, of: None))
    assert found is not None
    assert len(found["colours"]) == len(found["orientations"]) == 2
    assert found["verdict"] in ("early", "apart", "alike")


def test_figure_1_and_the_overfitting_nets_have_the_errors_of_the_records(decks: Decks) -> None:
    records = decks.source.records
    assert records is not None
    (axes,) = draw_records.relu_tanh(records).axes
    assert [str(label) for label in axes.get_legend_handles_labels()[1]] == ["ReLU (2 seeds)", "tanh (2 seeds)"]
    left, right = draw_records.overfitting(records).axes
    assert left.get_title(loc="left") == "centre alone, 2 seeds:\n30.0 % in training, 40.5 % in validation"
    assert right.get_title(loc="left") == "crops and mirrors, 2 seeds:\n30.0 % in training, 30.5 % in validation"


def test_records_that_do_not_decide_a_claim_draw_no_picture_of_it(decks: Decks) -> None:
    records = decks.source.records
    assert records is not None
    one_arm = tuple(each for each in records.runs if each.recipe.views.crops)
    with pytest.raises(InputError, match="the records do not decide crops; alexnet study crops --list"):
        draw_records.overfitting(replace(records, runs=one_arm))


def test_claims_with_a_number_are_spread_over_slides_that_they_fit_on() -> None:
    rows = [{"claim": f"{i}", "difference": 0.01, "ratio": i > 11, "measure": "top1"} for i in range(14)]
    made = draw_records.pages([*rows, {"claim": "none", "difference": None, "ratio": False, "measure": "top1"}])
    assert [len(page) for page in made] == [7, 7]
    assert [row["claim"] for page in made for row in page] == [f"{i}" for i in range(14)]
