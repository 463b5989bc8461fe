"""Text and profiles of any size do not affect a PNG's pixels."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from alexnet.data.images.decode import decode
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.png import unread

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(before: bytes = b"", after: bytes = b"", exif: bytes = b"") -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG", exif=exif)
    data = out.getvalue()
    return data[:33] + before + data[33:-12] + after + data[-12:]


def packed(megabytes: int) -> bytes:
    return zlib.compress(b"a graph of nodes; " * (megabytes * 2**20 // 18))


LARGE = {
    "packed text": chunk(b"zTXt", b"workflow\0\0" + packed(3)),
    "international text": chunk(b"iTXt", b"prompt\0\1\0\0\0" + packed(3)),
    "international text as it is": chunk(b"iTXt", b"prompt\0\0\0\0\0" + b"x" * (3 << 20)),
    "text as it is": chunk(b"tEXt", b"parameters\0" + b"x" * (3 << 20)),
    "colour profile": chunk(b"iCCP", b"camera\0\0" + packed(5)),
    "a hundred texts": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(1_000_000))) * 100,
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed(2)),
}


@pytest.mark.parametrize("where", ["before the pixels", "after them"])
@pytest.mark.parametrize("what", LARGE)
def test_a_whole_png_with_megabytes_of_text_or_profile_is_taken(what: str, where: str) -> None:
    data = png(LARGE[what]) if where == "before the pixels" else png(after=LARGE[what])
    image, reasons = decode(data)
    assert np.array_equal(np.asarray(image), PIXELS)
    assert reasons == []


def test_small_text_is_read_and_may_turn_the_picture() -> None:
    """Large text in the same file is skipped, and does not affect it."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    turning = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    assert unread(png(turning)) == {}
    for before in (turning, LARGE["packed text"] + turning, turning + LARGE["packed text"]):
        image, reasons = decode(png(before))
        assert reasons == ["rotated"]
        assert np.array_equal(np.asarray(image), np.rot90(PIXELS, -1))
    exif = Image.Exif()
    exif[0x0112] = 3
    image, _ = decode(png(LARGE["packed text"], exif=exif.tobytes()))
    assert np.array_equal(np.asarray(image), PIXELS[::-1, ::-1])


def test_a_damaged_png_is_refused_though_its_text_is_large() -> None:
    data = bytearray(png(LARGE["packed text"]))
    at = data.index(b"IDAT")
    for cut in (bytes(data[: at + 200]), bytes(data[: at + 100] + b"\0\0\0" + data[at + 103 :])):
        with pytest.raises(UnreadablePicture):
            decode(cut)


def test_a_broken_or_ordinary_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for data in (zlib.compress(profile), zlib.compress(profile[:50])):
        assert np.array_equal(np.asarray(decode(png(chunk(b"iCCP", b"sRGB\0\0" + data)))[0]), PIXELS)
