"""Statistics of the two towers' first kernels: the colour and the orientation of each (section 6.1, figure 3).

The paper says: "The kernels on GPU 1 are largely color-agnostic, while the kernels on on [sic] GPU 2 are largely
color-specific." This module measures two numbers for each kernel, their means in each tower, and the probability that
chance alone separates the towers as far, adjusted for the two numbers. Where most kernels still look like the noise
that a net starts from, it gives no verdict: two draws of noise differ a little as well, and training keeps that.
"""

import functools
from dataclasses import dataclass

import numpy as np

from alexnet.studies.statistics import holm

DEALS = 10_000  # random deals of the kernels to two towers
NOISE = 2 / 3  # colour of a white-noise kernel: two of the three directions in RGB are off the grey axis
LEVEL = 0.05  # of the p values, which are adjusted for the two measures
DRAWN = 400  # noise kernels whose orientation is measured
INSIDE = 0.99  # of noise kernels, the share inside the limits


@dataclass(frozen=True)
class Specialisation:
    """Colour and orientation of every kernel, the towers' means, and p values of the differences.

    The p values are adjusted for being two (Holm 1979): chance alone gives one below 5 % in 5 of 100 nets.
    """

    colour: np.ndarray  # (kernels,)
    orientation: np.ndarray
    colours: tuple[float, ...]  # mean of each tower
    orientations: tuple[float, ...]
    p_colour: float | None = None  # from a permutation test, adjusted; None for one tower
    p_orientation: float | None = None
    noisy: int = 0  # kernels that look like noise

    def words(self) -> str:
        """Explain the numbers to the reader of the figure."""
        if self.p_colour is None or self.p_orientation is None:
            return f"One tower: mean colour {self.colours[0]:.2f}, mean orientation {self.orientations[0]:.2f}."
        parts = [
            f"Mean {name}: tower 0 {means[0]:.2f}, tower 1 {means[1]:.2f} (p {_chance(p)}, Holm-adjusted for 2 looks)."
            for name, means, p in (
                ("colour", self.colours, self.p_colour),
                ("orientation", self.orientations, self.p_orientation),
            )
        ]
        apart = [n for n, p in (("colour", self.p_colour), ("orientation", self.p_orientation)) if p < LEVEL]
        verdict = f"The towers differ in {' and '.join(apart)}." if apart else "No sign that the towers specialise."
        if 2 * self.noisy > len(self.colour):
            verdict = (
                f"{self.noisy} of {len(self.colour)} kernels still look like noise: too early to compare the towers."
            )
        return " ".join([*parts, verdict])


def measured(weight: np.ndarray, towers: int) -> Specialisation:
    """Measure the specialisation of conv1's kernels (kernels, 3, s, s), divided equally among the towers."""
    colour, orientation = colours(weight), orientations(weight)
    p_colour, p_orientation = holm([by_chance(colour), by_chance(orientation)]) if towers > 1 else (None, None)
    noisy = int(like_noise(colour, orientation, weight.shape[-1]).sum())
    of_towers = means(colour, towers), means(orientation, towers)
    return Specialisation(colour, orientation, *of_towers, p_colour, p_orientation, noisy)


def like_noise(colour: np.ndarray, orientation: np.ndarray, side: int) -> np.ndarray:
    """Tell for each kernel whether its colour and its orientation are inside the limits of white noise.

    The colour of white noise has a beta distribution: of its 3 x side x side directions, one in three is grey.
    """
    from scipy.special import betaincinv

    low, high = (betaincinv(side * side, side * side / 2, end) for end in ((1 - INSIDE) / 2, (1 + INSIDE) / 2))
    inside: np.ndarray = (low <= colour) & (colour <= high) & (orientation <= _most_of_noise(side))
    return inside


@functools.cache
def _most_of_noise(side: int) -> float:
    """Find the orientation that INSIDE of the kernels of noise stay below."""
    noise = np.random.Generator(np.random.Philox(0)).normal(size=(DRAWN, 3, side, side))
    return float(np.quantile(orientations(noise), INSIDE))


def means(values: np.ndarray, towers: int) -> tuple[float, ...]:
    """Compute the mean over each tower's kernels."""
    return tuple(float(part.mean()) for part in np.split(values, towers))


def colours(weight: np.ndarray) -> np.ndarray:
    """Compute the share of each kernel's energy off the grey axis, 0 to 1; weight (kernels, 3, s, s).

    At 0, a kernel weighs red, green and blue equally in every place. White noise has 2/3. At 1, a kernel does not
    respond to any grey picture.
    """
    weight = weight.astype(np.float64)
    off = weight - weight.mean(1, keepdims=True)
    return _share((off**2).sum((1, 2, 3)), (weight**2).sum((1, 2, 3)))


def orientations(weight: np.ndarray, padded: int = 64) -> np.ndarray:
    """Compute how strongly each kernel's energy concentrates along one axis, 0 to 1; weight (kernels, 3, s, s).

    With Fourier energy P at the angle t, it is |sum of P exp(2it)| / sum of P: 0 for a kernel that looks the same from
    all sides, near 1 for a grating. The mean of each colour is removed, the energies of the colours are added, and the
    corners of the spectrum are left out.
    """
    weight = weight.astype(np.float64)
    weight = weight - weight.mean((2, 3), keepdims=True)
    energy = (np.abs(np.fft.fft2(weight, (padded, padded))) ** 2).sum(1)
    y, x = np.meshgrid(*2 * [np.fft.fftfreq(padded)], indexing="ij")
    energy = energy * (x**2 + y**2 <= 0.25)
    turned = np.exp(2j * np.arctan2(y, x))
    return _share(np.abs((energy * turned).sum((1, 2))), energy.sum((1, 2)))


def by_chance(values: np.ndarray, deals: int = DEALS) -> float:
    """Compute the p value of a two-sided permutation test that the first and second half have different means.

    The given order counts as one of the permutations, so p is never 0.
    """
    half = len(values) // 2
    centred = values - values.mean()  # the halves have equal size, so one mean is minus the other
    there = abs(centred[:half].sum())
    dealt = np.random.Generator(np.random.Philox(0)).permuted(np.tile(centred, (deals, 1)), axis=1)
    as_far = np.abs(dealt[:, :half].sum(1)) >= there * (1 - 1e-12)
    return float((1 + as_far.sum()) / (1 + deals))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide part by whole; 0 where whole is 0."""
    shares: np.ndarray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return shares


def _chance(p: float) -> str:
    return f"{p:.2g}" if p > 0.001 else "under 0.001"
