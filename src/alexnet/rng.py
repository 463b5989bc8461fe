"""Randomness as a function of place: numbers follow from (seed, purpose, place) alone, on any device.

Philox 4x32-10 (Salmon et al. 2011), a counter-based generator. Whoever needs the number of some picture at some step
computes it there; so resuming needs the step and no random state, and shares of a batch or of a layer agree.
"""

import math
import zlib

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
    """Four words (*, 4) as four standard normal numbers, float32 (Box and Muller)."""
    uniform = (four.double() + 0.5) * 2.0**-32
    radius = torch.sqrt(-2 * torch.log(uniform[..., :2]))
    angle = 2 * math.pi * uniform[..., 2:]
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), -1).float()


def permutation(n: int, seed: int, purpose: str, place: int = 0) -> Tensor:
    """The numbers 0 .. n - 1 in an order that is a function of place."""
    four = words(seed, purpose, torch.arange(n), place)
    return torch.argsort(four[:, 0] << 31 | four[:, 1] >> 1, stable=True)


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose: the initial weights of one layer, say."""
    high, low = words(seed, purpose)[:2].tolist()
    return torch.Generator().manual_seed(high << 31 | low >> 1)
