"""The mean image (section 2) and the colour components (section 4.1) of the training pictures, in exact integers."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sums:
    """Sums over pictures, in int64: their number, each pixel's sum (S x S x 3) and the products of colours (3 x 3).

    Integer sums do not depend on the order of the pictures or on how the work is divided.
    """

    count: int
    pixels: np.ndarray
    products: np.ndarray

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.pixels + other.pixels, self.products + other.products)


@dataclass(frozen=True)
class Statistics:
    """The mean image, float32 (S, S, 3), and the colour statistics, float64: (3, 3), (3,) and (3, 3).

    Colours are RGB in 0..255. The covariance is over all pixels of all pictures, divided by their number. Eigenvalues
    are in descending order. Eigenvectors are columns; the largest component of each is positive, which fixes its sign.
    """

    mean: np.ndarray
    covariance: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray


def sums(pictures: Iterable[np.ndarray], side: int) -> Sums:
    """Add up `pictures`, each uint8 (side, side, 3)."""
    count, pixels = 0, np.zeros((side, side, 3), np.int64)
    # Eight pixels a row make BLAS fast. 256 rows a block stay exact in float32, since 256 * 255 ** 2 < 2 ** 24.
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
    """Compute the mean image and the colour components from the sums over at least one picture."""
    n = total.count * total.pixels.shape[0] * total.pixels.shape[1]
    colour = [int(channel) for channel in total.pixels.sum(axis=(0, 1))]
    # Python integers, since n * products exceeds 2 ** 63 at ILSVRC's size.
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
