import pytest
import torch
from tests.figures.drawn import labels

from alexnet.config.recipe import Views
from alexnet.data.sources.drawings import draw
from alexnet.data.transforms import Transform
from alexnet.figures.views_and_dropout import chances, place_in_words


def test_views_and_masks_are_drawn_beside_their_means() -> None:
    views = [("centre", 0.2), ("centre, mirrored", 0.4)]
    figure = chances(draw(0), "flower", views, [0.1, 0.3, 0.5], 0.25)
    assert labels(figure, 1) == ["mean of 2 views: 30 %"]
    assert labels(figure, 2) == ["mean of masks: 30 %", "all units, as in testing: 25 %"]
    assert len(chances(draw(0), "flower", views, [], 0.25).axes) == 2


@pytest.mark.parametrize(("margin", "places"), [(32, 10), (0, 2)])
def test_every_view_has_a_place_of_its_own(margin: int, places: int) -> None:
    transform = Transform(Views(), 32, torch.zeros(32 + margin, 32 + margin, 3), torch.zeros(3, 3))
    names = [place_in_words(top, left, mirrored, margin) for top, left, mirrored in transform.places()]
    assert len(set(names)) == places
    assert names[places // 2 - 1 if margin == 0 else 2] == ("whole" if margin == 0 else "centre")
