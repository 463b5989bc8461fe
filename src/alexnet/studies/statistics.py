"""Decide claims: estimates with moderated variances (Smyth 2004), Holm's adjustment, and verdicts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["holds", "opposite", "absent", "not shown"]
LEVEL = 0.05  # of false verdicts
FEWEST = 3  # seeds below which no verdict is given
MOST = 10_000  # seeds named as needed; an effect that needs more may as well be zero
WEIGHT = 4.0  # degrees of freedom that the other arms' variance counts for


@dataclass(frozen=True)
class Estimate:
    """A difference with its standard error; of logarithms where the claim is about a ratio.

    `df`: degrees of freedom of the standard error, above 0 and possibly infinite. `seeds`: the fewest seeds of any arm
    (or nets, where the same nets are measured twice).
    """

    difference: float
    se: float
    df: float
    seeds: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Give the two-sided interval of Student's t that covers the difference with probability `level`."""
        half = quantile((1 + level) / 2, self.df) * self.se
        return self.difference - half, self.difference + half

    @property
    def p(self) -> float:
        """The two-sided p value against a difference of 0."""
        from scipy.special import stdtr

        if not self.se:
            return 0.0 if self.difference else 1.0
        return float(2 * stdtr(self.df, -abs(self.difference) / self.se))


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim and the numbers it rests on.

    `low`, `high`: 95 % interval; `low90`, `high90`: 90 %. For a ratio these and `difference` are ratios.
    `paper_inside`: whether the 95 % interval includes the paper's number. `needed_paper`: the seeds an arm with which
    the paper's number would be found four times in five.
    """

    difference: float | None
    low: float | None
    high: float | None
    low90: float | None
    high90: float | None
    p: float | None
    p_holm: float | None
    verdict: Verdict
    why: str
    seeds: int
    paper_inside: bool | None
    needed_paper: int | None

    def plain(self) -> dict[str, Any]:
        """Give the fields as JSON takes them."""
        return asdict(self)


def compare(
    larger: Sequence[float], smaller: Sequence[float], others: Sequence[Sequence[float]] = ()
) -> Estimate | None:
    """Estimate by how much the mean of one arm exceeds the mean of another, with moderated variances.

    The values of the two arms must be independent. Arms that share their seeds are often positively correlated, which
    makes the interval too wide and never too narrow: false verdicts become rarer.

    Args:
        larger: values of the arm that the claim says is larger, one a seed; for a ratio, their logarithms.
        smaller: values of the other arm; it may have another number of seeds.
        others: values of other arms of the same base and scale, whose mean variance moderates that of the two arms.
            Arms of fewer than two values do not count, and the variance of few arms moderates less.

    Returns:
        The estimate; None where an arm has fewer than two values, or where a value of the two is not finite.
    """
    seeds = min(len(larger), len(smaller))
    if seeds < 2 or not all(map(math.isfinite, (*larger, *smaller))):
        return None
    known = [arm for arm in others if len(arm) > 1 and all(map(math.isfinite, arm))]
    shared = mean([variance(arm) for arm in known]) if known else 0.0
    weight = min(WEIGHT, sum(len(arm) - 1 for arm in known) / 2)
    se, df = welch(variance(larger), len(larger), variance(smaller), len(smaller), shared, weight)
    return Estimate(mean(larger) - mean(smaller), se, df, seeds)


def welch(
    first: float, first_seeds: int, second: float, second_seeds: int, shared: float, weight: float
) -> tuple[float, float]:
    """Give the standard error of a difference of two means and its degrees of freedom.

    Each arm's variance is moderated on its own. Pooling both would give 11 % of false verdicts where the base has
    thrice the seeds and the other arm 1.5 times the spread. The degrees are those of the arm with fewer seeds; without
    moderation they go a quarter of the way to Welch's (1947), which alone give 6 % with 3 seeds against 9
    (benchmarks/verdicts.py has the rates).

    Args:
        first, second: variances of a run in the arms.
        first_seeds, second_seeds: their seeds, 2 or more.
        shared: mean variance of the other arms.
        weight: degrees of freedom it counts for, 0 or more.

    Returns:
        The standard error and the degrees of freedom.
    """
    ours, theirs = first_seeds - 1, second_seeds - 1
    a = (weight * shared + ours * first) / (weight + ours) / first_seeds
    b = (weight * shared + theirs * second) / (weight + theirs) / second_seeds
    fewest = min(ours, theirs)
    df = fewest + weight if weight else fewest + (satterthwaite((a, ours), (b, theirs)) - fewest) / 4
    return (a + b) ** 0.5, df


def crossed(gains: Sequence[float], picture_se: float) -> Estimate | None:
    """Estimate the mean gain where each net is measured twice, over nets and pictures.

    Args:
        gains: the difference of the two measures of each net.
        picture_se: standard error of the mean gain over pictures, with the nets held fixed.

    Returns:
        The estimate, with sqrt(se_nets^2 + se_pictures^2) as its standard error; None for fewer than two nets.
    """
    if len(gains) < 2 or not all(map(math.isfinite, gains)):
        return None
    return over_pictures(mean(gains), variance(gains) / len(gains), picture_se, len(gains))


def jackknife(whole: float, without: Sequence[float], picture_se: float) -> Estimate | None:
    """Estimate the gain of an ensemble, over nets by the jackknife (Tukey 1958) and over pictures.

    Args:
        whole: the gain of the ensemble of all nets.
        without: the gain with each net left out in turn.
        picture_se: standard error of `whole` over pictures, with the nets held fixed.

    Returns:
        The estimate; None for fewer than two nets.
    """
    if len(without) < 2 or not all(map(math.isfinite, (whole, *without))):
        return None
    nets = len(without)
    return over_pictures(whole, (nets - 1) ** 2 / nets * variance(without), picture_se, nets)


def over_pictures(gain: float, of_nets: float, picture_se: float, nets: int) -> Estimate:
    """Cross a variance over nets with a standard error over pictures, whose degrees of freedom are infinite."""
    df = satterthwaite((of_nets, nets - 1), (picture_se**2, math.inf))
    return Estimate(gain, math.sqrt(of_nets + picture_se**2), df, nets)


def satterthwaite(*parts: tuple[float, float]) -> float:
    """Give the degrees of freedom of a sum of variances, each with its own (Satterthwaite 1946)."""
    below = sum(part * part / df for part, df in parts)
    if not below:
        return min(df for _, df in parts)
    return sum(part for part, _ in parts) ** 2 / below


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number, so that any false verdict at all has at most the level (Holm 1979).

    Args:
        ps: p values; None for a claim that is not judged, which does not count.

    Returns:
        The adjusted values in the same order, None where None was given.
    """
    adjusted: list[float | None] = [None] * len(ps)
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    so_far = 0.0
    for rank, (p, i) in enumerate(known):
        so_far = max(so_far, min(1.0, (len(known) - rank) * p))
        adjusted[i] = so_far
    return adjusted


def decide(
    estimate: Estimate | None,
    *,
    p_holm: float | None,
    margin: float,
    paper: float | None,
    ratio: bool,
    why: str = "",
    sd: float | None = None,
) -> Judgement:
    """Give the verdict on a claim that a difference is above 0, or a ratio above 1.

    Args:
        estimate: the difference; None where there are too few values for one.
        p_holm: its p value, adjusted for the claims judged beside it; None for a claim that is not judged.
        margin: the size below which a difference counts as absent, above 0; for a ratio, of its logarithm.
        paper: the paper's difference, or ratio (above 0).
        ratio: whether the estimate is of logarithms.
        why: what forbids a verdict (failed seeds and the like); empty if nothing does.
        sd: standard deviation of a run, pooled over arms, of the logarithm for a ratio; for the seeds needed.
    """
    target = math.log(paper) if ratio and paper is not None else paper
    wanted = None if target is None or sd is None else needed(target, sd)
    if estimate is None:
        why = why or "an arm has fewer than two numbers, which give no interval"
        return Judgement(None, None, None, None, None, None, None, "not shown", why, 0, None, wanted)
    (low, high), inner = estimate.interval(), estimate.interval(0.90)
    verdict, reason = rule(estimate, p_holm, margin)
    back = math.exp if ratio else float
    return Judgement(
        difference=back(estimate.difference),
        low=back(low),
        high=back(high),
        low90=back(inner[0]),
        high90=back(inner[1]),
        p=estimate.p,
        p_holm=p_holm,
        verdict="not shown" if why else verdict,
        why=why or reason,
        seeds=estimate.seeds,
        paper_inside=None if target is None else bool(low <= target <= high),
        needed_paper=wanted,
    )


def rule(estimate: Estimate, p_holm: float | None, margin: float) -> tuple[Verdict, str]:
    """Give the verdict on an estimate, and why in a sentence."""
    if estimate.seeds < FEWEST:
        return "not shown", f"{estimate.seeds} seeds give no verdict; {FEWEST} or more do"
    if p_holm is None:
        return "not shown", "the claim is not among those that are judged"
    if p_holm < LEVEL and estimate.difference > 0:
        return "holds", "the p value, adjusted for the number of claims, is below 5 %"
    if p_holm < LEVEL:
        return "opposite", "the effect has the opposite sign, and its p value, adjusted for the claims, is below 5 %"
    low, high = estimate.interval(0.90)
    if -margin < low and high < margin:
        return "absent", "the 90 % interval lies inside the margin; this is not adjusted for the number of claims"
    if estimate.p < LEVEL:
        return "not shown", "the p value is below 5 % alone, but not when adjusted for the number of claims"
    return "not shown", "the interval includes no difference, and reaches beyond the margin"


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Give the verdict on a claim that expects several things: all of them must hold, or all be absent."""
    if "opposite" in verdicts:
        return "opposite"
    return verdicts[0] if len(set(verdicts)) == 1 else "not shown"


def pooled_sd(arms: Iterable[Sequence[float]]) -> float | None:
    """Give the standard deviation of a run, pooled over arms of two or more values; None without such an arm."""
    known = [arm for arm in arms if len(arm) > 1]
    if not known:
        return None
    squares = sum((len(arm) - 1) * variance(arm) for arm in known)
    return math.sqrt(squares / sum(len(arm) - 1 for arm in known))


def needed(effect: float, sd: float) -> int | None:
    """Give the seeds an arm with which an effect is found four times in five; None for none, or for more than MOST."""
    if not effect or power(abs(effect), sd, MOST, MOST) < 0.8:
        return None
    low, high = FEWEST - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(abs(effect), sd, middle, middle) >= 0.8 else (middle, high)
    return high


def power(effect: float, sd: float, seeds: int, base_seeds: int, weight: float = WEIGHT) -> float:
    """Give the probability that one claim, judged alone, holds.

    Args:
        effect: the true difference of the two arms.
        sd: the standard deviation of a run, the same in all arms.
        seeds: seeds of the one arm, 2 or more.
        base_seeds: seeds of the other.
        weight: degrees of freedom that the other arms' variance counts for; 0 without other arms.
    """
    from scipy.special import nctdtr

    se, df, spread = planned(sd, seeds, base_seeds, weight)
    if not se or effect > 30 * se:  # further out nctdtr gives nan
        return float(effect > 0)
    return float(1 - nctdtr(spread, effect / se, quantile(1 - LEVEL / 2, df)))


def absence(margin: float, sd: float, seeds: int, base_seeds: int, weight: float = WEIGHT) -> float:
    """Give the probability that a claim without an effect, judged alone, is called absent; arguments as in `power`."""
    from scipy.special import chdtri

    se, df, spread = planned(sd, seeds, base_seeds, weight)
    if not se:
        return 1.0
    wide, narrow = quantile(1 - LEVEL / 2, df), quantile(1 - LEVEL, df)
    points = [(i + 0.5) / 500 for i in range(500)]
    ratios = [math.sqrt(chdtri(spread, q) / spread) for q in points]  # of the standard error found to the true one
    within = [max(0.0, min(margin / se - narrow * ratio, wide * ratio)) for ratio in ratios]
    return mean([math.erf(z / math.sqrt(2)) for z in within])


def planned(sd: float, seeds: int, base_seeds: int, weight: float) -> tuple[float, float, float]:
    """Give the standard error expected, the degrees of freedom it is judged by, and those that it varies with.

    The last are more where variances are moderated, as the other arms' mean hardly varies.
    """
    se, df = welch(sd * sd, seeds, sd * sd, base_seeds, sd * sd, weight)
    arms = ((1 / n, (weight + n - 1) ** 2 / (n - 1)) for n in (seeds, base_seeds))
    return se, df, satterthwaite(*arms)


def quantile(probability: float, df: float) -> float:
    """Give the value that Student's t stays below with that probability."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def mean(values: Sequence[float]) -> float:
    """Give the mean; of values that are all the same, exactly their own, so that no rounding passes for an effect."""
    return values[0] + math.fsum(x - values[0] for x in values) / len(values)


def variance(values: Sequence[float]) -> float:
    """Give the variance about the mean, over one less than the number of values."""
    middle = mean(values)
    return math.fsum((x - middle) ** 2 for x in values) / (len(values) - 1)
