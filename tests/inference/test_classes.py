"""Classes are found by name: a store may have a part of a run's classes, in any order, and never others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from alexnet.core.errors import InputError
from alexnet.data.store import Class, Store
from alexnet.inference.classes import find_classes
from alexnet.inference.evaluate import evaluate

CRANES = [Class("n1", "n1", 1, "crane"), Class("n2", "n2", 2, "tench"), Class("n3", "n3", 3, "crane")]


def having(*classes: Class) -> Store:
    """As much of a store as its classes."""
    return cast(Store, SimpleNamespace(classes=classes, path=Path("st")))


def found(*classes: Class, of: Any = None) -> list[int]:
    return find_classes(having(*classes), "run r", of or CRANES).tolist()


def test_classes_are_found_in_any_order_by_their_id_their_name_or_their_words() -> None:
    assert found(*CRANES) == [0, 1, 2]
    assert found(*reversed(CRANES)) == [2, 1, 0]
    assert found(CRANES[2]) == [2]  # alone its words are unique, but the run shows it as n3
    assert found(Class("tench")) == [1]  # a folder that is called as the run shows the class
    assert found(Class("n3"), Class("n1")) == [2, 0]
    assert found(Class("b"), Class("a"), of=[Class("a"), Class("b"), Class("c")]) == [1, 0]


def test_a_class_that_the_run_lacks_is_refused_by_name_and_so_is_one_that_could_be_two() -> None:
    with pytest.raises(InputError, match="run r has no class pike, which store st has; the run knows n1, tench, n3"):
        found(CRANES[0], Class("pike"))
    with pytest.raises(InputError, match="run r has class crane of store st as outputs 0 and 2"):
        found(Class("crane"), Class("tench"))
    with pytest.raises(InputError, match="store st has tench of run r as two classes"):
        found(CRANES[1], Class("tench"))


def test_a_store_of_two_of_three_classes_is_measured_by_name(run: Path, store: Path, two: Path) -> None:
    """Their pictures are those of the whole store, so each has the same probabilities."""
    whole, part = (evaluate(s, run, views=1, split="train", precision="fp32") for s in (store, two))
    names = [c.name for c in Store(two).classes]
    assert len(names) == 2
    assert part.probabilities.shape == (len(part.labels), 3)
    assert {part.measures.classes[i] for i in part.labels} == set(names)
    rows = {name: whole.labels == list(whole.measures.classes).index(name) for name in names}
    own = {name: part.labels == list(part.measures.classes).index(name) for name in names}
    for name in names:  # the two stores hold out the same pictures of a class, but have other means of their own
        np.testing.assert_array_equal(
            np.sort(part.probabilities[own[name]], 0), np.sort(whole.probabilities[rows[name]], 0)
        )
    assert part.measures.present.tolist() == sorted(set(part.labels.tolist()))


def test_a_choice_among_the_stores_classes_gives_the_others_no_probability(run: Path, two: Path) -> None:
    free, chosen = (evaluate(two, run, views=10, precision="fp32", among=among) for among in ("run", "store"))
    absent = np.setdiff1d(np.arange(3), chosen.labels)
    assert (chosen.probabilities[:, absent] == 0).all()
    np.testing.assert_allclose(chosen.probabilities.sum(1), 1, atol=1e-6)
    kept = np.delete(free.center, absent, 1)
    np.testing.assert_allclose(np.delete(chosen.center, absent, 1), kept / kept.sum(1, keepdims=True), atol=1e-6)
    assert [free.measures.chance, chosen.measures.chance] == pytest.approx([2 / 3, 0.5])
    with pytest.raises(InputError, match="--among all"):
        evaluate(two, run, among=cast(Any, "all"))


def test_a_run_of_two_classes_refuses_a_store_of_three_by_name(
    run: Path, store: Path, two: Path, tmp_path: Path
) -> None:
    from alexnet.config.recipes import RECIPES
    from alexnet.training.train import train

    recipe = RECIPES["tiny"].replace(net={"channels": (4,) * 5, "hidden": 4, "classes": 2}, sgd={"batch": 20}, epochs=1)
    train(two, tmp_path / "run", recipe, precision="fp32", quiet=True)
    with pytest.raises(InputError, match=r"has no class red, which store .* has; the run knows blue, green"):
        evaluate(store, tmp_path / "run")
    with pytest.raises(InputError, match="have other classes; average runs of the same classes"):
        evaluate(two, [run, tmp_path / "run"])
