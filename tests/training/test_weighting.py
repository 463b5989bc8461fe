"""The weights of the training pictures' losses, worked by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.ranks import Ranks, trained
from tests.rounding import TOLERANCE, apart
from tests.trained import weights

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.training.weighting import class_shares, entropy, only_answer, picture_weights

PLAIN = RECIPES["tiny"].replace(net={"classes": 3})
BALANCED = PLAIN.replace(sgd={"class_weights": "balanced"})


class Labels:
    """The part of a split that the weights depend on."""

    name = "train"

    def __init__(self, labels: np.ndarray, weights: np.ndarray | None) -> None:
        self.labels, self.weights = labels, weights

    def __len__(self) -> int:
        return len(self.labels)


def split(counts: list[int], weights: list[float] | None = None) -> Any:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Labels(labels, None if weights is None else np.array(weights, np.float32))


def test_balanced_weights_are_those_of_the_formula_with_a_mean_of_1() -> None:
    """Of 8 pictures in 3 classes, w = 8 / (3 n): 8/15, 4/3 and 8/3 for classes of 5, 2 and 1."""
    found = picture_weights(BALANCED, split([5, 2, 1]), 3)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [8 / 15] * 5 + [4 / 3] * 2 + [8 / 3], rtol=1e-6)
    assert found.mean() == pytest.approx(1, abs=1e-6)
    assert [found[:5].sum(), found[5:7].sum(), found[7:].sum()] == pytest.approx([8 / 3] * 3)  # classes weigh alike


def test_weights_of_equal_classes_and_of_no_weights_are_none() -> None:
    """Training then takes the path without weights, and its bits."""
    assert picture_weights(BALANCED, split([4, 4, 4]), 3) is None
    assert picture_weights(PLAIN, split([5, 2, 1]), 3) is None
    assert picture_weights(PLAIN, split([5, 2, 1], [2.0] * 8), 3) is None


def test_a_class_without_pictures_has_no_part_in_the_mean() -> None:
    found = picture_weights(BALANCED, split([3, 0, 1]), 3)
    assert found is not None
    np.testing.assert_allclose(found, [2 / 3] * 3 + [2.0], rtol=1e-6)


def test_the_stores_weights_multiply_and_are_normalised() -> None:
    """1, 3 and 4 have a mean of 8/3; times w = 1/2, 1/2 and 1 they are 1/2, 3/2 and 4, with a mean of 2."""
    pictures = split([2, 1, 0], [1.0, 3.0, 4.0])
    alone, both = picture_weights(PLAIN, pictures, 3), picture_weights(BALANCED, pictures, 3)
    assert alone is not None
    assert both is not None
    np.testing.assert_allclose(alone, [3 / 8, 9 / 8, 12 / 8], rtol=1e-6)
    np.testing.assert_allclose(both, [0.25, 0.75, 2.0], rtol=1e-6)


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [1.0, float("nan"), 1.0], [0.0] * 3, [1.0] * 2])
def test_weights_that_cannot_be_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="weights of split 'train' must be 3 numbers, 0 or more and not all 0"):
        picture_weights(PLAIN, split([2, 1, 0], weights), 3)


def test_the_entropy_is_that_of_the_labels_or_of_their_weights() -> None:
    """-3/4 ln 3/4 - 1/4 ln 1/4 = 0.5623; with balanced weights ln 2."""
    pictures = split([3, 1, 0])
    assert entropy(class_shares(pictures, 3)) == pytest.approx(0.562335)
    assert entropy(class_shares(pictures, 3, picture_weights(BALANCED, pictures, 3))) == pytest.approx(0.693147)
    assert entropy(np.array([0.0, 1.0])) == 0
    assert only_answer(class_shares(pictures, 3)) == (0, 0.25)


def test_processes_that_share_weighted_pictures_come_to_the_same_weights_and_the_same_best(
    ranks: Ranks, store: Path, small: Recipe, tmp_path: Path
) -> None:
    recipe, unequal = small.replace(epochs=1, sgd={"class_weights": "balanced"}), Store(store)
    unequal.splits["train"] = unequal["train"].take([*range(10), 10, 11, 20])
    for name, processes, strategy in (("one", 1, "data"), ("data", 2, "data"), ("towers", 2, "towers")):
        assert (
            ranks(processes, trained, unequal, tmp_path / name, recipe, precision="fp64", strategy=strategy)
            == ["done"] * processes
        )
        found = weights(tmp_path / name)
        assert "best.safetensors:fc8.bias" in found
        assert apart(weights(tmp_path / "one"), found) < TOLERANCE["fp64"]
