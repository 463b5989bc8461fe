"""Measures from records."""

from pathlib import Path
from typing import Any

import pytest
from tests.planted import plain_record

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.studies.claim import MEASURES
from alexnet.studies.measures import HELD_OUT_CURVE, crossing, held_out_at, measured
from alexnet.studies.record import Record

BASE = RECIPES["small"].replace(net={"classes": 10}, epochs=4)
BASE_HELD_OUT = plain_record(BASE, 0.25)["store"]["held_out"]


def record(train: list[float], held_out: list[float], recipe: Recipe = BASE, **changes: Any) -> Record:
    """Make a record with these errors by epoch."""
    curve = [[2.0 - i, a, b, 0.1, 1.0] for i, (a, b) in enumerate(zip(train, held_out, strict=True))]
    return Record(Path(), plain_record(recipe, 0.25) | {"curve": curve} | changes)


def test_the_error_of_an_epoch_stands_at_its_middle() -> None:
    """Exponential curves cross as far apart as their speeds, within 2 %; placed at epochs' ends, 4 % less."""
    assert crossing([0.9, 0.5, 0.3, 0.2], 0.25) == pytest.approx(2.0)  # midway from 0.3 at 1.5 to 0.2 at 2.5
    assert crossing([0.9, 0.2], 0.2) == 0.5
    assert crossing([0.9, 0.5], 0.25) is None
    assert crossing([0.9, 0.1], 0.5) == pytest.approx(0.25)
    decay = 2.63

    def epochs(speed: float) -> list[float]:
        fine = [0.9 * 2.718281828 ** (-speed * t / 1000) for t in range(40_000)]
        return [0.9, *(sum(fine[1000 * i : 1000 * (i + 1)]) / 1000 for i in range(40))]

    fast, slow = crossing(epochs(0.4), 0.25), crossing(epochs(0.4 / decay), 0.25)
    assert fast is not None
    assert slow is not None
    assert slow / fast == pytest.approx(decay, rel=0.02)


def test_each_measure_is_read_from_its_place() -> None:
    found = record([0.8, 0.6, 0.4, 0.2], [0.7, 0.5, 0.3, 0.31])
    values = {m: measured(found, m, 0.5) for m in MEASURES if not m.startswith("ensemble")}
    assert values == pytest.approx(
        {"top1": 0.25, "top5": 0.025, "nats": 0.9, "one_top1": 0.26, "one_top5": 0.1, "train": 0.125}
        | {"train_nats": 0.5, "gap": 0.135, "even_gap": 0.4, "until": 3.25, "early": 2.0, "settled": 3.0}
    )


def test_nets_are_compared_at_a_training_error_that_both_come_to() -> None:
    curve = record([0.8, 0.6, 0.4, 0.2], [0.7, 0.5, 0.3, 0.2]).curve
    assert held_out_at(curve, 0.5) == pytest.approx(0.4)
    assert held_out_at(curve, 0.9) == 0.7
    assert held_out_at(curve, 0.1) is None
    assert measured(record([0.8] * 4, [0.7] * 4), "even_gap") is None


def test_held_out_errors_of_epochs_are_read_only_if_they_are_of_all_pictures() -> None:
    errors = [0.8, 0.6, 0.4, 0.2], [0.7, 0.5, 0.3, 0.2]
    for validated, known in ((None, True), (BASE_HELD_OUT, True), (BASE_HELD_OUT - 1, False)):
        found = record(*errors, **({} if validated is None else {"validated": validated}))
        assert [measured(found, m, 0.5) is not None for m in HELD_OUT_CURVE] == [known, known]
        assert measured(found, "top1") == 0.25
