import math
from typing import Any

import pytest
from tests.figures.drawn import LOG, epoch, labels, step

from alexnet.core.errors import InputError
from alexnet.figures.learning_curves import curves, reading


def heights(figure: Any, line: int) -> list[float]:
    """Return the points of a line of the loss panel; line 0 is chance."""
    return [float(y) for y in figure.axes[0].lines[line].get_ydata()]


def test_curves_show_both_splits_and_chance() -> None:
    figure = curves(LOG, 10)
    assert labels(figure, 0) == ["chance, ln 10", "training", "validation"]
    assert heights(figure, 0)[0] == pytest.approx(math.log(10))
    assert "validation, top-5" in labels(figure, 1)
    assert "10 views, top-1: 15.0 %" in labels(figure, 1)


def test_curves_mark_each_drop_of_the_rate() -> None:
    texts = [text.get_text() for text in curves(LOG, 10).axes[0].texts]
    assert texts == ["rate 0.001", "rate 0.0001"]


def test_the_finer_record_of_training_is_drawn() -> None:
    steps = [step(n) for n in range(1, 20)]
    assert len(heights(curves([*steps, epoch(3)], 10), 1)) == 19
    assert heights(curves([*steps[:1], epoch(1), epoch(2)], 10), 1) == [2, 1]


def test_the_last_batch_of_an_epoch_is_no_point_of_the_curve() -> None:
    steps = [step(n) for n in range(1, 20)]
    assert len(heights(curves([*steps, epoch(1)], 10), 1)) == 18


def test_curves_of_a_run_in_its_first_epoch_show_training_alone() -> None:
    assert labels(curves([step(1), step(2)], 10), 0) == ["chance, ln 10", "training"]


def test_top5_error_is_not_drawn_where_it_is_always_zero() -> None:
    assert "validation, top-5" not in labels(curves(LOG, 3), 1)


def test_an_empty_log_has_no_curves() -> None:
    with pytest.raises(InputError, match="no step"):
        curves([], 10)


def run_of(training: float, validation: float, epochs: int = 3) -> list[dict[str, Any]]:
    """Make a log that ends with these errors."""
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
    words = reading(run_of(training, validation), 10)
    assert words.startswith(verdict)
    assert remedy in words
    assert "measured with dropout" in words


def test_training_error_as_validation_sees_counts_for_more_than_that_in_passing() -> None:
    log = run_of(0.35, 0.40)
    assert reading(log, 10).startswith("Underfitting")
    words = reading(log, 10, training_error=0.02)
    assert words.startswith("Overfitting")
    assert "bias 2.0, variance 38.0" in words
    assert "as in validation: 2.0 %" in labels(curves(log, 10, 0.02), 1)[-1]


def test_before_the_first_epoch_ends_nothing_is_said_of_fitting() -> None:
    assert "too early" in reading([step(1), step(2)], 10)
