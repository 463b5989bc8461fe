"""Views of stored pictures in one pass: crop, mirror, mean, colour and scale (sections 2 and 4.1)."""

import torch
from torch import Tensor

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
) -> Tensor:
    """(pixel - mean + shift) * factor: uint8 (N, side, side, 3) -> `dtype` (N, 3, size, size), channels-last.

    top, left int64 (N,) and mirrored bool (N,) say where each crop lies. mean (side, side, 3) is taken there and
    mirrored with it if `place`, else that of the central crop, unmirrored. shift (N, 3) is the same for all pixels.
    Raises ValueError for pictures of another size or type.
    """
    side = mean.shape[0]
    if images.dtype != torch.uint8 or images.shape[1:] != mean.shape or size > side:
        raise ValueError(
            f"pictures of {tuple(images.shape[1:])} {images.dtype}; these views of {size} pixels are cut from uint8 "
            f"{tuple(mean.shape)}"
        )
    mean, shift = mean.float(), None if shift is None else shift.float()  # autocast may have made it narrow
    given = (images, top, left, mirrored, mean) if shift is None else (images, top, left, mirrored, mean, shift)
    form = best(*given, mean.new_empty(0, dtype=dtype))
    return form.cut(images, top, left, mirrored, mean, size, place, shift, factor, dtype)
