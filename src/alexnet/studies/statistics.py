"""Whether a claim holds: differences paired by seed, with a 95 % interval of Student's t (Student 1908)."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

Verdict = Literal["holds", "does not hold", "not shown"]
MOST = 10_000  # seeds that are named as needed; beyond, the effect may as well be nought


@dataclass(frozen=True)
class Judgement:
    """By how much (or how many times) one measure is larger than another, from its mean over pairs.

    `needed`, `needed_paper`: seeds with which an effect as large as seen, or as the paper's, would be found four times
    in five at the spread seen; None where there is no telling, or they are more than MOST.
    """

    differences: tuple[float | None, ...]
    mean: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    why: str
    paper_inside: bool | None
    needed: int | None
    needed_paper: int | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"differences": list(self.differences)}


def judge(
    more: Sequence[float | None], less: Sequence[float | None], paper: float | None = None, ratio: bool = False
) -> Judgement:
    """Judge the claim that `more` is larger than `less`, seed by seed; None stands for a run without a number.

    A ratio is judged by its logarithm, so twice as much and half as much are as far from the same.
    """
    logarithm, back = (math.log, math.exp) if ratio else (float, float)
    pairs = list(zip(more, less, strict=True))
    if ratio:
        pairs = [(a, b) if a and b else (None, None) for a, b in pairs]
    steps = [None if a is None or b is None else logarithm(a) - logarithm(b) for a, b in pairs]
    known = [s for s in steps if s is not None]
    shown = tuple(None if s is None else back(s) for s in steps)
    mean = statistics.fmean(known) if known else None
    if mean is None or len(known) < 2:
        why = "no seed gives a number" if mean is None else "one seed has no interval; two or more do"
        return Judgement(shown, None if mean is None else back(mean), None, None, "not shown", why, None, None, None)
    spread = statistics.stdev(known)
    low, high = interval(known)
    verdict: Verdict = "holds" if low > 0 else "does not hold" if high < 0 else "not shown"
    why = "the interval spans no difference" if verdict == "not shown" else "the interval excludes no difference"
    if len(known) < len(steps):
        verdict, why = "not shown", f"{len(steps) - len(known)} of {len(steps)} seeds give no number"
    target = None if paper is None else logarithm(paper)
    return Judgement(
        shown,
        back(mean),
        back(low),
        back(high),
        verdict,
        why,
        None if target is None else low <= target <= high,
        needed(mean, spread),
        None if target is None else needed(target, spread),
    )


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a claim that expects several things: it holds if all do, and not if one does not."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "not shown" if "not shown" in verdicts else "holds"


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of two or more values."""
    n, mean = len(values), statistics.fmean(values)
    half = student(n - 1, level) * statistics.stdev(values) / math.sqrt(n)
    return mean - half, mean + half


def needed(effect: float, spread: float) -> int | None:
    """Seeds with which the interval excludes 0 four times in five, for differences of that mean and spread."""
    if not effect:
        return None
    z = statistics.NormalDist().inv_cdf
    n = max(2, int(((z(0.975) + z(0.8)) * spread / effect) ** 2)) if spread / abs(effect) < MOST else MOST + 1
    while n <= MOST and (student(n - 1, 0.95) + student(n - 1, 0.6)) * spread / math.sqrt(n) > abs(effect):
        n += 1
    return n if n <= MOST else None


@cache
def student(df: int, level: float) -> float:
    """The t that Student's distribution of `df` degrees of freedom stays within, to both sides, with that probability.

    Found by bisection of its distribution function (Abramowitz & Stegun 26.7.3 and 26.7.4) in the angle
    atan(t / sqrt df); of many degrees, from the normal quantile (26.7.5).
    """
    if df > 200:
        z = statistics.NormalDist().inv_cdf((1 + level) / 2)
        return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if within(angle, df) < level else (low, angle)
    return math.tan(low) * math.sqrt(df)


def within(angle: float, df: int) -> float:
    """The probability of a smaller t, to both sides, than that of the angle."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = df % 2
    term = cosine if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(2 + odd, df - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
