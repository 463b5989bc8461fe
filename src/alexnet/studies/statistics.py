"""The statistics of verdicts: moderated variances (Smyth 2004), Holm's adjustment, and the rule that decides."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["holds", "opposite", "absent", "not shown"]
LEVEL = 0.05  # rate of false verdicts
FEWEST = 3  # seeds that a verdict needs
MOST = 10_000  # largest number of seeds needed; an effect that needs more may as well be zero
WEIGHT = 4.0  # degrees of freedom that the other arms' variance counts for


@dataclass(frozen=True)
class Estimate:
    """A difference of means with its standard error.

    Attributes:
        difference: The difference, of logarithms if the claim is about a ratio.
        se: Standard error of the difference.
        df: Degrees of freedom of the standard error, above 0 and possibly infinite.
        seeds: Number of seeds of the smaller arm, or of nets if the same nets are measured twice.
    """

    difference: float
    se: float
    df: float
    seeds: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Compute the two-sided interval of Student's t that covers the difference with probability `level`."""
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
    """A verdict and the numbers behind it.

    Attributes:
        difference: The estimated difference; for a ratio, the ratio.
        low, high: 95 % interval, in the same unit.
        low90, high90: 90 % interval, in the same unit.
        p: Two-sided p value.
        p_holm: The p value adjusted for the number of judged comparisons.
        verdict: "holds", "opposite", "absent" or "not shown".
        why: The reason for the verdict.
        seeds: Number of seeds of the smaller arm.
        paper_inside: Whether the 95 % interval includes the paper's number.
        needed_paper: Number of seeds an arm with which the paper's number would be found four times in five.
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
        """Return the fields as a dictionary for JSON."""
        return asdict(self)


def compare(
    larger: Sequence[float], smaller: Sequence[float], others: Sequence[Sequence[float]] = ()
) -> Estimate | None:
    """Estimate by how much the mean of one arm exceeds the mean of another, with moderated variances.

    The values of the two arms must be independent. Arms that share their seeds are often positively correlated. This
    makes the interval too wide, never too narrow, so false verdicts become rarer.

    Args:
        larger: Values of the arm that the claim says is larger, one per seed; for a ratio, their logarithms.
        smaller: Values of the other arm, which may have another number of seeds.
        others: Values of other arms of the same base and scale. Their mean variance moderates that of the two arms.
            Arms with fewer than two values do not count, and the variance of few arms moderates less.

    Returns:
        The estimate; None if an arm has fewer than two values, or if one of its values is NaN or infinite.
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
    """Compute the standard error of a difference of two means, and its degrees of freedom.

    Each arm's variance is moderated separately. Pooling the two would give 11 % of false verdicts if the base has three
    times the seeds and the other arm 1.5 times the spread. The degrees of freedom are those of the arm with fewer
    seeds. Without moderation they go a quarter of the way to Welch's (1947), which alone would give 6 % of false
    verdicts with 3 seeds against 9. benchmarks/verdicts.py computes these rates.

    Args:
        first, second: Variance of a run in each arm.
        first_seeds, second_seeds: Number of seeds of each arm, 2 or more.
        shared: Mean variance of the other arms.
        weight: Degrees of freedom that `shared` counts for, 0 or more.

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
    """Estimate the mean gain of nets that are measured twice, with its spread over nets and pictures.

    Args:
        gains: Difference of the two measures of each net.
        picture_se: Standard error of the mean gain over pictures, with the nets held fixed.

    Returns:
        The estimate, whose standard error is sqrt(se_nets^2 + se_pictures^2); None for fewer than two nets.
    """
    if len(gains) < 2 or not all(map(math.isfinite, gains)):
        return None
    return over_pictures(mean(gains), variance(gains) / len(gains), picture_se, len(gains))


def jackknife(whole: float, without: Sequence[float], picture_se: float) -> Estimate | None:
    """Estimate the gain of an ensemble, over nets by the jackknife (Tukey 1958) and over pictures.

    Args:
        whole: Gain of the ensemble of all nets.
        without: Gain with each net left out in turn.
        picture_se: Standard error of `whole` over pictures, with the nets held fixed.

    Returns:
        The estimate; None for fewer than two nets.
    """
    if len(without) < 2 or not all(map(math.isfinite, (whole, *without))):
        return None
    nets = len(without)
    return over_pictures(whole, (nets - 1) ** 2 / nets * variance(without), picture_se, nets)


def over_pictures(gain: float, of_nets: float, picture_se: float, nets: int) -> Estimate:
    """Combine a variance over nets with a standard error over pictures, whose degrees of freedom are infinite."""
    df = satterthwaite((of_nets, nets - 1), (picture_se**2, math.inf))
    return Estimate(gain, math.sqrt(of_nets + picture_se**2), df, nets)


def satterthwaite(*parts: tuple[float, float]) -> float:
    """Compute the degrees of freedom of a sum of variances from pairs (variance, its degrees) (Satterthwaite 1946)."""
    below = sum(part * part / df for part, df in parts)
    if not below:
        return min(df for _, df in parts)
    return sum(part for part, _ in parts) ** 2 / below


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number (Holm 1979).

    The probability of any false verdict among them is then at most the level.

    Args:
        ps: p values. None marks a claim that is not judged and does not count.

    Returns:
        The adjusted values in the same order, with None in the same places.
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
    """Decide a claim that a difference is above 0, or a ratio above 1.

    Args:
        estimate: The difference; None if there are too few values.
        p_holm: Its p value, adjusted for the other claims; None for a claim that is not judged.
        margin: Size below which a difference counts as absent, above 0; for a ratio, that of its logarithm.
        paper: The paper's difference, or its ratio, above 0.
        ratio: Whether the estimate is of logarithms.
        why: Reason that rules out a verdict, such as failed seeds; empty otherwise.
        sd: Standard deviation of a run, pooled over arms, for the number of seeds needed; for a ratio, that of the
            logarithm.

    Returns:
        The verdict, its numbers and its reason. docs/studies.md defines the verdicts.
    """
    target = math.log(paper) if ratio and paper is not None else paper
    wanted = None if target is None or sd is None else needed(target, sd)
    if estimate is None:
        why = why or "an arm has fewer than two values, too few for an interval"
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
    """Choose the verdict on an estimate, and give the reason."""
    if estimate.seeds < FEWEST:
        return "not shown", f"{estimate.seeds} seeds are too few for a verdict, which needs {FEWEST}"
    if p_holm is None:
        return "not shown", "this difference is not judged"
    if p_holm < LEVEL and estimate.difference > 0:
        return "holds", "the p value, adjusted for the number of claims, is below 5 %"
    if p_holm < LEVEL:
        return "opposite", "the effect has the opposite sign, and its p value, adjusted for the claims, is below 5 %"
    low, high = estimate.interval(0.90)
    if -margin < low and high < margin:
        return "absent", "the 90 % interval lies inside the margin; this is not adjusted for the number of claims"
    if estimate.p < LEVEL:
        return "not shown", "the p value is below 5 % alone, but not when adjusted for the number of claims"
    return "not shown", "the interval includes zero effect and reaches beyond the margin"


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Combine the verdicts on a claim's judged differences: all must hold, or all be absent."""
    if "opposite" in verdicts:
        return "opposite"
    return verdicts[0] if len(set(verdicts)) == 1 else "not shown"


def pooled_sd(arms: Iterable[Sequence[float]]) -> float | None:
    """Compute the standard deviation of a run, pooled over arms with two or more values; None without such an arm."""
    known = [arm for arm in arms if len(arm) > 1]
    if not known:
        return None
    squares = sum((len(arm) - 1) * variance(arm) for arm in known)
    return math.sqrt(squares / sum(len(arm) - 1 for arm in known))


def needed(effect: float, sd: float) -> int | None:
    """Compute the seeds an arm that find an effect four times in five; None for no effect, or for more than MOST."""
    if not effect or power(abs(effect), sd, MOST, MOST) < 0.8:
        return None
    low, high = FEWEST - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(abs(effect), sd, middle, middle) >= 0.8 else (middle, high)
    return high


def power(effect: float, sd: float, seeds: int, base_seeds: int, weight: float = WEIGHT) -> float:
    """Compute the probability that a claim holds when it is judged alone.

    Args:
        effect: True difference of the two arms.
        sd: Standard deviation of a run, the same in all arms.
        seeds: Number of seeds of one arm, 2 or more.
        base_seeds: Number of seeds of the other arm.
        weight: Degrees of freedom that the other arms' variance counts for; 0 without other arms.
    """
    from scipy.special import nctdtr

    se, df, spread = planned(sd, seeds, base_seeds, weight)
    if not se or effect > 30 * se:  # further out nctdtr gives nan
        return float(effect > 0)
    return float(1 - nctdtr(spread, effect / se, quantile(1 - LEVEL / 2, df)))


def absence(margin: float, sd: float, seeds: int, base_seeds: int, weight: float = WEIGHT) -> float:
    """Compute the probability that a zero effect, judged alone, is called absent; arguments as in `power`."""
    from scipy.special import chdtri

    se, df, spread = planned(sd, seeds, base_seeds, weight)
    if not se:
        return 1.0
    wide, narrow = quantile(1 - LEVEL / 2, df), quantile(1 - LEVEL, df)
    points = [(i + 0.5) / 500 for i in range(500)]
    ratios = [math.sqrt(chdtri(spread, q) / spread) for q in points]  # estimated over true standard error
    within = [max(0.0, min(margin / se - narrow * ratio, wide * ratio)) for ratio in ratios]
    return mean([math.erf(z / math.sqrt(2)) for z in within])


def planned(sd: float, seeds: int, base_seeds: int, weight: float) -> tuple[float, float, float]:
    """Compute the expected standard error, the degrees of freedom that judge it, and those that it varies with.

    With moderated variances the last number is larger, because the mean of the other arms hardly varies.
    """
    se, df = welch(sd * sd, seeds, sd * sd, base_seeds, sd * sd, weight)
    arms = ((1 / n, (weight + n - 1) ** 2 / (n - 1)) for n in (seeds, base_seeds))
    return se, df, satterthwaite(*arms)


def quantile(probability: float, df: float) -> float:
    """Compute the value that Student's t stays below with a given probability."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def mean(values: Sequence[float]) -> float:
    """Compute the mean. For equal values it is exactly their value, so that no rounding error passes for an effect."""
    return values[0] + math.fsum(x - values[0] for x in values) / len(values)


def variance(values: Sequence[float]) -> float:
    """Compute the sample variance, with n - 1 in the denominator."""
    middle = mean(values)
    return math.fsum((x - middle) ** 2 for x in values) / (len(values) - 1)
