"""Our operators as PyTorch checks them: schema, fake tensors, autograd, ahead-of-time dispatch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from alexnet.models import build  # which registers the operators

assert build
ACROSS, WITHIN = (2, 3, 2.0, 0.1, 0.75, "before"), (3, 1.0, 0.1, 0.75)


def raw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def given(name: str, dtype: torch.dtype) -> tuple[Any, ...]:
    """Make the arguments of an operator; tensors that it differentiates ask for their gradient."""
    x = raw(2, 8, 5, 4, dtype=dtype).requires_grad_()
    pools, index = torch.ops.alexnet.norm_pool(x.detach(), *ACROSS, 3)
    step = torch.tensor(5)
    return {
        "norm": (x, *ACROSS),
        "norm_backward": (raw(2, 8, 5, 4, dtype=dtype), x.detach(), *ACROSS),
        "within": (x, *WITHIN),
        "within_backward": (raw(2, 8, 5, 4, dtype=dtype), x.detach(), *WITHIN),
        "norm_pool": (x, *ACROSS, 3),
        "norm_pool_backward": (torch.ones_like(pools), index, x.detach(), *ACROSS, 3),
        "dropout": (raw(4, 6, dtype=dtype).requires_grad_(), step, 0.5, 1, "fc6", 8, 2),
        "linear": tuple(raw(*shape, dtype=dtype).requires_grad_() for shape in ((1, 6), (5, 6), (5,))),
    }[name]


BOTH = [f"{name}{way}" for name in ("norm", "within", "norm_pool") for way in ("", "_backward")]
OPERATORS = [*BOTH, "dropout", "linear"]


@pytest.mark.filterwarnings("ignore")  # of parts of PyTorch that its check uses
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_passes_pytorchs_own_check(name: str, dtype: torch.dtype) -> None:
    torch.library.opcheck(getattr(torch.ops.alexnet, name), given(name, dtype))


@pytest.mark.parametrize("name", ["norm", "within", "norm_pool", "dropout", "linear"])
def test_the_gradient_of_an_operator_is_its_slope(name: str) -> None:
    operator, (x, *others) = getattr(torch.ops.alexnet, name), given(name, torch.float64)
    tensors = [x, *(t for t in others if isinstance(t, Tensor) and t.requires_grad)]
    rest = others[len(tensors) - 1 :]

    def first(*given: Tensor) -> Tensor:
        found = operator(*given, *rest)
        return found if isinstance(found, Tensor) else found[0]

    assert torch.autograd.gradcheck(first, tensors)


def test_a_gradient_without_a_derivative_says_so() -> None:
    x = raw(1, 8, 3, 3, dtype=torch.float64).requires_grad_()
    pools, _ = torch.ops.alexnet.norm_pool(x, *ACROSS, 3)
    (slope,) = torch.autograd.grad(pools.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="has no derivative of its own; use create_graph=False"):
        slope.sum().backward()


@pytest.mark.parametrize("size", [2, 3])
def test_pools_of_a_norm_are_the_norm_and_then_the_pools(size: int) -> None:
    """Also their gradient, where windows overlap, hang over the border, and hold ties at zero."""
    x = raw(2, 8, 6, 5, dtype=torch.float64).requires_grad_()
    pools, index = torch.ops.alexnet.norm_pool(x, *ACROSS, size)
    y = torch.nn.functional.max_pool2d(torch.ops.alexnet.norm(x, *ACROSS), size, 2, ceil_mode=True)
    assert torch.equal(pools, y)
    assert int(index.max()) < size * size
    g = raw(*pools.shape, dtype=torch.float64)
    found, expected = (torch.autograd.grad(t, x, g)[0] for t in (pools, y))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
