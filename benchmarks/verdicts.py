"""Error rates and power of the verdicts of studies, by simulation: python benchmarks/verdicts.py [ROUNDS].

Spreads are in standard deviations of a run, rates in percent. `others` is the number of other arms, which have spread 1
and as many seeds as the arm.
"""

import argparse
from typing import Any

import numpy as np
from scipy import special

from alexnet.studies import statistics

ROUNDS = 100_000
DESIGNS = [(3, 3), (4, 4), (5, 5), (6, 6), (8, 8), (3, 9), (5, 10), (5, 15), (5, 24), (8, 24), (12, 24)]
SPREADS = {"equal": (1, 1), "arm x1.5": (1.5, 1), "base x1.5": (1, 1.5), "both x1.5": (1.5, 1.5), "arm x2": (2, 1)}


def studies(seeds: int, base: int, ours: float = 1, theirs: float = 1, effect: float = 0, others: int = 8) -> list[Any]:
    """Simulate differences, and the half-widths of their 95 % and 90 % intervals."""
    noise, free = np.random.Generator(np.random.Philox(seeds * 100 + base)), others * (seeds - 1)
    one: Any = ours**2 * noise.chisquare(seeds - 1, ROUNDS) / (seeds - 1)
    two: Any = theirs**2 * noise.chisquare(base - 1, ROUNDS) / (base - 1)
    if others:
        shared: Any = noise.chisquare(free, ROUNDS) / free
        se, df = statistics.welch(one, seeds, two, base, shared, min(statistics.WEIGHT, free / 2))
    else:
        alone = [statistics.welch(a, seeds, b, base, 0.0, 0.0) for a, b in zip(one, two, strict=True)]
        se, df = np.array(alone).T
    difference = effect + np.sqrt(ours**2 / seeds + theirs**2 / base) * noise.normal(size=ROUNDS)
    return [difference, *(special.stdtrit(df, level) * se for level in (0.975, 0.95))]


def false_verdicts(others: int) -> None:
    """Print the mean half-width and the rate of false verdicts, for equal and unequal spreads."""
    print(f"\n{others} other arms\narm/base  half-width  " + "  ".join(SPREADS))
    for n, base in DESIGNS:
        found = [studies(n, base, *spreads, others=others) for spreads in SPREADS.values()]
        rates = [100 * np.mean(np.abs(difference) > half) for difference, half, _ in found]
        print(f"{n:5}/{base:<2}  {found[0][1].mean():9.2f} " + "  ".join(f"{rate:7.1f}" for rate in rates))


def power_and_absence(size: float) -> None:
    """Print how often an effect is found, and how often a zero effect and one as large as the margin are absent."""
    print(f"\neffect, or margin, {size}\narm/base  found (stated)  zero absent (stated)  the margin absent")
    for n, base in DESIGNS:
        null, effect = studies(n, base), studies(n, base, effect=size)
        zero, same = (100 * np.mean((abs(d) + inner < size) & (abs(d) < half)) for d, half, inner in (null, effect))
        found = 100 * np.mean(effect[0] > effect[1])
        stated, of_null = 100 * statistics.power(size, 1, n, base), 100 * statistics.absence(size, 1, n, base)
        print(f"{n:5}/{base:<2}  {found:6.1f} ({stated:5.1f})  {zero:12.1f} ({of_null:5.1f})  {same:15.1f}")


def ensembles(nets: int) -> None:
    """Print how often the interval of an ensemble's gain misses its mean, over new nets and pictures."""
    noise, found = np.random.Generator(np.random.Philox(nets)), []
    for _ in range(ROUNDS // 50):
        logits = noise.normal(size=(1, 1000, 10)) + 1.2 * noise.normal(size=(nets, 1000, 10))
        logits[..., 0] += 1.5 + 0.1 * noise.normal(size=(nets, 1))  # the right class; nets differ in skill
        wrong, sums = logits.argmax(axis=2) > 0, logits.sum(axis=0)
        gain = wrong.mean(axis=0) - (sums.argmax(axis=1) > 0)
        rest = [np.delete(wrong, i, 0).mean() - np.mean((sums - logits[i]).argmax(axis=1) > 0) for i in range(nets)]
        found.append(statistics.jackknife(gain.mean(), rest, gain.std(ddof=1) / 1000**0.5))
    gains, errors, halves = np.array([(e.difference, e.se, e.interval()[1] - e.difference) for e in found if e]).T
    missed = 100 * np.mean(abs(gains - gains.mean()) > halves)
    print(f"{nets:4}  {gains.mean():.4f}  {gains.std():.4f}  {errors.mean():.4f}  {missed:6.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=ROUNDS, help="simulated studies a row")
    ROUNDS = parser.parse_args().rounds
    for arms in (8, 2, 1, 0):
        false_verdicts(arms)
    for planted in (0.5, 1.0, 1.5, 2.0):
        power_and_absence(planted)
    print("\nseeds an arm needed for an effect:", {e: statistics.needed(e, 1) for e in (0.25, 0.5, 1, 1.5, 2, 3)})
    print("\nensembles\nnets  gain    its sd  mean se  missed")
    for number in (3, 5, 10):
        ensembles(number)
