"""A JPEG that lacks only its end marker is whole; one that lacks any bit of its pixels is not."""

import io
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet.data.images.decode import decode
from alexnet.data.images.jpeg import completed
from alexnet.data.images.limits import UnreadablePicture

FORMS: dict[str, dict[str, Any]] = {
    "4:2:0": {}, "4:4:4": {"subsampling": 0}, "progressive": {"progressive": True}, "optimised": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
}  # fmt: skip


def jpegs(form: str, mode: str) -> list[bytes]:
    random, found = np.random.default_rng(len(form)), []
    for n in range(6):
        width, height = (int(side) for side in random.integers(8, 100, 2))
        ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
        noise = random.integers(0, 256, (height, width, 3), np.uint8)
        out = io.BytesIO()
        quality = int(random.integers(30, 95))
        Image.fromarray(noise if n % 2 else ramp).convert(mode).save(out, "JPEG", quality=quality, **FORMS[form])
        found.append(out.getvalue())
    return found


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_without_its_end_marker_has_the_pixels_of_the_whole_one_and_is_noted(form: str, mode: str) -> None:
    for data in jpegs(form, mode):
        whole, reasons = decode(data)
        for cut in (1, 2):
            image, noted = decode(data[:-cut])
            assert np.array_equal(np.asarray(image), np.asarray(whole))
            assert noted == ["no end marker", *reasons]


@pytest.mark.parametrize("form", FORMS)
def test_a_jpeg_that_is_cut_further_is_refused_or_has_every_pixel(form: str) -> None:
    """If it is accepted, the cut removed only the bits that fill the last byte."""
    refused = 0
    for data in jpegs(form, "RGB") + jpegs(form, "L"):
        whole = np.asarray(decode(data)[0])
        for end in [*range(len(data) - 12, len(data) - 2), len(data) // 2]:
            try:
                image, _ = decode(data[:end])
            except UnreadablePicture:
                refused += 1
            else:
                assert np.array_equal(np.asarray(image), whole)
    assert refused > 100


def test_a_progressive_jpeg_that_lacks_its_last_scans_is_refused() -> None:
    """All its pixels are there, in fewer bits than intended."""
    data = jpegs("progressive", "RGB")[1]
    scans = [at for at in range(len(data)) if data.startswith((b"\xff\xda", b"\xff\xc4"), at)]
    assert completed(data[:-2]) == data
    for at in scans[3:]:
        assert completed(data[:at]) is None
        with pytest.raises(UnreadablePicture, match="damaged"):
            decode(data[:at])


@pytest.mark.parametrize("form", FORMS)
def test_zeros_in_the_place_of_the_end_are_not_taken_for_pixels(form: str) -> None:
    """An interrupted download into a preallocated file."""
    refused = 0
    for data in jpegs(form, "RGB"):
        whole = np.asarray(decode(data)[0])
        for missing in (2, 10, len(data) // 3, len(data) // 2):
            try:
                image, reasons = decode(data[:-missing] + bytes(missing))
            except UnreadablePicture:
                refused += 1
            else:
                assert np.array_equal(np.asarray(image), whole)
                assert reasons == ["no end marker"]
        assert decode(data[:-2] + bytes(2))[1] == ["no end marker"]
    assert refused == 3 * 6


def test_a_jpeg_of_many_scans_without_its_end_is_refused_before_it_takes_minutes() -> None:
    data = jpegs("progressive", "L")[1]
    scan = data[data.rindex(b"\xff\xda") : -2]
    begun = time.process_time()
    many = data[:-2] + scan * 900
    assert completed(many) is None or time.process_time() - begun < 5


def test_a_jpeg_that_has_its_end_marker_is_not_completed() -> None:
    data = jpegs("4:2:0", "RGB")[0]
    assert completed(data) is None
    assert decode(data + bytes(100))[1] == []  # bytes after the end marker do no harm
