"""Statistics of the two towers' first kernels: the colour and the orientation of each (section 6.1, figure 3).

The paper says: "The kernels on GPU 1 are largely color-agnostic, while the kernels on on [sic] GPU 2 are largely
color-specific." This module measures two numbers for each kernel, their means in each tower, and the probability that
chance alone separates the towers as far.
"""

from dataclasses import dataclass

import numpy as np

DEALS = 10_000  # random deals of the kernels to two towers
NOISE = 2 / 3  # colour of a white-noise kernel: two of the three directions in RGB are off the grey axis
LEVEL = 0.025  # 5 %, divided between the two measures


@dataclass(frozen=True)
class Specialisation:
    """Colour and orientation of every kernel, the towers' means, and p values of the differences."""

    colour: np.ndarray  # (kernels,)
    orientation: np.ndarray
    colours: tuple[float, ...]  # mean of each tower
    orientations: tuple[float, ...]
    p_colour: float | None = None  # from a permutation test; None for one tower
    p_orientation: float | None = None

    def words(self) -> str:
        """Explain the numbers to the reader of the figure."""
        if self.p_colour is None or self.p_orientation is None:
            return f"One tower: mean colour {self.colours[0]:.2f}, mean orientation {self.orientations[0]:.2f}."
        parts = [
            f"Mean {name}: tower 0 {means[0]:.2f}, tower 1 {means[1]:.2f} (p {_chance(p)})."
            for name, means, p in (
                ("colour", self.colours, self.p_colour),
                ("orientation", self.orientations, self.p_orientation),
            )
        ]
        apart = [n for n, p in (("colour", self.p_colour), ("orientation", self.p_orientation)) if p < LEVEL]
        verdict = f"The towers differ in {' and '.join(apart)}." if apart else "No sign that the towers specialise."
        return " ".join([*parts, verdict])


def measured(weight: np.ndarray, towers: int) -> Specialisation:
    """Measure the specialisation of conv1's kernels (kernels, 3, s, s), divided equally among the towers."""
    colour, orientation = colours(weight), orientations(weight)
    apart = (by_chance(colour), by_chance(orientation)) if towers > 1 else (None, None)
    return Specialisation(colour, orientation, means(colour, towers), means(orientation, towers), *apart)


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
