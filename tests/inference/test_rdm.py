import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.rounding import gamma

from alexnet.core.errors import InputError
from alexnet.inference import rdm

METRICS: list[Any] = ["correlation", "euclidean", "cosine"]


def rows(count: int = 7, units: int = 30) -> np.ndarray:
    noise = np.random.Generator(np.random.Philox(5))
    return (noise.normal(3, 2, (count, units)) * noise.uniform(1, 1e4, (count, 1))).astype(np.float32)


def pair(a: list[Fraction], b: list[Fraction], metric: str) -> float:
    """The dissimilarity of two rows by its definition: sums in fractions, a root and a quotient of 60 digits."""
    if metric == "euclidean":
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))
    if metric == "correlation":
        a, b = ([x - sum(row, Fraction()) / len(row) for x in row] for row in (a, b))
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    squares = sum(x * x for x in a) * sum(y * y for y in b)
    root = Fraction(math.isqrt(squares.numerator * 10**120 // squares.denominator), 10**60)
    return float(1 - dot / root)


@pytest.mark.parametrize("metric", METRICS)
def test_a_matrix_is_that_of_a_double_loop_in_exact_arithmetic(metric: Any) -> None:
    values = rows()
    exact = [[Fraction(float(x)) for x in row] for row in values]
    expected = np.array([[pair(a, b, metric) for b in exact] for a in exact])
    found = rdm.rdm(values, metric)
    assert found.shape == (7, 7)
    assert found.dtype == np.float64
    # Rows of length 1 have entries that are off by a few roundings, whatever their dissimilarity is.
    np.testing.assert_allclose(found, expected, rtol=gamma(40), atol=0 if metric == "euclidean" else gamma(40))


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_almost_equal_keep_their_digits(metric: Any) -> None:
    """1 - r would be 0 or a multiple of 2^-53 here."""
    first = rows(1)[0]
    second = first.copy()
    second[4] = np.nextafter(second[4], np.float32(np.inf))
    values = np.stack([first, second])
    a, b = ([Fraction(float(x)) for x in row] for row in values)
    expected = pair(a, b, metric)
    assert 0 < expected < (1e-14 if metric != "euclidean" else 1)
    np.testing.assert_allclose(rdm.rdm(values, metric)[0, 1], expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_matrix_is_symmetric_with_zeros_on_the_diagonal_and_for_equal_rows(metric: Any) -> None:
    values = rows(9)
    values[6] = values[2]
    found = rdm.rdm(values, metric)
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()
    assert found[2, 6] == 0
    assert (found + np.eye(9) > 0).sum() == 81 - 2


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("each", [1, 2, 4, 100])
def test_blocks_do_not_change_a_bit(metric: Any, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = rows(9).reshape(9, 3, 5, 2)
    whole = rdm.rdm(values, metric)
    monkeypatch.setattr(rdm, "BLOCK_BYTES", 8 * 30 * each)
    out = np.full((9, 9), np.nan)
    assert rdm.rdm(values, metric, out=out) is out
    np.testing.assert_array_equal(out, whole)


@pytest.mark.parametrize("metric", ["correlation", "cosine"])
def test_opposite_rows_are_2_apart_and_scale_does_not_matter(metric: Any) -> None:
    first = np.tile(np.array([1, -1], np.float32), 8)
    found = rdm.rdm(np.stack([first, -first, 1e-30 * first, 1e30 * first]), metric)
    np.testing.assert_allclose(found[0], [0, 2, 0, 0], atol=1e-15)
    assert found.max() <= 2


def test_an_undefined_dissimilarity_is_refused_with_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = rows(5), ["a", "b", "c", "d", "e"]
    values[3] = 0.1
    monkeypatch.setattr(rdm, "BLOCK_BYTES", 8 * 30 * 2)
    with pytest.raises(InputError, match="layer relu7: all features of d are equal, so its correlation is undefined; "):
        rdm.rdm(values, "correlation", layer="relu7", names=names)
    assert np.isfinite(rdm.rdm(values, "cosine")).all()
    values[3] = 0
    with pytest.raises(InputError, match=r"^all features of row 3 are 0, so its cosine is undefined; "):
        rdm.rdm(values, "cosine")
    assert np.isfinite(rdm.rdm(values, "euclidean")).all()
    values[4, 0] = np.nan
    with pytest.raises(InputError, match="the features of e are not finite"):
        rdm.rdm(values, "euclidean", names=names)
    with pytest.raises(InputError, match="metric manhattan; choose from correlation, euclidean, cosine"):
        rdm.rdm(values, "manhattan")  # type: ignore[arg-type]


def test_one_picture_is_no_distance_from_itself_and_no_picture_has_none() -> None:
    assert rdm.rdm(rows(1)).tolist() == [[0.0]]
    assert rdm.rdm(rows(1)[:0]).shape == (0, 0)


@pytest.mark.parametrize("scale", [1e-170, 1e200])
def test_rows_whose_squares_no_float64_holds_are_compared_as_others(scale: float) -> None:
    values = np.array([[1.0, 2.0, 4.0], [1.0, 3.0, 2.0]])
    for metric in ("correlation", "cosine"):
        found = rdm.rdm(np.stack([scale * values[0], values[1]]), metric)
        np.testing.assert_allclose(found, rdm.rdm(values, metric), rtol=1e-14, atol=1e-16)
