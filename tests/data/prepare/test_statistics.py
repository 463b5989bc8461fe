import numpy as np
import pytest

from alexnet.data.prepare.statistics import statistics, sums

PICTURES = np.random.default_rng(5).integers(0, 256, (7, 6, 6, 3), np.uint8)


def test_mean_image_is_each_pixels_mean() -> None:
    mean = statistics(sums(PICTURES, 6)).mean
    assert mean.dtype == np.float32
    for y in range(6):
        for x in range(6):
            for c in range(3):
                assert mean[y, x, c] == np.float32(sum(int(picture[y, x, c]) for picture in PICTURES) / 7)


def test_covariance_is_that_of_all_pixels() -> None:
    pixels = [[int(v) for v in PICTURES[n, y, x]] for n in range(7) for y in range(6) for x in range(6)]
    mean = [sum(pixel[c] for pixel in pixels) / len(pixels) for c in range(3)]
    expected = np.zeros((3, 3))
    for pixel in pixels:
        for i in range(3):
            for j in range(3):
                expected[i, j] += (pixel[i] - mean[i]) * (pixel[j] - mean[j]) / len(pixels)
    np.testing.assert_allclose(
        statistics(sums(PICTURES, 6)).covariance, expected, rtol=1e-12
    )  # the loops' 252 products


def test_components_rebuild_the_covariance_and_descend() -> None:
    found = statistics(sums(PICTURES, 6))
    assert (np.diff(found.eigenvalues) <= 0).all()
    np.testing.assert_allclose(
        # A backward stable solver errs by about u times the matrix (Golub and Van Loan, 8.3.1): 1e-16 of 6,000 here.
        found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T,
        found.covariance,
        atol=1e-9,
    )


def test_largest_component_of_each_eigenvector_is_positive() -> None:
    vectors = statistics(sums(PICTURES, 6)).eigenvectors
    assert all(column[np.abs(column).argmax()] > 0 for column in vectors.T)


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_no_division_of_the_work_changes_a_bit(cut: int) -> None:
    whole = statistics(sums(PICTURES, 6))
    parts = statistics(sums(PICTURES[cut:], 6) + sums(PICTURES[:cut][::-1], 6))
    for name in ("mean", "covariance", "eigenvalues", "eigenvectors"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_one_colour_has_no_variance() -> None:
    found = statistics(sums([np.full((4, 4, 3), 200, np.uint8)], 4))
    assert not found.covariance.any()
    assert not found.eigenvalues.any()
