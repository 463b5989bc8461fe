"""Random numbers as a pure function of (seed, purpose, place), the same on any device.

The generator is Philox 4x32-10 (Salmon et al. 2011), which is counter-based: the numbers of any picture at any step are
computed where they are needed. So resuming needs only the step, and no random state. Processes that share a batch or a
layer draw the same numbers as a single process.
"""

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

MASK = 0xFFFFFFFF


def words(seed: int, purpose: str, *place: Tensor | int) -> Tensor:
    """Draw four random 32-bit words for each place.

    Args:
        seed: Seed of the run.
        purpose: What the numbers are for, such as "crop" or "init conv1"; other purposes get independent numbers.
        place: Up to four coordinates, each an int or an int64 tensor, 0 to 2^32 - 1. They broadcast together.

    Returns:
        int64 (*broadcast, 4), values 0 to 2^32 - 1.
    """
    tensors = [p for p in place if isinstance(p, Tensor)]
    device = tensors[0].device if tensors else torch.device("cpu")
    # torch.full, not torch.tensor: a CUDA graph can capture a fill kernel, but not a copy from the host
    full = [p if isinstance(p, Tensor) else torch.full((), p, device=device) for p in place]
    full += [torch.full((), 0, device=device)] * (4 - len(full))
    c0, c1, c2, c3 = torch.broadcast_tensors(*full)
    k0, k1 = seed & MASK, zlib.crc32(purpose.encode())
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # wraps at 2^64, which leaves both halves right
        c0, c1, c2, c3 = ((p1 >> 32) & MASK) ^ c1 ^ k0, p1 & MASK, ((p0 >> 32) & MASK) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return torch.stack((c0, c1, c2, c3), -1)


def below(word: Tensor, n: int | Tensor) -> Tensor:
    """Map a 32-bit word to a whole number 0 .. n - 1."""
    return (word * n) >> 32


def normals(four: Tensor) -> Tensor:
    """Turn four words (*, 4) into four standard normal numbers, float32 (Box and Muller).

    IEEE 754 rounds every operation here correctly, so the bits are the same on every processor and for any number of
    words. A library's log and cos give no such guarantee. Their bits differ between machines, and on one machine
    between a full vector and the last, partial one.
    """
    uniform = (four.double() + 0.5) * 2.0**-32
    radius = torch.sqrt(-2 * _log(uniform[..., :2]))
    cos, sin = _cos_sin(uniform[..., 2:])
    return torch.cat((radius * cos, radius * sin), -1).float()


def _log(x: Tensor) -> Tensor:
    """Compute log(x), float64, as e log 2 + 2 artanh((m - 1) / (m + 1)), x = m 2^e, m in sqrt(1/2) .. sqrt(2)."""
    m, e = torch.frexp(x)
    low = m < math.sqrt(0.5)
    m = torch.where(low, 2 * m, m)
    s = (m - 1) / (m + 1)  # at most 0.172, so the omitted terms are below 1e-17
    series = _polynomial(s * s, [1 / n for n in range(1, 23, 2)])
    return (e.double() - low.double()) * math.log(2) + 2 * s * series


def _cos_sin(turn: Tensor) -> tuple[Tensor, Tensor]:
    """Compute cosine and sine of float64 `turn`, 0 to 1 for a full turn, by Taylor series in the nearest eighth."""
    quarter = torch.floor(4 * turn + 0.5)
    t = 2 * math.pi * (turn - quarter / 4)
    z = t * t
    cos = _polynomial(z, [(-1) ** n / math.factorial(2 * n) for n in range(9)])
    sin = t * _polynomial(z, [(-1) ** n / math.factorial(2 * n + 1) for n in range(9)])
    odd, back = quarter % 2 == 1, (quarter == 1) | (quarter == 2)
    along, up = torch.where(odd, sin, cos), torch.where(odd, cos, sin)
    return torch.where(back, -along, along), torch.where((quarter == 2) | (quarter == 3), -up, up)


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Sum coefficients[n] x^n by Horner's rule, with separate products and sums: fused ones round differently."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def permutation(n: int, seed: int, purpose: str, place: int = 0) -> Tensor:
    """Shuffle the numbers 0 .. n - 1; the order is a function of (seed, purpose, place)."""
    four = words(seed, purpose, torch.arange(n), place)
    return torch.argsort(four[:, 0] << 31 | four[:, 1] >> 1, stable=True)


def generator(seed: int, purpose: str) -> torch.Generator:
    """Create a CPU generator for one purpose, such as the initial weights of one layer."""
    high, low = words(seed, purpose)[:2].tolist()
    return torch.Generator().manual_seed(high << 31 | low >> 1)
