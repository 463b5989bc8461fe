"""Intervals against SciPy, and verdicts by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.studies.statistics import interval, judge, needed, overall, student


@pytest.mark.parametrize("level", [0.6, 0.95, 0.99])
def test_students_quantile_is_scipys(level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    for df in (*range(1, 61), 100, 199, 200, 201, 500, 5000):
        assert student(df, level) == pytest.approx(stats.t.ppf((1 + level) / 2, df), rel=2e-6)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=40))
def test_the_interval_is_scipys(values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    scale = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    if scale < 1e-9:
        return
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scale)
    assert interval(values) == pytest.approx((low, high), rel=1e-5, abs=1e-9)


def test_no_effect_is_not_shown_at_the_promised_rate_and_a_planted_one_is_found() -> None:
    noise = np.random.Generator(np.random.Philox(5))
    for seeds in (3, 5, 10):
        none = [judge(*noise.normal(0.3, 0.01, (2, seeds)).tolist()).verdict for _ in range(2000)]
        assert none.count("not shown") / 2000 == pytest.approx(0.95, abs=0.015)
        assert none.count("holds") / 2000 == pytest.approx(0.025, abs=0.01)
        effect = np.array([[0.1], [0.0]])
        planted = [judge(*(noise.normal(0.3, 0.01, (2, seeds)) + effect).tolist()).verdict for _ in range(200)]
        assert planted.count("holds") >= 190
        turned = [judge(*(noise.normal(0.3, 0.01, (2, seeds)) - effect).tolist()).verdict for _ in range(200)]
        assert turned.count("does not hold") >= 190


def test_the_seeds_named_as_needed_find_the_effect_four_times_in_five() -> None:
    noise = np.random.Generator(np.random.Philox(6))
    for effect in (0.5, 1.0, 2.0):
        n = needed(effect, 1.0)
        assert n is not None
        found = [judge(noise.normal(effect, 1, n).tolist(), [0.0] * n).verdict == "holds" for _ in range(1000)]
        assert 0.76 < sum(found) / 1000 < 0.92  # whole seeds: a few too many where few do
    assert needed(0.0, 1.0) is None
    assert needed(1e-9, 1.0) is None
    assert needed(1.0, 0.0) == 2


def test_pairing_by_seed_matters() -> None:
    """What the seeds share falls out of their differences, and not out of those of other seeds."""
    noise = np.random.Generator(np.random.Philox(8))
    shared, own = noise.normal(0.3, 0.05, 6), noise.normal(0, 0.001, (2, 6))
    more, less = shared + own[0] + 0.01, shared + own[1]
    assert judge(more.tolist(), less.tolist()).verdict == "holds"
    assert judge(more.tolist(), np.roll(less, 1).tolist()).verdict == "not shown"


def test_a_ratio_is_judged_by_its_logarithm() -> None:
    found = judge([60.0, 55.0, 66.0], [10.0, 11.0, 9.0], paper=6.0, ratio=True)
    assert found.verdict == "holds"
    assert found.mean == pytest.approx((60 * 55 * 66 / 990) ** (1 / 3))
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx((found.mean or 0) ** 2)
    assert found.paper_inside
    turned = judge([10.0, 11.0, 9.0], [60.0, 55.0, 66.0], paper=6.0, ratio=True)
    assert turned.verdict == "does not hold"
    assert turned.low == pytest.approx(1 / found.high)


def test_without_an_interval_nothing_is_shown_and_why_is_said() -> None:
    one = judge([0.4], [0.3], paper=0.1)
    assert (one.verdict, one.low, one.why) == ("not shown", None, "one seed has no interval; two or more do")
    assert one.mean == pytest.approx(0.1)
    lacking = judge([0.4, None, 0.4001], [0.3, 0.3, 0.3])
    assert lacking.verdict == "not shown"
    assert "1 of 3 seeds give no number" in lacking.why
    assert judge([None], [0.1]).mean is None
    assert judge([0.0, 0.0], [1.0, 1.0], ratio=True).mean is None
    assert judge([0.3, 0.3], [0.3, 0.3]).verdict == "not shown"


def test_a_claim_holds_if_all_that_it_expects_does() -> None:
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "not shown"]) == "not shown"
    assert overall(["not shown", "does not hold"]) == "does not hold"
