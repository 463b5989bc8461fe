"""Views cut and packed in kernels, against slices, loops and the strided convolution."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton.shared import DEVICE, half_a_unit, near, raw, triton
from torch import Tensor

from alexnet.ops import crop, reference

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


@pytest.mark.parametrize(
    ("side", "size", "place", "dtype"),
    [(9, 6, True, torch.float32), (5, 5, False, torch.bfloat16), (4, 1, True, torch.bfloat16)],
)
def test_views_of_boxes_are_those_of_plain_pytorch(side: int, size: int, place: bool, dtype: torch.dtype) -> None:
    """Out of a larger store, and in blocks; the last box ends where the pictures end."""
    random, n = np.random.default_rng(side), 4
    images = torch.from_numpy(random.integers(0, 256, (7, side, side, 3), np.uint8))
    length = torch.from_numpy(random.integers(1, side + 1, (2, n)))
    first = (torch.from_numpy(random.random((2, n))) * (side - length + 1)).long()
    first[:, -1] = side - length[:, -1]
    mirrored, rows = torch.tensor([True, False, True, False]), torch.tensor([6, 1, 4, 6])
    lines, columns = crop.places(first[0], length[0], size), crop.places(first[1], length[1], size, mirrored)
    mean = torch.from_numpy(random.normal(120, 20, (side, side, 3))).float()
    shift = torch.from_numpy(random.normal(0, 10, (n, 3))).float()

    def there(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.to(DEVICE) for t in tensors)

    for colour, factor in ((None, 1.0), (shift, 0.4)):
        expected = reference.cut_scaled(images, lines, columns, mean, size, place, colour, factor, torch.float64, rows)
        along = None if colour is None else colour.to(DEVICE)
        given = there(images)[0], there(*lines), there(*columns), mean.to(DEVICE), size, place, along, factor, dtype
        found = triton.cut_scaled(*given, rows.to(DEVICE))  # type: ignore[arg-type]
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert (found.dtype, found.shape) == (dtype, (n, 3, size, size))
        near(found.cpu(), expected, half_a_unit(dtype), 1e-4)
        packed = triton.cut_scaled(*given, rows.to(DEVICE), 2, 3)  # type: ignore[arg-type]
        assert torch.equal(packed, triton.pack(found, 2, 3))


def test_no_pictures_have_no_views() -> None:
    none = torch.zeros(0, dtype=torch.int64, device=DEVICE)
    images = torch.zeros(0, 6, 6, 3, dtype=torch.uint8, device=DEVICE)
    mean = torch.zeros(6, 6, 3, device=DEVICE)
    assert triton.cut(images, none, none, none.bool(), mean, 4, True, None, 1.0, torch.float32).shape == (0, 3, 4, 4)


def blocks_of(x: Tensor, side: int, blocks: int) -> Tensor:
    """Return pixels (N, 3, H, W) in blocks, number by number, in the order that crop.cut prints."""
    packed = torch.zeros(len(x), 3 * side * side, blocks, blocks, dtype=x.dtype)
    for y, line in enumerate(x.cpu().unbind(2)):
        for i, pixel in enumerate(line.unbind(2)):
            for colour in range(3):
                packed[:, (y % side * side + i % side) * 3 + colour, y // side, i // side] = pixel[:, colour]
    return packed


SIDES = [(7, 4, 2), (8, 4, 3), (11, 4, 3), (5, 2, 3), (3, 1, 3)]  # of a view, of a block, and the number of blocks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "side", "blocks"), SIDES)
def test_packing_moves_each_pixel_to_its_block_and_unpacking_back(
    size: int, side: int, blocks: int, dtype: torch.dtype
) -> None:
    """Zeros complete the picture. A gradient in blocks, also of those zeros, goes back to the pixels alone."""
    x = raw(2, 3, size, size, dtype=dtype)
    packed = triton.pack(x, side, blocks)
    assert torch.equal(packed.cpu(), blocks_of(x, side, blocks))
    assert packed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(triton.pack(x.contiguous(), side, blocks), packed)
    assert torch.equal(triton.views.unpack(packed, side, size), x)
    g = raw(*packed.shape, seed=1, dtype=dtype)
    (expected,) = torch.autograd.grad(reference.pack(wide := x.double().requires_grad_(), side, blocks), wide, g)
    assert torch.equal(triton.views.unpack(g, side, size).double(), expected)
    assert torch.equal(triton.views.unpack(g.contiguous(), side, size).double(), expected)


@pytest.mark.parametrize(("size", "side", "blocks"), SIDES)
def test_views_cut_in_blocks_are_views_packed(size: int, side: int, blocks: int) -> None:
    """To the bit, out of a larger store, with the colours and the mean in place or not."""
    random, n = np.random.default_rng(size), 3
    images = torch.from_numpy(random.integers(0, 256, (5, size + 2, size + 2, 3), np.uint8)).to(DEVICE)
    top, left = torch.from_numpy(random.integers(0, 3, (2, n))).to(DEVICE)
    mirrored, rows = torch.tensor([True, False, True], device=DEVICE), torch.tensor([4, 0, 2], device=DEVICE)
    mean, shift = raw(size + 2, size + 2, 3), raw(n, 3, seed=1)
    for place, colour in ((True, shift), (False, None)):
        given = images, top, left, mirrored, mean, size, place, colour, 0.4, torch.bfloat16, rows
        assert torch.equal(triton.cut(*given, side, blocks), triton.pack(triton.cut(*given), side, blocks))


@pytest.mark.parametrize(("size", "stride"), [(11, 4), (7, 2), (5, 3), (4, 4)])
def test_conv1_in_blocks_is_the_strided_convolution(size: int, stride: int) -> None:
    """Section 3.5's convolution of size 11 and stride 4 is one of size 3 and stride 1, with its gradients.

    Sums of 3 size^2 products for an output, of as many as outputs for a gradient: in float64, in another order.
    """
    side = size + 3 * stride + 1
    kernel = -(-size // stride)
    blocks = -(-(side - size) // stride) + kernel
    x, w = raw(2, 3, side, side, dtype=torch.float64), raw(4, 3, size, size, seed=1, dtype=torch.float64)
    over = (blocks - kernel) * stride + size - side  # the last window may hang over the right and bottom border
    expected = F.conv2d(F.pad(x.requires_grad_(), (0, over, 0, over)), w.requires_grad_(), stride=stride)
    g = raw(*expected.shape, seed=2, dtype=torch.float64)
    packed, weight = (triton.pack(t.detach(), stride, n).requires_grad_() for t, n in ((x, blocks), (w, kernel)))
    found = F.conv2d(packed, weight)
    assert found.shape == expected.shape
    near(found, expected, 1e-12, 1e-9)
    dx, dw = torch.autograd.grad(expected, (x, w), g)
    in_blocks, of_weight = torch.autograd.grad(found, (packed, weight), g)
    near(triton.views.unpack(in_blocks, stride, side), dx, 1e-12, 1e-9)
    near(triton.views.unpack(of_weight, stride, size), dw, 1e-12, 1e-9)
