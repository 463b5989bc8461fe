"""The pictures of a deck: what is computed for them, and what happens where one cannot be drawn."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reporting.slides.conftest import Decks

from alexnet.core.errors import InputError
from alexnet.figures.run_data import RunData
from alexnet.models.layer_table import Convolution, Pool, describe
from alexnet.reporting.slides import (
    draw_data,
    draw_dropout,
    draw_nets,
    draw_operations,
    draw_records,
    draw_runs,
    pictures,
)
from alexnet.reporting.slides.source import Source, open_source


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
    from alexnet.reporting.slides.words import told_of

    odd = tmp_path / "run"
    shutil.copytree(run, odd)
    (odd / "log.jsonl").write_text(json.dumps({"kind": "epoch", "step": 1, "epoch": 1, "train_error": 0.5}) + "\n")
    with pytest.raises(InputError, match=r"is not what alexnet train writes \(KeyError"):
        told_of(open_source(odd))
    only(monkeypatch, "curves")
    assert "is not what alexnet train writes" in str(pictures.draw_pictures(open_source(odd))["curves"])


def test_few_kernels_are_drawn_large_and_those_of_the_paper_as_in_figure_3() -> None:
    assert {draw_runs.across(96, 2), draw_runs.across(96, 1)} == {16, 14}
    assert draw_runs.across(16, 2) == 8
    assert draw_runs.across(16, 1) == 6
    assert draw_runs.across(1, 1) == 1


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


def titles(figure: Any) -> list[str]:
    return [
        axes.get_title(loc=place) for axes in figure.axes for place in ("left", "center") if axes.get_title(loc=place)
    ]


def test_receptive_fields_are_as_wide_as_the_pixels_that_a_units_gradient_reaches() -> None:
    """Of a stack of ones in place of the net's layers: what a unit depends on hangs on sizes and strides alone."""
    fields = {name: size for name, size, _ in draw_nets.fields()}
    assert fields["conv5"] == 163
    x = torch.zeros(1, 1, 299, 299, requires_grad=True)
    y = x
    for layer in describe(draw_nets.paper_net()):
        if isinstance(layer.op, (Convolution, Pool)):
            size, stride = layer.op.size, getattr(layer.op, "stride", 2)
            y = torch.nn.functional.conv2d(y, torch.ones(1, 1, size, size), stride=stride)
            (reached,) = torch.autograd.grad(y[0, 0, 0, 0], x, retain_graph=True)
            assert int((reached[0, 0].sum(0) > 0).sum()) == fields[layer.name], layer.name


def test_the_picture_of_pooling_has_the_maxima_and_that_of_overlap_counts_the_shared_units() -> None:
    (axes,) = draw_operations.pooling().axes
    assert [text.get_text() for text in axes.texts][16:20] == ["6", "8", "3", "4"]
    said = [text.get_text() for axes in draw_operations.overlap().axes for text in axes.texts]
    assert "each unit lies in one window at most" in said
    assert "2 units lie in two windows" in said


def test_momentum_comes_further_along_the_valley_at_the_same_rate() -> None:
    plain, with_momentum = (float(title.split("loss ")[1].split()[0]) for title in titles(draw_operations.momentum()))
    assert with_momentum < plain / 20


def test_the_norms_of_the_picture_are_the_printed_formula_with_alpha_and_with_alpha_over_n() -> None:
    for axes, alpha in zip(draw_operations.norm().axes, (1e-4, 2e-5), strict=True):
        before, after = (np.array([bar.get_height() for bar in bars]) for bars in axes.containers)
        squares = np.pad(before**2, 2)
        sums = np.array([squares[i : i + 5].sum() for i in range(len(before))])
        assert after == pytest.approx(before / (2 + alpha * sums) ** 0.75, rel=1e-5)


def test_more_parameters_lower_the_error_in_training_and_on_other_points_the_middle_is_best() -> None:
    numbers = [[float(part) for part in re.findall(r"\d\.\d+", title)] for title in titles(draw_data.fits())]
    training, others = zip(*numbers, strict=True)
    assert training[0] > training[1] > training[2]
    assert others[1] < min(others[0], others[2])


def test_the_frames_of_the_crops_are_where_the_views_were_cut() -> None:
    whole, *views = draw_data.augmentation().axes
    picture = draw_data.example()
    assert len(views) == len(whole.patches) == draw_data.VIEWS
    for frame, axes in zip(whole.patches, views, strict=True):
        left, top = (int(place) for place in frame.get_xy())  # type: ignore[attr-defined]
        cut = picture[top : top + 224, left : left + 224]
        if "mirrored" in axes.get_title():
            cut = cut[:, ::-1]
        assert np.abs(np.asarray(axes.images[0].get_array()).astype(int) - cut).max() <= 1  # the mean is rounded


def test_a_unit_with_dropout_adds_up_what_its_mask_leaves() -> None:
    (axes,) = draw_dropout.masked_unit().axes
    said = [text.get_text() for text in axes.texts]
    kept = [text == "r = 1" for text in said if text.startswith("r = ")]
    assert 0 < sum(kept) < 4
    total = sum(y * w for y, w, stays in zip(draw_dropout.INPUTS, draw_dropout.WEIGHTS, kept, strict=True) if stays)
    assert f"z = {total:g}\ny = max(0, z) = {max(0, total):g}" in said
