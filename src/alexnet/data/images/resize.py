"""Pictures made square and resized, with Pillow's bilinear filter or a faster one that gives the same bits."""

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image

from alexnet.ops import cpu_build

Fit = Literal["crop", "pad", "warp"]

BITS = 22  # fraction bits of Pillow's weights for 8-bit pictures
FILL = 128  # of each colour beside a picture that is fitted by "pad"
LARGE, WIDE = 1 << 23, 1 << 16  # pixels, in all and in a row; from here on the compiled form takes too much memory


def square(image: Image.Image, side: int, fit: Fit = "crop") -> np.ndarray:
    """Resize an RGB image so that its shorter side is `side`, and crop the centre (section 2): uint8 side x side x 3.

    One antialiased bilinear resize does both, so every aspect ratio costs the same. With `fit` "warp", squeeze the
    whole image into the square instead, as Caffe's nets were trained. With "pad", resize it so that its longer side is
    `side`, centre it, and fill the rest with gray (128, 128, 128).
    """
    left, top, (wide, high), across, down = 0, 0, image.size, side, side  # the box to take, and what it becomes
    if fit == "crop":
        wide = high = min(image.size)
        # Crop at whole pixels: an offset of half a pixel would blur a picture that already has the right size.
        left, top = (image.width - wide) // 2, (image.height - high) // 2
    elif fit == "pad":
        longer = max(image.size)
        across, down = (max(1, (length * side + longer // 2) // longer) for length in image.size)
    fast = compiled_form() if image.width * image.height < LARGE and image.width < WIDE else None
    if fast is None:
        return _in_middle(_by_pillow(image, left, top, wide, high, across, down), side)
    pixels, out = np.ascontiguousarray(image), np.empty((side, side, 3), np.uint8)
    both = _spread(taps(image.width, left, wide, across), side), _spread(taps(image.height, top, high, down), side)
    arguments = [a for first, weights in both for a in (first.ctypes.data, weights.ctypes.data, weights.shape[1])]
    fast(pixels.ctypes.data, image.width, image.height, side, *arguments, out.ctypes.data)
    if (across, down) == (side, side):
        return out
    above, before = (side - down) // 2, (side - across) // 2
    return _in_middle(out[above : above + down, before : before + across], side)


def outside(width: int, height: int) -> float:
    """Return the share of a picture's area, 0 to 1, that lies outside its central square."""
    return 1 - min(width, height) / max(width, height)


def _in_middle(made: np.ndarray, side: int) -> np.ndarray:
    """Centre a picture in a square of gray; a picture that is that square is returned as it is."""
    down, across = made.shape[:2]
    if (across, down) == (side, side):
        return made
    out = np.full((side, side, 3), FILL, np.uint8)
    above, before = (side - down) // 2, (side - across) // 2
    out[above : above + down, before : before + across] = made
    return out


def _spread(made: tuple[np.ndarray, np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
    """Extend the taps of fewer than `side` outputs by outputs on both sides that have no weight."""
    first, weights = made
    if len(first) == side:
        return made
    before = (side - len(first)) // 2
    beside = (before, side - len(first) - before)
    return np.pad(first, beside, "edge"), np.pad(weights, (beside, (0, 0)))


def _by_pillow(image: Image.Image, left: int, top: int, wide: int, high: int, across: int, down: int) -> np.ndarray:
    """Resize with Pillow, rows first, then columns, to `across` x `down` pixels."""
    # Two calls, since in a single one the order of the passes depends on Pillow's version and the picture's shape.
    bilinear, margin = Image.Resampling.BILINEAR, max(1, -(-high // down)) + 1
    above, below = max(0, top - margin), min(image.height, top + high + margin)
    if image.height <= 2 * (below - above):
        rows = image.resize((across, image.height), bilinear, box=(left, 0, left + wide, image.height))
        return np.array(rows.resize((across, down), bilinear, box=(0, top, across, top + high)))
    # A tall picture: resize only the rows that count, with Pillow's arithmetic. A strip of 1 x 1,000,000 would take
    # 1 GB otherwise.
    some = np.array(image.resize((across, below - above), bilinear, box=(left, above, left + wide, below)))
    first, weights = taps(image.height, top, high, down)
    total = np.full((down, across, 3), 1 << BITS - 1, np.int64)
    for t in range(weights.shape[1]):
        total += weights[:, t, None, None] * some[np.minimum(first - above + t, len(some) - 1)].astype(np.int64)
    return (total >> BITS).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def taps(length: int, start: int, extent: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the first input and the weights, int32 (side, most), for each of `side` outputs of a 1-D resize.

    There are `length` inputs; the outputs cover `extent` of them, from `start` on. The filter is a triangle, as wide
    as two outputs but at least two inputs. The weights sum to 1, scaled by 2 ** BITS and rounded.
    """
    scale = extent / side
    support = max(scale, 1.0)
    centres = start + (np.arange(side) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + support + 0.5).astype(np.int64), length)
    most = int((last - first).max())
    at = np.arange(most)
    places = (at + first[:, None] - centres[:, None] + 0.5) * (1.0 / support)
    weights = np.where(at < (last - first)[:, None], np.clip(1.0 - np.abs(places), 0.0, None), 0.0)
    total = np.zeros(side)
    for t in at:  # in Pillow's order, since another order may change the last bit
        total += weights[:, t]
    return first.astype(np.int32), np.floor(weights / total[:, None] * 2**BITS + 0.5).astype(np.int32)


@functools.cache
def compiled_form() -> Callable[..., None] | None:
    """Return the compiled resize, built on the first call on a machine, or None if it cannot be built."""
    try:
        return getattr(cpu_build.library(), "alexnet_resize", None)
    except OSError:
        return None  # Pillow gives the same bits, more slowly
