import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.images.decode import decode, unpack_jpeg
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import square


def _bytes(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def test_rgb_comes_back_as_it_was() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    image, reasons = decode(_bytes(Image.fromarray(colours)))
    assert reasons == []
    np.testing.assert_array_equal(np.asarray(image), colours)


def test_transparent_pixels_become_white() -> None:
    image, reasons = decode(_bytes(Image.new("RGBA", (2, 2), (10, 20, 30, 0))))
    assert (image.getpixel((0, 0)), reasons) == ((255, 255, 255), ["alpha"])


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    image, _ = decode(_bytes(Image.new("RGBA", (2, 2), (0, 0, 0, 51))))
    assert image.getpixel((0, 0)) == (204, 204, 204)


def test_transparent_palette_entry_becomes_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 100, 0])
    image.putpixel((1, 0), 1)
    out, reasons = decode(_bytes(image, transparency=0))
    assert (out.getpixel((0, 0)), out.getpixel((1, 0))) == ((255, 255, 255), (0, 100, 0))
    assert reasons == ["palette", "alpha"]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    image, reasons = decode(_bytes(Image.fromarray(np.array([[0, 256, 32768, 65535]], np.uint16))))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert reasons == ["16-bit", "grayscale"]


def test_gray_is_replicated_to_three_channels() -> None:
    image, reasons = decode(_bytes(Image.new("L", (3, 3), 77), "JPEG"))
    assert (image.getpixel((1, 1)), reasons) == ((77, 77, 77), ["grayscale"])


def test_white_of_cmyk_stays_white() -> None:
    image, reasons = decode(_bytes(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))
    assert reasons == ["CMYK"]
    assert np.asarray(image).min() > 250


def test_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    image, reasons = decode(_bytes(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    assert (image.getpixel((0, 0)), reasons) == ((255, 0, 0), ["animated"])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_orientation_turns_the_picture_upright(form: str, orientation: int) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # the white quarter is at the top left
    back = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    back |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}
    stored = Image.fromarray(upright).transpose(Image.Transpose[back[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, reasons = decode(_bytes(stored, form, exif=exif))
    assert reasons == ["rotated"]
    assert np.abs(np.asarray(image).astype(int) - upright).mean() < 2


def test_orientation_is_left_alone_where_asked() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image, reasons = decode(_bytes(Image.new("RGB", (32, 16)), "JPEG", exif=exif), exif=False)
    assert (image.size, reasons) == ((32, 16), [])


def test_nothing_of_the_metadata_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    image, _ = decode(_bytes(Image.new("RGB", (8, 8)), "JPEG", exif=exif, comment=b"secret"))
    assert not image.info
    assert not image.getexif()


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_other_bytes_are_unreadable_with_one_line(data: bytes) -> None:
    with pytest.raises(UnreadablePicture) as caught:
        decode(data)
    assert len(str(caught.value).splitlines()) == 1


def test_cut_short_is_unreadable_at_any_length() -> None:
    for form in ("JPEG", "PNG"):
        whole = _bytes(Image.effect_noise((64, 64), 90).convert("RGB"), form)
        for length in range(0, len(whole) - 20, 97):
            with pytest.raises(UnreadablePicture):
                decode(whole[:length])


def test_float_samples_are_refused() -> None:
    with pytest.raises(UnreadablePicture, match="colour mode not taken: F"):
        decode(_bytes(Image.new("F", (4, 4)), "TIFF"))


def test_too_many_pixels_are_refused_before_decoding() -> None:
    header = b"GIF89a" + (60000).to_bytes(2, "little") * 2 + b"\0\0\0,\0\0\0\0" + (60000).to_bytes(2, "little") * 2
    with pytest.raises(UnreadablePicture, match="too large"):
        decode(header + b"\0\2\2D\1\0;")


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"P6 "]))
def test_any_bytes_are_a_picture_or_unreadable(data: bytes, start: bytes) -> None:
    try:
        image, _ = decode(start + data)
    except UnreadablePicture:
        return
    assert image.mode == "RGB"


def told(data: bytes, fast: bool) -> tuple[Any, ...]:
    """The full result of decode for `data`."""
    try:
        image, reasons = decode(data, fast=fast)
    except UnreadablePicture as error:
        return (str(error),)
    return image.mode, image.size, image.tobytes(), reasons


def photograph(width: int, height: int) -> Image.Image:
    """A picture of coloured edges and slopes, for JPEGs."""
    return Image.effect_mandelbrot((width, height), (-2, -1.2, 1, 1.2), 60).convert("RGB").quantize(24).convert("RGB")


def every_mode() -> dict[str, bytes]:
    """One picture in each form that decode converts."""
    rgb = Image.fromarray(np.random.default_rng(3).integers(0, 256, (61, 47, 3), np.uint8))
    deep = Image.fromarray(np.random.default_rng(4).integers(0, 65536, (61, 47), np.uint16))
    see_through = rgb.convert("RGBA")
    see_through.putalpha(rgb.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    colour, palette = rgb.getpixel((3, 3)), rgb.quantize(40)
    return {
        "gray": _bytes(rgb.convert("L")),
        "one bit": _bytes(rgb.convert("1")),
        "gray and alpha": _bytes(see_through.convert("LA")),
        "alpha": _bytes(see_through),
        "transparent colour": _bytes(rgb, transparency=colour),
        "palette": _bytes(palette),
        "transparent palette": _bytes(palette, transparency=7),
        "GIF": _bytes(palette, "GIF", transparency=7),
        "16-bit": _bytes(deep),
        "16-bit transparent": _bytes(deep, transparency=deep.getpixel((2, 2))),
        "I": _bytes(deep.convert("I"), "TIFF"),
        "CMYK": _bytes(rgb.convert("CMYK"), "JPEG"),
        "CMYK turned": _bytes(rgb.convert("CMYK"), "JPEG", exif=exif),
        "YCbCr": _bytes(rgb.convert("YCbCr"), "TIFF"),
        "turned": _bytes(rgb, exif=exif),
        "TIFF turned": _bytes(rgb, "TIFF", exif=exif),
        "WebP": _bytes(see_through, "WEBP"),
        "RGB": _bytes(rgb),
    }


@pytest.mark.parametrize("kind", every_mode())
def test_a_large_picture_in_pieces_is_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(every_mode()[kind], fast=True)
    monkeypatch.setattr("alexnet.data.images.decode.LARGE", 1)
    for band in (30, 47, 1000):
        monkeypatch.setattr("alexnet.data.images.decode.BAND", band)
        assert told(every_mode()[kind], fast=True) == whole
    assert len(whole) > 1


JPEGS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": "4:2:0"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:4:4": {"subsampling": "4:4:4", "quality": 98},
    "coarse": {"quality": 5, "optimize": True},
    "RGB": {"keep_rgb": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "comment": {"comment": b"\xff\xda" * 40, "dpi": (72, 72)},
}
KINDS = [*JPEGS, "gray", "progressive gray", "CMYK", "turned"]


def jpeg(kind: str, width: int = 83, height: int = 61) -> bytes:
    picture, exif = photograph(width, height), Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = JPEGS.get(kind) or {"progressive": "progressive" in kind, "exif": exif}
    modes = {"gray": "L", "progressive gray": "L", "CMYK": "CMYK"}
    return _bytes(picture.convert(modes.get(kind, "RGB")), "JPEG", **options)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 3), (64, 48), (515, 390)])
@pytest.mark.parametrize("kind", KINDS)
def test_simplejpeg_changes_no_pixel_and_no_reason(kind: str, size: tuple[int, int]) -> None:
    data = jpeg(kind, *size)
    for whole in (data, data + b"garbage", data + data, data[:-2]):
        assert told(whole, fast=True) == told(whole, fast=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_jpeg_is_the_same_picture_or_refusal_with_simplejpeg_and_without(kind: str) -> None:
    random, whole = np.random.default_rng(len(kind)), jpeg(kind)
    taken = 0
    for n in range(60):
        data, at = bytearray(whole), int(random.integers(2, len(whole)))
        if n % 4 == 0:
            del data[at:]
        elif n % 4 == 1:
            data[at] ^= 1 << int(random.integers(8))
        elif n % 4 == 2:
            data[at % 600] = int(random.choice([0, 1, 2, 3, 17, 34, 255, 0xC0, 0xD9, 0xDA]))
        else:
            data[at:at] = random.bytes(3)
        answer = told(bytes(data), fast=True)
        assert answer == told(bytes(data), fast=False)
        taken += len(answer) > 1
    assert 0 < taken < 60


def test_simplejpeg_is_what_decodes_a_plain_jpeg() -> None:
    pytest.importorskip("simplejpeg")
    out = np.zeros((61, 83, 3), np.uint8)
    assert unpack_jpeg(jpeg("4:2:0"), "RGB", out)
    assert out.any()
    assert not unpack_jpeg(jpeg("4:2:0"), "RGB", np.zeros((83, 61, 3), np.uint8))  # another shape
    assert not unpack_jpeg(jpeg("4:2:0")[:-2], "RGB", out)  # left to Pillow


@pytest.mark.data
def test_simplejpeg_changes_nothing_of_real_and_awkward_files(shared: Path) -> None:
    for path in sorted((shared / "nasty/files").iterdir()):
        data = path.read_bytes()
        assert told(data, fast=True) == told(data, fast=False), path.name


WHOLE = {  # the index says "refuse", but every pixel is there
    "pillow_png_decompression_dos.png": "accept",  # only its text is a bomb, and it is skipped
    "pillow_truncated_jpeg.jpg": "accept",  # it lacks only the last byte of its end marker
}


@pytest.mark.data
def test_awkward_files_are_taken_or_refused_as_their_index_says(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [line.split("\t") for line in (shared / "nasty/INDEX.tsv").read_text().splitlines()[1:]]
    wrong = []
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for file, expected in ((row[0], row[4]) for row in rows):
            try:
                image, reasons = decode((shared / "nasty/files" / file).read_bytes())
                square(image, 256)
                told = json.dumps(reasons)
                outcome = ("accept", "first frame")
            except UnreadablePicture as error:
                told, outcome = str(error), ("reject", "refuse")
            expected = WHOLE.get(file, expected)
            if not any(word in expected for word in outcome) or "GPS" in told or len(told.splitlines()) != 1:
                wrong.append((file, expected, told))
    assert len(rows) == 87
    assert wrong == []


@pytest.mark.data
def test_black_drawing_on_transparent_ground_stays_visible(shared: Path) -> None:
    image, _ = decode((shared / "nasty/files/sharp_blackbug.png").read_bytes())
    assert np.asarray(image).mean() > 200


@pytest.mark.data
def test_cmyk_photograph_is_no_negative(shared: Path) -> None:
    image, _ = decode((shared / "nasty/files/sharp_Channel_digital_image_CMYK_color.jpg").read_bytes())
    sky, grass = np.asarray(image)[:40].mean((0, 1)), np.asarray(image)[190:230].mean((0, 1))
    assert sky.mean() > 100
    assert grass[1] > grass[0] + 10 > grass[2]


def test_what_follows_the_pictures_of_a_telephone_counts_for_no_scan() -> None:
    """A video follows the pictures of an MPO, and its bytes look like the starts of scans."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), 9).save(out, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    image, _ = decode(out.getvalue() + b"\xff\xda" * 2000)
    assert image.size == (8, 8)


def test_a_large_png_is_taken_within_the_memory_it_needs() -> None:
    """160 MB of incompressible pixels are read once and not kept, so they do not count as metadata."""
    image, reasons = decode(_bytes(Image.new("RGB", (7300, 7300), 9), compress_level=0))
    assert (image.size, reasons) == ((7300, 7300), [])
