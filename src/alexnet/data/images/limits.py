"""Limits on the bytes, memory and work of one picture, checked before any pixel is decoded."""

import io
import re
from typing import Any

from PIL import Image

from alexnet.data.images.png import SIGNATURE, unread

MOST_BYTES = 1 << 28  # bytes of a file
MOST_MEMORY = 450_000_000  # bytes of memory for a file and everything decoded from it
MOST_EXIF = 70_000  # bytes; the one EXIF segment of a JPEG has at most 65,527
MOST_SCANS, MOST_WORK = 1000, 2_000_000_000  # scans of a JPEG, and scans times pixels
# Bytes of memory per pixel, as decoded plus as RGB, by mode; other modes take 8. WEBP counts libwebp's canvases.
# BY_PYTHON is for Pillow's decoders in Python; it is high because they are slow.
BYTES = {"RGB": 4, "1": 5, "L": 5, "P": 5, "I;16": 6, "I;16L": 6, "I;16B": 6, "I;16N": 6}
WEBP, BY_PYTHON = 17, 30
BOXED = {"AVIF": (10, 12), "HEIC": (8, 11)}  # with colours at half resolution, and at full; with 8 bits, no alpha
DEEPER, SEE_THROUGH = 5, 4  # what 10 or 12 bits add, and what alpha does
ROW = 24  # bytes that Pillow adds per row, which matter in a picture of 1 x 10,000,000
MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)  # a marker with a length, so not RST or TEM


class UnreadablePicture(ValueError):
    """The error for bytes that are not a usable picture; one line with the kind of reason, a colon and the detail."""


class Metered(io.BytesIO):
    """A file's bytes with limits on reading, because Pillow trusts every length and count in a file.

    It raises UnreadablePicture when, say, a thousand tags refer to the same bytes, or a header has a million pieces.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        jpeg = data.startswith(b"\xff\xd8")  # Pillow reads only its header before loading, in pieces
        self.taken = self.exif = self.reads = 0
        # Pillow may keep all that it reads, and holds it twice while joining the pieces.
        self.most = 1 << 25 if jpeg else min(2 * len(data) + (1 << 20), (MOST_MEMORY - len(data)) // 2)
        self.most_reads = 20_000 if jpeg else 20_000 + len(data) // 32
        self.limited, self.pixels = True, False
        self.claims: Any = None  # of an AVIF or HEIC
        self.unread = unread(data) if data.startswith(SIGNATURE) else {}

    def read(self, size: int | None = -1, /) -> bytes:
        while self.unread and (end := self.unread.get(self.tell())):  # Pillow asks for a PNG's chunks one by one
            self.seek(end)
        data = super().read(size)
        if self.limited:
            self.taken += 0 if self.pixels else len(data)
            self.exif += len(data) if data.startswith(b"Exif\0\0") else 0
            self.reads += 1
            if self.taken > self.most or self.reads > self.most_reads or self.exif > MOST_EXIF:
                raise UnreadablePicture("damaged: more metadata than any picture needs")
        return data


def limit_load(image: Any, file: Metered) -> None:
    """Keep the limits while a PNG is loaded, except for its pixels, whose bytes Pillow does not keep."""

    def end() -> None:
        file.pixels = False
        del image.load_end  # restore the method of the class
        image.load_end()

    file.limited = file.pixels = image.format == "PNG"
    if file.pixels:
        image.load_end = end


def check_work(image: Image.Image, file: Metered) -> None:
    """Raise UnreadablePicture for a JPEG with too many scans, since each scan visits all pixels."""
    most = min(MOST_SCANS, MOST_WORK // (image.width * image.height))
    if image.format in ("JPEG", "MPO") and not _has_scans(image, file, most):
        raise UnreadablePicture(f"too large: {image.width} x {image.height} pixels in more than {most} scans")


def _has_scans(image: Image.Image, file: Metered, most: int) -> bool:
    """Return whether a JPEG has at most `most` scans, from the end of its header on; an MPO is read from its start."""
    data, mpo = file.getvalue(), image.format == "MPO"
    at, scans, markers = (2, 0, 0) if mpo else (file.tell(), 1, 0)
    if data.count(b"\xff\xda", at) < most:
        return True
    while (found := MARKER.search(data, at)) and found[1] != b"\xd9":
        scans, markers = scans + (found[1] == b"\xda"), markers + 1
        if scans > most or markers > 10 * most:
            return False
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return True


def _in_one_scan(image: Any, file: Metered) -> bool:
    """Return whether a JPEG's first scan has all colours complete; then the decoder keeps no coefficients.

    The header of that scan must have been read just now. For an MPO, where more was read, return False.
    """
    layers, at = len(image.layer), file.tell()
    start = bytes([0, 6 + 2 * layers, layers])
    return (
        image.format == "JPEG"
        and "progressive" not in image.info
        and file.getvalue()[at - 6 - 2 * layers : at][:3] == start
    )


def _strip(image: Any) -> int:
    """Compute the bytes that libtiff decodes at once: a strip, or a tile, which may be larger than the image."""
    tags = image.tag_v2
    area = max(image.width * min(tags.get(278, image.height), image.height), tags.get(322, 0) * tags.get(323, 0))
    return area * (tags.get(277, 1) * max(tags.get(258, (1,))) // 8 + 4)


def check_claims(kind: str, claims: Any, size: int) -> None:
    """Raise UnreadablePicture if an AVIF or HEIC file of `size` bytes would take too much memory."""
    each = BOXED[kind][claims.full] + DEEPER * (claims.depth > 8) + SEE_THROUGH * claims.alpha
    _check_total(2 * size + claims.pixels * each, claims.width, claims.height)


def check_memory(image: Any, file: Metered, turned: bool) -> None:
    """Raise UnreadablePicture if decoding, and turning upright if `turned`, would take too much memory.

    The numbers were measured for each kind of picture (tests/faults/test_pictures.py).
    """
    pixels = image.width * image.height
    codec = image.tile[0][0] if getattr(image, "tile", None) else ""
    each = 8 if turned or (image.mode == "RGB" and image.has_transparency_data) else BYTES.get(image.mode, 8)
    if image.format == "WEBP":
        each = WEBP
    elif file.claims:  # check_claims has counted it
        each = 8
    elif codec in ("ppm", "ppm_plain", "bmp_rle"):
        each = BY_PYTHON
    total = len(file.getvalue()) + file.taken + pixels * each + ROW * max(image.size)
    total += min(len(image.info.get("exif") or b""), MOST_EXIF) ** 2 // 48  # each entry in one half may copy the other
    if image.format in ("JPEG", "MPO") and not _in_one_scan(image, file):
        total += 2 * pixels * sum(h * v for _, h, v, _ in image.layer) // max(h * v for _, h, v, _ in image.layer)
    if codec == "libtiff":
        total += _strip(image)
    _check_total(total, image.width, image.height)


def _check_total(total: int, width: int, height: int) -> None:
    if total > MOST_MEMORY:
        raise UnreadablePicture(
            f"too large: {width} x {height} pixels would take {total / 1e6:.0f} MB of memory; "
            f"the limit is {MOST_MEMORY / 1e6:.0f}"
        )
