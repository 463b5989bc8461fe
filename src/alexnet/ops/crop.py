"""Make views of stored pictures in one pass: crop, mirror, mean, colour and scale (sections 2 and 4.1)."""

import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.ops import cpu, reference
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
    blocks: tuple[int, int] | None = None,
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
        blocks: (side, blocks): give the pixels of a view in blocks of side x side, `blocks` of them along each side of
            the view, which zeros complete to the right and below. The pixels of a block are its maps: line by line,
            column by column, red, green and blue.

    Returns:
        Views, `dtype` (N, 3, size, size), in channels-last memory; in blocks, (N, 3 * side^2, blocks, blocks).

    Raises:
        ValueError: The pictures are not uint8, are not as large as the mean, or are smaller than a view.
    """
    check_pictures(images, mean, size)
    mean, shift = mean.float(), None if shift is None else shift.float()  # autocast may have made them bfloat16
    tensors = [t for t in (images, top, left, mirrored, mean, shift, rows) if t is not None]
    form = best(*tensors, mean.new_empty(0, dtype=dtype))
    given = top, left, mirrored, mean, size, place, shift, factor, dtype
    if form is not cpu and form is not reference:  # one kernel
        views: Tensor = form.cut(images, *given, rows, *(blocks or ()))
        return views
    if form is cpu and rows is not None:  # the C++ form has no rows: a CPU's cache is never one tensor
        images, rows = images[rows], None
    views = form.cut(images, *given) if rows is None else form.cut(images, *given, rows)
    return reference.pack(views, *blocks) if blocks else views


def check_pictures(images: Tensor, mean: Tensor, size: int) -> None:
    """Raise ValueError unless the pictures are uint8, as large as the mean, and no smaller than a view."""
    if images.dtype != torch.uint8 or images.shape[1:] != mean.shape or size > mean.shape[0]:
        raise ValueError(
            f"pictures are {images.dtype} {tuple(images.shape[1:])}; views of {size} pixels need uint8 pictures of "
            f"{tuple(mean.shape)}"
        )


def cut_scaled(
    images: Tensor,
    boxes: tuple[Tensor, Tensor, Tensor, Tensor],
    mirrored: Tensor,
    mean: Tensor,
    size: int,
    place: bool,
    shift: Tensor | None,
    factor: float,
    dtype: torch.dtype,
    rows: Tensor | None = None,
    blocks: tuple[int, int] | None = None,
) -> Tensor:
    """Compute (pixel - mean + shift) * factor for a box of each picture, scaled to a view bilinearly.

    The centre of pixel i of a view lies at (i + 1/2) length / size of a box's side of `length` pixels. Between the
    centres of the box's pixels, the value is interpolated; beyond the outermost centres, it is that of the border.

    Args:
        images: uint8 (N, side, side, 3), as in `cut`.
        boxes: Top, left, height and width of each box, int64 (N,), in pixels.
        mirrored: bool (N,), whether to mirror each view.
        mean: float (side, side, 3), as in `cut`.
        size: Side of a view, in pixels.
        place: Whether to subtract the mean at the box, scaled with it; False: the central crop's.
        shift: As in `cut`.
        factor: As in `cut`.
        dtype: Dtype of the views.
        rows: As in `cut`.
        blocks: As in `cut`.

    Returns:
        Views, as `cut` returns them.

    Raises:
        ValueError: As in `cut`.
    """
    check_pictures(images, mean, size)
    mean, shift = mean.float(), None if shift is None else shift.float()
    top, left, height, width = boxes
    lines, columns = places(top, height, size), places(left, width, size, mirrored)
    tensors = [t for t in (images, top, mirrored, mean, shift, rows) if t is not None]
    form = best(*tensors, mean.new_empty(0, dtype=dtype))
    given = lines, columns, mean, size, place, shift, factor, dtype
    if form is not cpu and form is not reference:  # one kernel
        made: Tensor = form.cut_scaled(images, *given, rows, *(blocks or ()))
        return made
    if form is cpu and rows is not None:
        images, rows = images[rows], None
    views = form.cut_scaled(images, *given) if rows is None else form.cut_scaled(images, *given, rows)
    return reference.pack(views, *blocks) if blocks else views


def places(first: Tensor, length: Tensor, size: int, mirrored: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Find where the pixels of views lie along one side of boxes, from each box's first pixel and its length (N,).

    Returns the last stored pixel at or before each pixel's centre, int64 (N, size), and how far the centre is beyond
    that pixel's, float32 (N, size), 0 to 1.
    """
    centres = torch.arange(size, device=first.device, dtype=torch.float64) + 0.5
    at = (centres * length[:, None] / size - 0.5).clamp(min=0).minimum(length[:, None].double() - 1)
    if mirrored is not None:
        at = torch.where(mirrored[:, None], at.flip(1), at)
    low = at.floor()
    return first[:, None] + low.long(), (at - low).float()


def draw_boxes(
    ids: Tensor,
    seed: int,
    epoch: int | Tensor,
    first: int | Tensor,
    side: int,
    pictures_per_crop: int,
    area: tuple[float, ...],
    aspect: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw a box of each picture (Szegedy et al. 2015): a function of (seed, epoch, picture).

    Its part of the picture's area is uniform in `area`. The ratio of its longer to its shorter side is uniform from 1
    to `aspect`, and half of the boxes are upright. A side longer than the picture is cut to it. All places are equally
    likely.

    Returns:
        Top, left, height and width, int64 (N,), in pixels.
    """
    who = ids
    if pictures_per_crop > 1:
        who = (torch.arange(len(ids), device=ids.device) + first) // pictures_per_crop
    four, more = rng.words(seed, "crop", who, epoch), rng.words(seed, "box", who, epoch)
    part, ratio = ((more[:, i].double() + 0.5) * 2.0**-32 for i in range(2))
    part, ratio = area[0] + (area[1] - area[0]) * part, 1 + (aspect - 1) * ratio
    ratio = torch.where(more[:, 2] >= 1 << 31, ratio, 1 / ratio)  # of height to width
    height, width = ((side * torch.sqrt(of)).round().clamp(1, side).long() for of in (part * ratio, part / ratio))
    return rng.below(four[:, 0], side - height + 1), rng.below(four[:, 1], side - width + 1), height, width


def draw(
    ids: Tensor,
    seed: int,
    epoch: int | Tensor,
    first: int | Tensor,
    margin: int,
    pictures_per_crop: int,
    crops: bool,
    mirror: bool,
    colour: float,
    components: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Draw where a view of each picture lies, and its colours (section 4.1): functions of (seed, epoch, picture).

    Args:
        ids: int64 (N,), the pictures' numbers in the split.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        first: Position in the epoch of the first picture.
        margin: Number of pixels by which a view can move.
        pictures_per_crop: Number of consecutive pictures that share a place and a mirroring.
        crops: Whether to draw places; otherwise all views are central.
        mirror: Whether to mirror half of the views.
        colour: Standard deviation of the alphas; 0 draws no colours.
        components: float32 (3, 3), the principal components of RGB, in columns, with their lengths.

    Returns:
        Top and left, int64 (N,); whether it is mirrored, bool (N,); and the shift of red, green and blue, float (N, 3),
        or None.
    """
    tensors = [t for t in (ids, components, epoch, first) if isinstance(t, Tensor)]
    form = best(*tensors)
    made: tuple[Tensor, Tensor, Tensor, Tensor | None]
    made = getattr(form, "draw", reference.draw)(
        ids, seed, epoch, first, margin, pictures_per_crop, crops, mirror, colour, components
    )
    return made
