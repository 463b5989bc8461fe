"""Decoding of one picture's bytes to upright 8-bit RGB, with a list of the conversions that were needed."""

import functools
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from alexnet.data.images.formats import START, TAKEN, boxed, can_decode, refusal
from alexnet.data.images.heif import claims
from alexnet.data.images.jpeg import completed, has_end, unusual
from alexnet.data.images.limits import (
    MOST_BYTES,
    MOST_EXIF,
    Metered,
    UnreadablePicture,
    check_claims,
    check_memory,
    check_work,
    limit_load,
)

try:
    import simplejpeg
except ImportError:  # the optional extra "fast": the same pixels in less time
    simplejpeg = None

# Use simplejpeg only if Pillow has libjpeg-turbo too. Another libjpeg rounds differently, and the pixels must not
# depend on what is installed.
FAST = simplejpeg is not None and bool(features.check_feature("libjpeg_turbo"))

LARGE = 1 << 23  # pixels; from this size on, save memory rather than time
BAND = 1 << 19  # pixels of a large picture to convert at a time

GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
UPRIGHT = {  # EXIF orientation -> the operation that turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, *, exif: bool = True, fast: bool = FAST) -> tuple[Image.Image, list[str]]:
    """Decode a picture to RGB and list the conversions.

    The conversions are, in this order: "no end marker" (a JPEG that lacks only its end marker), "animated" (the first
    of several pictures), "16-bit" (the high byte of each sample), "palette", "grayscale" (replicated to three
    channels), "CMYK", "alpha" (composed over white) and "rotated" (by the EXIF orientation).

    Args:
        data: The bytes of the file. Their content decides the format.
        exif: Whether to apply the EXIF orientation.
        fast: Whether to decode plain JPEGs with simplejpeg. The pixels are the same.

    Returns:
        The picture, in mode RGB, and the names of the conversions.

    Raises:
        UnreadablePicture: The bytes are not a complete picture, or it would take more than 450 MB of memory: about 110
            million pixels of a plain JPEG, 26 million of a WebP. No pixel is decoded in that case.
    """
    if len(data) > MOST_BYTES:
        raise UnreadablePicture(f"too large: {len(data)} bytes; the limit is {MOST_BYTES}")
    try:
        with _quiet():
            return _as_rgb(*_opened(data), exif, data if fast else b"")
    except (UnreadablePicture, MemoryError):  # a MemoryError says nothing about the picture, which may be good
        raise
    except UnidentifiedImageError:  # Pillow's message contains a memory address
        message = refusal(data)
        if not message.startswith("damaged: "):
            raise UnreadablePicture(message) from None
        message = message.removeprefix("damaged: ")
    except Image.DecompressionBombError:
        raise UnreadablePicture("too large: more than 178 million pixels") from None
    except Exception as error:  # for bad bytes Pillow raises OSError, SyntaxError, struct.error and a dozen more
        message = " ".join(str(error).split())[:120] or type(error).__name__
    # Continue outside the except block, where the error no longer holds the image in memory.
    if message.startswith("image file is truncated") and data.startswith(b"\xff\xd8"):
        with _quiet():
            whole = completed(data)
        if whole is not None:
            image, reasons = decode(whole, exif=exif, fast=fast)
            return image, ["no end marker", *reasons]
    if data.startswith(b"\xff\xd8") and (kind := unusual(data)):
        raise UnreadablePicture(f"format not taken: {kind}; convert it to plain JPEG or PNG")
    raise UnreadablePicture(f"damaged: {message}")


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert an open Pillow image to upright RGB, with the pixels that `decode` gives for its file.

    The image is not modified, except that its pixels are loaded. Raises UnreadablePicture if they cannot be loaded, or
    if `decode` does not support the colour mode.
    """
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise UnreadablePicture(f"colour mode not taken: {image.mode}")
    try:
        with _quiet():
            if image.format == "TIFF":
                _check_tiff(image, b"")
            deep = image.mode.startswith("I") or _rawmode_is_deep(image)  # before loading, which loses this information
            image.load()
            turned = _orientation(image)  # after loading, in which Pillow itself turns TIFFs
            rgb = _converted(image._new(image.im), deep)
            return rgb if turned is None else rgb.transpose(UPRIGHT[turned])
    except (UnreadablePicture, MemoryError):
        raise
    except Exception as error:  # as in `decode`
        words = " ".join(str(error).split())[:120] or type(error).__name__
    raise UnreadablePicture(f"damaged: {words}")


def unpack_jpeg(data: bytes | np.ndarray, colours: str, out: np.ndarray) -> bool:
    """Decode a JPEG with simplejpeg into `out`, uint8 H x W x C: C is 3 for colours "RGB", 4 for "RGBX".

    Return False if the size differs, or if simplejpeg raises or warns; then `out` is undefined and Pillow must decode
    the JPEG. Otherwise the pixels equal Pillow's.
    """
    try:
        return simplejpeg.decode_jpeg(data, colours, buffer=out, strict=True).shape == out.shape
    except Exception:  # it raises other types than it documents
        return False


def _opened(data: bytes) -> tuple[Image.Image, Metered]:
    """Open a picture; no other reference keeps the image's memory, so each conversion frees the one before."""
    file = Metered(data)
    if not (kind := boxed(data[:START])):
        return Image.open(file, formats=TAKEN), file
    if not can_decode(kind):
        raise UnidentifiedImageError
    file.claims = claims(data, kind)
    check_claims(kind, file.claims, len(data))
    return Image.open(file, formats=("AVIF",)) if kind == "AVIF" else heic_opener()(file), file


@functools.cache
def heic_opener() -> Callable[[io.BytesIO], Image.Image]:
    """Import pillow-heif on the first call, and return what opens a HEIC; Pillow's own list of formats stays as is."""
    try:
        return importlib.import_module("pillow_heif").HeifImageFile
    except ImportError:
        raise UnreadablePicture(
            "format not taken: HEIC, since the installed pillow-heif cannot be loaded: pip install --force-reinstall "
            "pillow-heif, or convert it to JPEG or PNG"
        ) from None


def _as_rgb(image: Image.Image, file: Metered, exif: bool, jpeg: bytes) -> tuple[Image.Image, list[str]]:
    """Convert an open image to RGB; `jpeg` has the file's bytes if simplejpeg may decode them, else it is empty."""
    if image.mode not in GRAY_MODES + COLOUR_MODES:
        raise UnreadablePicture(f"colour mode not taken: {image.mode}")
    if image.format == "TIFF":
        _check_tiff(image, file.getvalue())
    check_work(image, file)
    reasons = []
    if getattr(image, "is_animated", False):
        reasons.append("animated")
    deep = image.mode.startswith("I") or _rawmode_is_deep(image)
    # Pillow turns TIFFs itself while loading. A PNG is left for later: its EXIF may follow the pixels.
    turned = _orientation(image) if image.format != "PNG" and (exif or image.format == "TIFF") else None
    check_memory(image, file, turned is not None)
    if image.format == "JPEG" and not has_end(file.getvalue()):  # Pillow may silently fill missing pixels with gray
        raise OSError("image file is truncated: it has no end marker")
    limit_load(image, file)
    small = image.width * image.height < LARGE
    unpacked = (
        _unpacked(image, jpeg) if jpeg and small and image.format == "JPEG" and image.mode in ("RGB", "L") else None
    )
    if unpacked is None:
        image.load()
    if exif and image.format == "PNG":
        turned = _orientation(image)
        check_memory(image, file, turned is not None)
    if deep:
        reasons.append("16-bit")
    elif file.claims and file.claims.depth > 8:
        reasons.append(f"{file.claims.depth}-bit")
    if image.mode in ("P", "PA"):
        reasons.append("palette")
    if image.mode in GRAY_MODES:
        reasons.append("grayscale")
    if image.mode == "CMYK":
        reasons.append("CMYK")
    by_decoder = image.format in ("TIFF", "HEIF")  # while loading
    by_box = image.format == "HEIF" and file.claims.turned  # the turn is the file's own, and its EXIF does not count
    if unpacked is not None:
        image = unpacked
    else:
        if image.has_transparency_data:
            reasons.append("alpha")
        image = _converted(image, deep)
    if turned is not None or by_box:
        reasons.append("rotated")
    if turned is not None and not by_decoder:
        image = image.transpose(UPRIGHT[turned])
    image.info.clear()  # drop colour profiles, comments and GPS positions
    return image, reasons


def _converted(image: Image.Image, deep: bool) -> Image.Image:
    """Convert a loaded image to RGB, with transparency over white; `deep` means 16-bit samples in the file."""
    if image.has_transparency_data:
        return _in_bands(image, functools.partial(_over_white, deep=deep))
    if image.mode.startswith("I"):
        return _in_bands(image, lambda part: Image.fromarray(_high_byte(part)).convert("RGB"))
    if image.mode == "RGB":
        return Image.Image()._new(image.im)  # the same pixels, without the file's metadata
    return _in_bands(image, lambda part: part.convert("RGB"))


def _check_tiff(image: Any, data: bytes) -> None:
    """Raise UnreadablePicture for a TIFF whose pixels Pillow would interpret wrongly (TIFF 6.0)."""
    tags = image.tag_v2
    # In a camera's raw file the first picture is a thumbnail with sub-images, or has Canon's mark.
    if (tags.get(254, 0) == 1 and 330 in tags) or data[8:10] == b"CR":
        raise UnreadablePicture("format not taken: a camera's raw file (DNG, NEF, CR2); convert it to JPEG or PNG")
    bits, planes, white_is_zero = max(tags.get(258, (1,))), tags.get(284, 1) == 2, tags.get(262) == 0
    if 8 < bits <= 16 and (bits != 16 or white_is_zero or planes):
        how = "" if bits != 16 else " that count from white" if white_is_zero else " in planes"
        raise UnreadablePicture(f"colour mode not taken: {bits}-bit samples{how}")


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Apply `convert`, which makes RGB of each pixel, to a whole image, or in pieces if the image is large."""
    if image.width * image.height < LARGE:
        return convert(image)
    whole = Image.new("RGB", image.size)
    across = min(image.width, BAND)
    for top in range(0, image.height, down := max(1, BAND // across)):
        for left in range(0, image.width, across):
            box = (left, top, min(left + across, image.width), min(top + down, image.height))
            whole.paste(convert(image.crop(box)), box)
    return whole


def _unpacked(image: Image.Image, jpeg: bytes) -> Image.Image | None:
    pixels = np.empty((image.height, image.width, 4), np.uint8)  # four bytes a pixel, as in Pillow's own memory
    if not unpack_jpeg(jpeg, "RGBX", pixels):
        return None
    return Image.frombytes("RGB", image.size, pixels, "raw", "RGBX")


def _rawmode_is_deep(image: Image.Image) -> bool:
    """Return whether the file has 16-bit samples that Pillow reduces to their high bytes."""
    tiles: list[Any] = getattr(image, "tile", [])
    return bool(tiles) and ";16" in str(tiles[0][3])


def _orientation(image: Image.Image) -> int | None:
    if len(image.info.get("exif") or b"") > MOST_EXIF:
        return None
    try:
        orientation = image.getexif().get(0x0112)
    except Exception:  # unreadable EXIF says nothing about the pixels, which are left as they are
        return None
    return orientation if orientation in UPRIGHT else None


def _high_byte(image: Image.Image) -> np.ndarray:
    """Scale 16-bit gray to 8 bits; Pillow's own conversion would clip almost everything to white."""
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > 0xFFFF:
        raise UnreadablePicture("colour mode not taken: 32-bit samples")
    return (samples >> 8).astype(np.uint8)


def _over_white(image: Image.Image, deep: bool) -> Image.Image:
    if image.mode.startswith("I"):  # the transparent value has 16 bits
        gray = _high_byte(image)
        gray[np.asarray(image) == image.info["transparency"]] = 255
        return Image.fromarray(gray).convert("RGB")
    key = image.info.get("transparency")
    if deep and isinstance(key, tuple):  # the key has 16 bits, but the pixels have lost their low byte
        image.info["transparency"] = tuple(sample >> 8 for sample in key)
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


_silent = logging.NullHandler()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow, which may warn thousands of times about odd metadata and quote it."""
    logging.getLogger("PIL").addHandler(_silent)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
