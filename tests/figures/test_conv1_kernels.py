import numpy as np

from alexnet.figures.conv1_kernels import kernels


def test_tower_0_stands_above_tower_1_each_tile_scaled_to_its_own_range() -> None:
    weight = np.zeros((8, 3, 5, 5), np.float32)
    weight[:4, 0, 0, 0] = 1e-3  # a red corner in tower 0
    weight[4:, 2, 4, 4] = 50.0  # a blue one in tower 1
    (image,) = kernels(weight, 2).axes[0].images
    canvas = np.asarray(image.get_array())
    assert canvas.shape == (5 + 3 + 5, 4 * 6 - 1, 3)
    assert canvas[0, 0].tolist() == [1, 0, 0]
    assert canvas[-1, -1].tolist() == [0, 0, 1]
    assert (canvas[5:8] == 1).all()  # the gap


def test_a_full_conv1_is_drawn_as_in_figure_3() -> None:
    figure = kernels(np.random.default_rng(0).normal(size=(96, 3, 11, 11)), 2)
    assert np.asarray(figure.axes[0].images[0].get_array()).shape == (2 * (3 * 12 - 1) + 3, 16 * 12 - 1, 3)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["tower 0", "tower 1"]


def test_a_kernel_of_one_value_is_gray() -> None:
    (image,) = kernels(np.full((1, 3, 3, 3), 7.0), 1).axes[0].images
    assert (np.asarray(image.get_array()) == 0.5).all()
