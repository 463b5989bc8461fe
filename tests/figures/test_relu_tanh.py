import numpy as np

from alexnet.figures.relu_tanh import figure_1


def test_figure_1_tells_its_nets_apart_without_colour() -> None:
    drawn = figure_1({"relu": {0: [0.9, 0.2], 1: [0.9, 0.3, 0.2]}, "tanh": {0: [0.9, 0.5]}})
    lines = {line.get_label(): line for line in drawn.axes[0].lines}
    assert not lines["ReLU (2 seeds)"].is_dashed()
    assert lines["tanh (1 seed)"].is_dashed()
    assert any(np.array_equal(line.get_ydata(), [25, 25]) for line in drawn.axes[0].lines)
    assert sum(line.get_linewidth() < 1 for line in drawn.axes[0].lines) == 2
