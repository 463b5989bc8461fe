"""The learning rates of section 5, the late switches of the 2012 logs, and the warm-up (not in the paper)."""

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.config.recipe import Cosine, Plateau, Recipe, Steps
from alexnet.config.recipes import RECIPES
from alexnet.training import schedule
from alexnet.training.schedule import LearningRates


def plateaus_by_stretches(errors: list[float], patience: int) -> int:
    """Count whole lengths of `patience` in the stretches of epochs without a new minimum."""
    new_best = [all(error < before for before in errors[:i]) for i, error in enumerate(errors)]
    stretches, length = [], 0
    for best in new_best:
        if best:
            stretches.append(length)
            length = 0
        else:
            length += 1
    return sum(s // patience for s in [*stretches, length])


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 6))
def test_a_plateau_is_patience_epochs_without_a_new_best(errors: list[int], patience: int) -> None:
    """Section 5: "when the validation error rate stopped improving with the current learning rate"."""
    values = [e / 12 for e in errors]
    assert schedule.plateaus(values, patience) == plateaus_by_stretches(values, patience)


def test_the_rate_falls_by_ten_at_each_plateau_and_three_times_at_most() -> None:
    """Section 5: "initialized at 0.01 and reduced three times prior to termination"."""
    paper = RECIPES["paper"]
    assert isinstance(paper.schedule, Plateau)
    flat: list[float] = [0.5]
    found = []
    for _ in range(1 + 6 * paper.schedule.patience):
        found.append(schedule.learning_rates(paper, len(flat) / 90, flat))
        flat.append(0.5)
    weights = [rates.weights for rates in found]
    p = paper.schedule.patience
    expected = [0.01] * p + [0.001] * p + [1e-4] * p + [1e-5] * (len(weights) - 3 * p)
    assert weights == pytest.approx(expected)
    assert [rates.biases for rates in found] == pytest.approx(expected)  # "equal ... for all layers"
    assert all(rates.conv1 is None for rates in found)


def test_training_ends_at_the_fourth_plateau() -> None:
    """Section 5: the third drop is followed by training at that rate until the error stops improving again."""
    paper = RECIPES["paper"]
    assert isinstance(paper.schedule, Plateau)
    p = paper.schedule.patience
    ends = [schedule.finished(paper, [0.5] * n) for n in range(6 * p)]
    assert ends.index(True) == 1 + 4 * p
    assert not schedule.finished(
        paper, [1 / (n + 2) for n in range(90)]
    )  # an error that always improves never ends the run early
    assert not schedule.finished(RECIPES["source"], [0.5] * 500)


def test_patience_shrinks_with_the_epochs_asked_for() -> None:
    plateau = Plateau(patience=5, of_epochs=90)
    assert [schedule.patience(plateau, epochs) for epochs in (90, 180, 36, 18, 1)] == [5, 10, 2, 1, 1]


@pytest.mark.parametrize("epochs", [91, 30, 7])
@pytest.mark.parametrize("per_epoch", [1, 7, 100])
@pytest.mark.parametrize("name", ["source", "source-145", "cifar-11"])
def test_steps_fall_at_the_same_fractions_whatever_the_length(name: str, per_epoch: int, epochs: int) -> None:
    """The first step at or past the fraction `at` / `of` of the run has the lower rate; the step before has not."""
    recipe = RECIPES[name].replace(epochs=epochs)
    steps, total = recipe.schedule, epochs * per_epoch
    assert isinstance(steps, Steps)
    for kind, at, factor, start in (
        ("weights", steps.milestones, steps.factor, recipe.sgd.lr),
        ("biases", steps.bias_milestones, steps.bias_factor, recipe.sgd.bias_lr),
    ):
        falls = [math.ceil(Fraction(a) / steps.of_epochs * total) for a in at]
        for step in {s for fall in falls for s in (fall - 1, fall, fall + 1) if 0 <= s < total} | {0, total - 1}:
            rates = schedule.learning_rates(recipe, step / total, [])
            expected = start / factor ** sum(fall <= step for fall in falls)
            assert getattr(rates, kind) == pytest.approx(expected), f"{kind} at step {step} of {total}"


def at(recipe: Recipe, epoch: float) -> LearningRates:
    return schedule.learning_rates(recipe, epoch / recipe.schedule.of_epochs, [])


def test_the_rates_of_net_170_are_its_logs() -> None:
    """2012 log: dexp[tgtFactor=250, numSteps=4] from 0.01 and dexp[10, 2] from 0.02, over about 95 epochs."""
    source = RECIPES["source"]
    for quarter, rate in enumerate([0.01, 0.0015874, 0.00025198, 0.00004]):
        for epoch in (quarter * 23.75, quarter * 23.75 + 23.7):
            assert at(source, epoch).weights == pytest.approx(rate, rel=2e-5)
            assert at(source, epoch).biases == pytest.approx(0.02 if epoch < 47.5 else 0.002)


def test_rates_grow_evenly_from_a_tenth_while_the_schedule_warms_up() -> None:
    """A warm-up over 4 of 80 epochs (not in the paper): drops stay where they are; weights and biases warm up."""
    warm = RECIPES["source"].replace(
        schedule=Steps(milestones=(2.0, 40.0), bias_milestones=(60.0,), of_epochs=80, warmup_epochs=4.0), epochs=10
    )
    cases = [
        (0.0, 0.1, 1.0), (1.0, 0.325, 1.0), (2.0, 0.55, 0.1), (3.0, 0.775, 0.1), (3.999, 0.999775, 0.1),
        (4.0, 1.0, 0.1), (39.0, 1.0, 0.1), (41.0, 1.0, 0.01), (79.0, 1.0, 0.01),
    ]  # fmt: skip
    for epoch, heat, drop in cases:
        found = at(warm, epoch)
        assert found.weights == pytest.approx(0.01 * heat * drop, rel=1e-12), epoch
        assert found.biases == pytest.approx(0.02 * heat * (0.1 if epoch > 60 else 1), rel=1e-12), epoch


@pytest.mark.parametrize("final", [0.0, 0.25])
def test_a_cosine_falls_by_the_printed_formula_after_its_warm_up(final: float) -> None:
    """Loshchilov & Hutter 2017, formula 5: rate = least + (first - least) (1 + cos(pi t / T)) / 2, t from 0 to T."""
    schedule_of = Cosine(of_epochs=20, warmup_epochs=4.0, final=final)
    recipe = RECIPES["source"].replace(schedule=schedule_of, epochs=5)
    first, least = recipe.sgd.lr, final * recipe.sgd.lr
    for quarter in range(81):
        epoch = quarter / 4
        if epoch < 4:
            expected = first * (0.1 + 0.9 * epoch / 4)
        else:
            expected = least + (first - least) * (1 + math.cos(math.pi * (epoch - 4) / 16)) / 2
        found = at(recipe, epoch)
        assert found.weights == pytest.approx(expected, rel=1e-12, abs=1e-18), epoch
        assert found.biases == pytest.approx(2 * expected, rel=1e-12, abs=1e-18), epoch
    assert at(recipe, 4.0).weights == first
    assert at(recipe, 20.0).weights == least
    assert not schedule.finished(recipe, [0.5] * 500)


def test_drops_are_counted_where_a_rate_falls_at_once() -> None:
    """Training saves at each drop; a cosine's rate falls at every step, and has none."""
    paper, source = RECIPES["paper"], RECIPES["source"]
    assert [schedule.drops(source, epoch / 95, []) for epoch in (0, 23.7, 23.75, 47.5, 71.25, 95)] == [0, 0, 1, 2, 3, 3]
    assert [schedule.drops(paper, 0.5, [0.5] * n) for n in (0, 5, 6, 11, 16, 60)] == [0, 0, 1, 2, 3, 3]
    assert schedule.drops(source.replace(schedule={"factor": 0.5}), 1.0, []) == 0
    assert schedule.drops(RECIPES["today"], 0.9, [0.5] * 60) == 0


def test_without_a_warm_up_the_first_rate_is_the_recipes() -> None:
    for name, recipe in RECIPES.items():
        cold = 0.1 if name in ("large", "small") or name.startswith("today") else 1.0
        found = schedule.learning_rates(recipe, 0.0, [])
        assert (found.weights, found.biases) == (recipe.sgd.lr * cold, recipe.sgd.bias_lr * cold), name


def test_conv1_slows_and_freezes_when_the_2012_logs_say() -> None:
    """2012 log, 145: conv1 at 1e-5 from epoch 67 and at 0 from 72; 170: at 0 from 74."""
    old, source = RECIPES["source-145"], RECIPES["source"]
    assert [at(old, e).conv1 for e in (0, 66.9, 67, 71.9, 72, 90)] == [None, None, 1e-5, 1e-5, 0, 0]
    assert [at(source, e).conv1 for e in (0, 73.9, 74, 94)] == [None, None, 0, 0]


def test_colour_noise_stops_when_the_2012_logs_say() -> None:
    """2012 log: off at 67 of 91 (145) and at 68 of 95 (170); never in the paper."""
    cases: list[tuple[str, float]] = [("source-145", 67.0), ("source", 68.0)]
    for name, off in cases:
        of = RECIPES[name].schedule.of_epochs
        assert schedule.colour_noise_on(RECIPES[name], (off - 0.01) / of)
        assert not schedule.colour_noise_on(RECIPES[name], off / of)
        shorter: dict[str, Any] = {"epochs": 10}
        assert not schedule.colour_noise_on(RECIPES[name].replace(**shorter), off / of)
    assert schedule.colour_noise_on(RECIPES["paper"], 1.0)
