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
    "even_gap": "one-view top-1 error at the epoch whose training error is the one that all arms come to",
    "until": "epochs until the error in training is 25 % or less, interpolated between the middles of epochs",
    "early": "loss in training over the first epoch",
    "settled": "epochs until the validation error is within a twentieth of its lowest",
    "ensemble_top1": "top-1 error of five nets averaged, ten views",
    "ensemble_top5": "top-5 error of five nets averaged, ten views",
}
LOSSES = ("nats", "train_nats", "early")  # in nats; the others are rates, or epochs
UNTIL = 0.25  # the training error of figure 1


@dataclass(frozen=True)
class Expect:
    """Expect `measure` to be larger for one arm than for another; as a ratio where differences mean little.

    `smaller_measure`: what is measured of `smaller` where it is something else. One that is not `judged` is shown
    beside those that make the verdict. `paper` and `log`: how much larger it is in the paper, and in the 2012 log.
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
    """A row of a table: the error of one net, or of an average of a number of nets of each arm."""

    model: str
    nets: Mapping[str, int]


@dataclass(frozen=True)
class Claim:
    """One claim: its section, the paper's words, and the experiment that decides it."""

    name: str
    section: str
    words: str  # the paper's, unless said otherwise
    paper: str
    log: str
    arms: Mapping[str, Changes]
    expects: tuple[Expect, ...]
    notes: tuple[str, ...] = ()
    base: Recipe | None = None  # fixed: a net for CIFAR-10
    ground: Literal["A", "B"] = "A"  # of designs.GROUNDS, where the claim has no base of its own
    adjust: Changes = field(default_factory=dict)  # what the design changes in the ground's recipe, for all arms
    seeds: int = 5  # of each judged arm; the ground's own recipe has designs.BASE_SEEDS at least
    margin: float = 0.005  # a smaller difference counts as none: half the paper's number, else half a point
    tune: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the best of these stands for that arm
    shape: bool = False  # whether it is about AlexNet's layers, which other nets lack
    room: bool = False  # whether views must be smaller than the pictures
    until: float | None = None  # the runs end at this training error
    first: Mapping[str, Changes] = field(default_factory=dict)  # arms trained first on another store, and as what nets
    rows: tuple[TableRow, ...] = ()  # of a table; they say how many nets an arm has


def with_top5(more: str, less: str, paper: tuple[float, float], log: tuple[float, float]) -> tuple[Expect, ...]:
    """Expect more error in one arm: top-1 is judged, top-5, which says little with few classes, is shown beside it."""
    return (
        Expect(more, less, "top1", paper=paper[0], log=log[0]),
        Expect(more, less, "top5", paper=paper[1], log=log[1], judged=False),
    )
