import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources.drawings import CLASSES, SIDE, draw


def test_a_picture_is_square_uint8_rgb() -> None:
    picture = draw(0)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8


def test_the_same_index_gives_the_same_bytes_in_another_process() -> None:
    code = "import sys; from alexnet.data.sources.drawings import draw; sys.stdout.buffer.write(draw(37).tobytes())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert other.stdout == draw(37).tobytes()


def test_the_pictures_are_those_that_stores_were_made_of() -> None:
    pictures = b"".join(draw(index).tobytes() for index in range(10))
    # A change here, even from a new Pillow, changes the digest of every built-in store: note it beside stored results.
    assert hashlib.sha256(pictures).hexdigest() == "9da856b5a8d549c2efa7d3effbb79a5c87fe8b87ddd52be3a98d78447ffbc1ba"


def test_a_picture_does_not_depend_on_those_drawn_before() -> None:
    first = draw(5)
    draw(6)
    assert np.array_equal(draw(5), first)


def test_pictures_of_all_classes_differ() -> None:
    assert len({hashlib.sha256(draw(index).tobytes()).digest() for index in range(40)}) == 40


def test_there_are_ten_classes_with_names_of_their_own() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 10


def test_large_indices_are_drawn_too() -> None:
    assert not np.array_equal(draw(10**12), draw(10**12 + 10))


def nearest_middle_error(features: np.ndarray) -> float:
    """The error, on the second half of `features`, of choosing the class with the nearest mean in the first half."""
    first, second = np.split(features.reshape(-1, 10, features.shape[-1]), 2)
    nearest = np.linalg.norm(second[:, :, None] - first.mean(0), axis=-1).argmin(-1)
    return float((nearest != np.arange(10)).mean())


@pytest.fixture(scope="module")
def thumbnails() -> np.ndarray:
    return np.array([np.asarray(Image.fromarray(draw(i)).reduce(16), float) for i in range(300)])


def test_colour_does_not_tell_the_class(thumbnails: np.ndarray) -> None:
    assert nearest_middle_error(thumbnails.mean((1, 2))) > 0.75  # chance is 0.9


def test_where_dark_and_light_lie_does_not_tell_the_class(thumbnails: np.ndarray) -> None:
    light = thumbnails.mean(-1).reshape(len(thumbnails), -1)
    assert nearest_middle_error(light - light.mean(1, keepdims=True)) > 0.5


def test_drawing_does_not_import_torch() -> None:
    code = "import sys, alexnet.data.sources.drawings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
