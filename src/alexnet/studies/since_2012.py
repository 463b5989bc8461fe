"""The study `since-2012`, which is not about a claim: a ladder of nets from before 2012 to the recipe `today`.

Each rung adds one idea to the rung below it. The first is a plain net of before 2012. The paper's ideas follow in the
order of its sections, up to the ground's own recipe; then come later ones, up to `today`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from alexnet.config.recipe import Late, Recipe
from alexnet.config.recipes import RECIPES
from alexnet.models import layer_table
from alexnet.studies import arms
from alexnet.studies.claim import Changes, Claim, Expect

TODAY = RECIPES["today"]
TIMES_TANH = (1, 3, 10)  # factors on the ground's rates that the net with tanh tries
TIMES_HE = (2.5, 5, 10)  # and the one with He's initial weights


def plain_start(base: Recipe) -> Mapping[str, Any]:
    """Take tanh, and what suits it: inputs of deviation 1, and weights of variance 1 / inputs (LeCun et al. 1998)."""
    weighted = [layer for layer in layer_table.layers_of(base.net) if layer.weighted]
    std = tuple(1 / math.sqrt(layer.fan_in) for layer in weighted)
    return {
        "net": {"activation": "tanh", "bias_one_layers": (), "std": std},
        "views": {"scale": TODAY.views.scale},
    }


# What each of the paper's ideas replaced, in the order of its sections.
BEFORE: dict[str, Changes] = {
    "ReLU": plain_start,
    "two towers": arms.half,
    "response norms": {"net": {"lrn": None, "spatial_lrn": None}},
    "overlapping pools": {"net": {"pool": 2}},
    "crops and mirrors": {"views": arms.CENTRE | {"pictures_per_crop": 1}},
    "colour noise": {"views": {"colour": 0.0}},
    "dropout": {"net": {"dropout": 0.0}},
}
# What came later, in the order in which it is added; all together make `today`.
AFTER: dict[str, Changes] = {
    "cosine": {"schedule": TODAY.schedule, "late": Late()},
    "scaled crops": {"views": {"area": TODAY.views.area, "aspect": TODAY.views.aspect}},
    "smoothed labels": {"sgd": {"label_smoothing": TODAY.sgd.label_smoothing}},
    "decoupled decay": {"sgd": {"decoupled": True, "weight_decay": TODAY.sgd.weight_decay}},
    "averaged weights": {"sgd": {"average": TODAY.sgd.average}},
    "no dropout": {"net": {"dropout": 0.0}},
    "He's start": {"net": {"init": "he", "bias_one_layers": ()}, "views": {"scale": TODAY.views.scale}},
}
RUNGS = ("plain", *BEFORE, *AFTER)


def together(changes: Sequence[Changes]) -> Changes:
    """Make one change of several, which are made one after the other."""

    def change(base: Recipe) -> Mapping[str, Any]:
        for each in changes:
            base = base.replace(**(each(base) if callable(each) else each))
        return {field.name: getattr(base, field.name) for field in fields(base)}

    return change


def rung(place: int) -> Changes:
    """Make the changes of a rung, counted from the plain net, in the ground's recipe."""
    lacking = list(BEFORE.values())[place:]  # halving the kernels comes before the initial weights follow from them
    added = list(AFTER.values())[: max(0, place - len(BEFORE))]
    return together([*reversed(lacking), *added]) if lacking or added else {}


def faster(change: Changes, times: float) -> Changes:
    """Multiply the learning rates of a rung."""
    return together([change, lambda base: {"sgd": {"lr": times * base.sgd.lr, "bias_lr": times * base.sgd.bias_lr}}])


def ladder() -> dict[str, Changes]:
    """Make the arms: each rung, with the first and the last at several rates."""
    made = {name: rung(place) for place, name in enumerate(RUNGS)}
    first, last = RUNGS[0], RUNGS[-1]
    of_first = {f"{first}, rates x {k:g}": faster(made[first], k) for k in TIMES_TANH}
    of_last = {f"{last}, rates x {k:g}": faster(made[last], k) for k in TIMES_HE}
    between = {name: made[name] for name in RUNGS[1:-1]}
    return of_first | between | of_last


# fmt: off
SINCE_2012 = Claim(
    "since-2012", "after the paper",
    "Not in the paper: what each of its ideas adds to a net of before 2012, and what later ideas add to its own.",
    paper="not about a claim of the paper", log="not in the release", shape=True, room=True, ground="B", steps=True,
    arms=ladder(),
    tune={
        RUNGS[0]: tuple(f"{RUNGS[0]}, rates x {k:g}" for k in TIMES_TANH),
        RUNGS[-1]: tuple(f"{RUNGS[-1]}, rates x {k:g}" for k in TIMES_HE),
    },
    expects=(
        *(Expect(below, above, "top1") for below, above in pairwise(RUNGS)),
        *(Expect(below, above, "nats", judged=False) for below, above in pairwise(RUNGS)),
        Expect(RUNGS[0], RUNGS[len(BEFORE)], "top1", judged=False),
        Expect(RUNGS[len(BEFORE)], RUNGS[-1], "top1", judged=False),
    ),
    notes=(
        "Each rung adds one idea to the one before. The order matters: the gain of an idea is that on top of those "
        "before it. The first seven follow the order of the paper's sections.",
        "The plain net has tanh, inputs of deviation 1, weights of variance 1 / inputs, and one tower with half the "
        "kernels. With the ReLU come the paper's raw inputs and its initial weights and biases.",
        "The first and the last rung start from other weights and inputs, so they have learning rates of their own: of "
        "three rates, the best one on a seed that is not part of the verdict. The other rungs have the rates of the "
        "ground's recipe.",
        "All rungs are judged with ten views, which are the paper's idea too.",
    ),
)
# fmt: on
