import numpy as np
from tests.figures.drawn import written

from alexnet.data.sources.drawings import draw
from alexnet.figures.feature_maps import maps, strongest


def test_the_strongest_maps_come_first_and_of_equals_the_first() -> None:
    values = np.zeros((5, 2, 2))
    values[:, 0, 0] = [1, -3, 2, 3, 0]
    assert strongest(values, 4) == [1, 3, 2, 0]


def test_the_maps_of_each_tower_keep_their_numbers_in_the_whole_layer() -> None:
    values = np.zeros((8, 3, 3))
    values[:, 1, 1] = [4, 3, 2, 1, 5, 6, 7, 8]
    texts = written(maps(draw(0), [("conv1", values)], 2, each=2))
    assert [text for text in texts if text.isdigit()] == ["0", "1", "7", "6"]


def test_a_layer_with_fewer_maps_than_places_leaves_places_empty() -> None:
    texts = written(maps(draw(0), [("conv1", np.ones((2, 3, 3)))], 2, each=4))
    assert [text for text in texts if text.isdigit()] == ["0", "1"]
