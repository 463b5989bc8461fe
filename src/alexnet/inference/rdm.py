"""Representational dissimilarity matrices: how far apart a layer puts each two pictures.

Kriegeskorte, Mur and Bandettini (2008), "Representational similarity analysis", compare nets and brains by them.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy.spatial.distance import cdist

from alexnet.core.errors import InputError

Metric = Literal["correlation", "euclidean", "cosine"]
BLOCK_BYTES = 1 << 27  # of each of two blocks of rows in float64


def rdm(
    values: np.ndarray,
    metric: Metric = "correlation",
    *,
    layer: str = "",
    names: Sequence[str] = (),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Compute the dissimilarities of all pairs of pictures.

    Rows are centred and scaled, and pairs are compared, in float64. The sums are of squared differences: for rows a and
    b of length 1, 1 - a.b is |a - b|^2 / 2. This form keeps the digits of rows that are almost equal, which 1 - a.b
    loses by cancellation. Memory holds two blocks of rows at a time.

    Args:
        values: Features (N, ...), one row for each picture; they may be mapped from a file.
        metric: "correlation" is 1 - Pearson's r, from 0 to 2. "cosine" is 1 - the cosine, from 0 to 2. "euclidean" is
            the Euclidean distance.
        layer: Name of the layer, for messages.
        names: Names of the pictures, for messages.
        out: Array (N, N) of float64 to fill, instead of a new one.

    Returns:
        The matrix, float64 (N, N): symmetric, with zeros on the diagonal.

    Raises:
        InputError: The metric is unknown, a feature is not finite, or the dissimilarity of a row is undefined: the
            correlation of a constant row, or the cosine of zeros.
    """
    if metric not in get_args(Metric):
        raise InputError(f"metric {metric}; choose from {', '.join(get_args(Metric))}")
    values = np.asarray(values)
    count = len(values)
    rows = values.reshape(count, math.prod(values.shape[1:]))
    found = np.empty((count, count)) if out is None else out
    each = max(1, BLOCK_BYTES // (8 * max(1, rows.shape[1])))

    def block(first: int) -> np.ndarray:
        taken = rows[first : first + each]
        if bad := _undefined(taken, metric):
            number = first + bad[0]
            place = f"layer {layer}: " if layer else ""
            raise InputError(place + bad[1].format(names[number] if names else f"row {number}"))
        return _scaled(taken.astype(np.float64), metric)

    for first in range(0, count, each):
        left = block(first)
        for second in range(first, count, each):
            right = left if second == first else block(second)
            apart = cdist(left, right, "euclidean" if metric == "euclidean" else "sqeuclidean")
            if metric != "euclidean":
                apart = np.minimum(apart / 2, 2)  # rounding may pass 2
            found[first : first + each, second : second + each] = apart
            found[second : second + each, first : first + each] = apart.T
    return found


def _undefined(rows: np.ndarray, metric: Metric) -> tuple[int, str] | None:
    """Return the number of the first row without a dissimilarity, and the words to say so of its name."""
    other = "choose euclidean, or leave the picture out"
    tests = [(~np.isfinite(rows).all(1), "the features of {} are not finite; leave the picture out")]
    if metric == "correlation":
        same = rows.max(1) == rows.min(1)
        tests.append((same, f"all features of {{}} are equal, so its correlation is undefined; {other}"))
    if metric == "cosine":
        tests.append((~rows.any(1), f"all features of {{}} are 0, so its cosine is undefined; {other}"))
    for bad, words in tests:
        if bad.any():
            return int(bad.argmax()), words
    return None


def _scaled(rows: np.ndarray, metric: Metric) -> np.ndarray:
    """Centre the rows for the correlation, and give them length 1 for it and the cosine."""
    if metric == "euclidean":
        return rows
    _, exponent = np.frexp(np.abs(rows).max(1, keepdims=True))
    rows = np.ldexp(rows, -exponent)  # exact, and no square is too large or too small for a float64
    if metric == "correlation":
        rows -= rows.mean(1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
