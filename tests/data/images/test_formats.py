"""Unsupported files are named by kind and never decoded."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from alexnet.data.images.decode import decode
from alexnet.data.images.formats import TAKEN, boxed, is_taken, refusal
from alexnet.data.images.limits import UnreadablePicture


def packed(form: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(out, form, **options)
    return out.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(UnreadablePicture) as caught:
        decode(data)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("form", TAKEN)
def test_the_formats_that_are_taken_are_known_by_their_first_bytes(form: str) -> None:
    assert is_taken(packed(form)[:16])
    assert decode(packed(form))[0].size == (64, 48)
    assert refused(packed(form)[:20] or b"").startswith("damaged: ")


@pytest.mark.parametrize("form", ["JPEG2000", "ICO", "TGA", "DDS", "PCX", "ICNS", "SGI", "PSD", "QOI"])
def test_a_good_picture_of_another_format_is_refused_by_the_name_of_its_format(form: str) -> None:
    try:
        data = packed(form)
    except (KeyError, OSError):  # Pillow cannot write it, or was built without it
        data = {"PSD": b"8BPS\0\1" + bytes(20), "QOI": b"qoif" + bytes(20)}[form]
    assert refused(data).startswith(f"format not taken: {form}")
    assert not is_taken(data[:16])


def box(brand: bytes, *others: bytes) -> bytes:
    return (16 + 4 * len(others)).to_bytes(4, "big") + b"ftyp" + brand + bytes(4) + b"".join(others) + bytes(40)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (box(b"crx "), "Canon raw (CR3)"),
        (box(b"isom", b"mp42"), "video (MP4, MOV)"),
        (b"\xff\x0a" + bytes(30), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x4f\xff\x51" + bytes(30), "JPEG2000 (JP2)"),
        (b"\0\0\2\0\1\0" + bytes(60), "CUR"),
        (b"\0\1\1\0\0\0\1\x18" + bytes(8) + b"\x08" + bytes(20), "TGA"),
        (b"<svg xmlns='a'></svg>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- by hand -->\n<svg>", "SVG"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM"),
    ],
)
def test_formats_that_pillow_does_not_write_are_named_too(data: bytes, name: str) -> None:
    assert refused(data) == f"format not taken: {name}; convert it to JPEG or PNG"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty: the file has no bytes"),
        (bytes(5000), "empty: every byte is zero"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "not a picture: a web page"),
        (b"  \n<html lang='en'>", "not a picture: a web page"),
        (b"version https://git-lfs.example/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--a.jpg\n", "a git-annex pointer"),
        (b"<annotation><object/></annotation>", "not a picture: XML"),
        (b"%PDF-1.7\n", "not a picture: PDF"),
        (b"PK\3\4" + bytes(40), "a zip archive"),
        (b"PAR1" + bytes(40), "Parquet"),
        (b"caf\xc3\xa9, 12\n" * 60, "not a picture: text"),
        (b"\r\n\xff\xd8\xff\xe0" + bytes(40), "other bytes come before one"),
        (b"\x01\x02\x03\x04" * 50, "its bytes do not begin like JPEG, PNG"),
        (b"\x01", "its bytes do not begin like JPEG, PNG"),
    ],
)
def test_what_is_not_a_picture_is_called_what_it_is(data: bytes, words: str) -> None:
    assert words in refused(data)
    assert words in refusal(data)


def test_a_thumbnail_is_not_taken_for_a_cameras_raw_file() -> None:
    """DNG, NEF and ARW are TIFFs whose first picture is a thumbnail: tag 254, bit 0 (TIFF 6.0, page 36)."""
    for tags, raw in (({254: 1, 330: 8}, True), ({254: 0, 330: 8}, False), ({254: 1}, False)):
        out, info = io.BytesIO(), TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in tags.items():
            info[tag], info.tagtype[tag] = value, 4
        Image.new("RGB", (160, 120)).save(out, "TIFF", tiffinfo=info)
        if raw:
            assert refused(out.getvalue()).startswith("format not taken: a camera's raw file")
        else:
            assert decode(out.getvalue())[0].size == (160, 120)


def tiff(pixels: bytes, bits: int, photometric: int, samples: int = 1, planes: int = 1) -> bytes:
    """A handmade TIFF of one row, with its pixels at the end."""
    width = len(pixels) * 8 // bits // samples
    data = 8 + 2 + 10 * 12 + 4
    where = data + 2 * samples  # offset of the pixels, after the bits of each sample
    strips = [where + n * len(pixels) // samples for n in range(samples)] if planes == 2 else [where]
    fields = [(256, 3, [width]), (257, 3, [1]), (258, 3, [bits] * samples), (259, 3, [1]), (262, 3, [photometric]),
              (273, 4, strips), (277, 3, [samples]), (278, 3, [1]),
              (279, 4, [len(pixels) // len(strips)] * len(strips)), (284, 3, [planes])]  # fmt: skip
    out, beyond = struct.pack("<2sHIH", b"II", 42, 8, len(fields)), b""
    for tag, kind, values in fields:
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            place, beyond = where + len(pixels) + len(beyond), beyond + packed
            packed = struct.pack("<I", place)
        out += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return out + bytes(4) + bytes(2 * samples) + pixels + beyond


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(struct.pack("<3H", 0x1234, 0x5678, 0x9ABC), 16, 2, 3), (0x12, 0x56, 0x9A)),
        (tiff(struct.pack("<3H", 0x1234, 0x5678, 0x9ABC), 16, 2, 3, planes=2), "16-bit samples in planes"),
        (tiff(struct.pack("<2H", 0xFFFF, 0), 16, 1), (255, 255, 255)),
        (tiff(struct.pack("<2H", 0xFFFF, 0), 16, 0), "16-bit samples that count from white"),
        (tiff(b"\xff\xff\xff", 12, 1), "12-bit samples"),
        (tiff(b"\xff\0", 8, 0), (0, 0, 0)),
    ],
)
def test_deep_tiffs_are_read_as_they_are_meant_or_refused(data: bytes, expected: tuple[int, ...] | str) -> None:
    if isinstance(expected, str):
        assert refused(data) == f"colour mode not taken: {expected}"
    else:
        assert decode(data)[0].getpixel((0, 0)) == expected


@pytest.mark.parametrize("brands", [(b"heic", b"mif1"), (b"mif1", b"heic"), (b"avif",), (b"mif1", b"avif")])
def test_avif_and_heic_are_refused_with_what_would_do_where_their_decoder_is_missing(
    brands: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kind = box(*brands), "AVIF" if b"avif" in brands else "HEIC"
    assert boxed(data) == kind
    for module in ("formats", "decode"):
        monkeypatch.setattr(f"alexnet.data.images.{module}.can_decode", lambda kind: False)
    assert refused(data).startswith(f"format not taken: {kind}, which")
    assert {"AVIF": "Pillow's own wheel", "HEIC": "pip install 'alexnet[heic]'"}[kind] in refused(data)
    assert not is_taken(data)


@pytest.mark.parametrize(
    ("marker", "depth", "name"),
    [(0xC3, 8, "lossless JPEG"), (0xF7, 8, "JPEG-LS"), (0xC1, 12, "JPEG of 12 bits")],
)
def test_kinds_of_jpeg_that_are_not_decoded_are_named(marker: int, depth: int, name: str) -> None:
    data = bytearray(packed("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, depth
    assert refused(bytes(data)) == f"format not taken: {name}; convert it to plain JPEG or PNG"


def test_a_file_is_judged_by_its_content_and_not_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "photograph.heic").write_bytes(packed("JPEG"))
    assert decode((tmp_path / "photograph.heic").read_bytes())[0].size == (64, 48)
