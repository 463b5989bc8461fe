"""Pictures that claim, hide or repeat too much, damaged ones, and what decoding each took in a process apart."""

import importlib.util
import io
import json
import random
import signal
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from alexnet.data.images import decode, resize
from alexnet.data.images.limits import UnreadablePicture

SECONDS = 30  # of CPU that one picture may take
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")


def packed(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def plain(mode: str, pixels: int, colour: Any = 7) -> Image.Image:
    side = int(pixels**0.5)
    return Image.new(mode, (side, side), colour)


def deep(pixels: int) -> Image.Image:
    side = int(pixels**0.5)
    return Image.fromarray(np.zeros((side, side), np.uint16))


def png(mode: str, pixels: int, **options: Any) -> bytes:
    return packed(plain(mode, pixels, 7 if mode in "PL" else (1, 2, 3, 4)[: len(mode)]), compress_level=1, **options)


STRIP = {"compression": "tiff_adobe_deflate", "strip_size": 1 << 30}

# Each kind: the bytes of memory that a pixel is charged, those of its file beside, and a picture of so many pixels.
LARGEST: dict[str, tuple[float, Callable[[int], bytes]]] = {
    "JPEG": (4, lambda n: packed(plain("RGB", n), "JPEG")),
    "JPEG, turned": (8, lambda n: packed(plain("RGB", n), "JPEG", exif=turned())),
    "JPEG, gray": (5, lambda n: packed(plain("L", n), "JPEG")),
    "JPEG, CMYK": (8, lambda n: packed(plain("CMYK", n), "JPEG")),
    "JPEG, progressive": (7, lambda n: packed(plain("RGB", n), "JPEG", progressive=True)),
    "JPEG, progressive 4:4:4": (10, lambda n: packed(plain("RGB", n), "JPEG", progressive=True, subsampling="4:4:4")),
    "JPEG, progressive CMYK": (16, lambda n: packed(plain("CMYK", n), "JPEG", progressive=True)),
    "MPO, progressive 4:4:4": (10, lambda n: mpo(plain("RGB", n), progressive=True, subsampling="4:4:4")),
    "PNG": (4, lambda n: png("RGB", n)),
    "PNG, alpha": (8, lambda n: png("RGBA", n)),
    "PNG, transparent colour": (8, lambda n: png("RGB", n, transparency=(1, 2, 3))),
    "PNG, gray and alpha": (8, lambda n: png("LA", n)),
    "PNG, palette": (5, lambda n: png("P", n)),
    "PNG, transparent palette": (5, lambda n: png("P", n, transparency=7)),
    "PNG, 16-bit": (6, lambda n: packed(deep(n), compress_level=1)),
    "PNG, 16-bit transparent": (6, lambda n: packed(deep(n), compress_level=1, transparency=0)),
    "GIF": (5, lambda n: packed(plain("P", n), "GIF")),
    "GIF, transparent": (5, lambda n: packed(plain("P", n), "GIF", transparency=7)),
    "GIF, animated": (5, lambda n: packed(plain("P", n), "GIF", save_all=True, append_images=[plain("P", n, 9)])),
    "WebP": (17, lambda n: packed(plain("RGB", n), "WEBP", method=0)),
    "WebP, lossless": (17, lambda n: packed(plain("RGB", n), "WEBP", method=0, lossless=True, quality=0)),
    "WebP, alpha": (17, lambda n: packed(plain("RGBA", n, (1, 2, 3, 100)), "WEBP", method=0)),
    "BMP": (7, lambda n: packed(plain("RGB", n), "BMP")),
    "PPM": (7, lambda n: packed(plain("RGB", n), "PPM")),
    "PPM, 16-bit": (32, lambda n: packed(deep(n), "PPM").replace(b"\n65535\n", b"\n65534\n", 1)),
    "TIFF": (7, lambda n: packed(plain("RGB", n), "TIFF")),
    "TIFF, LZW": (4, lambda n: packed(plain("RGB", n), "TIFF", compression="tiff_lzw")),
    "TIFF, one strip": (11, lambda n: packed(plain("RGB", n), "TIFF", **STRIP)),
    "TIFF, one strip of CMYK": (16, lambda n: packed(plain("CMYK", n), "TIFF", **STRIP)),
    "TIFF, turned": (8, lambda n: packed(plain("RGB", n), "TIFF", compression="tiff_lzw", exif=turned())),
    "TIFF, 32-bit": (8, lambda n: packed(plain("I", n), "TIFF", compression="tiff_lzw")),
}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L4s", len(data), kind) + data + struct.pack(">L", zlib.crc32(kind + data))


def png_with(before: bytes, after: bytes = b"") -> bytes:
    """A small PNG with other chunks before its pixels and after them."""
    whole = packed(Image.new("RGB", (8, 8)))
    at, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    return whole[:at] + before + whole[at:end] + after + whole[end:]


def gray_png(width: int, height: int, packed: bytes | None = None) -> bytes:
    """A black PNG; or one whose pixels are all that `packed` holds."""
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes((1 + width) * height), 1) if packed is None else packed)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def jpeg_with(segments: bytes) -> bytes:
    whole = packed(Image.new("RGB", (8, 8)), "JPEG")
    return whole[:2] + segments + whole[2:]


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 255, marker, len(data) + 2) + data


def mpo(image: Image.Image, **options: Any) -> bytes:
    """The image, and a small one after it."""
    return packed(image, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))], **options)


def scans(many: int, side: int = 1000, form: str = "JPEG") -> bytes:
    """A progressive JPEG whose last scan comes so often."""
    image = Image.new("L", (side, side), 9)
    if form == "MPO":
        image = image.convert("RGB")
    whole = mpo(image, progressive=True) if form == "MPO" else packed(image, "JPEG", progressive=True)
    whole = whole[: whole.index(b"\xff\xd9") + 2]
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * many + b"\xff\xd9"


def hidden_scans(many: int) -> bytes:
    """The same, behind markers that have no length: who reads one there leaps over thousands of scans."""
    whole = scans(1)
    last = whole.rindex(b"\xff\xda")
    leap = b"\xff\x01\xff\xff" + whole[last:-2] * (65_000 // len(whole[last:-2]))
    return whole[:last] + leap * (many // leap.count(b"\xff\xda")) + b"\xff\xd9"


def exif_of(entries: int, each: int) -> bytes:
    """So many entries, all of the same bytes."""
    table = b"".join(struct.pack("<HHLL", 100 + n, 7, each, 26) for n in range(entries))
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, entries) + table + bytes(4 + each)


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"", big: int = 0) -> bytes:
    table = b"".join(struct.pack("<HHLL", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + table + bytes(4) + rest


def gray_tiff(*more: tuple[int, int, int, int], side: int = 8) -> list[tuple[int, int, int, int]]:
    own = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: side * side}
    taken = {entry[0] for entry in more}
    return [(tag, 4, 1, value) for tag, value in own.items() if tag not in taken] + list(more)


def tiled_tiff(side: int) -> bytes:
    """8 x 8 pixels in one tile of far more, which unpacks to zeros."""
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    tags = gray_tiff((259, 4, 1, 8), (322, 4, 1, side), (323, 4, 1, side))
    tags = [tag for tag in tags if tag[0] not in (273, 278, 279)]
    at = 8 + 2 + 12 * (len(tags) + 2) + 4
    return tiff([*tags, (324, 4, 1, at), (325, 4, 1, len(data))], data)


def tiff_of_many(directories: int) -> bytes:
    tags = sorted(gray_tiff())
    table = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    size = 2 + len(table) + 4
    out = [b"II*\0\x08\0\0\0"]
    for n in range(directories):
        out.append(
            struct.pack("<H", len(tags)) + table + struct.pack("<L", 8 + size * (n + 1) if n + 1 < directories else 0)
        )
    return b"".join(out)


def gif_of(blocks: bytes, frames: int = 1) -> bytes:
    whole = packed(Image.new("P", (4, 4)), "GIF")
    at = whole.index(b",\0\0\0\0")
    return whole[:at] + blocks + whole[at:-1] * frames + b";"


def webp_of(frames: int) -> bytes:
    pictures = [Image.new("RGB", (2, 2), (n % 256, n // 256, 0)) for n in range(frames)]
    return packed(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], lossless=True)


def boxed(name: str, *content: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    inside = b"".join(content)
    return struct.pack(">L4s", 8 + len(inside), name.encode()) + inside


def heif(
    items: list[tuple[bytes, bytes]],
    *,
    brand: bytes = b"avif",
    sizes: list[tuple[int, int]] = [(8, 8)],  # noqa: B006
    more: bytes = b"",
    links: bytes = b"",
    primary: int = 1,
    places: bytes = b"",
) -> bytes:
    """A file of items, each its type and its bytes; all own the same properties: the sizes, and those in `more`."""
    large = len(items) > 30_000
    wide = ">L" if large else ">H"
    entries = b"".join(
        boxed("infe", bytes([3 if large else 2, 0, 0, 0]), struct.pack(wide, n), bytes(2), kind, b"\0")
        for n, (kind, _) in enumerate(items, 1)
    )
    properties = b"".join(boxed("ispe", bytes(4), struct.pack(">LL", *size)) for size in sizes) + more
    count = len(sizes) + (1 if more else 0)
    owned = bytes([count, *range(1, count + 1)])
    start = boxed("ftyp", brand, bytes(4), brand, b"mif1")

    def meta(at: int) -> bytes:
        where = bytes([1, 0, 0, 0, 0x44, 0]) + struct.pack(">H", len(items))
        for n, (_, data) in enumerate(items, 1):
            where += struct.pack(">HHHHLL", n, 0, 0, 1, at, len(data))
            at += len(data)
        return boxed(
            "meta",
            bytes(4),
            boxed("hdlr", bytes(8), b"pict", bytes(13)),
            boxed("pitm", bytes(4), struct.pack(">H", primary)),
            boxed("iloc", places or where),
            boxed("iinf", bytes(4), struct.pack(">H", len(items) & 0xFFFF), entries),
            boxed("iref", bytes(4), links) if links else b"",
            boxed(
                "iprp",
                boxed("ipco", properties),
                boxed(
                    "ipma",
                    bytes(4),
                    struct.pack(">L", len(items)),
                    b"".join(struct.pack(">H", n) + owned for n in range(1, len(items) + 1)),
                ),
            ),
        )

    return start + meta(len(start) + len(meta(0)) + 8) + boxed("mdat", *(data for _, data in items))


def bits(*fields: tuple[int, int]) -> bytes:
    """Numbers of so many bits each, most significant first."""
    line = "".join(f"{value:0{count}b}" for value, count in fields if count) + "1"
    line += "0" * (-len(line) % 8)
    return int(line, 2).to_bytes(len(line) // 8, "big")


def av1_of(width: int, height: int, profile: int = 0, deep: int = 0) -> bytes:
    """A sequence header of a still picture that claims so many pixels, and nothing after it (AV1, section 5.5.1)."""
    header = bits((profile, 3), (1, 1), (1, 1), (0, 5), (15, 4), (15, 4), (width - 1, 16), (height - 1, 16),
                  (0, 3), (0, 3), (deep, 1), (0, 24))  # fmt: skip
    return bytes([0x0A, len(header)]) + header


def hevc_of(width: int, height: int, depth: int = 8) -> bytes:
    """A sequence parameter set that claims so many pixels, as a unit with its length (H.265, section 7.3.2.2)."""

    def ue(value: int) -> tuple[int, int]:
        return value + 1, 2 * (value + 1).bit_length() - 1

    header = bits((0, 4), (0, 3), (1, 1), (0, 96), ue(0), ue(1), ue(width), ue(height), (0, 1), ue(depth - 8),
                  ue(depth - 8), (0, 24))  # fmt: skip
    unit = bytearray(b"\x42\1")
    for byte in header:
        unit += b"\3" if byte < 4 and unit.endswith(b"\0\0") else b""
        unit.append(byte)
    return struct.pack(">L", len(unit)) + bytes(unit)


HVCC = boxed("hvcC", bytes(21), bytes([3, 0]))  # lengths of four bytes, and no parameter sets


def has_heic() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def avif(image: Image.Image, **options: Any) -> bytes:
    return packed(image, "AVIF", speed=10, **options)


def heic(image: Image.Image, **options: Any) -> bytes:
    """A HEIC; pillow-heif must be there."""
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, **{"quality": 90} | options)
    return out.getvalue()


def deep_heic(pixels: int) -> bytes:
    """A HEIC of 10 bits and full colours."""
    import pillow_heif

    side, out = int(pixels**0.5), io.BytesIO()
    made = pillow_heif.from_bytes("RGB;16", (side, side), bytes(6 * side * side))
    made.save(out, quality=50, chroma=444)
    return out.getvalue()


LARGEST |= {
    "AVIF": (10, lambda n: avif(plain("RGB", n))),
    "AVIF, 4:4:4": (12, lambda n: avif(plain("RGB", n), subsampling="4:4:4")),
    "AVIF, turned": (10, lambda n: avif(plain("RGB", n), exif=turned())),
    "AVIF, alpha": (14, lambda n: avif(plain("RGBA", n, (1, 2, 3, 100)))),
}
HEIC: dict[str, tuple[float, Callable[[int], bytes]]] = {
    "HEIC": (8, lambda n: heic(plain("RGB", n))),
    "HEIC, 4:4:4": (11, lambda n: heic(plain("RGB", n), chroma=444)),
    "HEIC, alpha": (12, lambda n: heic(plain("RGBA", n, (1, 2, 3, 100)))),
    "HEIC, 10-bit 4:4:4": (16, deep_heic),
}
if has_heic():
    LARGEST |= HEIC


def lying(data: bytes) -> bytes:
    """An AVIF or HEIC whose boxes say 8 x 8."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">LL", 8, 8) + data[at + 8 :]


def boxed_bombs(kind: str) -> Iterator[tuple[str, bytes]]:
    """AVIF or HEIC files that claim much, in their boxes or in the picture itself."""

    def of(*items: tuple[bytes, bytes], **options: Any) -> bytes:
        how: dict[str, Any] = {} if kind == "AVIF" else {"brand": b"heic", "more": HVCC}
        return heif(list(items), **how, **options)

    name, coded = (b"av01", av1_of) if kind == "AVIF" else (b"hvc1", hevc_of)
    small = (name, coded(8, 8))
    grid = (b"grid", b"\0\0\x1f\x1f" + struct.pack(">HH", 60_000, 60_000))
    cells = struct.pack(">L4sHH", 12 + 4000, b"dimg", 1, 2000) + struct.pack(">H", 2) * 2000
    over = b"\1\0\0\0\x44\0\0\1\0\1\0\0\0\0\xff\xff" + struct.pack(">LL", 0, 4_000_000) * 65_535
    units = b"\x12\0" if kind == "AVIF" else b"\0\0\0\1\x4e"
    yield "of 60,000 x 60,000 in its boxes", of(small, sizes=[(60_000, 60_000)])
    yield "of 60,000 x 60,000 in its picture", of((name, coded(60_000, 60_000)))
    yield "of a grid of 60,000 x 60,000", of(grid, small, links=cells)
    yield "of 60,000 items", of(*[small] * 60_000)
    yield "of a million boxes", of(small) + boxed("free") * 1_000_000
    yield "of 2 million units", of((name, units * 2_000_000))
    yield "of parts over each other", of(small, places=over) + bytes(4_000_000)
    yield "that contains itself", of(grid, links=struct.pack(">L4sHHH", 14, b"dimg", 1, 1, 1))


def bombs(torture: bool) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Files that would take minutes or gigabytes; those of 200 MB and more under torture alone."""
    claims = {
        "JPEG": (packed(Image.new("RGB", (8, 8)), "JPEG"), b"\0\x08\0\x08\x03", struct.pack(">HHB", 65000, 65000, 3)),
        "PNG": (packed(Image.new("RGB", (8, 8))), bytes([0, 0, 0, 8] * 2), struct.pack(">LL", 60000, 60000)),
        "GIF": (packed(Image.new("P", (9, 9)), "GIF"), bytes([9, 0, 9, 0]), struct.pack("<HH", 60000, 60000)),
        "BMP": (packed(Image.new("RGB", (8, 8)), "BMP"), struct.pack("<LL", 8, 8), struct.pack("<LL", 60000, 60000)),
        "PPM": (packed(Image.new("RGB", (8, 8)), "PPM"), b"8 8", b"60000 60000"),
        "TIFF": (tiff(gray_tiff()), struct.pack("<HHLL", 256, 4, 1, 8), struct.pack("<HHLL", 256, 4, 1, 1 << 31)),
    }
    for name, (whole, own, other) in claims.items():
        assert own in whole, name
        data = whole.replace(own, other)
        if name == "PNG":
            data = data[:29] + struct.pack(">L", zlib.crc32(data[12:29])) + data[33:]
        yield f"{name} of 60,000 x 60,000", lambda data=data: data  # type: ignore[misc]
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    zeros = b"".join(packer.compress(block) for _ in range(500)) + packer.flush()
    yield "JPEG of 20,000 scans", lambda: scans(20_000)
    yield "JPEG of 900 scans", lambda: scans(900, 1450)
    yield "MPO of 20,000 scans", lambda: scans(20_000, form="MPO")
    yield "JPEG of 60,000 hidden scans", lambda: hidden_scans(60_000)
    yield "JPEG of a million comments", lambda: jpeg_with(segment(0xFE, b"") * 1_000_000)
    yield "JPEG of 4 million filling bytes", lambda: jpeg_with(b"\xff" * 4_000_000)
    yield "JPEG of 4 million bytes of junk", lambda: jpeg_with(b"\xff\0" * 2_000_000)
    exif = exif_of(5000, 5000)[:65_000]
    yield "JPEG of EXIF entries over each other", lambda: jpeg_with(segment(0xE1, exif_of(2700, 32_000)[:65_500]))
    yield (
        "JPEG of EXIF in a thousand pieces",
        lambda: jpeg_with(segment(0xE1, exif) + segment(0xE1, b"Exif\0\0" + exif) * 99),
    )
    yield (
        "JPEG of 50 MB of colour profiles",
        lambda: jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 800),
    )
    yield "PNG of 500 MB of colour profile", lambda: png_with(chunk(b"iCCP", b"x\0\0" + zeros))
    yield "PNG of 500 MB of text", lambda: png_with(chunk(b"zTXt", b"x\0\0" + zeros))
    yield "PNG of 500 MB of text in its end", lambda: png_with(b"", chunk(b"zTXt", b"x\0\0" + zeros))
    if torture:
        yield "TIFF of 250 MB in one tag", lambda: tiff(gray_tiff((1000, 7, 250_000_000, 8)), bytes(250_000_000))
        yield (
            "TIFF of 120 MB in four tags",
            lambda: tiff(gray_tiff(*((1000 + n, 7, 110_000_000, 8) for n in range(4))), bytes(120_000_000)),
        )
        yield "PNG of 250 MB in one chunk", lambda: png_with(chunk(b"zzZz", bytes(250_000_000)))
        yield "PNG of 200 MB in one text", lambda: png_with(chunk(b"tEXt", b"k" * 200_000_000))
        yield "WebP of 200 MB beside its pixels", lambda: webp_of(2) + bytes(200_000_000)
        yield "GIF of 200 MB of comment", lambda: gif_of(b"!\xfe" + (b"\xff" + b"c" * 255) * 800_000 + b"\0")
    yield "PNG of 500 MB behind 8 x 8 pixels", lambda: gray_png(8, 8, zeros)
    yield "PNG of 400,000 chunks", lambda: png_with(chunk(b"zzZz", b"") * 400_000)
    yield "PNG of 400,000 chunks at its end", lambda: png_with(b"", chunk(b"zzZz", b"") * 400_000)
    yield "PNG of 200,000 texts", lambda: png_with(b"".join(chunk(b"tEXt", b"%d\0x" % n) for n in range(200_000)))
    yield "PNG of EXIF entries over each other", lambda: png_with(chunk(b"eXIf", exif_of(60_000, 1 << 20)[6:]))
    yield "PNG animated, of a billion frames", lambda: png_with(chunk(b"acTL", struct.pack(">LL", 1 << 30, 0)))
    yield "PNG of 1 x 60 million", lambda: gray_png(1, 60_000_000)
    yield "PNG of 60 million x 1", lambda: gray_png(60_000_000, 1)
    yield "PNG of 1 x 8 million", lambda: gray_png(1, 8_000_000)
    yield "PNG of 8 million x 1", lambda: gray_png(8_000_000, 1)
    yield "PNG of 60,000 x 1", lambda: gray_png(60_000, 1)
    yield "GIF of a million frames", lambda: gif_of(b"", 300_000)
    yield "GIF of 20 MB of comment", lambda: gif_of(b"!\xfe" + (b"\xff" + b"c" * 255) * 80_000 + b"\0")
    yield "GIF of a million comments", lambda: gif_of(b"!\xfe\1c\0" * 1_000_000)
    yield "GIF of a million empty extensions", lambda: gif_of(b"!\xf9\0" * 1_000_000)
    yield "TIFF of 200,000 pictures", lambda: tiff_of_many(200_000)
    wide = [(1000 + n, 7, 1_000_000, 8) for n in range(60_000)]
    yield "TIFF of tags over each other", lambda: tiff(gray_tiff(*wide), bytes(1_000_000))
    yield "TIFF of a tile of 30,000 x 30,000", lambda: tiled_tiff(30_000)
    yield "BigTIFF of 2^60 tags", lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 60) + bytes(2_000_000)
    yield "TIFF that links to itself", lambda: tiff(gray_tiff())[:-4] + struct.pack("<L", 8)
    for kind in ("AVIF", "HEIC"):
        for words, data in boxed_bombs(kind):
            yield f"{kind} {words}", lambda data=data: data  # type: ignore[misc]
    if torture:  # whose pictures are as large as they say
        yield "AVIF of 8,000 x 8,000 that says 8 x 8", lambda: lying(avif(plain("RGB", 64_000_000)))
        if has_heic():
            yield "HEIC of 8,000 x 8,000 that says 8 x 8", lambda: lying(heic(plain("RGB", 64_000_000)))
    yield "WebP of 300 frames", lambda: webp_of(300)
    rle = packed(Image.new("P", (8, 8)), "BMP")
    lines = struct.pack("<LLHHL", 3000, 3000, 1, 8, 1)
    yield "BMP of lines that end at once", lambda: rle[:18] + lines + rle[34:] + b"\0\0" * 3000
    yield "BMP of jumps to nowhere", lambda: rle[:18] + lines + rle[34:] + b"\0\2\xff\xff" * 200_000
    yield "PPM of a comment without end", lambda: b"P3\n#" + b"c" * 4_000_000
    yield "PPM of digits without end", lambda: b"P3\n2 2\n255\n" + b"1" * 4_000_000
    yield "PPM of 16 million numbers", lambda: b"P2\n4000 4000\n255\n" + b"1 " * 4_000_000


def seeds(more: Path | None) -> list[bytes]:
    """Small pictures of every format and kind, and with them the awkward ones from a folder."""
    noise = np.random.default_rng(1).integers(0, 256, (40, 52, 3), np.uint8)
    rgb = Image.fromarray(noise)
    found = [packed(rgb.resize((24, 20)), form) for form in FORMATS]
    found += [packed(rgb, "JPEG", progressive=True, exif=turned()), packed(rgb.convert("CMYK"), "JPEG")]
    found += [packed(rgb.convert("L"), "JPEG", restart_marker_blocks=1), packed(rgb, "JPEG", subsampling="4:2:2")]
    found += [packed(rgb.convert("RGBA")), packed(rgb.quantize(200), transparency=5), packed(deep(400))]
    found += [packed(rgb.quantize(9), "GIF", save_all=True, append_images=[rgb.quantize(7)], transparency=2)]
    found += [packed(rgb, "WEBP", lossless=True), packed(rgb.convert("RGBA"), "WEBP"), webp_of(3)]
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found.append(packed(rgb, "TIFF", compression=compression))
    found += [packed(rgb.convert("1"), "TIFF", compression="group4"), packed(rgb.convert("P"), "BMP")]
    found += [packed(deep(64), "TIFF"), b"P3\n3 2\n255\n" + b"1 22 255 " * 6, b"P6\n3 2\n99\n" + bytes(18)]
    found += [avif(rgb.resize((24, 20))), avif(rgb.convert("RGBA"), exif=turned())]
    found += [avif(rgb, save_all=True, append_images=[rgb.rotate(90)]), heif([(b"av01", av1_of(8, 8))])]
    if has_heic():
        found += [heic(rgb.resize((24, 20))), heic(rgb.convert("RGBA"), chroma=444), deep_heic(400)]
    if more is not None:
        found += [path.read_bytes() for path in sorted(more.iterdir()) if path.stat().st_size < 150_000]
    return found


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """`data` with one to a dozen damages: bits, bytes, fields, cuts, repeats, splices."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 12])):
        size = len(made)
        at = rng.randrange(min(size, rng.choice([64, 1024, size])))  # headers more often than pixels
        kind = rng.randrange(8)
        if kind == 0:
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            made[at] = rng.choice([0, 1, 2, 127, 128, 254, 255, rng.randrange(256)])
        elif kind == 2:
            width = rng.choice([2, 4])
            value = rng.choice(
                [0, 1, 255, 65535, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, rng.getrandbits(8 * width)]
            )
            made[at : at + width] = (value % 256**width).to_bytes(width, rng.choice(["big", "little"]))
        elif kind == 3:
            del made[at : at + rng.choice([1, 2, 16, 200])]
        elif kind == 4:
            made[at:at] = made[at : at + rng.choice([1, 4, 64, 4096])] * rng.choice([1, 2, 50])
        elif kind == 5 and rng.random() < 0.3:
            del made[at + 16 :]
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            made[at : at + 64] = other[start : start + rng.choice([8, 64, 2048])]
        else:
            made[at:at] = rng.randbytes(rng.choice([1, 3, 20]))
        made = made[: 1 << 20] or bytearray(b"\0")
    if made.startswith(b"\x89PNG") and rng.random() < 0.7:
        return _checked(bytes(made))
    return bytes(made)


def _checked(made: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, or its damage would be found before it is tried."""
    out, at = [made[:8]], 8
    while at + 12 <= len(made):
        size = int.from_bytes(made[at : at + 4], "big")
        body = made[at + 4 : at + 8 + size]
        out.append(made[at : at + 4] + body + struct.pack(">L", zlib.crc32(body)))
        at += 12 + size
    return b"".join(out)


def fuzzed(number: int, found: list[bytes]) -> bytes:
    rng = random.Random(number)
    return mutated(found[number % len(found)], rng, found)


def peak(of: str = "VmHWM") -> int:
    return int(Path("/proc/self/status").read_text().split(of + ":")[1].split()[0]) * 1024


def examine(name: str, data: bytes) -> None:
    """Decode one picture and print its name, the reasons or refusal, bytes of memory more, seconds of CPU."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, started = peak("VmRSS") - len(data), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # whose signal ends the process
    said: list[str] | str
    try:
        image, said = decode.decode(data)
        assert image.mode == "RGB"
        assert resize.square(image, 256).shape == (256, 256, 3)
    except UnreadablePicture as error:
        said = str(error)
        assert len(said.splitlines()) == 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps([name, said, peak() - before, time.process_time() - started]), flush=True)


def main(what: str, *arguments: str) -> None:
    small = Image.new("RGB", (64, 64))
    for data in (*(packed(small, form) for form in FORMATS), avif(small), *([heic(small)] if has_heic() else [])):
        image, _ = decode.decode(data)  # what is loaded once
        resize.square(image, 256)
    if what == "fuzzed":
        found = seeds(Path(arguments[2]) if arguments[2] else None)
        for number in range(int(arguments[0]), int(arguments[1])):
            print(f"# {number}", flush=True)
            examine(str(number), fuzzed(number, found))
    elif what == "files":
        for path in sorted(Path(arguments[0]).iterdir()):
            examine(path.name, path.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
