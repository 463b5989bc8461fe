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
# Factors on the ground's rates that the nets of these rungs try: they start from other weights and inputs. Pilots of 12
# epochs on 5,000 pictures, seed 1000: tanh 48.4, 45.1 and 51.4 % with factors of 1, 3 and 10. Of 30 epochs, for He's
# start with dropout: 42.2, 39.2 and 40.1 % with 2.5, 5 and 10. Section 5's start did as well at 0.4 and 1 times the
# rates (51.2 % after 12 epochs, 52.6 % after 10), and worse at 2.5 (53.7 %).
TIMES: dict[str, tuple[float, ...]] = {"plain": (1, 3, 10), "ReLU": (1, 3, 10), "He's start": (2.5, 5, 10)}


def plain_start(base: Recipe) -> Mapping[str, Any]:
    """Take the start of LeCun et al. 1998: inputs of deviation 1, weights of variance 1 / inputs, biases of 0."""
    weighted = [layer for layer in layer_table.layers_of(base.net) if layer.weighted]
    std = tuple(1 / math.sqrt(layer.fan_in) for layer in weighted)
    return {
        "net": {"bias_one_layers": (), "std": std},
        "views": {"scale": TODAY.views.scale},
    }


# What each of the paper's ideas replaced, in the order of its sections, but for its start.
BEFORE: dict[str, Changes] = {
    "ReLU": {"net": {"activation": "tanh"}},
    "section 5's start": plain_start,
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
    """Make the arms: each rung, some of them at several rates."""
    made: dict[str, Changes] = {}
    for place, name in enumerate(RUNGS):
        made |= {tried: faster(rung(place), k) for tried, k in tries(name).items()} or {name: rung(place)}
    return made


def tries(name: str) -> dict[str, float]:
    """Name the arms among which a rung's is chosen, with their factors on the rates; none for most rungs."""
    return {f"{name}, rates x {k:g}": k for k in TIMES.get(name, ())}


# fmt: off
SINCE_2012 = Claim(
    "since-2012", "after the paper",
    "Not in the paper: what each of its ideas adds to a net of before 2012, and what later ideas add to its own.",
    plain="Each idea lowers the error of the net below it.",
    paper="not about a claim of the paper", log="not in the release", shape=True, room=True, ground="B", steps=True,
    arms=ladder(),
    tune={name: tuple(tries(name)) for name in TIMES},
    expects=(
        *(Expect(below, above, "top1") for below, above in pairwise(RUNGS)),
        *(Expect(below, above, "nats", judged=False) for below, above in pairwise(RUNGS)),
        Expect(RUNGS[0], RUNGS[len(BEFORE)], "top1", judged=False),
        Expect(RUNGS[len(BEFORE)], RUNGS[-1], "top1", judged=False),
    ),
    notes=(
        "Each rung adds one idea to the one before. The order matters: the gain of an idea is that on top of those "
        "before it. The paper's ideas follow the order of its sections, but for section 5's start: raw inputs, its "
        "initial weights, and biases of 1.",
        "The plain net has tanh, inputs of deviation 1, weights of variance 1 / inputs, and one tower with half the "
        "kernels.",
        "The first two rungs and the last start from other weights and inputs, so they have learning rates of their "
        "own: of three rates, the best one on a seed that is not part of the verdict. The other rungs have the rates "
        "of the ground's recipe.",
        "All rungs are judged with ten views, which are the paper's idea too.",
    ),
)
# fmt: on
