"""The mean image (section 2) and the colour components (section 4.1) of the training pictures, in exact arithmetic."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sums:
    """What adds up over pictures: their number, each pixel's sum (S x S x 3) and the colour products (3 x 3), int64.

    Whole numbers, so that no order and no division of the work changes them.
    """

    count: int
    pixels: np.ndarray
    products: np.ndarray

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.pixels + other.pixels, self.products + other.products)


@dataclass(frozen=True)
class Statistics:
    """`mean` S x S x 3 float32; `covariance` 3 x 3, `eigenvalues` 3, `eigenvectors` 3 x 3, float64.

    The colours are RGB in 0..255; the covariance is over all pixels of all pictures, divided by their number. The
    eigenvalues descend; the eigenvectors are columns, of two signs the one whose largest component is positive.
    """

    mean: np.ndarray
    covariance: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


def sums(pictures: Iterable[np.ndarray], side: int) -> Sums:
    """Return the sums over `pictures`, each uint8 of side x side x 3."""
    count, pixels = 0, np.zeros((side, side, 3), np.int64)
    # Eight pixels a row, which suits BLAS; 256 rows a block, since 256 * 255 ** 2 < 2 ** 24: exact in float32.
    blocks = np.zeros((-(-side * side // 2048), 256, 24), np.float32)
    samples = blocks.reshape(-1)[: pixels.size]
    products = np.zeros((24, 24))  # float64 stays exact for 10 ** 11 pixels
    for picture in pictures:
        count += 1
        pixels += picture
        samples[:] = picture.reshape(-1)
        products += (blocks.transpose(0, 2, 1) @ blocks).sum(0, dtype=np.float64)
    return Sums(count, pixels, products.reshape(8, 3, 8, 3).trace(axis1=0, axis2=2).astype(np.int64))


def statistics(total: Sums) -> Statistics:
    """Return the mean image and the colour components from the sums over at least one picture."""
    n = total.count * total.pixels.shape[0] * total.pixels.shape[1]
    colour = [int(channel) for channel in total.pixels.sum(axis=(0, 1))]
    # Python's integers: n * products passes 2 ** 63 at ILSVRC's size.
    covariance = np.array(
        [[(n * int(total.products[i, j]) - colour[i] * colour[j]) / n**2 for j in range(3)] for i in range(3)]
    )
    ascending, vectors = np.linalg.eigh(covariance)
    vectors = vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
    return Statistics(
        mean=(total.pixels / total.count).astype(np.float32),
        covariance=covariance,
        eigenvalues=ascending[::-1].copy(),
        eigenvectors=np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0)),
    )
