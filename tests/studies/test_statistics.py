"""Estimates and verdicts against SciPy, by hand, and by simulation."""

import json
import math
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alexnet.studies.statistics import (
    Estimate,
    Judgement,
    absence,
    compare,
    crossed,
    decide,
    holm,
    jackknife,
    needed,
    overall,
    planned,
    pooled_sd,
    power,
    quantile,
    satterthwaite,
    welch,
)

DESIGNS = [(3, 3), (3, 9), (5, 5), (5, 15), (8, 24)]
VALUES = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=8)


def judged(estimate: Estimate | None, margin: float = 1.0, paper: float | None = None, **more: Any) -> Judgement:
    """Judge a claim alone."""
    given = {"p_holm": estimate and estimate.p, "ratio": False} | more
    return decide(estimate, margin=margin, paper=paper, **given)


def simulated(
    seeds: int, base: int, spreads: tuple[float, float] = (1.0, 1.0), effect: float = 0.0, arms: int = 8
) -> tuple[Any, Any, Any]:
    """Simulate 20,000 differences, their standard errors and degrees of freedom, with other `arms` of spread 1."""
    noise, rounds = np.random.Generator(np.random.Philox(seeds * 100 + base)), 20_000
    ours, theirs = (
        s * s * noise.chisquare(n - 1, rounds) / (n - 1) for s, n in zip(spreads, (seeds, base), strict=True)
    )
    shared = noise.chisquare(arms * (seeds - 1), rounds) / (arms * (seeds - 1))
    se, df = welch(ours, seeds, theirs, base, shared, 4.0)  # type: ignore[arg-type]  # its formulas take arrays
    true = math.sqrt(spreads[0] ** 2 / seeds + spreads[1] ** 2 / base)
    return effect + true * noise.normal(size=rounds), se, df


def false_verdicts(seeds: int, base: int, *spreads: float) -> float:
    difference, se, df = simulated(seeds, base, (spreads[0], spreads[1]))
    return float(np.mean(np.abs(difference) > quantile(0.975, df) * se))


def test_the_interval_and_p_are_scipys() -> None:
    for df in (1.0, 2.5, 6.0, 40.0, math.inf):
        found = Estimate(0.7, 0.3, df, 5)
        of_scipy = stats.norm(0.7, 0.3) if df == math.inf else stats.t(df, 0.7, 0.3)
        for level in (0.9, 0.95):
            assert found.interval(level) == pytest.approx(of_scipy.interval(level))
        assert found.p == pytest.approx(2 * of_scipy.cdf(0))
    assert (Estimate(0.0, 0.0, 3, 4).p, Estimate(0.1, 0.0, 3, 4).p) == (1.0, 0.0)


def test_two_arms_are_compared_as_by_hand() -> None:
    """Variances 1, 4 and, of eight others, 2: (4 * 2 + 2 * 1) / 6 and (4 * 2 + 3 * 4) / 7."""
    second = (np.array([-3, -1, 1, 3]) / math.sqrt(20 / 3) * 2 + 5).tolist()
    others = [[-math.sqrt(2), 0.0, math.sqrt(2)]] * 8
    found = compare([9.0, 10.0, 11.0], second, [*others, [7.0], []])
    assert found is not None
    assert found.difference == pytest.approx(5)
    assert found.se == pytest.approx(math.sqrt(10 / 6 / 3 + 20 / 7 / 4))
    assert (found.df, found.seeds) == (6, 3)


def test_few_other_arms_moderate_less() -> None:
    two = [0.0, 1.0, 2.0], [5.0, 6.0, 7.0]
    for arms, weight in ((1, 1), (2, 2), (4, 4), (9, 4)):
        found = compare(*two, [[0.0, 2.0, 4.0]] * arms)
        assert found is not None
        assert found.df == 2 + weight
        assert found.se == pytest.approx(math.sqrt((4 * weight + 2) / (2 + weight) * 2 / 3))


@given(VALUES, VALUES)
def test_without_other_arms_the_standard_error_is_welchs_and_the_degrees_are_at_most_his(
    larger: list[float], smaller: list[float]
) -> None:
    found = compare(larger, smaller)
    assert found is not None
    if found.se < 1e-3:
        return
    with warnings.catch_warnings(action="ignore"):  # of arms whose values are all the same
        of_scipy = stats.ttest_ind(larger, smaller, equal_var=False)
    assert found.difference / found.se == pytest.approx(of_scipy.statistic)
    assert min(len(larger), len(smaller)) - 1 <= found.df * (1 + 1e-9)
    assert found.df <= of_scipy.df * (1 + 1e-9)


@given(VALUES, VALUES, st.lists(VALUES, max_size=3))
def test_exchanged_arms_have_the_opposite_difference_and_the_same_error(
    larger: list[float], smaller: list[float], others: list[list[float]]
) -> None:
    one, other = compare(larger, smaller, others), compare(smaller, larger, others)
    assert one is not None
    assert other is not None
    assert one.difference == -other.difference
    assert (one.se, one.df) == pytest.approx((other.se, other.df))


def test_arms_whose_runs_are_all_the_same_differ_by_nothing() -> None:
    """The sum of 11 tenths over 11 is above a tenth. This is rounding, not an effect, although its se is 0 too."""
    for x in (0.1, 0.3, 0.7):
        for seeds in range(3, 25):
            same = judged(compare([x] * 5, [x] * seeds))
            assert (same.difference, same.p, same.verdict) == (0.0, 1.0, "absent")


def test_an_arm_of_one_seed_or_without_a_number_has_no_estimate() -> None:
    assert compare([1.0], [1.0, 2.0]) is None
    assert compare([1.0, math.nan, 2.0], [1.0, 2.0]) is None
    assert crossed([1.0], 0.1) is None
    assert jackknife(1.0, [1.0], 0.1) is None
    nothing = judged(None)
    assert (nothing.verdict, nothing.seeds, nothing.low, nothing.p) == ("not shown", 0, None, None)
    assert "fewer than two values" in nothing.why


def test_gains_are_crossed_with_pictures() -> None:
    gains = [1.0, 2.0, 3.0, 4.0]
    for_seeds = stats.sem(gains)
    found = crossed(gains, 0.5)
    assert found is not None
    assert found.se == pytest.approx(math.sqrt(for_seeds**2 + 0.25))
    assert found.df == pytest.approx(found.se**4 / (for_seeds**4 / 3))
    alone = crossed(gains, 0.0)
    assert alone is not None
    assert (alone.se, alone.df) == pytest.approx((for_seeds, 3))
    same = crossed([2.0, 2.0, 2.0], 0.5)
    assert same is not None
    assert (same.se, same.df, same.seeds) == (0.5, 2, 3)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 4.0, 2.0, 7.0, 5.0])
    without = [float(np.delete(values, i).mean()) for i in range(5)]
    found = jackknife(float(values.mean()), without, 0.0)
    assert found is not None
    assert (found.se, found.df) == pytest.approx((stats.sem(values), 4))
    assert found.seeds == 5
    wider = jackknife(float(values.mean()), without, 0.3)
    assert wider is not None
    assert wider.se == pytest.approx(math.hypot(stats.sem(values), 0.3))


def test_gains_crossed_with_pictures_cover_the_truth() -> None:
    """Nets and pictures vary, each with sd 1 in the mean; 95 % or more of the intervals include the truth."""
    noise, rounds = np.random.Generator(np.random.Philox(3)), 20_000
    for nets in (3, 5, 10):
        of_nets = noise.chisquare(nets - 1, rounds) / (nets - 1) / nets
        df = (of_nets + 1) ** 2 / (of_nets**2 / (nets - 1))
        assert satterthwaite((of_nets[0], nets - 1), (1.0, math.inf)) == pytest.approx(df[0])
        off = noise.normal(0, math.sqrt(1 / nets + 1), rounds)
        assert np.mean(np.abs(off) > stats.t.ppf(0.975, df) * np.sqrt(of_nets + 1)) <= 0.056


def test_holms_values_are_those_of_a_worked_example() -> None:
    """0.01, 0.04, 0.03 and 0.005 of four: times 3, 1, 2 and 4, and no value below the one for a smaller p."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), max_size=10))
def test_holms_values_keep_the_order_and_lie_between_one_and_all_times_p(ps: list[float]) -> None:
    found = holm(ps)
    for p, adjusted in zip(ps, found, strict=True):
        assert adjusted is not None
        assert p <= adjusted <= min(1.0, len(ps) * p)
    ordered = [q for _, q in sorted(zip(ps, found, strict=True), key=lambda pair: (pair[0], pair[1] or 0))]
    assert ordered == sorted(ordered, key=lambda q: q or 0)


def test_the_verdicts() -> None:
    assert judged(Estimate(2.0, 0.5, 6, 5)).verdict == "holds"
    assert judged(Estimate(-2.0, 0.5, 6, 5)).verdict == "opposite"
    absent = judged(Estimate(0.1, 0.3, 6, 5))
    assert absent.verdict == "absent"
    assert "not adjusted for the number of claims" in absent.why
    assert judged(Estimate(0.5, 0.25, 6, 5)).verdict == "absent"  # 0.5 + 1.94 * 0.25; the 95 % interval is beyond
    assert judged(Estimate(0.5, 0.3, 6, 5)).verdict == "not shown"  # 0.5 + 1.94 * 0.3 is beyond the margin
    assert judged(Estimate(-0.5, 0.3, 6, 5)).verdict == "not shown"
    many = judged(Estimate(2.0, 0.5, 6, 5), p_holm=0.08)
    assert (many.verdict, many.p_holm) == ("not shown", 0.08)
    assert "not when adjusted" in many.why


def test_two_seeds_failed_seeds_and_claims_not_judged_have_no_verdict() -> None:
    clear = Estimate(9.0, 0.1, 6, 5)
    assert judged(Estimate(9.0, 0.1, 6, 2)).verdict == "not shown"
    assert judged(Estimate(0.0, 0.1, 6, 2)).verdict == "not shown"
    failed = judged(clear, why="1 of 5 seeds failed")
    assert (failed.verdict, failed.why, failed.difference) == ("not shown", "1 of 5 seeds failed", 9.0)
    assert judged(clear, p_holm=None).verdict == "not shown"


def test_a_ratio_is_given_back_as_a_ratio() -> None:
    arms = np.log([60.0, 55.0, 66.0]).tolist(), np.log([10.0, 11.0, 9.0]).tolist()
    found = judged(compare(*arms), math.log(1.2), 6.0, ratio=True, sd=pooled_sd(arms))
    assert found.verdict == "holds"
    assert found.difference == pytest.approx((60 * 55 * 66 / 990) ** (1 / 3))
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx((found.difference or 0) ** 2)
    assert (found.paper_inside, found.needed_paper) == (True, 3)
    assert judged(compare(*arms), 0.1, 20.0, ratio=True).paper_inside is False
    turned = judged(compare(*arms[::-1]), 0.1, ratio=True)
    assert turned.verdict == "opposite"
    assert turned.low == pytest.approx(1 / found.high)


def test_the_papers_number_and_json() -> None:
    found = judged(Estimate(0.4, 0.2, 6, 5), paper=1.4, sd=0.6)
    assert found.paper_inside is False
    assert found.needed_paper == needed(1.4, 0.6)
    assert judged(Estimate(0.4, 0.2, 6, 5)).paper_inside is None
    plain = found.plain()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) >= {"difference", "low90", "high90", "p_holm", "verdict", "why", "seeds", "needed_paper"}


def test_a_claim_of_several_parts() -> None:
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "not shown"]) == "not shown"
    assert overall(["holds", "absent"]) == "not shown"
    assert overall(["not shown", "opposite"]) == "opposite"
    assert overall(["absent", "absent"]) == "absent"
    assert overall([]) == "not shown"


def test_spreads_are_pooled_by_their_degrees_of_freedom() -> None:
    assert pooled_sd([[0.0, 2.0], [1.0, 2.0, 3.0], [9.0]]) == pytest.approx(math.sqrt((2 + 2) / 3))
    assert pooled_sd([[1.0], []]) is None


@pytest.mark.parametrize(("seeds", "base"), DESIGNS)
def test_at_most_5_percent_of_verdicts_are_false_and_7_with_unequal_spreads(seeds: int, base: int) -> None:
    error = 3 * math.sqrt(0.05 * 0.95 / 20_000)  # of the simulation
    assert false_verdicts(seeds, base, 1.0, 1.0) <= 0.05
    assert false_verdicts(seeds, base, 1.5, 1.0) <= 0.07 + error
    assert false_verdicts(seeds, base, 1.0, 1.5) <= 0.07


@pytest.mark.parametrize(("seeds", "base"), [(3, 3), (5, 10), (5, 15)])
def test_without_other_arms_at_most_5_percent_of_verdicts_are_false(seeds: int, base: int) -> None:
    noise = np.random.Generator(np.random.Philox(9)).normal(size=(4000, seeds + base))
    for scale in (1.0, 1.5):
        arms = [((row[:seeds] * scale).tolist(), row[seeds:].tolist()) for row in noise]
        false = sum((e := compare(*pair)) is not None and e.p < 0.05 for pair in arms) / 4000
        assert false <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 4000)


def test_the_half_widths_are_those_planned_with() -> None:
    """studies.md 3.3 has 1.92, 1.62, 1.28 and 1.08 of differences paired by seed."""
    for seeds, width in ((3, 1.97), (4, 1.65), (6, 1.29), (8, 1.09)):
        _, se, df = simulated(seeds, seeds)
        assert float(np.mean(quantile(0.975, df) * se)) == pytest.approx(width, abs=0.01)


@pytest.mark.parametrize(("seeds", "base"), DESIGNS)
def test_a_planted_effect_is_found_with_the_power_stated(seeds: int, base: int) -> None:
    for effect in (1.0, 1.7, 2.5):
        difference, se, df = simulated(seeds, base, effect=effect)
        found = np.mean(difference > quantile(0.975, df) * se)
        assert found == pytest.approx(power(effect, 1.0, seeds, base), abs=0.03)


def test_without_other_arms_a_planted_effect_is_found_with_the_power_stated() -> None:
    noise = np.random.Generator(np.random.Philox(7))
    for seeds, base in ((4, 4), (5, 15), (8, 8)):
        runs = noise.normal(size=(3000, seeds + base)) + np.repeat([1.7, 0.0], [seeds, base])
        verdicts = [judged(compare(r[:seeds].tolist(), r[seeds:].tolist())).verdict for r in runs]
        assert verdicts.count("holds") / 3000 == pytest.approx(power(1.7, 1, seeds, base, weight=0), abs=0.03)


@pytest.mark.parametrize(("seeds", "base"), DESIGNS)
def test_a_planted_null_is_absent_at_the_rate_stated_and_an_effect_of_the_margin_at_most_at_5_percent(
    seeds: int, base: int
) -> None:
    for margin in (1.0, 1.5, 2.0):
        for effect, most in ((0.0, None), (margin, 0.05)):
            difference, se, df = simulated(seeds, base, effect=effect)
            shown = np.abs(difference) > quantile(0.975, df) * se
            absent = np.mean((np.abs(difference) + quantile(0.95, df) * se < margin) & ~shown)
            if most is None:
                assert absent == pytest.approx(absence(margin, 1.0, seeds, base), abs=0.03)
            else:
                assert absent <= most


def test_of_19_claims_without_an_effect_any_verdict_is_false_in_at_most_5_percent_of_reports() -> None:
    """The claims share a base of 15 seeds, and moderate each other's variances."""
    noise, reports, claims, seeds, base = np.random.Generator(np.random.Philox(19)), 4000, 19, 5, 15
    arms, bases = noise.normal(size=(reports, claims, seeds)), noise.normal(size=(reports, 1, base))
    own = arms.var(axis=2, ddof=1)
    shared = (own.sum(axis=1, keepdims=True) - own) / (claims - 1)
    se, df = welch(own, seeds, bases.var(axis=2, ddof=1), base, shared, 4.0)
    ps = 2 * stats.t.sf(np.abs(arms.mean(axis=2) - bases.mean(axis=2)) / se, df)
    one = compare(arms[0, 0].tolist(), bases[0, 0].tolist(), arms[0, 1:].tolist())
    assert one is not None
    assert one.p == pytest.approx(ps[0, 0])
    assert np.mean([min(p or 0 for p in holm(row)) < 0.05 for row in ps.tolist()]) <= 0.05
    assert np.mean(ps.min(axis=1) < 0.05) > 0.2  # as it would be unadjusted


def test_the_seeds_named_as_needed_are_the_fewest_with_a_power_of_four_in_five() -> None:
    for effect in (0.3, 0.5, 1.0):
        n = needed(effect, 1.0)
        assert n is not None
        assert power(effect, 1.0, n - 1, n - 1) < 0.8 <= power(effect, 1.0, n, n)
        assert needed(-effect, 1.0) == n
    assert [needed(0.0, 1.0), needed(1e-9, 1.0)] == [None, None]
    assert [needed(1.0, sd) for sd in (0.0, 1e-9, 1e-3)] == [3, 3, 3]
    assert planned(1.0, 5, 5, 0.0)[2] == pytest.approx(8)  # Welch's, of two equal arms


def test_scipy_is_loaded_only_when_a_distribution_is_wanted() -> None:
    code = "import sys, alexnet.studies.statistics; sys.exit(any(m.split('.')[0] == 'scipy' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
