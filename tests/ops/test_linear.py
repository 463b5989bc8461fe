"""A fully connected layer for one picture is the layer for many."""

import pytest
import torch
from torch import nn

from alexnet.ops.linear import linear


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 8), (9216, 40), (100, 7), (3, 1), (17, 3)])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7)])
def test_one_picture_alone_has_the_outputs_it_has_among_others(
    inputs: int, outputs: int, dtype: torch.dtype, rtol: float
) -> None:
    torch.manual_seed(inputs)
    layer, x = nn.Linear(inputs, outputs), torch.randn(2, inputs)
    wide = nn.functional.linear(x.to(dtype).double(), layer.weight.to(dtype).double(), layer.bias.to(dtype).double())
    layer = layer.to(dtype)
    with torch.inference_mode():
        for row in (x.to(dtype)[:1], x.to(dtype)[1:], x.to(dtype)[1:].expand(1, -1)):
            found = linear(row, layer)
            assert found.shape == (1, outputs)
            assert found.dtype == dtype
        both = linear(x.to(dtype), layer)
        torch.testing.assert_close(found[0].double(), wide[1], rtol=rtol, atol=rtol)
        torch.testing.assert_close(both.double(), wide, rtol=rtol, atol=rtol)


def test_what_is_to_be_learned_keeps_its_gradient() -> None:
    layer = nn.Linear(8, 3)
    linear(torch.ones(1, 8), layer).sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones(3, 8))


def test_what_is_no_number_comes_through() -> None:
    layer = nn.Linear(20, 5)
    with torch.inference_mode():
        assert linear(torch.full((1, 20), float("nan")), layer).isnan().all()
