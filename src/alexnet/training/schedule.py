"""The learning rates of each step, and the switches that the 2012 runs made late."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alexnet.config.recipe import Cosine, Late, Plateau, Recipe, Steps


@dataclass(frozen=True)
class LearningRates:
    """The learning rates of one step."""

    weights: float
    biases: float
    conv1: float | None = None  # of conv1's weights, if they have their own; 0 freezes its biases too


def learning_rates(recipe: Recipe, progress: float, errors: Sequence[float]) -> LearningRates:
    """Compute the learning rates of a step.

    Args:
        recipe: The recipe, with its schedule: a plateau (section 5), steps (the 2012 logs) or a cosine.
        progress: Fraction of the run that is done, 0 to 1.
        errors: Validation error, 0 to 1, after each epoch so far.
    """
    sgd, schedule = recipe.sgd, recipe.schedule
    epoch = progress * schedule.of_epochs
    if isinstance(schedule, Steps):
        heat = warmup_factor(schedule, epoch)
        weights = heat * sgd.lr / schedule.factor ** sum(at <= epoch for at in schedule.milestones)
        biases = heat * sgd.bias_lr / schedule.bias_factor ** sum(at <= epoch for at in schedule.bias_milestones)
    elif isinstance(schedule, Cosine):
        part = cosine_factor(schedule, epoch)
        weights, biases = part * sgd.lr, part * sgd.bias_lr
    else:
        down = schedule.factor ** min(schedule.drops, plateaus(errors, patience(schedule, recipe.epochs)))
        weights, biases = sgd.lr / down, sgd.bias_lr / down
    return LearningRates(weights, biases, _conv1(recipe.late, epoch))


def drops(recipe: Recipe, progress: float, errors: Sequence[float]) -> int:
    """Count the drops of the weights' rate so far; a cosine has none, since its rate falls at every step."""
    schedule = recipe.schedule
    if isinstance(schedule, Steps):
        return sum(at <= progress * schedule.of_epochs for at in schedule.milestones) if schedule.factor > 1 else 0
    if isinstance(schedule, Plateau):
        return min(schedule.drops, plateaus(errors, patience(schedule, recipe.epochs)))
    return 0


def cosine_factor(schedule: Cosine, epoch: float) -> float:
    """Compute the factor of the rates: a warm-up, then (1 + cos(pi t)) / 2 from 1 down to `final`, t from 0 to 1."""
    if epoch < schedule.warmup_epochs:
        return warmup_factor(schedule, epoch)
    t = (epoch - schedule.warmup_epochs) / (schedule.of_epochs - schedule.warmup_epochs)
    return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * t)) / 2


def warmup_factor(schedule: Steps | Cosine, epoch: float) -> float:
    """Compute the factor of a warm-up, which grows linearly from `warmup_start` to 1 and stays there."""
    start = schedule.warmup_start
    return 1.0 if epoch >= schedule.warmup_epochs else start + (1 - start) * epoch / schedule.warmup_epochs


def colour_noise_on(recipe: Recipe, progress: float) -> bool:
    """Tell whether colour noise is still on: the 2012 runs switched it off late."""
    off = recipe.late.colour_off
    return off is None or progress * recipe.schedule.of_epochs < off


def finished(recipe: Recipe, errors: Sequence[float]) -> bool:
    """Tell whether the error stopped improving again after the last drop: section 5's "prior to termination"."""
    schedule = recipe.schedule
    return isinstance(schedule, Plateau) and plateaus(errors, patience(schedule, recipe.epochs)) > schedule.drops


def patience(schedule: Plateau, epochs: int) -> int:
    """Scale the plateau's length, in epochs without a new lowest error, to a run of `epochs`."""
    return max(1, round(schedule.patience * epochs / schedule.of_epochs))


def plateaus(errors: Sequence[float], patience: int) -> int:
    """Count how often the error went `patience` epochs without a new minimum; each plateau restarts the count."""
    count, best, since = 0, float("inf"), 0
    for error in errors:
        best, since = (error, 0) if error < best else (best, since + 1)
        if since == patience:
            count, since = count + 1, 0
    return count


def best_epoch(errors: Sequence[float]) -> int:
    """Return the number of the epoch with the lowest error, the first of equal ones, counted from 1; 0 if none."""
    return 1 + errors.index(min(errors)) if errors else 0


def _conv1(late: Late, epoch: float) -> float | None:
    if late.conv1_frozen is not None and epoch >= late.conv1_frozen:
        return 0.0
    if late.conv1_slow is not None and epoch >= late.conv1_slow:
        return late.conv1_lr
    return None
