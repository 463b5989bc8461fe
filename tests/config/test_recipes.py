"""Recipes by name, from Python, and the errors for wrong names."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import alexnet
from alexnet.core.errors import InputError


def test_a_recipe_is_found_by_name_by_file_and_as_itself(tmp_path: Path) -> None:
    source = alexnet.RECIPES["source"]
    (tmp_path / "own.json").write_text(json.dumps(source.replace(epochs=3).plain()))
    assert alexnet.recipe("source") is source
    assert alexnet.recipe(source) is source
    assert alexnet.recipe(tmp_path / "own.json") == alexnet.recipe(str(tmp_path / "own.json"))
    assert alexnet.recipe(tmp_path / "own.json").epochs == 3


@pytest.mark.parametrize("find", [alexnet.recipe, alexnet.RECIPES.__getitem__], ids=["recipe", "RECIPES"])
def test_a_name_that_is_not_there_is_told_the_nearest_that_is(find: Any) -> None:
    with pytest.raises(InputError) as caught:
        find("papper")
    assert str(caught.value) == "no recipe papper; did you mean paper?"
    with pytest.raises(InputError, match=r"no recipe xyzzy; choose from paper, source, "):
        find("xyzzy")


def test_recipes_are_a_mapping_as_any_other() -> None:
    """A missing name raises a KeyError, as in any mapping."""
    assert isinstance(alexnet.RECIPES, Mapping)
    assert "papper" not in alexnet.RECIPES
    assert alexnet.RECIPES.get("papper") is None
    with pytest.raises(KeyError):
        alexnet.RECIPES["papper"]
    assert pickle.loads(pickle.dumps(alexnet.RECIPES)) == alexnet.RECIPES  # noqa: S301


@pytest.mark.parametrize("given", [3, None, ["paper"]])
def test_what_is_no_name_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match='expected the name of a recipe, such as "paper", or its JSON file, not '):
        alexnet.recipe(given)
