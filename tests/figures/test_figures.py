import json
import math
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import figures
from alexnet.config.recipe import Recipe, Views
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.drawings import draw
from alexnet.data.transforms import Transform
from alexnet.figures.confusion import counted, mistakes, worst
from alexnet.figures.feature_maps import strongest
from alexnet.figures.tower_statistics import NOISE, by_chance, colours, measured, orientations
from alexnet.figures.views_and_dropout import place_in_words
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.training.train import train


def step(number: int, rate: float = 0.01) -> dict[str, Any]:
    return {
        "kind": "step", "step": number, "epoch": number / 10, "loss": 2 / number, "error": 0.9 / number, "rate": rate,
    }  # fmt: skip


def epoch(number: int, rate: float = 0.01) -> dict[str, Any]:
    errors = {"train_loss": 2 / number, "train_error": 0.8 / number, "top1": 0.7 / number, "top5": 0.3 / number}
    return {"kind": "epoch", "step": 10 * number, "epoch": number, "rate": rate, "nats": 2.1 / number} | errors


FINAL = {"kind": "final", "step": 40, "views": 10, "top1": 0.15, "top5": 0.02, "nats": 0.5, "images": 20}
LOG = [epoch(1), epoch(2), step(25, 0.001), epoch(3, 0.001), epoch(4, 0.0001), FINAL]


def labels(figure: Any, panel: int) -> list[str]:
    return [str(label) for label in figure.axes[panel].get_legend_handles_labels()[1]]


def heights(figure: Any, line: int) -> list[float]:
    """The points of one line of the loss panel; line 0 is chance."""
    return [float(y) for y in figure.axes[0].lines[line].get_ydata()]


def test_curves_show_both_splits_and_chance() -> None:
    figure = figures.curves(LOG, 10)
    assert labels(figure, 0) == ["chance, ln 10", "training", "validation"]
    assert heights(figure, 0)[0] == pytest.approx(math.log(10))
    assert "validation, top-5" in labels(figure, 1)
    assert "10 views, top-1: 15.0 %" in labels(figure, 1)


def test_curves_mark_each_drop_of_the_rate() -> None:
    texts = [text.get_text() for text in figures.curves(LOG, 10).axes[0].texts]
    assert texts == ["rate 0.001", "rate 0.0001"]


def test_the_finer_record_of_training_is_drawn() -> None:
    steps = [step(n) for n in range(1, 20)]
    assert len(heights(figures.curves([*steps, epoch(3)], 10), 1)) == 19
    assert heights(figures.curves([*steps[:1], epoch(1), epoch(2)], 10), 1) == [2, 1]


def test_the_last_batch_of_an_epoch_is_no_point_of_the_curve() -> None:
    steps = [step(n) for n in range(1, 20)]
    assert len(heights(figures.curves([*steps, epoch(1)], 10), 1)) == 18


def test_curves_of_a_run_in_its_first_epoch_show_training_alone() -> None:
    assert labels(figures.curves([step(1), step(2)], 10), 0) == ["chance, ln 10", "training"]


def test_top5_error_is_not_drawn_where_it_is_always_zero() -> None:
    assert "validation, top-5" not in labels(figures.curves(LOG, 3), 1)


def test_an_empty_log_has_no_curves() -> None:
    with pytest.raises(InputError, match="no step"):
        figures.curves([], 10)


def test_tower_0_stands_above_tower_1_each_tile_scaled_to_its_own_range() -> None:
    weight = np.zeros((8, 3, 5, 5), np.float32)
    weight[:4, 0, 0, 0] = 1e-3  # a red corner in tower 0
    weight[4:, 2, 4, 4] = 50.0  # a blue one in tower 1
    (image,) = figures.kernels(weight, 2).axes[0].images
    canvas = np.asarray(image.get_array())
    assert canvas.shape == (5 + 3 + 5, 4 * 6 - 1, 3)
    assert canvas[0, 0].tolist() == [1, 0, 0]
    assert canvas[-1, -1].tolist() == [0, 0, 1]
    assert (canvas[5:8] == 1).all()  # the gap


def test_a_full_conv1_is_drawn_as_in_figure_3() -> None:
    figure = figures.kernels(np.random.default_rng(0).normal(size=(96, 3, 11, 11)), 2)
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (2 * (3 * 12 - 1) + 3, 16 * 12 - 1, 3)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["tower 0", "tower 1"]


def test_a_kernel_of_one_value_is_gray() -> None:
    (image,) = figures.kernels(np.full((1, 3, 3, 3), 7.0), 1).axes[0].images
    assert (np.asarray(image.get_array()) == 0.5).all()


def test_the_bar_of_the_true_class_alone_is_hatched_and_bold() -> None:
    pictures = np.stack([draw(0), draw(1)])
    ranked = [[("flower", 0.6), ("chessboard", 0.3)], [("star", 0.9), ("heart", 0.1)]]
    figure = figures.top5(pictures, ["chessboard", "flower"], ranked)
    bars = [axes for axes in figure.axes if axes.patches]
    assert [[bool(bar.get_hatch()) for bar in axes.patches] for axes in bars] == [[False, True], [False, False]]
    bold = [text.get_text() for axes in bars for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["chessboard", "30 %"]


def test_figures_are_written_as_png_and_svg_byte_for_byte_the_same(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first = figures.save(figures.curves(LOG, 10), tmp_path / "run.1")
    second = figures.save(figures.curves(LOG, 10), tmp_path / "again" / "run.1")
    assert [path.name for path in first] == ["run.1.png", "run.1.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as image:
        assert image.size == (1800, 960)
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")


def test_hostile_and_foreign_class_names_are_drawn_as_text() -> None:
    name = "$\\frac{ <b> 猫"
    figure = figures.top5(draw(0)[None], [name], [[(name, 1.0)]])
    assert figures.rendered(figure, "svg")


def test_a_finished_run_has_every_figure(run: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    written, missing = figures.draw(
        run, tmp_path / "new" / "figures", progress=lambda done, of: seen.append((done, of))
    )
    assert missing == {}
    assert [path.name for path in written] == [f"{name}.{form}" for name in figures.NAMES for form in ("png", "svg")]
    assert all(path.stat().st_size > 1000 for path in written)
    assert seen[-1] == (30, 30)


def test_a_cifar_run_has_every_figure(pictures: Path, tmp_path: Path) -> None:
    """Of one tower, without dropout, and with layers of another kind."""
    recipe = RECIPES["cifar-13"].replace(net={"channels": (4, 4), "local": (4, 4)}, epochs=1)
    prepare(pictures, tmp_path / "store", side=32, val_fraction=0.29, jobs=1)
    train(tmp_path / "store", tmp_path / "run", recipe, precision="fp32", quiet=True)
    written, missing = figures.draw(tmp_path / "run", tmp_path / "figures")
    assert missing == {}
    assert len(written) == 2 * len(figures.NAMES)


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    names = [name for name in figures.NAMES if name != "curves"]
    first, second = (figures.draw(run, tmp_path / folder, names)[0] for folder in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_why_a_figure_is_missing_is_told(run: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    written, missing = figures.draw(bare, tmp_path / "figures")
    assert [path.name for path in written] == ["architecture.png", "architecture.svg", "curves.png", "curves.svg"]
    assert missing.keys() == set(figures.NAMES) - {"architecture", "curves"}
    assert "has no checkpoint yet" in missing["kernels"]


def test_without_its_store_a_run_keeps_what_needs_none(store: Path, small: Recipe, tmp_path: Path) -> None:
    moved = shutil.copytree(store, tmp_path / "store")
    train(moved, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    shutil.rmtree(moved)
    written, missing = figures.draw(tmp_path / "run", tmp_path / "figures")
    assert {path.stem for path in written} == {"architecture", "curves", "kernels"}
    assert all("is not a store" in reason for reason in missing.values())


def test_another_store_in_the_place_of_the_runs_is_not_drawn(
    store: Path, pictures: Path, small: Recipe, tmp_path: Path
) -> None:
    moved = shutil.copytree(store, tmp_path / "store")
    train(moved, tmp_path / "run", small.replace(epochs=1), precision="fp32", quiet=True)
    shutil.rmtree(moved)
    prepare(pictures, moved, side=64, val_fraction=0.5, jobs=1)
    assert "its digest differs" in figures.draw(tmp_path / "run", tmp_path / "figures", ["top5"])[1]["top5"]


def test_a_figure_of_another_name_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no figure loss; there are architecture, curves"):
        figures.draw(run, tmp_path / "figures", ["loss"])
    assert not (tmp_path / "figures").exists()


def test_every_figure_has_a_caption() -> None:
    assert figures.CAPTIONS.keys() == set(figures.NAMES)
    assert set(figures.QUICK) <= set(figures.NAMES)


def test_a_folder_without_a_run_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run nor a study"):
        figures.draw(tmp_path, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_a_study_has_figure_1_once_its_relu_tanh_is_finished(small: Recipe, tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "figures"
    runs = {arm: study / "runs" / f"{arm}-fp32" for arm in ("relu", "tanh")}
    for arm, folder in runs.items():
        folder.mkdir(parents=True)
        recipe = small.plain()
        recipe["net"]["activation"] = arm
        (folder / "recipe.json").write_text(json.dumps({"name": f"relu-tanh, {arm}", "recipe": recipe}))
        (folder / "log.jsonl").write_text(json.dumps(epoch(1)) + "\n" + json.dumps(epoch(4)) + "\n")
    (study / "study.json").write_text('{"store": "/made/up", "store_digest": "0"}')
    with pytest.raises(InputError, match="has no finished relu-tanh"):
        figures.draw(study, out)
    arms = {arm: {"runs": [folder.relative_to(study).as_posix()]} for arm, folder in runs.items()}
    (study / "relu-tanh.json").write_text(json.dumps({"arms": arms}))
    paths, missing = figures.draw(study, out)
    assert [path.name for path in paths] == ["figure-1.png", "figure-1.svg"]
    assert not missing
    assert all(path.stat().st_size for path in paths)


def written(figure: Any) -> list[str]:
    """Every text of a figure's panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("name", ["paper", "source", "one-gpu", "tiny", "cifar-13", "cifar-11", "cifar-18"])
def test_the_architecture_has_every_layer_with_the_weights_of_the_live_net(name: str) -> None:
    with torch.device("meta"):
        net = build(RECIPES[name].net, 0)
    texts = written(figures.architecture(net))
    for child, module in net.named_children():
        assert child in texts
        assert f"{sum(p.numel() for p in module.parameters()):,}" in texts
    towers = getattr(net.net, "towers", 1)
    for layer in layers_of(net.net)[:-1]:
        size = f"{layer.maps // towers} × {layer.side}²" if layer.side > 1 else f"{layer.maps // towers:,}"
        assert layer.name.startswith("pool") or texts.count(size) >= towers


def test_towers_meet_where_the_layers_see_both() -> None:
    """Dashed lines, two a join: conv3, fc6 and fc7; fc8 is whole, so its two lines are not of another tower."""
    with torch.device("meta"):
        nets = [build(RECIPES[name].net, 0) for name in ("paper", "one-gpu")]
    for net, joins in zip(nets, (3, 0), strict=True):
        (axes,) = figures.architecture(net).axes
        arrows = [arrow for text in axes.texts if (arrow := getattr(text, "arrow_patch", None))]
        assert sum(arrow.get_linestyle() != "-" for arrow in arrows) == 2 * joins


def run_of(training: float, validation: float, epochs: int = 3) -> list[dict[str, Any]]:
    """A log that ends with these errors."""
    return [epoch(n) | {"train_error": training, "top1": validation} for n in range(1, epochs + 1)]


@pytest.mark.parametrize(
    ("training", "validation", "verdict", "remedy"),
    [
        (0.50, 0.55, "Underfitting", "larger, deeper net"),
        (0.01, 0.40, "Overfitting", "dropout (4.2), weight decay (5)"),
        (0.05, 0.08, "Neither", "section 7"),
        (0.88, 0.89, "Underfitting: hardly better than chance", "rate"),
        (0.30, 0.20, "Underfitting", "variance 0.0"),
        (0.30, 0.50, "Underfitting", "Variance is not small either"),
        (0.15, 0.50, "Overfitting", "Bias is not small either"),
    ],
)
def test_the_larger_part_of_the_error_has_the_word(
    training: float, validation: float, verdict: str, remedy: str
) -> None:
    words = figures.reading(run_of(training, validation), 10)
    assert words.startswith(verdict)
    assert remedy in words
    assert "in passing" in words


def test_training_error_as_validation_sees_counts_for_more_than_that_in_passing() -> None:
    log = run_of(0.35, 0.40)
    assert figures.reading(log, 10).startswith("Underfitting")
    words = figures.reading(log, 10, training_error=0.02)
    assert words.startswith("Overfitting")
    assert "bias 2.0, variance 38.0" in words
    assert "as validation sees: 2.0 %" in labels(figures.curves(log, 10, 0.02), 1)[-1]


def test_before_the_first_epoch_ends_nothing_is_said_of_fitting() -> None:
    assert "too early" in figures.reading([step(1), step(2)], 10)


def gabor(angle: float, colour: tuple[float, float, float] = (1, 1, 1), size: int = 11) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.cos(along * 2 * np.pi / 5) * np.exp(-(x**2 + y**2) / 12)
    kernel: np.ndarray = np.multiply.outer(colour, wave)
    return kernel


def blob(colour: tuple[float, float, float], size: int = 11) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    kernel: np.ndarray = np.multiply.outer(colour, np.exp(-(x**2 + y**2) / 8))
    return kernel


@pytest.mark.parametrize("angle", [0, 0.4, math.pi / 4, 1.3, math.pi / 2, 2.5])
def test_a_grey_grating_has_no_colour_and_high_orientation_whatever_its_angle(angle: float) -> None:
    kernel = gabor(angle)[None]
    assert colours(kernel)[0] == pytest.approx(0, abs=1e-12)
    assert orientations(kernel)[0] > 0.85


def test_a_coloured_blob_has_high_colour_and_no_orientation() -> None:
    kernels = np.stack([blob((1, -1, 0)), blob((1, 0, 0)), blob((1, 1, -2))])
    assert colours(kernels) == pytest.approx([1, 2 / 3, 1])
    assert (orientations(kernels) < 0.05).all()


def test_a_coloured_grating_has_both() -> None:
    kernel = gabor(0.7, (1, -1, 0))[None]
    assert colours(kernel)[0] == pytest.approx(1)
    assert orientations(kernel)[0] > 0.85


def test_noise_has_two_thirds_of_colour_and_little_orientation() -> None:
    noise = np.random.default_rng(3).normal(size=(2000, 3, 11, 11))
    assert colours(noise).mean() == pytest.approx(NOISE, abs=0.01)
    assert orientations(noise).mean() < 0.12


def test_neither_measure_depends_on_a_kernels_strength_and_an_empty_one_has_none() -> None:
    kernel = np.random.default_rng(4).normal(size=(1, 3, 5, 5))
    for measure in (colours, orientations):
        assert measure(1000 * kernel) == pytest.approx(measure(kernel))
        assert measure(np.zeros((1, 3, 5, 5))).tolist() == [0]


def test_towers_of_different_kinds_are_said_to_differ_and_those_of_one_kind_are_not() -> None:
    angles = np.random.default_rng(5).uniform(0, math.pi, 24)
    grey = [gabor(a) for a in angles[:12]]
    blobs = [blob((1, -1, a)) for a in angles[12:]]
    apart = measured(np.stack(grey + blobs), 2)
    assert apart.colours[0] < 0.01 < 0.6 < apart.colours[1]
    assert apart.words().endswith("The towers differ in colour and orientation.")
    mixed = measured(np.stack([k for pair in zip(grey, blobs, strict=True) for k in pair]), 2)
    assert "No sign" in mixed.words()
    assert measured(np.stack(grey), 1).words().startswith("One tower")


def test_chance_parts_towers_as_far_as_often_as_its_p_says() -> None:
    """Under the null a p below 0.1 comes about a tenth of the time; and a p is never 0."""
    draw = np.random.default_rng(6)
    found = [by_chance(draw.normal(size=24), 400) for _ in range(300)]
    assert 0.06 < np.mean(np.array(found) <= 0.1) < 0.145
    assert by_chance(np.r_[np.zeros(24), np.ones(24)], 100) == pytest.approx(1 / 101)


def test_all_deals_of_few_kernels_agree_with_the_permutation_test() -> None:
    values = np.array([0.1, 0.5, 0.3, 0.9, 0.8, 0.35])
    means = [
        abs(np.mean(values[list(c)]) - (values.sum() - values[list(c)].sum()) / 3) for c in combinations(range(6), 3)
    ]
    exact = np.mean(np.array(means) >= means[0] - 1e-12)
    assert by_chance(values, 20_000) == pytest.approx(exact, abs=0.015)


def test_neighbours_of_another_class_are_dashed_and_in_italics() -> None:
    pictures = np.stack([draw(0), draw(1)])
    found = np.stack([[draw(2), draw(3)], [draw(4), draw(5)]])
    figure = figures.neighbours(pictures, ["a", "b"], found, [["a", "b"], ["b", "b"]], np.array([[1.0, 2], [3, 4]]))
    assert [text for text in written(figure) if text] == ["a", "a\n1", "b\n2", "b", "b\n3", "b\n4"]
    (other,) = [text for axes in figure.axes for text in axes.texts if text.get_fontstyle() == "italic"]
    assert other.get_text() == "b\n2"
    assert (
        sum(p.get_linestyle() == "dashed" and p.get_linewidth() > 0 for axes in figure.axes for p in axes.patches) == 1
    )


def test_the_strongest_maps_come_first_and_of_equals_the_first() -> None:
    values = np.zeros((5, 2, 2))
    values[:, 0, 0] = [1, -3, 2, 3, 0]
    assert strongest(values, 4) == [1, 3, 2, 0]


def test_the_maps_of_each_tower_keep_their_numbers_in_the_whole_layer() -> None:
    values = np.zeros((8, 3, 3))
    values[:, 1, 1] = [4, 3, 2, 1, 5, 6, 7, 8]
    texts = written(figures.maps(draw(0), [("conv1", values)], 2, each=2))
    assert [text for text in texts if text.isdigit()] == ["0", "1", "7", "6"]


def test_a_layer_with_fewer_maps_than_places_leaves_places_empty() -> None:
    texts = written(figures.maps(draw(0), [("conv1", np.ones((2, 3, 3)))], 2, each=4))
    assert [text for text in texts if text.isdigit()] == ["0", "1"]


def test_confusion_names_the_worst_classes_and_the_most_frequent_mistakes() -> None:
    truth, said = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 2, 0, 1, 1, 0, 2])
    counts = counted(truth, said, 4)
    assert counts.tolist() == [[1, 2, 1, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert worst(counts, 9).tolist() == [0, 2, 1]  # class 3 has no picture
    assert mistakes(counts, 2) == [(0, 1, 2, 4), (0, 2, 1, 4)]
    assert mistakes(np.eye(3, dtype=int), 5) == []
    figure = figures.confusion(truth, said, ["a", "b", "c", "d"], of=100)
    assert "a → b" in written(figure)
    assert "2 of 4 pictures" in written(figure)
    assert figure.get_suptitle() == "Held-out pictures, 8 of 100, one view: 50.0 % wrong"


def test_views_and_masks_are_drawn_beside_their_means() -> None:
    views = [("centre", 0.2), ("centre, mirrored", 0.4)]
    figure = figures.chances(draw(0), "flower", views, [0.1, 0.3, 0.5], 0.25)
    assert labels(figure, 1) == ["mean of 2 views: 30 %"]
    assert labels(figure, 2) == ["mean of masks: 30 %", "all units, as in testing: 25 %"]
    assert len(figures.chances(draw(0), "flower", views, [], 0.25).axes) == 2


@pytest.mark.parametrize(("margin", "places"), [(32, 10), (0, 2)])
def test_every_view_has_a_place_of_its_own(margin: int, places: int) -> None:
    transform = Transform(Views(), 32, torch.zeros(32 + margin, 32 + margin, 3), torch.zeros(3, 3))
    names = [place_in_words(top, left, mirrored, margin) for top, left, mirrored in transform.places()]
    assert len(set(names)) == places
    assert names[places // 2 - 1 if margin == 0 else 2] == ("whole" if margin == 0 else "centre")


def test_importing_figures_does_not_import_matplotlib() -> None:
    code = "import sys, alexnet.figures; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
