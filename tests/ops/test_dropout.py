"""The paper's dropout (section 4.2; 2012 code, layer.cu:1126-1153): the mask depends on place, without rescaling."""

import math

import pytest
import torch
from torch import Tensor

from alexnet.ops.dropout import Dropout, dropout


def kept(
    p: float = 0.5,
    rows: int = 64,
    units: int = 256,
    *,
    seed: int = 0,
    layer: str = "fc6",
    step: int = 3,
    position: int = 0,
) -> Tensor:
    """Return which units stay, at some place."""
    return dropout(torch.ones(rows, units), p, seed, layer, step, position) == 1


@pytest.mark.parametrize("p", [0.5, 0.2, 0.9])
def test_the_fraction_of_zeros_is_p(p: float) -> None:
    """Section 4.2: "setting to zero the output of each hidden neuron with probability 0.5"."""
    rows, units = 256, 1000
    dropped = (~kept(p, rows, units)).double()
    n = rows * units
    assert abs(dropped.mean().item() - p) < 5 * math.sqrt(p * (1 - p) / n)  # five binomial deviations
    for axis, many in ((0, rows), (1, units)):  # all units and pictures are alike: none of 1000 is past 5.5 deviations
        assert (dropped.mean(axis) - p).abs().max() < 5.5 * math.sqrt(p * (1 - p) / many)


def test_neighbouring_units_pictures_and_steps_are_independent() -> None:
    """Section 4.2: "every time an input is presented, the neural network samples a different architecture"."""
    mask = kept(rows=256, units=1024).double() - 0.5
    after = kept(rows=256, units=1024, step=4).double() - 0.5
    bound = 5 / math.sqrt(mask.numel() / 2)  # five deviations of a mean of +-1
    for other in (mask.roll(1, 0), mask.roll(1, 1), mask.roll(2, 1), mask.roll(4, 1), after):
        assert abs((4 * mask * other).mean().item()) < bound


def test_p_of_zero_drops_nothing() -> None:
    x = torch.randn(8, 33)
    assert torch.equal(dropout(x, 0.0, 0, "fc6", 0, 0), x)


def test_what_stays_is_not_rescaled() -> None:
    """Section 4.2 multiplies by 0.5 in testing; training leaves the outputs that stay as they are."""
    x = torch.randn(16, 100)
    y = dropout(x, 0.5, 0, "fc7", 0, 0)
    assert torch.equal(y[y != 0], x[y != 0])
    assert 0 < (y == 0).double().mean() < 1


def test_the_gradient_goes_through_what_stays_alone() -> None:
    """Section 4.2: dropped units "do not contribute to the forward pass and do not participate in backpropagation"."""
    x = torch.randn(16, 100, requires_grad=True)
    dropout(x, 0.5, 0, "fc7", 0, 0).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad == 1, kept(rows=16, units=100, layer="fc7", step=0))


@pytest.mark.parametrize("share", [1, 3, 8])
def test_the_rows_of_a_split_batch_are_the_rows_of_the_whole(share: int) -> None:
    """A mask is a function of the place in the global batch, so replicas and accumulation agree."""
    whole = kept(rows=24)
    parts = [kept(rows=min(share, 24 - first), position=first) for first in range(0, 24, share)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("units", [1, 2, 3, 4, 5, 31, 255])
def test_a_units_mask_does_not_depend_on_how_many_units_there_are(units: int) -> None:
    assert torch.equal(kept(units=units), kept(units=256)[:, :units])


def test_another_seed_layer_step_or_position_is_another_mask() -> None:
    """Two masks of 16,384 fair coins agree in half of them, within five standard deviations."""
    masks = [
        kept(), kept(seed=1), kept(seed=2**31), kept(layer="fc7"), kept(step=4), kept(step=2**32 + 3),
        kept(step=2**33 + 3), kept(position=64),
    ]  # fmt: skip
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).double().mean().item() - 0.5) < 5 * 0.5 / math.sqrt(one.numel())


def test_the_same_place_is_the_same_mask_in_any_dtype() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        x = torch.ones(8, 40, dtype=dtype)
        y = dropout(x, 0.5, 7, "fc6", 9, 2)
        assert y.dtype == dtype
        assert torch.equal(y == 1, kept(rows=8, units=40, seed=7, step=9, position=2))


def test_a_kernel_without_autograd_masks_gradients_as_units() -> None:
    """As on a CUDA device: what the kernel returns has no history of its own. Also the second derivative."""
    place = 0.5, 1, "fc6", 7, 32, 0
    plain, x = (torch.ones(4, 40, dtype=torch.float64, requires_grad=True) for _ in range(2))
    expected = dropout(plain, *place)
    found = Dropout.apply(x, lambda t, *at: dropout(t.detach(), *at), place)  # type: ignore[no-untyped-call]
    assert torch.equal(found, expected)
    first = [torch.autograd.grad(y.pow(3).sum(), t, create_graph=True)[0] for y, t in ((expected, plain), (found, x))]
    assert torch.equal(*first)
    second = [torch.autograd.grad(g.sum(), t)[0] for g, t in zip(first, (plain, x), strict=True)]
    assert torch.equal(*second)
    assert second[1].any()
