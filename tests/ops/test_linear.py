"""A fully connected layer computes the same for one picture as for many."""

import warnings

import pytest
import torch
from tests.rounding import SAFE, deviation, reach
from torch import nn

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.models.alexnet import AlexNet
from alexnet.ops import cpu
from alexnet.ops.linear import linear


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 8), (9216, 40), (100, 7), (3, 1), (17, 3), (9219, 301)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_one_picture_alone_has_the_outputs_it_has_among_others(inputs: int, outputs: int, dtype: torch.dtype) -> None:
    torch.manual_seed(inputs)
    layer, x = nn.Linear(inputs, outputs).to(dtype), torch.randn(2, inputs).to(dtype)
    given = [t.detach().double() for t in (x, layer.weight, layer.bias)]
    wide, squares = nn.functional.linear(*given), nn.functional.linear(*(t.square() for t in given))
    room = SAFE * deviation(inputs + 1, wide, squares, dtype)
    with torch.inference_mode():
        for row in (x[:1], x[1:], x[1:].expand(1, -1)):
            found = linear(row, layer)
            assert found.shape == (1, outputs)
            assert found.dtype == dtype
        assert ((found[0].double() - wide[1]).abs() <= room[1]).all()
        assert ((linear(x, layer).double() - wide).abs() <= room).all()


def test_what_is_to_be_learned_keeps_its_gradient() -> None:
    layer = nn.Linear(8, 3)
    linear(torch.ones(1, 8), layer).sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.ones(3, 8))


def test_what_is_no_number_comes_through() -> None:
    layer = nn.Linear(20, 5)
    with torch.inference_mode():
        assert linear(torch.full((1, 20), float("nan")), layer).isnan().all()


@pytest.mark.parametrize("pictures", [1, 2])
def test_an_input_of_another_size_is_refused(pictures: int) -> None:
    """The kernel never reads past the input's end: one picture raises the same error as two."""
    with torch.inference_mode(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        linear(torch.ones(pictures, 10), nn.Linear(20, 5))


def test_hooks_are_called_for_one_picture_too() -> None:
    layer, seen = nn.Linear(20, 5), []
    layer.register_forward_hook(lambda *_: seen.append(1))
    with torch.inference_mode():
        linear(torch.ones(1, 20), layer)
    assert seen


def test_a_net_can_be_traced() -> None:
    """A tracer or exporter sees PyTorch's own operations."""
    net = AlexNet(small(), seed=1).eval()
    x = 60 * torch.randn(1, 3, 63, 63)
    with torch.inference_mode():
        expected = net(x)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing itself, deprecated
        traced = torch.jit.trace(net, x, check_trace=False)
        found = traced(x)
        net.double()
        (room,) = reach(lambda: [net(x.double())])
    assert room < 1e-2 * expected.abs().max()
    torch.testing.assert_close(found, expected, rtol=0, atol=2 * room)  # one picture's products by another routine


def small() -> Net:
    net = RECIPES["source"].replace(net={"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 3, "image_size": 63}).net
    assert isinstance(net, Net)
    return net


def test_a_forward_of_its_own_and_autocast_are_heeded_for_one_picture_too() -> None:
    layer = nn.Linear(8, 3)
    x = torch.randn(1, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(x, layer).dtype == torch.bfloat16
    vars(layer)["forward"] = torch.zeros_like
    with torch.no_grad():
        assert torch.equal(linear(x, layer), torch.zeros(1, 8))


@pytest.mark.skipif(cpu.library() is None, reason="no C++ compiler here")
@pytest.mark.filterwarnings("ignore")  # of PyTorch's profiler
@pytest.mark.parametrize(("dtype", "taken"), [(torch.bfloat16, True), (torch.float32, False)])
def test_under_autocast_the_kernel_serves_a_picture_in_the_dtype_of_autocast(dtype: torch.dtype, taken: bool) -> None:
    layer, x = nn.Linear(8, 3).to(dtype), torch.randn(1, 8, dtype=dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.profiler.profile() as seen:
        linear(x, layer)
    assert any(event.key == "alexnet::linear" for event in seen.key_averages()) == taken
