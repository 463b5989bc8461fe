"""The parts of a claim: arms, expected differences, table rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alexnet.config.recipe import Recipe

Changes = Mapping[str, Any] | Callable[[Recipe], Mapping[str, Any]]
MEASURES = {
    "top1": "top-1 error, ten views",
    "top5": "top-5 error, ten views",
    "nats": "loss, ten views",
    "one_top1": "top-1 error, one view",
    "one_top5": "top-5 error, one view",
    "train": "error of the finished net on the training pictures, one view, no dropout",
    "train_nats": "loss of the finished net on the training pictures, one view, no dropout",
    "gap": "one-view top-1 error minus that on the training pictures",
    "even_gap": "one-view top-1 error at the lowest training error that every run reaches",
    "until": "epochs until the training error is 25 % or less, interpolated between the middles of epochs",
    "early": "training loss over the first epoch",
    "settled": "epochs until the validation error is within a twentieth of its lowest value",
    "ensemble_top1": "top-1 error of five nets averaged, ten views",
    "ensemble_top5": "top-5 error of five nets averaged, ten views",
}
LOSSES = ("nats", "train_nats", "early")  # in nats; the other measures are error rates or epochs
UNTIL = 0.25  # training error that figure 1 times the nets to


@dataclass(frozen=True)
class Expect:
    """A difference that a claim expects: a measure is larger for one arm than for another.

    Attributes:
        larger: Arm with the larger value.
        smaller: Arm with the smaller value.
        measure: Key of MEASURES.
        smaller_measure: Key of MEASURES for the arm `smaller`, if it is another one: the error of an average of nets.
        paper: By how much it is larger in the paper, in the measure's unit (0.014 is 1.4 points of error).
        log: By how much it is larger in the log of 2012.
        ratio: Divide the values instead of subtracting them, for measures that are compared by factors.
        judged: Let the difference decide the verdict; otherwise it is only shown.
    """

    larger: str
    smaller: str
    measure: str
    smaller_measure: str | None = None
    paper: float | None = None
    log: float | None = None
    ratio: bool = False
    judged: bool = True


@dataclass(frozen=True)
class TableRow:
    """A row of a table: the error of one net, or of an average over some nets of each arm."""

    model: str
    nets: Mapping[str, int]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the experiment that decides it.

    Attributes:
        name: Name on the command line and in files.
        section: Section of the paper.
        words: The paper's words, or ours if the claim is not in the paper.
        plain: What is so if the claim holds, in one sentence of plain words.
        paper: The paper's number, in words.
        log: The number in the log of 2012, in words.
        arms: For each net to train, its name and what it changes in the base recipe.
        expects: Differences to expect between the arms.
        notes: Remarks for the reader of a result.
        base: Base recipe of the claim's own, for a net of CIFAR-10; None for the ground's.
        ground: Key of designs.GROUNDS, for claims without a base of their own.
        adjust: Changes that the design makes to the ground's recipe, in all arms.
        seeds: Number of seeds of each judged arm; the ground's own recipe has at least designs.BASE_SEEDS.
        margin: Size below which a difference counts as absent: half the paper's number, or half a point.
        tune: For each arm whose learning rate is chosen, the arms to choose from.
        shape: Only nets with AlexNet's layers can decide the claim.
        room: Views must be smaller than the pictures.
        until: Training error at which a run ends; None for the recipe's epochs.
        first: Arms that train on another store first, and what that net changes in the base recipe.
        rows: Rows of a table of errors; they fix the number of nets of each arm.
        steps: The arms form a ladder, whose steps are judged among themselves, as far as there are runs. It is not a
            claim of the paper.
    """

    name: str
    section: str
    words: str
    plain: str
    paper: str
    log: str
    arms: Mapping[str, Changes]
    expects: tuple[Expect, ...]
    notes: tuple[str, ...] = ()
    base: Recipe | None = None
    ground: Literal["A", "B"] = "A"
    adjust: Changes = field(default_factory=dict)
    seeds: int = 5
    margin: float = 0.005
    tune: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shape: bool = False
    room: bool = False
    until: float | None = None
    first: Mapping[str, Changes] = field(default_factory=dict)
    rows: tuple[TableRow, ...] = ()
    steps: bool = False


def with_top5(more: str, less: str, paper: tuple[float, float], log: tuple[float, float]) -> tuple[Expect, ...]:
    """Expect more error in one arm: top-1 decides; top-5, which says little with few classes, is only shown."""
    return (
        Expect(more, less, "top1", paper=paper[0], log=log[0]),
        Expect(more, less, "top5", paper=paper[1], log=log[1], judged=False),
    )
