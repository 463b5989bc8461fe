"""Which records of small folders tell of another folder."""

import json

from alexnet.config.recipes import RECIPES
from alexnet.fitting.candidates import SIDES
from alexnet.fitting.known import FILE, Known, comparable, known


def row(
    recipe: str,
    error: float,
    *,
    of: str = "flowers",
    picture: int = 224,
    each: int = 200,
    epochs: int = 40,
    unequal: bool = False,
) -> Known:
    return Known(of, picture, 10, each, unequal, recipe, 64, 3.0, epochs, 180.0, error, error - 0.02, error + 0.02, 5)


def test_the_rows_of_the_package_name_recipes_that_fit_chooses_from_and_errors_inside_their_intervals() -> None:
    assert len(known()) == len(json.loads(FILE.read_text())["rows"])
    for each in known():
        assert SIDES[each.recipe] == each.side, each
        assert each.recipe in RECIPES
        assert 0 <= each.low <= each.error <= each.high <= 1, each
        assert each.seeds >= 2
        assert each.picture >= 32
        assert each.epochs >= 1


def test_recipes_are_compared_at_one_size_of_each_set_and_on_the_same_sets() -> None:
    rows = [row("tiny", 0.4), row("tiny", 0.2, each=1000), row("demo", 0.5), row("demo", 0.3, of="birds")]
    found = comparable(rows, {"tiny": 40, "demo": 40}, each=150)
    assert found == {"tiny": [rows[0]], "demo": [rows[2]]}  # birds have no row of tiny
    assert comparable(rows, {"tiny": 40, "demo": 40}, each=900) == {"tiny": [rows[1]]}
    assert comparable(rows, {"demo": 40}, each=200) == {"demo": [rows[3], rows[2]]}


def test_more_epochs_than_recorded_count_as_the_most_and_far_fewer_leave_the_recipe_out() -> None:
    rows = [row("tiny", 0.4, epochs=20), row("tiny", 0.3, epochs=80), row("demo", 0.5, epochs=20)]
    for epochs, expected in ((20, 0), (39, 0), (41, 1), (900, 1), (10, 0)):
        assert comparable(rows, {"tiny": epochs, "demo": 20}, each=200)["tiny"] == [rows[expected]], epochs
    assert "tiny" not in comparable(rows, {"tiny": 9, "demo": 20}, each=200)


def test_unequal_counts_are_compared_with_unequal_ones_where_a_set_has_them() -> None:
    rows = [row("tiny", 0.4), row("tiny", 0.6, unequal=True), row("tiny", 0.3, of="birds")]
    assert comparable(rows, {"tiny": 40}, each=200, unequal=True) == {"tiny": [rows[2], rows[1]]}
    assert comparable(rows, {"tiny": 40}, each=200) == {"tiny": [rows[2], rows[0]]}


def test_where_no_set_has_all_recipes_the_one_with_most_of_them_counts() -> None:
    rows = [row("tiny", 0.4), row("demo", 0.5), row("source", 0.3, of="birds")]
    assert comparable(rows, {"tiny": 40, "demo": 40, "source": 40}, each=200) == {"tiny": [rows[0]], "demo": [rows[1]]}
    assert comparable([], {"tiny": 40}, each=200) == {}


def test_a_row_in_words_names_the_error_its_interval_and_the_folder() -> None:
    words = row("tiny", 0.4, unequal=True).words()
    assert (
        words
        == "40.0 % (38.0 to 42.0) on flowers of 224 pixels, 10 classes, unequal counts, 200 pictures a class, 40 epochs"
    )
