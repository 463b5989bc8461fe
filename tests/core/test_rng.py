"""Philox 4x32-10 (Salmon et al. 2011) against its published answers, and the numbers made from its words."""

import hashlib
import math
import zlib
from itertools import product

import numpy as np
import pytest
import torch

from alexnet.core import rng

KEYS = [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0xA4093822, 0x299F31D0)]
COUNTERS = [(0, 0, 0, 0), (0xFFFFFFFF,) * 4, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
ANSWERS = [  # Random123's kat_vectors
    (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
]


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Compute ten rounds in Python integers."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (right >> 32) ^ b ^ k, right % 2**32, (left >> 32) ^ d ^ m, left % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return a, b, c, d


@pytest.mark.parametrize(("key", "counter", "answer"), list(zip(KEYS, COUNTERS, ANSWERS, strict=True)))
def test_the_published_answers_come_out(
    key: tuple[int, int], counter: tuple[int, ...], answer: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random123, kat_vectors, philox4x32 with 10 rounds; the second key word replaces the hash of the purpose."""
    assert philox(counter, key) == answer  # so the reference is right too
    monkeypatch.setattr(zlib, "crc32", lambda data: key[1])
    assert tuple(rng.words(key[0], "any", *counter).tolist()) == answer
    as_tensors = [torch.tensor([c]) for c in counter]
    assert tuple(rng.words(key[0], "any", *as_tensors)[0].tolist()) == answer


def test_words_are_philox_of_the_place_keyed_by_seed_and_purpose() -> None:
    random = np.random.default_rng(0)
    for purpose in ("crop", "dropout fc6", "init conv1"):
        seed = int(random.integers(2**32))
        place = random.integers(0, 2**32, (50, 4))
        found = rng.words(seed, purpose, *torch.from_numpy(place).T)
        expected = [philox(tuple(map(int, row)), (seed, zlib.crc32(purpose.encode()))) for row in place]
        assert found.tolist() == [list(e) for e in expected]


def test_coordinates_broadcast_and_missing_ones_are_zero() -> None:
    rows, columns = torch.arange(3)[:, None], torch.arange(5)
    found = rng.words(1, "p", columns, rows)
    assert found.shape == (3, 5, 4)
    for r, c in product(range(3), range(5)):
        assert tuple(found[r, c].tolist()) == philox((c, r, 0, 0), (1, zlib.crc32(b"p")))
    assert tuple(rng.words(1, "p").tolist()) == philox((0, 0, 0, 0), (1, zlib.crc32(b"p")))


def test_the_words_bits_are_fair() -> None:
    """Each of the 4 x 32 bits is 1 at half of 20,000 places, within five standard deviations."""
    four = rng.words(0, "bits", torch.arange(20000))
    assert four.min() >= 0
    assert four.max() < 2**32
    set_bits = (four[..., None] >> torch.arange(32)) & 1
    assert (set_bits.double().mean(0) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(20000)


def test_normals_are_box_and_mullers_of_the_words() -> None:
    """Box and Muller 1958, with the math library in float64, up to one rounding to float32."""
    four = rng.words(3, "normals", torch.arange(2000))
    for row, found in zip(four.tolist(), rng.normals(four).tolist(), strict=True):
        u = [(word + 0.5) / 2**32 for word in row]
        radius = [math.sqrt(-2 * math.log(x)) for x in u[:2]]
        expected = [r * math.cos(2 * math.pi * x) for r, x in zip(radius, u[2:], strict=True)]
        expected += [r * math.sin(2 * math.pi * x) for r, x in zip(radius, u[2:], strict=True)]
        # Half a unit of float32 for the rounding, and in float64 about 1e-15 of the radius, which is at most 6.8.
        assert all(abs(x - y) <= 2**-24 * abs(y) + 2e-14 for x, y in zip(found, expected, strict=True))


def test_normals_have_the_same_bits_on_every_machine_and_in_every_batch() -> None:
    """All operations are correctly rounded, so the digest is the same with and without AVX, and for any batch size."""
    four = rng.words(0, "normals", torch.arange(4096))
    together = rng.normals(four)
    assert hashlib.sha256(together.numpy().tobytes()).hexdigest().startswith("1bcd9365fa5c967b3fbbbb4339dd8f8e")
    for size in (1, 2, 3, 7, 128):
        assert torch.equal(torch.cat([rng.normals(some) for some in four[:512].split(size)]), together[:512])


def test_normals_are_standard_and_independent() -> None:
    """Mean 0, variance 1, fourth moment 3 and no correlation between the four, within five standard deviations."""
    n = 50000
    x = rng.normals(rng.words(0, "normals", torch.arange(n))).double()
    assert x.shape == (n, 4)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert ((x**power).mean(0) - moment).abs().max() < 5 * math.sqrt(variance / n)
    covariance = x.T @ x / n - torch.eye(4)
    assert covariance.abs().max() < 5 * math.sqrt(2 / n)
    squares = (x**2 - 1).T @ (x**2 - 1) / n
    assert (squares - squares.diag().diag()).abs().max() < 5 * 2 / math.sqrt(n)  # not even in their sizes


def test_normals_follow_the_normal_distribution() -> None:
    """The Kolmogorov distance of 50,000 numbers from the normal distribution is below the bound of 1 in 10^5."""
    x = rng.normals(rng.words(1, "normals", torch.arange(50000)))[:, 2].double().sort().values
    cumulated = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    distance = (cumulated - (torch.arange(50000) + 0.5) / 50000).abs().max().item()
    assert distance < 2.47 / math.sqrt(50000)


def test_the_ends_of_the_words_give_finite_normals() -> None:
    four = torch.tensor(list(product((0, 2**32 - 1), repeat=4)))
    assert torch.isfinite(rng.normals(four)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 33, 1000])
def test_below_is_in_range_and_uniform(n: int) -> None:
    draws = 33000
    found = rng.below(rng.words(2, "below", torch.arange(draws))[:, 0], n)
    assert found.min() >= 0
    assert found.max() == n - 1
    share = torch.bincount(found, minlength=n).double() / draws
    assert (share - 1 / n).abs().max() < 5 * math.sqrt((1 - 1 / n) / n / draws) + 1e-15
    ends = rng.below(torch.tensor([0, 2**32 - 1]), n)
    assert ends.tolist() == [0, n - 1]


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_has_every_number_once(n: int) -> None:
    order = rng.permutation(n, 0, "order")
    assert sorted(order.tolist()) == list(range(n))


def test_a_permutation_is_a_function_of_seed_purpose_and_place() -> None:
    one = rng.permutation(1000, 5, "order", 2)
    assert torch.equal(one, rng.permutation(1000, 5, "order", 2))
    for other in (
        rng.permutation(1000, 6, "order", 2), rng.permutation(1000, 5, "other", 2), rng.permutation(1000, 5, "order", 3)
    ):  # fmt: skip
        assert (one == other).sum() < 15  # one fixed place is expected


def test_each_number_of_a_permutation_comes_first_equally_often() -> None:
    firsts = torch.tensor([int(rng.permutation(5, seed, "order")[0]) for seed in range(2000)])
    share = torch.bincount(firsts, minlength=5).double() / 2000
    assert (share - 0.2).abs().max() < 5 * math.sqrt(0.16 / 2000)


def test_a_generator_is_a_function_of_seed_and_purpose() -> None:
    def draw(seed: int, purpose: str) -> list[float]:
        return torch.randn(4, generator=rng.generator(seed, purpose)).tolist()

    assert draw(0, "init conv1") == draw(0, "init conv1")
    assert draw(0, "init conv1") != draw(1, "init conv1")
    assert draw(0, "init conv1") != draw(0, "init conv2")
