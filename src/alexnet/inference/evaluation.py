"""The result of an evaluation: errors, measures, and where they come from."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.inference.measures import Measures, wilson
from alexnet.runs import results
from alexnet.runs.progress import Progress
from alexnet.runs.run import Run

Among = Literal["run", "store"]  # the classes that the net chooses from


@dataclass(frozen=True)
class Errors:
    """Error rates, 0 to 1, over `images` pictures. `nats` is the mean cross-entropy loss."""

    images: int
    views: int
    top1: float
    top5: float
    nats: float

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of top1."""
        return wilson(self.top1, self.images)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of top5."""
        return wilson(self.top5, self.images)

    def plain(self) -> dict[str, Any]:
        """Return the errors and their intervals as JSON types."""
        return asdict(self) | {"top1_interval": self.top1_interval, "top5_interval": self.top5_interval}


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation on a split.

    Attributes:
        errors: The errors with all views.
        one_view: The errors with the central view alone.
        probabilities: Probabilities averaged over views and runs, float32 (images, classes).
        labels: The true class of each picture, the number of its output, (images,).
        runs: The run folders.
        center: Probabilities of the central view averaged over runs, float32 (images, classes).
        measures: The measures of each class and of the split, with all views.
        split: Name of the split.
        store_digest: Digest of the store.
        progress: The checkpoint of each run, and how far its training had come.
        among: "run" if the net chose from all of the run's classes, "store" if from the store's alone.
        precision: The arithmetic, such as "fp32".
        kept: The file that keeps this result in the run, if it is kept.
        not_kept: The reason why the result could not be kept in the run; empty if it is, or was not to be kept.
    """

    errors: Errors
    one_view: Errors
    probabilities: np.ndarray
    labels: np.ndarray
    runs: tuple[str, ...]
    center: np.ndarray
    measures: Measures
    split: str
    store_digest: str
    progress: tuple[Progress, ...]
    among: Among
    precision: str
    kept: Path | None = None
    not_kept: str = ""

    def plain(self, details: bool = False) -> dict[str, Any]:
        """Return the errors, measures and run folders as JSON types.

        Args:
            details: Whether to add "per_class", a record for each class in the order of the net's outputs, and
                "confusion", an entry [true class, predicted class, pictures] for each pair that occurs; a class stands
                there as its place in "per_class".
        """
        found = self.errors.plain() | {"runs": list(self.runs), "one_view": self.one_view.plain()}
        found |= {"split": self.split, "store_digest": self.store_digest, "precision": self.precision}
        found |= {"checkpoints": [each.plain() for each in self.progress], "among": self.among}
        found |= {"measures": self.measures.plain()}
        if details:
            found |= {"per_class": self.measures.per_class(), "confusion": self.measures.confusion()}
        return found


def errors(probability: np.ndarray, labels: np.ndarray, views: int) -> Errors:
    """Compute error rates from probabilities (N, classes). Tied classes share the credit, as in the 2012 code.

    A picture with NaN as a probability counts as wrong.
    """
    top1, top5 = (1 - credit(probability, labels, k).mean() for k in (1, 5))
    true = np.take_along_axis(probability, labels[:, None], 1)
    nats = -np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean()
    return Errors(len(labels), views, float(top1), float(top5), float(nats))


def credit(probability: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return 1 for each picture whose true class is among the first `k`, 0 for others, and a fraction at a tie."""
    true = np.take_along_axis(probability, labels[:, None], 1)
    better, tied = (probability > true).sum(1), (probability == true).sum(1)
    return np.where(tied, np.clip((k - better) / np.maximum(tied, 1), 0, 1), 0)


def training_counts(runs: Sequence[Run], store: Store, outputs: np.ndarray) -> np.ndarray | None:
    """Count the training pictures of each class, if all runs recorded the same; runs of alexnet 0.1.0 did not."""
    seen: list[Any] = []
    for run in runs:
        try:
            known = run.environment
        except InputError:  # lost or altered: the net can still be used
            return None
        counts = known.get("class_counts")
        if counts is None and known["store_digest"] == store.digest and len(outputs) == len(run.classes):
            counts = {"train": np.bincount(outputs[store["train"].labels], minlength=len(outputs)).tolist()}
        seen.append(counts.get("train") if isinstance(counts, dict) else None)
    sound = isinstance(seen[0], list) and len(seen[0]) == len(runs[0].classes) and any(seen[0])
    if (
        not sound
        or any(counts != seen[0] for counts in seen)
        or not all(type(n) is int and 0 <= n < 1 << 60 for n in seen[0])
    ):
        return None
    return np.array(seen[0])


def kept(run: Run, result: Evaluation, store: Store) -> Evaluation:
    """Keep a result in its run, or say why not."""
    record = result.plain(details=True) | {"store": str(store.path.resolve()), "store_kind": store.kind}
    try:
        return replace(result, kept=results.keep(run, record))
    except OSError as error:
        return replace(result, not_kept=error.strerror or str(error))
