"""PNG text and colour profiles that are too large for Pillow; they do not affect the pixels, so they are skipped."""

import zlib

from PIL.PngImagePlugin import MAX_TEXT_CHUNK

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
MOST_TEXT = 1 << 25  # bytes of decompressed text after which every further chunk is skipped
MOST_CHUNKS = 100_000


def unread(data: bytes) -> dict[int, int]:
    """Map the start of each chunk to skip to its end: chunks that decompress to over a megabyte.

    Pillow would refuse the whole file because of one. Render farms and image editors write such text. Smaller chunks
    are kept, since they may contain the orientation.
    """
    found: dict[int, int] = {}
    at, text = len(SIGNATURE), 0
    for _ in range(MOST_CHUNKS):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(data):
            break
        if name in TEXT:
            unpacked = _unpacked(name, data[at + 8 : end - 4]) if text < MOST_TEXT else MAX_TEXT_CHUNK
            text += unpacked
            if unpacked >= MAX_TEXT_CHUNK:
                found[at] = end
        at = end
    return found


def _unpacked(name: bytes, chunk: bytes) -> int:
    """Count the bytes of a text chunk after decompression, up to a megabyte; 0 if it cannot be decompressed."""
    if name == b"iTXt":
        rest = chunk.partition(b"\0")[2]
        packed = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
    else:
        packed = b"" if name == b"tEXt" else chunk.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT_CHUNK)) if packed else len(chunk)
    except zlib.error:  # Pillow will report it
        return 0
