"""Views cut in a kernel, against one slice for each picture."""

import numpy as np
import pytest
import torch
from tests.ops.triton.shared import DEVICE, half_a_unit, near, triton

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("place", [False, True])
@pytest.mark.parametrize(("side", "size"), [(9, 6), (5, 5), (4, 1)])
def test_a_view_is_its_slice_less_its_mean_shifted_and_scaled(
    side: int, size: int, place: bool, dtype: torch.dtype
) -> None:
    """Sections 2 and 4.1, by one slice per picture; the 2012 code subtracts the central crop's mean from every crop."""
    random, n = np.random.default_rng(side), 5
    images = torch.from_numpy(random.integers(0, 256, (n, side, side, 3), np.uint8))
    mean = torch.from_numpy(random.normal(120, 20, (side, side, 3))).float()
    shift = torch.from_numpy(random.normal(0, 10, (n, 3))).float()
    top, left = torch.from_numpy(random.integers(0, side - size + 1, (2, n)))
    mirrored = torch.tensor([True, False, True, True, False])
    middle = slice((side - size) // 2, (side - size) // 2 + size)
    for colour, factor in ((None, 1.0), (shift, 0.4)):
        there, where = images.to(DEVICE), (top.to(DEVICE), left.to(DEVICE), mirrored.to(DEVICE))
        along = None if colour is None else colour.to(DEVICE)
        found = triton.cut(there, *where, mean.to(DEVICE), size, place, along, factor, dtype)
        rows = torch.tensor([6, 1, 4, 0, 2], device=DEVICE)  # the same pictures out of a larger store
        store = torch.zeros(7, side, side, 3, dtype=torch.uint8, device=DEVICE).index_copy_(0, rows, there)
        in_place = triton.cut(store, *where, mean.to(DEVICE), size, place, along, factor, dtype, rows)
        assert torch.equal(in_place, found)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert (found.dtype, found.shape) == (dtype, (n, 3, size, size))
        for i in range(n):
            here = slice(int(top[i]), int(top[i]) + size), slice(int(left[i]), int(left[i]) + size)
            crop, own = images[i][here].double(), mean[here] if place else mean[middle, middle]
            if mirrored[i]:
                crop, own = crop.flip(1), own.flip(1) if place else own
            expected = (crop - own + (0 if colour is None else colour[i])) * factor
            near(found[i].cpu(), expected.permute(2, 0, 1), half_a_unit(dtype), 1e-5)


def test_no_pictures_have_no_views() -> None:
    none = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    images = torch.zeros(0, 6, 6, 3, dtype=torch.uint8, device=DEVICE)
    mean = torch.zeros(6, 6, 3, device=DEVICE)
    assert triton.cut(images, none, none, none.bool(), mean, 4, True, None, 1.0, torch.float32).shape == (0, 3, 4, 4)
