"""Views of stored pictures in one pass: crop, mirror, mean, colour and scale (sections 2 and 4.1)."""

import torch
from torch import Tensor

from alexnet.ops.forms import best


def cut(
    images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, mean: Tensor, size: int, place: bool,
    shift: Tensor | None, factor: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """(pixel - mean + shift) * factor: uint8 (N, side, side, 3) -> `dtype` (N, 3, size, size), channels-last.

    top, left int64 (N,) and mirrored bool (N,) say where each crop lies. mean (side, side, 3) is taken there and
    mirrored with it if `place`, else that of the central crop, unmirrored. shift (N, 3) is the same for all pixels.
    """
    return best(images, mean).cut(images, top, left, mirrored, mean, size, place, shift, factor, dtype)
