import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from alexnet import figures
from alexnet.data.builtin import draw
from alexnet.errors import UnusableError


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
    assert len(heights(figures.curves([*steps, epoch(1)], 10), 1)) == 19
    assert heights(figures.curves([*steps[:1], epoch(1), epoch(2)], 10), 1) == [2, 1]


def test_curves_of_a_run_in_its_first_epoch_show_training_alone() -> None:
    assert labels(figures.curves([step(1), step(2)], 10), 0) == ["chance, ln 10", "training"]


def test_top5_error_is_not_drawn_where_it_is_always_zero() -> None:
    assert "validation, top-5" not in labels(figures.curves(LOG, 3), 1)


def test_an_empty_log_has_no_curves() -> None:
    with pytest.raises(UnusableError, match="no step"):
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
        assert image.size == (1500, 600)
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")


def test_hostile_and_foreign_class_names_are_drawn_as_text() -> None:
    name = "$\\frac{ <b> 猫"
    figure = figures.top5(draw(0)[None], [name], [[(name, 1.0)]])
    assert figures.rendered(figure, "svg")


def test_a_finished_run_has_three_figures(run: Path, tmp_path: Path) -> None:
    written, missing = figures.draw(run, tmp_path / "new" / "figures")
    assert missing == {}
    assert sorted(path.name for path in written) == [
        f"{name}.{form}" for name in ("curves", "kernels", "top5") for form in ("png", "svg")
    ]
    assert all(path.stat().st_size > 1000 for path in written)


def test_why_a_figure_is_missing_is_told(run: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    written, missing = figures.draw(bare, tmp_path / "figures")
    assert [path.name for path in written] == ["curves.png", "curves.svg"]
    assert missing.keys() == {"kernels", "top5"}
    assert "has no checkpoint yet" in missing["kernels"]


def test_a_folder_without_a_run_has_no_figures(tmp_path: Path) -> None:
    with pytest.raises(UnusableError, match="not a run"):
        figures.draw(tmp_path, tmp_path / "figures")


def test_importing_figures_does_not_import_matplotlib() -> None:
    code = "import sys, alexnet.figures; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
