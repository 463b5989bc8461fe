import numpy as np
import pytest

from alexnet.figures.relu_tanh import figure_1, reached


def test_figure_1_tells_its_nets_apart_without_colour() -> None:
    drawn = figure_1({"relu": {0: [0.9, 0.2], 1: [0.9, 0.3, 0.2]}, "tanh": {0: [0.9, 0.5]}})
    lines = {line.get_label(): line for line in drawn.axes[0].lines}
    assert not lines["ReLU (2 seeds)"].is_dashed()
    assert lines["tanh (1 seed)"].is_dashed()
    assert any(np.array_equal(line.get_ydata(), [25, 25]) for line in drawn.axes[0].lines)
    assert sum(line.get_linewidth() < 1 for line in drawn.axes[0].lines) == 2


def test_an_error_in_training_stands_at_the_middle_of_its_epoch_and_chance_at_the_start() -> None:
    drawn = figure_1({"relu": {0: [0.9, 0.5, 0.2]}, "tanh": {0: [0.9, 0.5]}})
    assert np.array_equal(drawn.axes[0].lines[0].get_xdata(), [0.0, 0.5, 1.5])


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (1, "in the mean of 1 seed (one seed has no interval, and fewer than 3 give no verdict)"),
        (2, "; no verdict from fewer than 3 seeds)"),
        (3, "in the mean of 3 seeds (95 % interval 2."),
    ],
)
def test_the_ratio_has_an_interval_and_from_few_seeds_no_verdict(seeds: int, said: str) -> None:
    relu = {seed: [0.9, 0.5, 0.25 - 0.001 * seed] for seed in range(seeds)}
    tanh = {seed: [0.9, 0.7, 0.6, 0.4, 0.25 - 0.001 * seed] for seed in range(seeds)}
    words = reached({"relu": relu, "tanh": tanh})
    assert "tanh took 2.3" in words
    assert said in words
    assert ("no verdict" in words) == (seeds < 3)
