"""The recipes that are tried for pictures of a size."""

import pytest

from alexnet.config.recipes import RECIPES
from alexnet.fitting.candidates import SIDES, candidates


@pytest.mark.parametrize(
    ("side", "sides"),
    [(8, {32}), (32, {32}), (33, {32, 64}), (128, {32, 64}), (129, {32, 64, 256}), (3000, {32, 64, 256})],
)
def test_pictures_are_not_enlarged_to_twice_their_size(side: int, sides: set[int]) -> None:
    found = candidates(side)
    assert {c.side for c in found} == sides
    assert [c.work for c in found] == sorted(c.work for c in found)


@pytest.mark.parametrize("name", SIDES)
def test_the_side_of_each_recipe_is_one_that_its_views_are_cut_from(name: str) -> None:
    assert RECIPES[name].net.image_size <= SIDES[name] < 2 * RECIPES[name].net.image_size
