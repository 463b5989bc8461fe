"""Views in blocks, and where the pictures are kept: the plain forms, against the views that they stand for."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.ops import crop

SIDE, SIZE = 10, 7


def given() -> dict[str, Any]:
    """Draw pictures of a store, and where a view of three of them lies."""
    random = np.random.default_rng(3)
    images = torch.from_numpy(random.integers(0, 256, (3, SIDE, SIDE, 3), np.uint8))
    top, left = torch.from_numpy(random.integers(0, SIDE - SIZE + 1, (2, 3)))
    mean, shift = (torch.from_numpy(random.normal(0, 20, shape)).float() for shape in ((SIDE, SIDE, 3), (3, 3)))
    lie: dict[str, Any] = {"top": top, "left": left, "mirrored": torch.tensor([True, False, True])}
    return {"images": images, "mean": mean, "size": SIZE, "place": True, "shift": shift, "factor": 0.4} | lie


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("side", "blocks"), [(4, 2), (2, 4), (3, 3), (1, 7)])
def test_a_view_in_blocks_has_each_pixel_in_its_place_and_zeros_after_them(
    side: int, blocks: int, dtype: torch.dtype
) -> None:
    """The pixels of a block are its maps: line by line, column by column, red, green and blue."""
    views = crop.cut(**given(), dtype=dtype)
    packed = crop.cut(**given(), dtype=dtype, blocks=(side, blocks))
    assert packed.dtype == dtype
    assert packed.shape == (3, 3 * side * side, blocks, blocks)
    for n, maps, y, x in np.ndindex(*packed.shape):
        (line, column), colour = divmod(maps // 3, side), maps % 3
        line, column = y * side + line, x * side + column
        inside = line < SIZE and column < SIZE
        assert packed[n, maps, y, x] == (views[n, colour, line, column] if inside else 0)


@pytest.mark.parametrize("blocks", [None, (4, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_views_of_a_stores_rows_are_those_of_the_pictures(dtype: torch.dtype, blocks: tuple[int, int] | None) -> None:
    own = given() | {"dtype": dtype, "blocks": blocks}
    images = own["images"]
    rows = torch.tensor([6, 1, 4])
    store = torch.zeros(7, *images.shape[1:], dtype=torch.uint8).index_copy_(0, rows, images)
    assert torch.equal(crop.cut(**own | {"images": store, "rows": rows}), crop.cut(**own))


BOXES = {"top": (0, 2, 3), "left": (1, 0, 4), "height": (10, 3, 7), "width": (9, 10, 1)}


@pytest.mark.parametrize("place", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_scaled_crop_is_its_box_by_bilinear_interpolation(dtype: torch.dtype, place: bool) -> None:
    """By loops, one number at a time: pixel i of a view has its centre at (i + 1/2) length / size of its box.

    The boxes are the whole height, one that is stretched, and a single column.
    """
    own = given()
    images, mean, shift = own["images"].double(), own["mean"].double(), own["shift"].double()
    boxes = {name: torch.tensor(of) for name, of in BOXES.items()}
    kept = {name: own[name] for name in ("images", "mirrored", "mean", "size", "shift", "factor")}
    found = crop.cut_scaled(boxes=tuple(boxes.values()), **kept, place=place, dtype=dtype)  # type: ignore[arg-type]
    assert found.dtype == dtype
    assert found.shape == (3, 3, SIZE, SIZE)
    margin = (SIDE - SIZE) // 2

    def along(i: int, length: int) -> list[tuple[int, float]]:
        at = min(max((i + 0.5) * length / SIZE - 0.5, 0.0), length - 1.0)
        low = int(at)
        return [(low, 1 - at + low), (min(low + 1, length - 1), at - low)]

    for n, colour, y, x in np.ndindex(*found.shape):
        across = SIZE - 1 - x if own["mirrored"][n] else x
        value = 0.0
        for line, down in along(y, BOXES["height"][n]):
            for column, right in along(across, BOXES["width"][n]):
                at = BOXES["top"][n] + line, BOXES["left"][n] + column
                value += down * right * float(images[n][at][colour] - (mean[at][colour] if place else 0))
        value -= 0 if place else float(mean[margin + y, margin + x, colour])
        expected = 0.4 * (value + float(shift[n, colour]))
        room = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.5}[dtype]
        assert abs(float(found[n, colour, y, x]) - expected) < room, (n, colour, y, x)


def test_a_box_of_a_views_size_is_a_plain_crop_to_the_bit() -> None:
    own = given() | {"dtype": torch.float32}
    sides = torch.full((3,), SIZE)
    boxes = own.pop("top"), own.pop("left"), sides, sides
    scaled = crop.cut_scaled(boxes=boxes, **own)
    assert torch.equal(scaled, crop.cut(top=boxes[0], left=boxes[1], **own))


@pytest.mark.parametrize("blocks", [None, (4, 2)])
def test_scaled_crops_of_a_stores_rows_are_those_of_the_pictures(blocks: tuple[int, int] | None) -> None:
    own = given() | {"dtype": torch.float32, "blocks": blocks, "boxes": tuple(map(torch.tensor, BOXES.values()))}
    own = {name: value for name, value in own.items() if name not in ("top", "left")}
    rows = torch.tensor([6, 1, 4])
    store = torch.zeros(7, SIDE, SIDE, 3, dtype=torch.uint8).index_copy_(0, rows, own["images"])
    found = crop.cut_scaled(**own | {"images": store, "rows": rows})
    torch.testing.assert_close(found, crop.cut_scaled(**own), rtol=0, atol=1e-4)


@pytest.mark.parametrize("per_crop", [1, 4])
def test_boxes_are_drawn_by_loops_over_their_words(per_crop: int) -> None:
    """Area uniform in its range, ratio of sides uniform from 1 to the largest, upright half of the time; a function of
    (seed, epoch, picture), also from tensors."""
    ids, side, area, aspect = torch.arange(100) + 40, 32, (0.2, 0.9), 1.5
    drawn = crop.draw_boxes(ids, 5, 7, 2, side, per_crop, area, aspect)
    again = crop.draw_boxes(ids, 5, torch.tensor(7), torch.tensor(2), side, per_crop, area, aspect)
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    for i, (top, left, height, width) in enumerate(zip(*(t.tolist() for t in drawn), strict=True)):
        who = 40 + i if per_crop == 1 else (i + 2) // per_crop
        first, more = (rng.words(5, purpose, who, 7).tolist() for purpose in ("crop", "box"))
        part, ratio = ((word + 0.5) / 2**32 for word in more[:2])
        part, ratio = area[0] + (area[1] - area[0]) * part, 1 + (aspect - 1) * ratio
        ratio = ratio if more[2] >= 2**31 else 1 / ratio
        assert height == min(side, max(1, round(side * math.sqrt(part * ratio))))
        assert width == min(side, max(1, round(side * math.sqrt(part / ratio))))
        assert (top, left) == (first[0] * (side - height + 1) >> 32, first[1] * (side - width + 1) >> 32)
    assert (drawn[2] > drawn[3]).any()
    assert (drawn[2] < drawn[3]).any()


@pytest.mark.parametrize("per_crop", [1, 4])
def test_places_are_drawn_alike_from_numbers_and_from_tensors(per_crop: int) -> None:
    """A captured graph has the epoch and the first picture's place as tensors."""
    components = torch.eye(3)

    def drawn(epoch: int | Tensor, first: int | Tensor) -> list[Tensor]:
        made = crop.draw(torch.arange(12) + 40, 5, epoch, first, 3, per_crop, True, True, 0.1, components)
        assert made[3] is not None
        return [t for t in made if t is not None]

    one, other = drawn(7, 2), drawn(torch.tensor(7), torch.tensor(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    top, left, mirrored, _ = one
    shared = (torch.arange(12) + 2) // per_crop  # pictures 2 to 13 of the epoch: the first crop has two of its four
    for t in (top, left, mirrored):
        for who in shared.unique():
            assert len(t[shared == who].unique()) == 1
    assert not all(torch.equal(a, b) for a, b in zip(one, drawn(8, 2), strict=True))
