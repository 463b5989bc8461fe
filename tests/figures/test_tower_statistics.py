import math
from itertools import combinations

import numpy as np
import pytest

from alexnet.figures.tower_statistics import NOISE, by_chance, colours, like_noise, measured, orientations


def gabor(angle: float, colour: tuple[float, float, float] = (1, 1, 1), size: int = 11) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = np.cos(along * 2 * np.pi / 5) * np.exp(-(x**2 + y**2) / 12)
    kernel: np.ndarray = np.multiply.outer(colour, wave)
    return kernel


def blob(colour: tuple[float, float, float], size: int = 11) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    kernel: np.ndarray = np.multiply.outer(colour, np.exp(-(x**2 + y**2) / 8))
    return kernel


@pytest.mark.parametrize("angle", [0, 0.4, math.pi / 4, 1.3, math.pi / 2, 2.5])
def test_a_grey_grating_has_no_colour_and_high_orientation_whatever_its_angle(angle: float) -> None:
    kernel = gabor(angle)[None]
    assert colours(kernel)[0] == pytest.approx(0, abs=1e-12)
    assert orientations(kernel)[0] > 0.85


def test_a_coloured_blob_has_high_colour_and_no_orientation() -> None:
    kernels = np.stack([blob((1, -1, 0)), blob((1, 0, 0)), blob((1, 1, -2))])
    assert colours(kernels) == pytest.approx([1, 2 / 3, 1])
    assert (orientations(kernels) < 0.05).all()


def test_a_coloured_grating_has_both() -> None:
    kernel = gabor(0.7, (1, -1, 0))[None]
    assert colours(kernel)[0] == pytest.approx(1)
    assert orientations(kernel)[0] > 0.85


def test_noise_has_two_thirds_of_colour_and_little_orientation() -> None:
    noise = np.random.default_rng(3).normal(size=(2000, 3, 11, 11))
    assert colours(noise).mean() == pytest.approx(NOISE, abs=0.01)
    assert orientations(noise).mean() < 0.12


def test_neither_measure_depends_on_a_kernels_strength_and_an_empty_one_has_none() -> None:
    kernel = np.random.default_rng(4).normal(size=(1, 3, 5, 5))
    for measure in (colours, orientations):
        assert measure(1000 * kernel) == pytest.approx(measure(kernel))
        assert measure(np.zeros((1, 3, 5, 5))).tolist() == [0]


def test_towers_of_different_kinds_are_said_to_differ_and_those_of_one_kind_are_not() -> None:
    angles = np.random.default_rng(5).uniform(0, math.pi, 24)
    grey = [gabor(a) for a in angles[:12]]
    blobs = [blob((1, -1, a)) for a in angles[12:]]
    apart = measured(np.stack(grey + blobs), 2)
    assert apart.colours[0] < 0.01 < 0.6 < apart.colours[1]
    assert apart.words().endswith("The towers differ in colour and orientation.")
    mixed = measured(np.stack([k for pair in zip(grey, blobs, strict=True) for k in pair]), 2)
    assert "No sign" in mixed.words()
    assert measured(np.stack(grey), 1).words().startswith("One tower")


def test_chance_parts_towers_as_far_as_often_as_its_p_says() -> None:
    """Without an effect, p is below 0.1 about a tenth of the time, and it is never 0."""
    draw = np.random.default_rng(6)
    found = [by_chance(draw.normal(size=24), 400) for _ in range(300)]
    assert 0.06 < np.mean(np.array(found) <= 0.1) < 0.145
    assert by_chance(np.r_[np.zeros(24), np.ones(24)], 100) == pytest.approx(1 / 101)


def test_all_deals_of_few_kernels_agree_with_the_permutation_test() -> None:
    values = np.array([0.1, 0.5, 0.3, 0.9, 0.8, 0.35])
    means = [
        abs(np.mean(values[list(c)]) - (values.sum() - values[list(c)].sum()) / 3) for c in combinations(range(6), 3)
    ]
    exact = np.mean(np.array(means) >= means[0] - 1e-12)
    assert by_chance(values, 20_000) == pytest.approx(exact, abs=0.015)


def test_kernels_of_noise_look_like_noise_at_any_size_and_gratings_and_blobs_do_not() -> None:
    random = np.random.default_rng(7)
    for side in (5, 11):
        noise = random.normal(size=(500, 3, side, side))
        assert like_noise(colours(noise), orientations(noise), side).mean() == pytest.approx(0.98, abs=0.02)
    learned = np.stack([gabor(0.3), gabor(1, (1, -1, 0)), blob((1, 1, 1)), blob((1, -1, 0))])
    assert not like_noise(colours(learned), orientations(learned), 11).any()


def test_towers_of_noise_get_no_verdict_however_small_their_p_is() -> None:
    """Of 100 nets that were not trained, as of any, five have a difference of such a p."""
    random = np.random.default_rng(8)
    noise = random.normal(size=(48, 3, 5, 5))
    noise = noise[np.argsort(colours(noise))]  # the more coloured half is tower 1
    found = measured(noise, 2)
    assert found.p_colour is not None
    assert found.p_colour < 0.01
    assert "differ" not in found.words()
    assert found.words().endswith("kernels still look like noise: too early to compare the towers.")


def test_the_p_values_are_adjusted_for_being_two() -> None:
    kernels = np.random.default_rng(9).normal(size=(24, 3, 5, 5))
    alone = sorted((by_chance(colours(kernels)), by_chance(orientations(kernels))))
    found = measured(kernels, 2)
    assert found.p_colour is not None
    assert found.p_orientation is not None
    expected = [min(1, 2 * alone[0]), min(1, max(2 * alone[0], alone[1]))]
    assert sorted((found.p_colour, found.p_orientation)) == pytest.approx(expected)
    assert found.words().count("Holm-adjusted for 2 looks") == 2
