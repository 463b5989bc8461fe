"""Layers with all that follows them, against the layers one by one in float64.

They run on a CUDA device if there is one, else in Triton's interpreter.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton.shared import BETA, A, K, interpreting, raw
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import fused, norm
from alexnet.ops.dropout import dropout
from alexnet.ops.fused import Block

pytestmark = pytest.mark.gpu
ACROSS, AROUND = LRN(n=5, k=K, alpha=A, beta=BETA), SpatialLRN(n=3, alpha=0.05)
BLOCKS = {
    "norm after the ReLU, pool, apart": Block(2, 1, 1, 0, "apart", norm=ACROSS, pool=3),
    "norm before the ReLU": Block(2, 1, 1, 0, "apart", norm=ACROSS, norm_first=True, pool=3),
    "groups, both norms, together": Block(2, 2, 1, 1, "together", norm=ACROSS, within=AROUND, pool=3),
    "norm first, norm within": Block(2, 2, 1, 1, "apart", norm=ACROSS, norm_first=True, within=AROUND, pool=2),
    "ReLU alone, apart": Block(2, 1, 1, 1, "apart"),
    "ReLU alone, groups": Block(2, 2, 1, 1, "apart"),
    "pool without a norm, units": Block(2, 2, 1, 1, "units", pool=3),
    "norm, units": Block(2, 1, 1, 1, "units", norm=ACROSS, pool=3),
    "one tower, separate pools": Block(1, 1, 1, 1, "together", norm=ACROSS, pool=2),
    "groups in one convolution": Block(2, 2, 1, 1, "together", norm=ACROSS, within=AROUND, pool=3, apart=False),
    "groups in one convolution, ReLU alone": Block(2, 2, 1, 1, "together", apart=False),
    "groups in one convolution, units": Block(2, 2, 1, 1, "units", pool=3, apart=False),
    "a stride": Block(2, 1, 2, 1, "together", norm=ACROSS, norm_first=True, pool=2),
    "one tower, ReLU alone": Block(1, 1, 1, 0, "together"),
}


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with interpreting():
        yield


def layers(of: Block, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Apply the layers of a block one after the other, to all maps together."""
    y = F.conv2d(x, weight, bias, of.stride, of.padding, 1, of.groups)
    if of.norm is None:
        y = y.relu()
    else:
        y = norm.response_norm(y, of.norm, of.towers, "after" if of.norm_first else "before")
    if of.within:
        y = norm.within_map_norm(y, of.within)
    return F.max_pool2d(y, of.pool, 2, ceil_mode=True) if of.pool else y


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_and_its_gradients_are_those_of_the_layers_in_float64(name: str) -> None:
    """Wherever it writes them. A sum of 36 products and a chain of some 40 roundings are off by less than 1e-5."""
    of = BLOCKS[name]
    size = 1, 4 * of.groups // of.convolutions, 5, 4
    inputs = [raw(*size, seed=1 + i, std=3.0).requires_grad_() for i in range(of.convolutions)]
    maps = 8 * of.towers
    weight, bias = (raw(*shape, seed=9, std=1.0).requires_grad_() for shape in ((maps, 4, 3, 3), (maps,)))
    wide = [t.detach().double().requires_grad_() for t in (weight, bias, *inputs)]
    expected = layers(of, wide[0], wide[1], torch.cat(wide[2:], 1))
    made = fused.block(of, weight, bias, *inputs)
    assert len(made) == (of.towers if of.to == "apart" else 1)
    assert [t.dim() for t in made] == [2 if of.to == "units" else 4] * len(made)
    found = torch.cat(made, 1).view(expected.shape)
    g = raw(*expected.shape, seed=3, std=1.0)
    gradients = torch.autograd.grad(found, (weight, bias, *inputs), g)
    wanted = torch.autograd.grad(expected, wide, g.double())
    for what, number in zip((found, *gradients), (expected, *wanted), strict=True):
        assert (what.double() - number).norm() <= 1e-5 * number.norm()


def test_the_pixels_of_a_block_need_no_gradient() -> None:
    """Nor does the rest change: conv1's input has no gradient in training."""
    of, x = replace(BLOCKS["ReLU alone, apart"], to="together", towers=1), raw(1, 4, 3, 3)
    weight, bias = raw(8, 4, 3, 3).requires_grad_(), raw(8).requires_grad_()
    both = [
        torch.autograd.grad(fused.block(of, weight, bias, i)[0].sum(), weight) for i in (x, x.clone().requires_grad_())
    ]
    assert torch.equal(both[0][0], both[1][0])


@pytest.mark.parametrize("name", ["ReLU alone, apart", "groups, both norms, together"])
def test_a_frozen_block_hands_down_the_gradient_that_it_hands_down_when_it_learns(name: str) -> None:
    of = BLOCKS[name]
    inputs = [raw(1, 4, 5, 4, seed=1 + i, std=3.0).requires_grad_() for i in range(of.convolutions)]
    weight, bias = (raw(*shape, seed=9, std=1.0) for shape in ((8 * of.towers, 4, 3, 3), (8 * of.towers,)))
    down = []
    for learns in (False, True):
        own = (t.clone().requires_grad_(learns) for t in (weight, bias))
        made = fused.block(of, *own, *inputs)
        down.append(torch.autograd.grad(torch.cat(made, 1).sum(), inputs))
    assert all(torch.equal(one, other) for one, other in zip(*down, strict=True))


def test_a_full_layer_that_is_frozen_or_first_to_learn_has_the_gradients_that_are_left() -> None:
    x, weight, bias = (raw(*s, seed=i, std=1.0) for i, s in enumerate(((3, 12), (10, 12), (10,))))
    whole = [t.clone().requires_grad_() for t in (x, weight, bias)]
    fused.full(whole[0], whole[1], whole[2], None).sum().backward()
    for learns in ((True, False, False), (False, True, True)):
        some = [t.clone().requires_grad_(wanted) for t, wanted in zip((x, weight, bias), learns, strict=True)]
        fused.full(some[0], some[1], some[2], None).sum().backward()
        for wanted, one, other in zip(learns, some, whole, strict=True):
            assert wanted == (one.grad is not None)
            assert one.grad is None or (other.grad is not None and torch.equal(one.grad, other.grad))


@pytest.mark.parametrize("probability", [None, 0.5])
def test_a_full_layer_is_its_product_relu_and_dropout_with_their_gradients(probability: float | None) -> None:
    x, weight, bias = (raw(*s, seed=i, std=1.0).requires_grad_() for i, s in enumerate(((3, 12), (10, 12), (10,))))
    wide = [t.detach().double().requires_grad_() for t in (x, weight, bias)]
    place = (5, "fc6", 2**32 + 1, 7)
    expected = F.linear(*wide).relu()
    if probability:
        expected = dropout(expected, probability, *place)
    found = fused.full(x, weight, bias, fused.Dropout(probability, *place) if probability else None)
    assert torch.equal(found == 0, expected == 0)
    g = raw(3, 10, seed=3, std=1.0)
    made = torch.autograd.grad(found, (x, weight, bias), g)
    for one, other in zip((found, *made), (expected, *torch.autograd.grad(expected, wide, g.double())), strict=True):
        assert (one.double() - other).norm() <= 1e-6 * other.norm()


def test_pixels_in_blocks_hand_each_pixel_its_gradient() -> None:
    x = raw(2, 3, 5, 5).requires_grad_()
    g = raw(2, 12, 3, 3, seed=1)
    (dx,) = torch.autograd.grad(fused.packed(x, 2, 3), x, g)
    assert torch.equal(fused.packed(dx, 2, 3)[:, :, :2, :2], g[:, :, :2, :2])


def test_there_is_no_second_derivative() -> None:
    x, weight, bias = raw(1, 4, 3, 3).requires_grad_(), raw(8, 4, 3, 3).requires_grad_(), raw(8).requires_grad_()
    (y,) = fused.block(Block(1, 1, 1, 1, "together"), weight, bias, x)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()
