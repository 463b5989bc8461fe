"""Each measure beside the same measure by loops, one picture and one class at a time."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.inference.evaluation import errors
from alexnet.inference.measures import BINS, constant_error, mean_interval, measures, wilson

NAMES = [f"class {i}" for i in range(10)]
EXACT = 1e-12  # of sums of a few hundred float64


def by_loops(rows: list[list[float]], labels: list[int], training: list[int]) -> dict[str, Any]:
    """Every measure, by its definition."""
    classes, n = range(len(rows[0])), len(rows)
    matrix = [[0.0 for _ in classes] for _ in classes]
    confidences, rights, brier = [], [], 0.0
    for row, label in zip(rows, labels, strict=True):
        best = max(row)
        tied = [c for c in classes if row[c] == best]
        for c in tied:
            matrix[label][c] += 1 / len(tied)
        confidences.append(best)
        rights.append(1 / len(tied) if label in tied else 0.0)
        brier += sum((row[c] - (1 if c == label else 0)) ** 2 for c in classes)
    counts = [labels.count(c) for c in classes]
    present = [c for c in classes if counts[c]]
    recall = {c: matrix[c][c] / counts[c] for c in present}
    named = [sum(matrix[t][c] for t in classes) for c in classes]
    precision = {c: matrix[c][c] / named[c] for c in classes if named[c]}
    gap = 0.0
    for m in range(1, BINS + 1):
        own = [i for i in range(n) if (m - 1) / BINS < confidences[i] <= m / BINS]
        if own:
            mean, hits = sum(confidences[i] for i in own) / len(own), sum(rights[i] for i in own) / len(own)
            gap += len(own) / n * abs(mean - hits)
    commonest = [c for c in classes if training[c] == max(training)]
    return {
        "matrix": matrix,
        "recall": recall,
        "precision": precision,
        "balanced": sum(1 - recall[c] for c in present) / len(present),
        "never": [NAMES[c] for c in present if recall[c] == 0],
        "majority": sum(1 - counts[c] / n for c in commonest) / len(commonest),
        "constant": 1 - max(counts) / n,
        "calibration": gap,
        "confidence": sum(confidences) / n,
        "brier": brier / n,
    }


def check(rows: list[list[float]], labels: list[int], training: list[int]) -> None:
    expected = by_loops(rows, labels, training)
    found = measures(np.array(rows), np.array(labels), NAMES[: len(rows[0])], training)
    assert [found.matrix_row(c) for c in range(len(rows[0]))] == [
        pytest.approx(row, abs=1e-6) for row in expected["matrix"]
    ]
    for what, values in (("recall", found.recall), ("precision", found.precision)):
        assert {c: v for c, v in enumerate(values) if not math.isnan(v)} == pytest.approx(expected[what], abs=EXACT)
    assert found.balanced_error == pytest.approx(expected["balanced"], abs=EXACT)
    assert found.never_found == expected["never"]
    assert found.majority_error == pytest.approx(expected["majority"], abs=EXACT)
    assert found.best_constant_error == pytest.approx(expected["constant"], abs=EXACT)
    assert found.calibration.error == pytest.approx(expected["calibration"], abs=EXACT)
    assert found.calibration.confidence == pytest.approx(expected["confidence"], abs=EXACT)
    assert found.calibration.brier == pytest.approx(expected["brier"], abs=EXACT)
    assert found.calibration.right == pytest.approx(1 - errors(np.array(rows), np.array(labels), 1).top1, abs=EXACT)


@given(st.integers(2, 10).flatmap(lambda k: st.tuples(
    st.lists(st.tuples(st.lists(st.integers(0, 5), min_size=k, max_size=k).filter(any), st.integers(0, k - 1)),
             min_size=1, max_size=12),
    st.lists(st.integers(0, 3), min_size=k, max_size=k).filter(any))))  # fmt: skip
def test_every_measure_is_that_of_the_loops_with_ties_and_classes_without_pictures(
    case: tuple[list[tuple[list[int], int]], list[int]],
) -> None:
    pairs, training = case
    check([[p / sum(row) for p in row] for row, _ in pairs], [label for _, label in pairs], training)


COUNTS = [200, 20, 5] * 3 + [5]


def tall() -> tuple[list[list[float]], list[int]]:
    """Ten classes with 200, 20, 5, 200, ... pictures. The net finds large classes, and never the last one."""
    random = np.random.Generator(np.random.Philox(21))
    labels = [c for c, count in enumerate(COUNTS) for _ in range(count)]
    rows = random.dirichlet(np.ones(10), len(labels))
    for row, label in zip(rows, labels, strict=True):
        row[label] += {200: 0.3, 20: 0.1, 5: 0.02}[COUNTS[label]]
        row[9] = 0
        row /= row.sum()
    return rows.tolist(), labels


def test_ten_classes_of_200_20_and_5_pictures_are_measured_as_by_hand() -> None:
    rows, labels = tall()
    check(rows, labels, COUNTS)
    found = measures(np.array(rows), np.array(labels), NAMES, COUNTS)
    assert found.never_found[-1] == "class 9"
    assert found.unequal
    # Naming one of the three largest classes always is right for 200 of 680 pictures, and in mean balance for 1 of 10.
    assert found.majority_error == pytest.approx(1 - 200 / 680)
    assert found.majority_class is None  # three classes share the first place
    assert found.balanced_error > errors(np.array(rows), np.array(labels), 1).top1 + 0.1
    low, high = found.balanced_interval
    assert 0.05 < high - low < 0.2
    assert found.order()[0] == 9 or found.recall[found.order()[0]] == 0
    assert (np.diff(found.recall[found.order()]) >= 0).all()


def test_records_of_classes_hold_null_where_there_is_no_value() -> None:
    found = measures(np.array([[0.5, 0.5, 0, 0], [0, 1, 0, 0]]), np.array([0, 0]), list("abcd"))
    assert found.per_class()[0] == {
        "class": "a", "pictures": 2, "found": 0.5, "named": 0.5, "recall": 0.25,
        "recall_interval": list(wilson(0.25, 2)), "precision": 1.0, "f1": 0.4,
    }  # fmt: skip
    assert [each["recall"] for each in found.per_class()[1:]] == [None] * 3
    assert [each["precision"] for each in found.per_class()[1:]] == [0.0, None, None]
    assert found.confusion() == [[0, 0, 0.5], [0, 1, 1.5]]
    assert found.order().tolist() == [0, 1, 2, 3]
    assert found.most_taken_for(0) == ("b", 0.75)
    assert found.most_taken_for(1) is None
    assert (found.majority_error, found.majority_class, found.best_constant_error) == (None, "a", 0)


def test_a_large_split_is_counted_block_by_block_and_gives_the_same() -> None:
    random = np.random.Generator(np.random.Philox(1))
    rows, labels = random.dirichlet(np.ones(3), 9000).astype(np.float32), random.integers(0, 3, 9000)
    found = measures(rows, labels, "abc")
    once = np.zeros((3, 3))
    np.add.at(once, (labels, rows.argmax(1)), 1)
    assert [found.matrix_row(c) for c in range(3)] == once.tolist()


def test_the_interval_of_one_class_is_wilsons_and_a_class_that_is_always_wrong_widens_it() -> None:
    assert mean_interval(np.array([0.3]), np.array([50])) == pytest.approx(wilson(0.3, 50))
    few, many = (mean_interval(np.array([0.1, 1.0]), np.array([200, n])) for n in (5, 500))
    assert few[0] < many[0] - 0.1
    assert mean_interval(np.array([0.0, 0.0]), np.array([9, 9]))[0] == 0


@pytest.mark.parametrize(
    ("true", "counts", "least", "most_of_delta"),
    [([0.1, 0.4, 0.9], [200, 20, 5], 0.92, 0.92), ([0.2] * 5 + [0.95] * 5, [200] * 5 + [5] * 5, 0.9, 0.8)],
)
def test_the_interval_of_the_balanced_error_covers_it_more_often_than_one_by_the_delta_method(
    true: list[float], counts: list[int], least: float, most_of_delta: float
) -> None:
    """Of small classes that are nearly always wrong, the delta method, as a bootstrap, finds hardly any variance."""
    mean, numbers = float(np.mean(true)), np.array(counts)
    random = np.random.Generator(np.random.Philox(2))
    seen = random.binomial(numbers, true, (1000, len(true))) / numbers
    ends = np.array([mean_interval(rates, numbers) for rates in seen])
    ours = np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1]))
    half = 1.96 * np.sqrt((seen * (1 - seen) / numbers).sum(1)) / len(true)
    delta = np.mean(np.abs(seen.mean(1) - mean) <= half)
    assert least < ours < 0.98
    assert delta < most_of_delta


def test_the_calibration_error_of_a_perfectly_calibrated_net_is_what_chance_alone_gives() -> None:
    random = np.random.Generator(np.random.Philox(3))
    shown = []
    for _ in range(200):
        rows = random.dirichlet(np.ones(4), 150)
        labels = (rows.cumsum(1) < random.random((150, 1))).sum(1).clip(0, 3)
        found = measures(rows, labels, "abcd").calibration
        shown.append((found.error, found.by_chance))
    error, by_chance = np.mean(shown, 0)
    assert error == pytest.approx(by_chance, rel=0.1)


def test_naming_one_class_always_earns_the_share_of_that_class_and_of_several_the_mean() -> None:
    counts = np.array([10, 30, 60])
    assert constant_error(counts, np.array([1, 9, 2])) == pytest.approx(0.7)
    assert constant_error(counts, np.array([9, 9, 2])) == pytest.approx(0.8)
    assert constant_error(np.array([5, 5]), np.array([3, 3])) == 0.5
