"""What a claim is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alexnet.config.recipe import Recipe

Changes = Mapping[str, Any] | Callable[[Recipe], Mapping[str, Any]]
MEASURES = {
    "top1": "top-1 error, ten views",
    "top5": "top-5 error, ten views",
    "one_top1": "top-1 error, one view",
    "one_top5": "top-5 error, one view",
    "train": "error of the finished net on the training pictures, one view, no dropout",
    "gap": "one-view top-1 error minus that on the training pictures",
    "until": "epochs until the error in training is 25 % or less, interpolated between epochs",
    "early": "error in training over the first tenth of the epochs",
    "settled": "epochs until the validation error is within a twentieth of its lowest",
    "ensemble_top1": "top-1 error of all seeds' nets averaged, ten views",
    "ensemble_top5": "top-5 error of all seeds' nets averaged, ten views",
}
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
    """A row of a table: the error of so many nets of each arm, averaged where they are more than one."""

    model: str
    nets: Mapping[str, int]


@dataclass(frozen=True)
class Claim:
    """One claim: where it stands, in what words, and the experiment that decides it."""

    name: str
    section: str
    words: str  # the paper's, unless said otherwise
    paper: str
    log: str
    arms: Mapping[str, Changes]
    expects: tuple[Expect, ...]
    notes: tuple[str, ...] = ()
    base: Recipe | None = None  # fixed: a net for CIFAR-10
    shape: bool = False  # whether it is about AlexNet's layers, which other nets lack
    room: bool = False  # whether views must be smaller than the pictures
    until: float | None = None  # the runs end at this training error
    first: Mapping[str, Changes] = field(default_factory=dict)  # arms trained first on another store, and as what nets
    rows: tuple[TableRow, ...] = ()  # of a table; they say how many nets an arm has
