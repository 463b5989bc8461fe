"""conv1 on blocks of pixels: the convolution itself, but for rounding."""

import pytest
import torch
from tests.rounding import gamma
from torch import Tensor, nn

from alexnet.config.recipes import RECIPES
from alexnet.models.build import build
from alexnet.ops import blocked

LAYERS = [(11, 4, 227), (5, 2, 57), (5, 2, 28), (3, 3, 20), (7, 2, 23), (2, 3, 17)]  # kernel, stride, side


def made(size: int, stride: int, side: int) -> tuple[nn.Conv2d, Tensor]:
    draws = torch.Generator().manual_seed(size)
    layer = nn.Conv2d(3, 8, size, stride)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    return layer, torch.randn(2, 3, side, side, generator=draws).requires_grad_()


@pytest.mark.parametrize(("size", "stride", "side"), LAYERS)
def test_it_is_the_convolution_but_for_the_order_of_its_sums(size: int, stride: int, side: int) -> None:
    """Values and gradients. A sum of n products in any order is off by gamma(n) times the sum of their magnitudes."""
    layer, x = made(size, stride, side)
    assert layer.bias is not None
    inputs: list[Tensor] = [x, layer.weight, layer.bias]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    found, exact = blocked.convolution(x, layer), torch.conv2d(wide[0], wide[1], wide[2], stride)
    g = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1))
    magnitudes = [t.detach().abs().double().requires_grad_() for t in inputs]
    largest = torch.conv2d(magnitudes[0], magnitudes[1], magnitudes[2], stride)
    slopes = torch.autograd.grad(found, inputs, g)
    expected, bounds = (
        torch.autograd.grad(exact, wide, g.double()),
        torch.autograd.grad(largest, magnitudes, g.abs().double()),
    )
    terms = [3 * size**2 + 1, 8 * (-(-size // stride)) ** 2, exact[:, 0].numel(), exact[:, 0].numel()]
    for one, other, bound, n in zip((found, *slopes), (exact, *expected), (largest, *bounds), terms, strict=True):
        assert one.shape == other.shape
        # Both sides: zeros at the kernel's edge add nothing, and a library may add in float32 in any order.
        assert ((one.double() - other).abs() <= gamma(n + 2, torch.float32) * bound).all()


def test_float64_says_it_is_the_same_sum() -> None:
    layer, x = made(11, 4, 227)
    layer, x = layer.double(), x.detach().double()
    torch.testing.assert_close(blocked.convolution(x, layer), layer(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("choice", ["on", "off"])
def test_a_net_computes_conv1_as_chosen(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    recipe = RECIPES["tiny"].replace(net={"channels": (8,) * 5, "hidden": 16, "classes": 3, "std": (0.1,) * 8})
    net, x = build(recipe.net, 1), torch.randn(1, 3, 56, 56)
    monkeypatch.setenv("ALEXNET_CPU", f"blocks={choice}")
    first = net.get_submodule("pad1")(x)
    assert blocked.in_blocks(first, net.get_submodule("conv1")) == (choice == "on")
    assert not blocked.in_blocks(first, net.get_submodule("conv2"))
    monkeypatch.delenv("ALEXNET_CPU")
    plain = net.eval()(x)
    monkeypatch.setenv("ALEXNET_CPU", f"blocks={choice}")
    near = 1e-4 * float(plain.detach().abs().max())  # float32, some thousand roundings
    torch.testing.assert_close(net(x), plain, rtol=0, atol=near if choice == "on" else 0)
