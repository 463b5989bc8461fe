"""The central square, compared with a simple integer form, with Pillow, and with and without the compiled form."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.images import resize
from alexnet.data.images.resize import outside, square
from alexnet.ops import cpu_build


@pytest.fixture(params=["native", "off"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ALEXNET_NATIVE", request.param)
    cpu_build.library.cache_clear()
    resize.compiled_form.cache_clear()
    if request.param == "native" and resize.compiled_form() is None:
        pytest.skip("no C++ compiler, or no AVX-512, here")
    yield request.param
    monkeypatch.undo()
    cpu_build.library.cache_clear()
    resize.compiled_form.cache_clear()


def random_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def line_by_loops(line: list[int], start: int, extent: int, side: int) -> list[int]:
    """Resize number by number: a triangle two outputs wide over the inputs, weights of 22 bits, results of 8."""
    scale = extent / side
    support = max(scale, 1.0)
    out = []
    for i in range(side):
        centre = start + (i + 0.5) * scale
        first, last = max(0, int(centre - support + 0.5)), min(len(line), int(centre + support + 0.5))
        weights = [max(0.0, 1.0 - abs((j - centre + 0.5) * (1.0 / support))) for j in range(first, last)]
        total = sum(weights)
        whole = [math.floor(0.5 + w / total * 2**22) for w in weights]
        out.append((sum(w * line[j] for w, j in zip(whole, range(first, last), strict=True)) + 2**21) >> 22)
    return out


def square_by_loops(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize rows first, then columns."""
    height, width, _ = pixels.shape
    shorter = min(width, height)
    left, top = (width - shorter) // 2, (height - shorter) // 2
    rows = np.zeros((height, side, 3), np.uint8)
    out = np.zeros((side, side, 3), np.uint8)
    for c in range(3):
        for y in range(height):
            rows[y, :, c] = line_by_loops(pixels[y, :, c].tolist(), left, shorter, side)
        for x in range(side):
            out[:, x, c] = line_by_loops(rows[:, x, c].tolist(), top, shorter, side)
    return out


@pytest.mark.parametrize("size", [(9, 7), (7, 9), (20, 33), (5, 40), (1, 3), (16, 16)])
@pytest.mark.parametrize("side", [1, 8, 16])
def test_the_square_is_the_triangle_filter_by_loops(form: str, size: tuple[int, int], side: int) -> None:
    image = random_picture(*size)
    np.testing.assert_array_equal(square(image, side), square_by_loops(np.asarray(image), side))


@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.sampled_from([8, 31, 32, 64, 100, 256]))
def test_the_compiled_square_is_pillows_to_the_bit(width: int, height: int, side: int) -> None:
    """A store's bytes do not depend on a compiler, nor on the order of passes in this version of Pillow."""
    image, shorter = random_picture(width, height, width), min(width, height)
    left, top = (width - shorter) // 2, (height - shorter) // 2
    rows = image.resize((side, height), Image.Resampling.BILINEAR, box=(left, 0, left + shorter, height))
    both = rows.resize((side, side), Image.Resampling.BILINEAR, box=(0, top, side, top + shorter))
    np.testing.assert_array_equal(square(image, side), np.asarray(both))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3000), (3000, 2), (257, 256), (500, 375)])
def test_square_takes_any_size(form: str, size: tuple[int, int]) -> None:
    taken = square(Image.new("RGB", size, (9, 8, 7)), 256)
    assert taken.shape == (256, 256, 3)
    assert taken.dtype == np.uint8
    assert (taken == (9, 8, 7)).all()


@pytest.mark.parametrize("size", [(32, 32), (33, 32), (32, 37), (40, 32)])
def test_square_of_a_fitting_picture_is_its_centre_unchanged(form: str, size: tuple[int, int]) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    left, top = (size[0] - 32) // 2, (size[1] - 32) // 2
    np.testing.assert_array_equal(square(Image.fromarray(colours), 32), colours[top : top + 32, left : left + 32])


@pytest.mark.parametrize("size", [(900, 700), (7, 3000), (3000, 7), (40, 900), (1, 500)])
@pytest.mark.parametrize("side", [8, 32, 100])
def test_a_large_picture_goes_another_way_to_the_same_pixels(
    size: tuple[int, int], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_picture(*size)
    whole, shorter = square(image, side), min(size)
    monkeypatch.setattr(resize, "LARGE", 1)
    np.testing.assert_array_equal(square(image, side), whole)
    left, top = (size[0] - shorter) // 2, (size[1] - shorter) // 2
    rows = image.resize((side, size[1]), Image.Resampling.BILINEAR, box=(left, 0, left + shorter, size[1]))
    both = rows.resize((side, side), Image.Resampling.BILINEAR, box=(0, top, side, top + shorter))
    np.testing.assert_array_equal(whole, np.asarray(both))


@pytest.mark.parametrize("size", [(9, 7), (5, 40), (33, 20), (16, 16), (1, 3)])
@pytest.mark.parametrize("side", [1, 8, 16])
def test_a_warped_square_is_the_whole_picture_by_loops(form: str, size: tuple[int, int], side: int) -> None:
    image = random_picture(*size)
    pixels, (width, height) = np.asarray(image), size
    rows = np.zeros((height, side, 3), np.uint8)
    expected = np.zeros((side, side, 3), np.uint8)
    for c in range(3):
        for y in range(height):
            rows[y, :, c] = line_by_loops(pixels[y, :, c].tolist(), 0, width, side)
        for x in range(side):
            expected[:, x, c] = line_by_loops(rows[:, x, c].tolist(), 0, height, side)
    np.testing.assert_array_equal(square(image, side, "warp"), expected)


def padded_by_loops(pixels: np.ndarray, side: int) -> np.ndarray:
    """Resize the whole picture to a longer side of `side`, rows first, and copy it into the middle of gray."""
    height, width, _ = pixels.shape
    longer = max(width, height)
    across = max(1, math.floor(width * side / longer + 0.5))
    down = max(1, math.floor(height * side / longer + 0.5))
    out = np.full((side, side, 3), 128, np.uint8)
    for c in range(3):
        rows = np.array([line_by_loops(row, 0, width, across) for row in pixels[:, :, c].tolist()])
        for x in range(across):
            column = line_by_loops(rows[:, x].tolist(), 0, height, down)
            for y in range(down):
                out[(side - down) // 2 + y, (side - across) // 2 + x, c] = column[y]
    return out


@pytest.mark.parametrize("size", [(9, 7), (5, 40), (33, 20), (16, 16), (1, 3), (300, 2), (47, 31)])
@pytest.mark.parametrize("side", [1, 8, 16, 31])
def test_a_padded_square_is_the_whole_picture_on_gray_by_loops(form: str, size: tuple[int, int], side: int) -> None:
    image = random_picture(*size)
    np.testing.assert_array_equal(square(image, side, "pad"), padded_by_loops(np.asarray(image), side))


@given(width=st.integers(1, 300), height=st.integers(1, 300), side=st.sampled_from([8, 31, 64, 100]))
def test_the_compiled_padded_square_is_pillows_to_the_bit(width: int, height: int, side: int) -> None:
    image, longer = random_picture(width, height, width), max(width, height)
    across, down = (max(1, math.floor(length * side / longer + 0.5)) for length in (width, height))
    rows = image.resize((across, height), Image.Resampling.BILINEAR)
    whole = Image.new("RGB", (side, side), (128, 128, 128))
    whole.paste(rows.resize((across, down), Image.Resampling.BILINEAR), ((side - across) // 2, (side - down) // 2))
    np.testing.assert_array_equal(square(image, side, "pad"), np.asarray(whole))


def test_a_square_picture_is_the_same_however_it_is_fitted(form: str) -> None:
    image = random_picture(47, 47)
    for fit in ("pad", "warp"):
        np.testing.assert_array_equal(square(image, 32, fit), square(image, 32))


@pytest.mark.parametrize(("size", "share"), [((4, 3), 0.25), ((3, 4), 0.25), ((7, 7), 0.0), ((1, 100), 0.99)])
def test_the_share_outside_the_square_is_counted_by_pixels(size: tuple[int, int], share: float) -> None:
    width, height = size
    shorter = min(size)
    left, top = (width - shorter) // 2, (height - shorter) // 2
    inside = sum(left <= x < left + shorter and top <= y < top + shorter for y in range(height) for x in range(width))
    assert outside(*size) == pytest.approx(1 - inside / (width * height)) == pytest.approx(share)


@pytest.mark.parametrize("fit", ["pad", "warp"])
@pytest.mark.parametrize("size", [(900, 70), (7, 3000), (3000, 7)])
def test_a_large_whole_picture_goes_another_way_to_the_same_pixels(
    size: tuple[int, int], fit: resize.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_picture(*size)
    whole = square(image, 32, fit)
    monkeypatch.setattr(resize, "LARGE", 1)
    np.testing.assert_array_equal(square(image, 32, fit), whole)


def test_square_equals_resizing_the_shorter_side_then_cropping(form: str) -> None:
    smooth = Image.effect_noise((600, 300), 60).resize((600, 300)).convert("RGB")
    whole = np.asarray(smooth.resize((512, 256), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(square(smooth, 256) - whole[:, 128:384]).max() <= 1
