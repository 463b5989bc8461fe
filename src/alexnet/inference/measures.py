"""Measures of a classifier that its error alone hides: each class, balance, guessing, and calibration.

A picture whose likeliest class is a tie of k classes counts 1/k for each of them, as in `errors` and in the 2012 code.
So a class can have 3.5 pictures that the net took for it.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

BINS = 15  # of equal width, as in Guo et al. 2017
BLOCK = 4096  # pictures at a time
Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Calibration:
    """Compare the probability of each picture's likeliest class with how often that class is right.

    Attributes:
        confidence: Mean probability of the likeliest class.
        right: Share of the pictures whose likeliest class is right.
        error: Expected calibration error: the distance between the two in each of BINS bins of equal width, averaged
            over the pictures.
        by_chance: The error that a perfectly calibrated net would show on average with as many pictures.
        brier: Brier score: the mean over pictures of the squared distance between the probabilities and the truth, 0 to
            2, summed over the classes.
    """

    confidence: float
    right: float
    error: float
    by_chance: float
    brier: float

    def plain(self) -> dict[str, Any]:
        """Return the numbers as JSON types."""
        return {
            "mean_confidence": self.confidence,
            "right": self.right,
            "calibration_error": self.error,
            "calibration_error_by_chance": self.by_chance,
            "calibration_bins": BINS,
            "brier": self.brier,
        }


@dataclass(frozen=True)
class Measures:
    """The measures of a split.

    Attributes:
        classes: Name of each class that the net can name, in the order of its outputs.
        true: True class of each entry of the confusion matrix that is not 0, int (entries,).
        said: Predicted class of each.
        times: Number of pictures of each, float64; ties make fractions.
        counts: Number of pictures of each class, int (classes,).
        training: Number of training pictures of each class, int (classes,), or None if it is not known.
        possible: Number of classes that the net chose from.
        calibration: How well the probabilities tell the chance of being right.
    """

    classes: Sequence[str]
    true: np.ndarray
    said: np.ndarray
    times: np.ndarray
    counts: np.ndarray
    training: np.ndarray | None
    possible: int
    calibration: Calibration

    @cached_property
    def found(self) -> np.ndarray:
        """Number of each class's pictures that the net named rightly, float64 (classes,)."""
        same = self.true == self.said
        return np.bincount(self.true[same], self.times[same], len(self.classes))

    @cached_property
    def named(self) -> np.ndarray:
        """Number of pictures that the net took for each class, float64 (classes,)."""
        return np.bincount(self.said, self.times, len(self.classes))

    @cached_property
    def recall(self) -> np.ndarray:
        """Share of each class's pictures that were named rightly; NaN for a class without pictures."""
        return _ratio(self.found, self.counts)

    @cached_property
    def precision(self) -> np.ndarray:
        """Share of the pictures taken for a class that show it; NaN for a class that no picture was taken for."""
        return _ratio(self.found, self.named)

    @cached_property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall; NaN for a class without pictures."""
        return np.where(self.counts > 0, _ratio(2 * self.found, self.counts + self.named), np.nan)

    @property
    def present(self) -> np.ndarray:
        """The classes that have pictures, int."""
        return np.flatnonzero(self.counts)

    @property
    def unequal(self) -> bool:
        """True if the classes that have pictures have different numbers of them."""
        return len(set(self.counts[self.present].tolist())) > 1

    @property
    def never_found(self) -> list[str]:
        """The names of the classes that have pictures, of which the net named no picture rightly."""
        return [self.classes[i] for i in self.present if self.found[i] == 0]

    @property
    def balanced_error(self) -> float:
        """Mean over the classes that have pictures of 1 - recall."""
        return float(np.mean(1 - self.recall[self.present]))

    @property
    def balanced_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the balanced error; see `mean_interval`."""
        return mean_interval(1 - self.recall[self.present], self.counts[self.present])

    @property
    def chance(self) -> float:
        """The error of drawing one of the possible classes at random."""
        return 1 - 1 / self.possible

    @property
    def majority_error(self) -> float | None:
        """The error of naming the commonest class of the training pictures always; None if that is not known."""
        return None if self.training is None else constant_error(self.counts, self.training)

    @property
    def best_constant_error(self) -> float:
        """The lowest error of naming one class always. To choose that class takes the labels of this very split."""
        return constant_error(self.counts, self.counts)

    @property
    def majority_class(self) -> str | None:
        """The commonest class of the training pictures, or of the split if that is not known; None if several are."""
        of = self.counts if self.training is None else self.training
        most = np.flatnonzero(of == of.max())
        return self.classes[most[0]] if len(most) == 1 else None

    def order(self) -> np.ndarray:
        """Sort the classes that have pictures by recall, worst first, then by more pictures; the others come last."""
        recall = np.where(self.counts > 0, np.nan_to_num(self.recall), 2)
        return np.lexsort((-self.counts, recall))

    def plain(self) -> dict[str, Any]:
        """Return the measures of the whole split as JSON types."""
        return {
            "balanced_error": self.balanced_error,
            "balanced_interval": list(self.balanced_interval),
            "classes_with_pictures": len(self.present),
            "never_found": self.never_found,
            "chance_error": self.chance,
            "majority_class": self.majority_class,
            "majority_error": self.majority_error,
            "best_constant_error": self.best_constant_error,
        } | self.calibration.plain()

    def per_class(self) -> list[dict[str, Any]]:
        """Return a record for each class as JSON types, in the order of the net's outputs; null stands for no value."""
        return [
            {
                "class": name,
                "pictures": int(count),
                "found": float(found),
                "named": float(named),
                "recall": _or_none(recall),
                "recall_interval": list(wilson(float(recall), int(count))) if count else None,
                "precision": _or_none(precision),
                "f1": _or_none(f1),
            }
            for name, count, found, named, recall, precision, f1 in zip(
                self.classes, self.counts, self.found, self.named, self.recall, self.precision, self.f1, strict=True
            )
        ]

    def confusion(self) -> list[list[float]]:
        """Return [true class, predicted class, pictures] of each entry that is not 0; classes are output numbers."""
        return [[int(t), int(s), _whole(n)] for t, s, n in zip(self.true, self.said, self.times, strict=True)]

    def matrix_row(self, true: int) -> list[float]:
        """Return the row of the confusion matrix of a true class, with a number for each class."""
        row = np.zeros(len(self.classes))
        here = self.true == true
        row[self.said[here]] = self.times[here]
        return [_whole(n) for n in row]

    def most_taken_for(self, true: int) -> tuple[str, float] | None:
        """Return the other class that most pictures of a class were taken for, and their share; None without any."""
        here = (self.true == true) & (self.said != true)
        if not here.any():
            return None
        most = int(np.argmax(self.times[here]))
        return self.classes[self.said[here][most]], float(self.times[here][most] / self.counts[true])


def measures(
    probability: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    training: Sequence[int] | np.ndarray | None = None,
    allowed: np.ndarray | None = None,
) -> Measures:
    """Measure the predictions of a net.

    Args:
        probability: Probabilities, float (N, classes), 0 to 1. A picture with NaN has no predicted class.
        labels: True class of each picture, int (N,).
        classes: Name of each class.
        training: Number of training pictures of each class, if it is known.
        allowed: Numbers of the classes that the net chose from; by default all.
    """
    true, said, times = confused(probability, labels)
    counts = np.bincount(labels, minlength=len(classes))
    seen = None if training is None else np.asarray(training)
    if allowed is not None and seen is not None:
        seen = np.where(np.isin(np.arange(len(classes)), allowed), seen, 0)
    if seen is not None and not seen.any():
        seen = None
    possible = len(classes) if allowed is None else len(allowed)
    return Measures(tuple(classes), true, said, times, counts, seen, possible, calibrated(probability, labels))


def csv_rows(found: Measures) -> Iterator[bytes]:
    """Yield the confusion matrix as the lines of a CSV file: a row for each true class, a column for each predicted."""
    line = io.StringIO()
    rows = csv.writer(line, lineterminator="\n")
    rows.writerow(["true / predicted", *found.classes])
    for true, name in enumerate(found.classes):
        rows.writerow([name, *found.matrix_row(true)])
        yield line.getvalue().encode(errors="backslashreplace")
        line.seek(0)
        line.truncate()


def confused(probability: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the entries of the confusion matrix that are not 0: (true class, predicted class, pictures), sorted.

    The matrix of a thousand classes has a million entries, and most are 0.
    """
    classes = probability.shape[1]
    keys: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    for first in range(0, len(labels), BLOCK):
        block = probability[first : first + BLOCK]
        likeliest = block == block.max(1, keepdims=True)
        ties = likeliest.sum(1)
        rows, said = np.nonzero(likeliest)
        own, which = np.unique(labels[first + rows].astype(np.int64) * classes + said, return_inverse=True)
        keys.append(own)
        shares.append(np.bincount(which, 1 / ties[rows], len(own)))
    found, which = np.unique(np.concatenate(keys), return_inverse=True)
    true, said = np.divmod(found, classes)
    return true, said, np.bincount(which, np.concatenate(shares), len(found))


def calibrated(probability: np.ndarray, labels: np.ndarray) -> Calibration:
    """Measure the calibration of probabilities (N, classes); N is 1 or more.

    Bin m of BINS holds confidences over (m - 1) / BINS and up to m / BINS. Bins of equal width depend on no order of
    the pictures, also when many confidences are equal.
    """
    confidence, right, squares = np.zeros(len(labels)), np.zeros(len(labels)), 0.0
    for first in range(0, len(labels), BLOCK):
        block, own = probability[first : first + BLOCK].astype(np.float64), labels[first : first + BLOCK, None]
        best, true = block.max(1), np.take_along_axis(block, own, 1)[:, 0]
        confidence[first : first + BLOCK] = best
        right[first : first + BLOCK] = (true == best) / np.maximum((block == best[:, None]).sum(1), 1)
        squares += float((block**2).sum() + (1 - 2 * true).sum())
    bins = np.minimum(np.searchsorted(np.arange(1, BINS + 1) / BINS, confidence), BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence - right, BINS))
    spread = np.sqrt(np.bincount(bins, confidence * (1 - confidence), BINS))
    n = len(labels)
    by_chance = math.sqrt(2 / math.pi) * spread.sum() / n  # the mean distance of a normal variable from its mean
    return Calibration(
        float(confidence.mean()), float(right.mean()), float(gaps.sum() / n), float(by_chance), squares / n
    )


def constant_error(counts: np.ndarray, known: np.ndarray) -> float:
    """Compute the error on `counts` pictures a class of naming the commonest class of `known` always.

    If several classes are commonest, it is the mean of their errors: to draw one of them at random earns as much.
    """
    commonest = known == known.max()
    return float(1 - counts[commonest].mean() / counts.sum())


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of a rate measured on n pictures (Wilson 1927)."""
    middle, half = rate + Z * Z / (2 * n), Z * math.sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + Z * Z / n)), min(1.0, (middle + half) / (1 + Z * Z / n))


def mean_interval(rates: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Compute the 95 % confidence interval of the mean of rates that were measured on different pictures.

    It joins the Wilson intervals of the rates (Zou, Huang & Zhang 2009), and is Wilson's own for one rate. A bootstrap
    and the delta method take the variance of each class from its pictures. They find none in a class of five pictures
    that are all wrong, and the balanced error is there to show such a class.

    Args:
        rates: Rate of each class, 0 to 1.
        counts: Number of pictures of each class, 1 or more.
    """
    ends = np.array([wilson(float(rate), int(count)) for rate, count in zip(rates, counts, strict=True)])
    below, above = np.sqrt(((rates[:, None] - ends) ** 2).sum(0)) / len(rates)
    return max(0.0, float(rates.mean() - below)), min(1.0, float(rates.mean() + above))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide part by whole; NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _whole(number: float) -> float:
    """Return a whole number as an int, which JSON and CSV write without a point."""
    return int(number) if float(number).is_integer() else round(float(number), 6)
