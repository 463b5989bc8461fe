"""Make views of stored pictures in one pass: crop, mirror, mean, colour and scale (sections 2 and 4.1)."""

import torch
from torch import Tensor

from alexnet.ops import cpu
from alexnet.ops.dispatch import best


def cut(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    mirrored: Tensor,
    mean: Tensor,
    size: int,
    place: bool,
    shift: Tensor | None,
    factor: float,
    dtype: torch.dtype,
    rows: Tensor | None = None,
) -> Tensor:
    """Compute (pixel - mean + shift) * factor for a crop of each picture.

    Args:
        images: uint8 (N, side, side, 3), raw RGB; with `rows`, any number of them.
        top: int64 (N,), first row of each crop, 0 to side - size.
        left: int64 (N,), first column of each crop, 0 to side - size.
        mirrored: bool (N,), whether to mirror each crop, left to right.
        mean: float (side, side, 3), the mean of the training pictures (section 2).
        size: Side of a view, in pixels.
        place: Whether a crop subtracts the mean at its own place, mirrored with it. That is the paper's order: it
            subtracts the mean from whole pictures, then crops. False: every crop subtracts the central crop's mean,
            unmirrored, as in the 2012 code.
        shift: float (N, 3), added to all pixels of a picture: the colour noise of section 4.1; or None.
        factor: Factor on the result; the paper has 1.
        dtype: Dtype of the views.
        rows: int64 (N,), the index in `images` of each picture to cut; or None, to cut all of them in order. So no
            pictures are copied out of a cache.

    Returns:
        Views, `dtype` (N, 3, size, size), in channels-last memory.

    Raises:
        ValueError: The pictures are not uint8, are not as large as the mean, or are smaller than a view.
    """
    side = mean.shape[0]
    if images.dtype != torch.uint8 or images.shape[1:] != mean.shape or size > side:
        raise ValueError(
            f"pictures are {images.dtype} {tuple(images.shape[1:])}; views of {size} pixels need uint8 pictures of "
            f"{tuple(mean.shape)}"
        )
    mean, shift = mean.float(), None if shift is None else shift.float()  # autocast may have made them bfloat16
    given = [t for t in (images, top, left, mirrored, mean, shift, rows) if t is not None]
    form = best(*given, mean.new_empty(0, dtype=dtype))
    if rows is None or form is cpu:  # the C++ form has no rows: a CPU's cache is never one tensor
        images = images if rows is None else images[rows]
        return form.cut(images, top, left, mirrored, mean, size, place, shift, factor, dtype)
    return form.cut(images, top, left, mirrored, mean, size, place, shift, factor, dtype, rows)
