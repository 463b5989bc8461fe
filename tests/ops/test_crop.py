"""Views in blocks, and where the pictures are kept: the plain forms, against the views that they stand for."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

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
