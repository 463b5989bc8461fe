"""Supported picture formats, and recognition of other files, so that a message can name what a file is."""

import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from contextlib import suppress

from PIL import Image, features

TAKEN = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # MPO opens as JPEG
BOXED = {  # formats that need a decoder which may be missing, and what would do then
    "AVIF": "which this Pillow was built without; install Pillow's own wheel (pip install --force-reinstall pillow)",
    "HEIC": "which needs pillow-heif: pip install 'alexnet[heic]'",
}
KNOWN = ", ".join((*TAKEN, *BOXED))
SUFFIXES = (  # of these formats, where there is only a name to go by; the content decides what a file is
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"),
    *(".avif", ".heic", ".heif"),
)
START = 512  # bytes at the start of a file that decide its kind
BRANDS = {  # brands of ISO base media files
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"heim": "HEIC",
    b"heis": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"heif": "HEIC",
    b"mif1": "HEIC",
    b"mif2": "HEIC",
    b"miaf": "HEIC",
    b"msf1": "HEIC",
    b"j2ki": "JPEG2000 (HEIF)",
    b"crx ": "Canon raw (CR3)",
    b"jxl ": "JPEG XL",
}
PICTURES = (  # formats that Pillow does not recognise by their first bytes, or calls by another name
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "JPEG2000 (JP2)"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?RADIANCE|#\?RGBE", "Radiance HDR"),
    (rb"FUJIFILMCCD-RAW|IIRO|IIRS|MMOR|IIU\x00|FOVb|\x00MRM", "a camera's raw file (RAF, ORF, RW2, X3F, MRW)"),
    (rb"P[Ff]\n", "PFM"),
    (rb"AT&TFORM", "DjVu"),
    (rb"BPG\xfb", "BPG"),
    (rb"FLIF", "FLIF"),
    (rb"gimp xcf", "XCF"),
    (rb"P7\n", "PAM"),
    (rb".{128}DICM", "DICOM"),
    # TGA has no signature, but its type, colour map and depth are at fixed places. CUR files begin in a similar way.
    (rb".\x00[\x02\x03\x0a\x0b]\x00{5}.{8}[\x08\x0f\x10\x18\x20]", "TGA"),
    (rb".\x01[\x01\x09]\x00\x00..[\x0f\x10\x18\x20].{8}\x08", "TGA"),
    (rb"(?i)\s*(<\?xml.*?)?(<!--.*?-->\s*)*(<!doctype svg.*?)?<svg[\s>]", "SVG"),
)
OTHERS = (
    (rb"version https://git-lfs", "a Git LFS pointer; get the file itself with git lfs pull"),
    (rb".{0,200}/annex/objects/", "a git-annex pointer; get the file itself with git annex get"),
    (rb"(?i)\s*(<!--.*?-->\s*)*(<\?xml.*?\?>\s*)?<(!doctype html|html|head|body)\b", "a web page; download it again"),
    (rb"\s*<[?!a-zA-Z]", "XML"),
    (rb"%PDF", "PDF"),
    (rb"PAR1", "Parquet"),
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive"),
    (rb"\x1f\x8b", "a gzip file"),
    (rb"Rar!|7z\xbc\xaf", "an archive"),
    (rb".{257}ustar", "a tar archive"),
    (rb"\x1aE\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"\x93NUMPY", "a NumPy array"),
)


def is_taken(start: bytes) -> bool:
    """Return whether a file that starts with these bytes has a supported format; it may still be damaged."""
    return bool(_known(start, TAKEN)) or can_decode(boxed(start))


def boxed(start: bytes) -> str:
    """Return "AVIF" or "HEIC" for a file that starts as one, else ""."""
    name = _format(start) if start[4:8] == b"ftyp" else ""
    return name if name in BOXED else ""


@functools.cache
def can_decode(kind: str) -> bool:
    """Return whether this process has a decoder for "AVIF" or "HEIC", without importing it."""
    if kind == "AVIF":
        return bool(features.check_module("avif"))
    if kind != "HEIC" or importlib.util.find_spec("pillow_heif") is None:
        return False
    with suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("pillow-heif"))
    return False


def optional_decoders() -> list[str]:
    """List what changes which pictures can be read: pillow-heif's version if it is there, and the lack of AVIF."""
    found = [f"pillow-heif {importlib.metadata.version('pillow-heif')}"] if can_decode("HEIC") else []
    return found if can_decode("AVIF") else [*found, "no AVIF"]


def refusal(data: bytes) -> str:
    """Say in one line why bytes that Pillow cannot open are refused: the kind of reason, a colon and the detail."""
    start = data[:START].removeprefix(b"\xef\xbb\xbf")
    if not data:
        return "empty: the file has no bytes"
    if not data.strip(b"\0"):
        return "empty: every byte is zero"
    if is_taken(data[:START]):
        return "damaged: its header cannot be read"
    if (name := boxed(start)) and not can_decode(name):
        return f"format not taken: {name}, {BOXED[name]}, or convert it to JPEG or PNG"
    if (name := _format(start)) and not is_taken(start):
        return f"format not taken: {name}; convert it to JPEG or PNG"
    if is_taken(start) or any(mark in start[:64] for mark in (b"\xff\xd8\xff", b"\x89PNG\r\n")):
        return "not a picture: other bytes come before one; remove them"
    if name := _first(OTHERS, start) or ("text" if _is_text(start) else ""):
        return f"not a picture: {name}"
    return f"not a picture: its bytes do not begin like {KNOWN}"


def _format(start: bytes) -> str:
    """Name the picture or video format that starts so and is not supported, or return ""."""
    if start[4:8] == b"ftyp":
        brands = [start[at : at + 4] for at in (8, *range(16, min(len(start), int.from_bytes(start[:4], "big")), 4))]
        found = [BRANDS[brand] for brand in brands if brand in BRANDS]
        return "AVIF" if "AVIF" in found else found[0] if found else "video (MP4, MOV)"
    return _first(PICTURES, start) or _known(start, Image.OPEN)


def _first(table: Iterable[tuple[bytes, str]], start: bytes) -> str:
    return next((name for pattern, name in table if re.match(pattern, start, re.DOTALL)), "")


def _known(start: bytes, formats: Iterable[str]) -> str:
    """Return the first of Pillow's formats whose plugin accepts the first bytes, or ""; nothing else is parsed."""
    Image.init()
    start = start[:16].ljust(16, b"\x7f")  # the plugins expect at least 16 bytes
    return next((f for f in formats if f in Image.OPEN and (a := Image.OPEN[f][1]) and a(start) is True), "")


def _is_text(start: bytes) -> bool:
    try:
        words = start.decode()
    except UnicodeDecodeError as error:  # the last character may be incomplete
        words = start[: error.start].decode() if error.start > START - 4 else "\0"
    return all(letter.isprintable() or letter.isspace() for letter in words)
