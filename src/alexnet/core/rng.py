"""Randomness as a function of place: numbers follow from (seed, purpose, place) alone, on any device.

Philox 4x32-10 (Salmon et al. 2011), a counter-based generator. Whoever needs the number of some picture at some step
computes it there; so resuming needs the step and no random state, and shares of a batch or of a layer agree.
"""

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF


def words(seed: int, purpose: str, *place: Tensor | int) -> Tensor:
    """Four random 32-bit words for each place.

    `place` is up to four coordinates, each a number or an int64 tensor below 2^32; they broadcast together.
    Returns int64 of shape (*broadcast, 4), each in 0 .. 2^32 - 1.
    """
    tensors = [p for p in place if isinstance(p, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    # torch.full, not torch.tensor: a CUDA graph can hold a kernel that fills, not a copy from the host
    full = [p if isinstance(p, Tensor) else torch.full((), p, device=device) for p in place]
    full += [torch.full((), 0, device=device)] * (4 - len(full))
    c0, c1, c2, c3 = torch.broadcast_tensors(*full)
    k0, k1 = seed & MASK, zlib.crc32(purpose.encode())
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # wraps at 2^64: both halves stay right
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return torch.stack((c0, c1, c2, c3), -1)


def below(word: Tensor, n: int) -> Tensor:
    """A 32-bit word as a whole number 0 .. n - 1."""
    return (word * n) >> 32


def normals(four: Tensor) -> Tensor:
    """Four words (*, 4) as four standard normal numbers, float32 (Box and Muller).

    Every operation here is one that IEEE 754 rounds correctly, so the bits are the same on every processor, and for
    every number of words. A library's log and cos are not: their bits differ between machines, and on one machine
    between a whole vector of numbers and the rest that does not fill one.
    """
    uniform = (four.double() + 0.5) * 2.0**-32
    radius = torch.sqrt(-2 * _log(uniform[..., :2]))
    cos, sin = _cos_sin(uniform[..., 2:])
    return torch.cat((radius * cos, radius * sin), -1).float()


def _log(x: Tensor) -> Tensor:
    """The natural logarithm of float64 x > 0: 2 artanh((m - 1) / (m + 1)) of x = m 2^e, m in sqrt(1/2) .. sqrt(2)."""
    m, e = torch.frexp(x)
    low = m < math.sqrt(0.5)
    m = torch.where(low, 2 * m, m)
    s = (m - 1) / (m + 1)  # at most 0.172, so that the terms left out are below 1e-17
    series = _polynomial(s * s, [1 / n for n in range(1, 23, 2)])
    return (e.double() - low.double()) * math.log(2) + 2 * s * series


def _cos_sin(turn: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of float64 `turn`, in 0 .. 1 of a whole turn, by Taylor's series in the nearest eighth."""
    quarter = torch.floor(4 * turn + 0.5)
    t = 2 * math.pi * (turn - quarter / 4)
    z = t * t
    cos = _polynomial(z, [(-1) ** n / math.factorial(2 * n) for n in range(9)])
    sin = t * _polynomial(z, [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)])
    odd, back = quarter % 2 == 1, (quarter == 1) | (quarter == 2)
    along, up = torch.where(odd, sin, cos), torch.where(odd, cos, sin)
    return torch.where(back, -along, along), torch.where((quarter == 2) | (quarter == 3), -up, up)


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Sum of coefficients[n] x^n, by Horner's rule in separate products and sums: a fused one rounds otherwise."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def permutation(n: int, seed: int, purpose: str, place: int = 0) -> Tensor:
    """The numbers 0 .. n - 1 in an order that is a function of place."""
    four = words(seed, purpose, torch.arange(n), place)
    return torch.argsort(four[:, 0] << 31 | four[:, 1] >> 1, stable=True)


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose: the initial weights of one layer, say."""
    high, low = words(seed, purpose)[:2].tolist()
    return torch.Generator().manual_seed(high << 31 | low >> 1)
