"""Explain a loss that does not fall, or that is NaN or infinite, and suggest what to try."""

import math
from collections import deque
from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor

from alexnet.config.recipe import Net, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.text import percent
from alexnet.models import layer_table
from alexnet.training.weighting import entropy, only_answer

SEVERAL = 3  # epochs with the error of one answer before `one_answer` speaks
RAW_STD = 40  # grey levels: photographs minus their mean have 50 to 75; inputs far below are scaled


class LossMonitor:
    """A monitor that detects a loss stuck at that of one answer for all pictures.

    That is the entropy of the training labels: ln(classes) if all are equally frequent, else less. Give their shares,
    or those of their weights where the loss has weights.

    `asks` is True from the time when it would speak until it has spoken: `explain` needs a step's views and logits.
    """

    def __init__(self, recipe: Recipe, share: np.ndarray | None = None) -> None:
        self.recipe, self.classes = recipe, recipe.net.classes
        self.share = np.full(self.classes, 1 / self.classes) if share is None else share
        self.least = entropy(smoothed(recipe, self.share))
        # With more classes, the loss takes longer to leave ln(classes).
        self.losses: deque[float] = deque(maxlen=max(100, self.classes))
        self.told = self.asks = False

    def update(self, loss: float) -> None:
        """Add one step, with a finite loss; set `asks` if the loss stays at that of one answer for all pictures."""
        self.losses.append(loss)
        self.asks = not self.told and len(self.losses) == self.losses.maxlen and self.stuck()

    def explain(self, inputs: Tensor, logits: Tensor) -> list[str]:
        """Return lines to print, once per run, from the views and logits of the last step that was added."""
        if not self.asks or len(inputs) < 2:
            return []
        self.told, self.asks = True, False
        logit_std = logits.detach().float().std(0).mean().item()
        return plateau(self.recipe, len(self.losses), inputs.float().std().item(), logit_std, self.share)

    def stuck(self) -> bool:
        """Tell whether the losses stay at the labels' entropy or above, and do not fall."""
        losses, middle = list(self.losses), len(self.losses) // 2
        first, second = sum(losses[:middle]) / middle, sum(losses[middle:]) / (len(losses) - middle)
        return min(first, second) > 0.99 * self.least > 0 and second > 0.97 * first


def smoothed(recipe: Recipe, share: np.ndarray) -> np.ndarray:
    """Compute the shares of the classes in the labels that a net trains on, which label smoothing makes more equal."""
    mixed: np.ndarray = (1 - recipe.sgd.label_smoothing) * share + recipe.sgd.label_smoothing / len(share)
    return mixed


def plateau(
    recipe: Recipe, steps: int, input_std: float, logit_std: float, share: np.ndarray | None = None
) -> list[str]:
    """List the reasons why a net may stay at the loss of one answer for all pictures, the likeliest first.

    Args:
        recipe: The recipe that trains.
        steps: Number of steps for which the loss has not moved.
        input_std: Standard deviation of the net's input, in its own units (about 60 for raw pixels).
        logit_std: Standard deviation of a logit from picture to picture.
        share: Share of each class in the training pictures, or in the weights of their losses; None: equal.
    """
    net, rate = recipe.net, recipe.sgd.lr
    equal = f"ln({net.classes}) = {math.log(net.classes):.3f}"
    least = math.log(net.classes) if share is None else entropy(smoothed(recipe, share))
    of_2012 = not isinstance(net, Net) or net.init == "normal"  # the other initial weights suit other inputs
    same = math.isclose(least, math.log(net.classes), rel_tol=1e-3)
    level = equal if same else f"{least:.3f}, the entropy of the training labels ({equal} is that of equal classes),"
    lines = [
        f"the loss has stayed at or above {level} for {steps} steps: the net "
        f"gives nearly the same answer for every picture (input std {input_std:.3g}, a logit's std between pictures "
        f"{logit_std:.2g})"
    ]
    if input_std < RAW_STD / 4 and of_2012:
        lines.append(
            f"  input scale: raw 0-255 pixels have a std of about 60, this input {input_std:.3g}; the initial weights "
            "and the rate are made for raw pixels, so signals fade from layer to layer. Try --set views.scale=1"
        )
    if isinstance(net, Net) and of_2012 and (weak := weak_layers(net)):
        lines.append(
            f"  initial weights: {', '.join(weak)}: each gain (std times the square root of the fan-in) "
            "is less than half of that in the 2012 code. Try --recipe source, or a larger net.std there"
        )
    if isinstance(net, Net) and of_2012 and not {2, 4, 5, 6, 7} <= set(net.bias_one_layers):
        lines.append(
            f"  biases: net.bias_one_layers is {list(net.bias_one_layers)}; "
            "section 5 starts conv2, 4, 5, fc6 and fc7 at 1"
        )
    if not 0.003 <= rate <= 0.03 and isinstance(net, Net):
        lines.append(f"  rate: {rate:g}; section 5 starts at 0.01")
    if share is not None and share.max() * net.classes > 2 and recipe.sgd.class_weights == "none":
        lines.append(
            f"  classes: the largest has {percent(float(share.max()))} of the training pictures. "
            "Try --class-weights balanced"
        )
    if len(lines) == 1:
        lines.append("  nothing in the recipe explains it: try another seed, or look at the pictures and their labels")
    return lines


def weak_layers(net: Net) -> list[str]:
    """List the layers whose initial gain is less than half of that in the 2012 code.

    The gain is the weights' standard deviation times the square root of the fan-in.
    """

    def gains(net: Net) -> dict[str, float]:
        weighted = [layer for layer in layer_table.layers_of(net) if layer.weights]
        fan_in = [layer.weights // layer.maps - 1 for layer in weighted]
        return {w.name: net.initial[w.name][0] * math.sqrt(n) for w, n in zip(weighted, fan_in, strict=True)}

    source = gains(cast(Net, RECIPES["source"].net))
    weak = [name for name, gain in gains(net).items() if name in source and gain < source[name] / 2]
    return [f"net.std of {name} is {net.initial[name][0]:g}" for name in weak]


def one_answer(errors: Sequence[float], share: np.ndarray, names: Sequence[str]) -> list[str]:
    """Say that the validation error has for SEVERAL epochs been that of one answer; say it once for these epochs.

    Args:
        errors: Validation error of each epoch so far.
        share: Share of each class in the validated pictures.
        names: Names of the classes.
    """
    largest, error = only_answer(share)
    alike = [math.isclose(one, error, abs_tol=1e-9) for one in errors[-SEVERAL - 1 :]]
    if len(errors) < SEVERAL or not all(alike[-SEVERAL:]) or (len(alike) > SEVERAL and alike[0]):
        return []
    several = int((share == share[largest]).sum())
    which = f"one of {several} classes" if several > 1 else f"{names[largest]}, the largest class,"
    return [
        f"the validation error of the last {SEVERAL} epochs, {percent(error)}, is that of always naming {which} "
        "whatever the picture shows"
    ]


def describe_not_finite(names: Sequence[str]) -> str:
    """Name the tensors that hold NaN or infinity."""
    more = f" and {len(names) - 1} more hold" if names[1:] else " holds"
    return f"{names[0]}{more} NaN or infinity"


def not_a_number(what: str, step: int, recipe: Recipe, good: str = "") -> str:
    """Write the message for a loss or a weight that is NaN or infinite.

    `good` is the name of the last checkpoint that was validated, if there is one.
    """
    rate = recipe.sgd.lr
    stands = f"the last good checkpoint is {good}" if good else "there is no good checkpoint"
    return (
        f"{what} at step {step} (rate {rate:g}, batch {recipe.sgd.batch}); {stands}. "
        f"Try --set sgd.lr={rate / 3:.2g} in a new run folder"
    )
