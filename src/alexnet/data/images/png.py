"""What of a PNG is left unread: text and colour profiles too large for Pillow, which say nothing about the pixels."""

import zlib

from PIL.PngImagePlugin import MAX_TEXT_CHUNK

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
MOST_TEXT = 1 << 25  # bytes of all text, unpacked, after which no more is looked at
MOST_CHUNKS = 100_000


def unread(data: bytes) -> dict[int, int]:
    """Where each chunk begins and ends that Pillow would refuse the whole file for: it unpacks to over a megabyte.

    Render farms and editors of pictures write such text. What is smaller stays, for it may say how to turn a picture.
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
    """The bytes of a chunk of text, or at most a megabyte of what it unpacks to; 0 where it does not unpack."""
    if name == b"iTXt":
        rest = chunk.partition(b"\0")[2]
        packed = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
    else:
        packed = b"" if name == b"tEXt" else chunk.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_TEXT_CHUNK)) if packed else len(chunk)
    except zlib.error:  # as Pillow will say
        return 0
