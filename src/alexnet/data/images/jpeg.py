"""JPEGs without an end marker: finding out whether anything else is missing."""

import hashlib
import io
from collections.abc import Iterator

from PIL import Image

from alexnet.data.images.limits import MARKER

END, SCAN = b"\xff\xd9", b"\xff\xda"
MOST_BYTES = 1 << 24  # bytes of a file without an end marker, which is held in memory twice
MOST_WORK = 300_000_000  # pixels times scans of such a file, which is decoded up to 18 times
# Bytes to try in the place of missing bits. 0xff is left out, since it would begin a marker.
PADDINGS = [bytes([n, (7 * n + 85) % 255, (31 * n) % 255]) * 32 for n in range(0, 255, 21)]


def has_end(data: bytes) -> bool:
    """Return whether an end marker follows the start of the last scan."""
    return data.endswith(END) or data.rfind(END) > data.rfind(SCAN)


def completed(data: bytes) -> bytes | None:
    """Add the end marker to a JPEG if only that is missing; return None if pixels are or may be missing too.

    If bits of the last block are missing, the decoder reads the bytes that follow, and so the pixels depend on those
    bytes. The function decodes the file with several paddings: if the pixels never differ, all their bits are there.
    """
    # Zeros at the end were never written as data, but a decoder would read them as bits.
    kept = data.rstrip(b"\0").rstrip(b"\xff")
    kept += data[len(kept) : len(kept) + 2] if data.startswith(b"\xff\0", len(kept)) else b""  # a byte of ones
    try:
        if len(kept) > MOST_BYTES or not _has_all_scans(kept):
            return None
        pixels = _digest(kept + END)
        return kept + END if all(_digest(kept + p + END) == pixels for p in _paddings(kept)) else None
    except Exception:  # Pillow can raise anything for bad bytes; then more is wrong than the end
        return None


def unusual(data: bytes) -> str:
    """Name a kind of JPEG that Pillow does not decode, or return "" for other kinds."""
    for found in MARKER.finditer(data, 2, 1 << 16):
        marker, depth = found[1][0], data[found.end() + 2 : found.end() + 3]
        if marker == 0xF7:
            return "JPEG-LS"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            deep = f"JPEG of {depth[0]} bits" if depth not in (b"", b"\x08") else ""
            return "lossless JPEG" if marker == 0xC3 else deep
    return ""


def _paddings(data: bytes) -> Iterator[bytes]:
    yield from PADDINGS
    # The number of the next restart marker, from which the decoder may read on after damage.
    number = max(data.rfind(b"\xff" + bytes([0xD0 + n])) * 8 + n for n in range(8)) % 8 + 1
    for padding in PADDINGS[:4]:
        yield b"".join(b"\xff" + bytes([0xD0 + (number + n) % 8]) + padding for n in range(8))


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans cover each coefficient to its lowest bit, and the file has no end marker."""
    missing: set[tuple[int, int]] | None = None
    at = 2
    while found := MARKER.search(data, at):
        marker, start = found[1][0], found.end()
        at = start + int.from_bytes(data[start : start + 2], "big")
        segment = data[start + 2 : at]
        if marker == 0xD9 or at > len(data):
            return False
        if marker in (0xC0, 0xC1, 0xC2):
            missing = {(component, k) for component in segment[6::3] for k in range(64)}
        if marker == 0xDA and missing is not None:
            first, last, bits = segment[-3:]
            if bits & 15 == 0:
                missing -= {(component, k) for component in segment[1:-3:2] for k in range(first, last + 1)}
    return missing is not None and not missing


def _digest(data: bytes) -> bytes:
    total = hashlib.sha256()
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        if image.width * image.height * data.count(SCAN) > MOST_WORK:
            raise ValueError("too much work")
        rows = max(1, (1 << 19) // image.width)
        for top in range(0, image.height, rows):
            total.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return total.digest()
