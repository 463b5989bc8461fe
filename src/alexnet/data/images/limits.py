"""What one picture may take: bytes, memory and work, held to before any pixel is decoded."""

import io
import re
from typing import Any

from PIL import Image

from alexnet.data.images.png import SIGNATURE, unread

MOST_BYTES = 1 << 28  # of a file
MOST_MEMORY = 450_000_000  # bytes, of a file and all that is made of it
MOST_EXIF = 70_000  # bytes; a JPEG's one segment holds 65,527
MOST_SCANS, MOST_WORK = 1000, 2_000_000_000  # and scans times pixels
# Of memory, a pixel: as it is and as RGB (others: 8); libwebp's canvases; Pillow's decoders in Python, for their time.
BYTES = {"RGB": 4, "1": 5, "L": 5, "P": 5, "I;16": 6, "I;16L": 6, "I;16B": 6, "I;16N": 6}
WEBP, BY_PYTHON = 17, 30
ROW = 24  # bytes a row, of Pillow's own: it counts in a picture of 1 x 10,000,000
MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)  # with a length: no RST, TEM or stuffed byte


class UnreadablePicture(ValueError):
    """These bytes are no picture that can be taken; the reason is one line, its kind before the colon."""


class Metered(io.BytesIO):
    """A file's bytes, for a Pillow that follows every length and count which the file claims.

    Reading the same bytes for a thousand tags, or a header in a million pieces, ends as UnreadablePicture.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        jpeg = data.startswith(b"\xff\xd8")  # whose header is read alone, and gathered piece by piece
        self.taken = self.exif = self.reads = 0
        # What is read may be kept, and is held twice while it is put together.
        self.most = 1 << 25 if jpeg else min(2 * len(data) + (1 << 20), (MOST_MEMORY - len(data)) // 2)
        self.most_reads = 20_000 if jpeg else 20_000 + len(data) // 32
        self.limited, self.pixels = True, False
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
    """Limit what a PNG, once its header was read, is to read while it is loaded: its pixels' bytes are not kept."""

    def end() -> None:
        file.pixels = False
        del image.load_end  # which is its class's again
        image.load_end()

    file.limited = file.pixels = image.format == "PNG"
    if file.pixels:
        image.load_end = end


def check_work(image: Image.Image, file: Metered) -> None:
    """Raise UnreadablePicture for a JPEG of too many scans: each goes over all its pixels."""
    most = min(MOST_SCANS, MOST_WORK // (image.width * image.height))
    if image.format in ("JPEG", "MPO") and not _has_scans(image, file, most):
        raise UnreadablePicture(f"too large: {image.width} x {image.height} pixels in more than {most} scans")


def _has_scans(image: Image.Image, file: Metered, most: int) -> bool:
    """Whether the JPEG whose header was just read has at most so many scans; an MPO is gone through from its start."""
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
    """Whether a JPEG's first scan, whose header was just read, holds all its colours whole: then none is kept.

    Of an MPO this is not known, for more was read than that header.
    """
    layers, at = len(image.layer), file.tell()
    start = bytes([0, 6 + 2 * layers, layers])
    return (
        image.format == "JPEG"
        and "progressive" not in image.info
        and file.getvalue()[at - 6 - 2 * layers : at][:3] == start
    )


def _strip(image: Any) -> int:
    """Bytes of what libtiff decodes at once: a strip, or a tile, which may be larger than the image."""
    tags = image.tag_v2
    area = max(image.width * min(tags.get(278, image.height), image.height), tags.get(322, 0) * tags.get(323, 0))
    return area * (tags.get(277, 1) * max(tags.get(258, (1,))) // 8 + 4)


def check_memory(image: Any, file: Metered, turned: bool) -> None:
    """Raise UnreadablePicture where decoding would take too much memory; `turned`: whether it is to be turned upright.

    What it takes was measured, kind by kind (tests/faults/test_pictures.py).
    """
    pixels = image.width * image.height
    codec = image.tile[0][0] if getattr(image, "tile", None) else ""
    each = 8 if turned or (image.mode == "RGB" and image.has_transparency_data) else BYTES.get(image.mode, 8)
    if image.format == "WEBP":
        each = WEBP
    elif codec in ("ppm", "ppm_plain", "bmp_rle"):
        each = BY_PYTHON
    total = len(file.getvalue()) + file.taken + pixels * each + ROW * max(image.size)
    total += min(len(image.info.get("exif", b"")), MOST_EXIF) ** 2 // 48  # every entry of half may hold the other half
    if image.format in ("JPEG", "MPO") and not _in_one_scan(image, file):
        total += 2 * pixels * sum(h * v for _, h, v, _ in image.layer) // max(h * v for _, h, v, _ in image.layer)
    if codec == "libtiff":
        total += _strip(image)
    if total > MOST_MEMORY:
        raise UnreadablePicture(
            f"too large: {image.width} x {image.height} pixels would take {total / 1e6:.0f} MB of memory, "
            f"at most {MOST_MEMORY / 1e6:.0f} are"
        )
