"""The messages about a loss that does not fall, or that is NaN or infinite."""

import math

import numpy as np
import torch
from torch import Tensor

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.training.diagnostics import LossMonitor, not_a_number, one_answer, plateau

PAPER = RECIPES["paper"].replace(net={"classes": 10})
SOURCE = RECIPES["source"].replace(net={"classes": 10})
CHANCE = math.log(10)
WINDOW = 100


def inputs(std: float, n: int = 8) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(0, std, (n, 3, 16, 16))).float()


def told(recipe: Recipe, losses: list[float], std: float = 60.0, pictures: int = 8) -> list[str]:
    """Collect all lines that a monitor returns for these losses."""
    watch, lines = LossMonitor(recipe), list[str]()
    logits = torch.from_numpy(np.random.default_rng(1).normal(0, 1e-4, (pictures, 10)))
    for loss in losses:
        watch.update(loss)
        lines += watch.explain(inputs(std, pictures), logits)
    return lines


def flat(steps: int, seed: int = 0) -> list[float]:
    """Draw losses at ln(classes), with the noise of a batch."""
    return [CHANCE + e for e in np.random.default_rng(seed).normal(0, 0.01, steps).tolist()]


def test_a_loss_at_ln_classes_is_told_once() -> None:
    lines = told(PAPER, flat(4 * WINDOW))
    assert sum(line.startswith("the loss has stayed at or above ln(10) = 2.303") for line in lines) == 1
    assert not told(PAPER, flat(WINDOW - 1))
    assert told(PAPER, flat(WINDOW)) == lines


def test_it_is_told_when_it_begins_later_too() -> None:
    """A learning rate that is too high can take a net back to ln(classes)."""
    assert told(PAPER, [5.0] * WINDOW + flat(2 * WINDOW))


def test_small_inputs_are_named_as_the_likeliest_cause() -> None:
    """The initial weights of section 5 are made for raw 0-255 pixels; at 1/58 of that scale the net stays flat."""
    lines = told(PAPER.replace(views={"scale": 1 / 58}), flat(WINDOW), std=1.0)
    assert "input scale" in lines[1]
    assert "views.scale=1" in lines[1]
    assert not any("input scale" in line for line in told(PAPER, flat(WINDOW), std=60.0))


def test_each_other_cause_is_named_where_it_holds_and_only_there() -> None:
    """Section 5 gives the standard deviations, the biases of one and the rate."""
    words = ("initial weights", "biases:", "rate:")
    for recipe, named in (
        (SOURCE, ()),
        (PAPER, ("initial weights",)),
        (SOURCE.replace(net={"bias_one_layers": []}), ("biases:",)),
        (SOURCE.replace(sgd={"lr": 1e-5}), ("rate:",)),
        (SOURCE.replace(sgd={"lr": 1.0}), ("rate:",)),
    ):
        text = "\n".join(plateau(recipe, 100, 60.0, 1e-3))
        assert tuple(word for word in words if word in text) == named
    assert "another seed" in "\n".join(plateau(SOURCE, 100, 60.0, 1e-3))


def test_a_falling_loss_is_not_told() -> None:
    steps = 5 * WINDOW
    assert not told(PAPER, [CHANCE * (1 - 0.5 * i / steps) - 0.15 for i in range(steps)])
    assert not told(PAPER, [0.5 + 1.8 * 0.98**i for i in range(steps)])


def test_a_loss_that_falls_through_ln_classes_is_not_told() -> None:
    """A fall from 4 to 1 in 300 steps is not stuck, though the mean of some hundred steps is ln(classes)."""
    assert not told(PAPER, [4 - 3 * i / 300 for i in range(300)])


def test_a_last_batch_of_one_picture_does_not_swallow_the_words() -> None:
    """The last batch of an epoch may hold one picture, which has no standard deviation between pictures."""
    watch, logits = LossMonitor(PAPER), torch.zeros(8, 10)
    lines = list[str]()
    for step, loss in enumerate(flat(2 * WINDOW)):
        n = 1 if step == WINDOW - 1 else 8
        watch.update(loss)
        lines += watch.explain(inputs(60.0, n), logits[:n])
    assert lines


def test_a_monitor_asks_for_views_until_it_has_spoken() -> None:
    """A graph's replay overwrites the views of the step before, so training keeps those of a later one."""
    watch = LossMonitor(PAPER)
    for loss in flat(WINDOW - 1):
        watch.update(loss)
    assert not watch.asks
    for loss in flat(3):
        watch.update(loss)
        assert watch.asks
    assert watch.explain(inputs(60.0), torch.zeros(8, 10))
    watch.update(CHANCE)
    assert not watch.asks
    assert not watch.explain(inputs(60.0), torch.zeros(8, 10))


def test_a_number_that_is_none_is_told_with_the_step_what_to_try_and_what_stands() -> None:
    words = not_a_number("the loss is nan", 17, PAPER, "00000004")
    assert words == (
        "the loss is nan at step 17 (rate 0.01, batch 128); the last good checkpoint is 00000004. "
        "Try --set sgd.lr=0.0033 in a new run folder"
    )
    assert "; there is no good checkpoint. Try" in not_a_number("the loss is nan", 17, PAPER)


def unequal(steps: int) -> list[float]:
    """Draw losses at the entropy of labels of which 90 % are of one class and the others of one each."""
    return [SKEWED_ENTROPY + e for e in np.random.default_rng(0).normal(0, 0.01, steps).tolist()]


SKEWED = np.array([0.91] + [0.01] * 9)
SKEWED_ENTROPY = -(0.91 * math.log(0.91) + 0.09 * math.log(0.01))


def test_a_loss_at_the_entropy_of_unequal_labels_is_told_with_both_numbers() -> None:
    """It is 0.500, far below ln(10)."""
    watch, lines = LossMonitor(PAPER, SKEWED), list[str]()
    for loss in unequal(2 * WINDOW):
        watch.update(loss)
        lines += watch.explain(inputs(60.0), torch.zeros(8, 10))
    assert lines[0].startswith(
        "the loss has stayed at or above 0.500, the entropy of the training labels (ln(10) = 2.303 is that of equal "
        "classes), for 100 steps: the net gives nearly the same answer"
    )
    assert any(
        "the largest has 91.0 % of the training pictures. Try --class-weights balanced" in line for line in lines
    )
    balanced = PAPER.replace(sgd={"class_weights": "balanced"})
    assert not any("--class-weights" in line for line in plateau(balanced, 100, 60.0, 1e-3, SKEWED))
    assert not told(PAPER, unequal(4 * WINDOW))  # by ln(classes) alone it would never be


def test_a_loss_below_the_entropy_of_unequal_labels_and_one_of_a_single_class_are_not_told() -> None:
    for share, losses in ((SKEWED, [0.4] * 300), (np.eye(10)[0], [1e-3] * 300)):
        watch = LossMonitor(PAPER, share)
        for loss in losses:
            watch.update(loss)
            assert not watch.asks


def test_the_error_of_one_answer_is_named_once_where_it_lasts() -> None:
    share, names = np.array([0.75, 0.15, 0.1]), ["cat", "dog", "eel"]
    (line,) = one_answer([0.4, 0.25, 0.25, 0.25], share, names)
    assert line.startswith(
        "the validation error of the last 3 epochs, 25.0 %, is that of always naming cat, the largest"
    )
    assert one_answer([0.25] * 3, share, names) == [line]
    for errors in ([0.25] * 4, [0.25] * 2, [0.25, 0.25, 0.2], [0.4, 0.25, 0.25], []):
        assert not one_answer(errors, share, names)
    assert "naming one of 2 classes whatever" in one_answer([0.5] * 3, np.array([0.5, 0.5]), names[:2])[0]
