"""The error models that other tests lean on: they cover sums in any order, and not much more."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.rounding import SAFE, Rounded, deviation, gamma, reach

ORDERS = ["one after the other", "sixteen at a time", "in pairs", "from the end"]


def summed(products: np.ndarray, order: str) -> np.ndarray:
    """Sums of the last axis in float32, in an order that a library may have."""
    if order == "from the end":
        products = products[..., ::-1]
    if order == "in pairs":
        while products.shape[-1] > 1:
            products = products[..., ::2] + products[..., 1::2]
        return products[..., 0]
    lanes = products.reshape(*products.shape[:-1], -1, 16) if order == "sixteen at a time" else products[..., None]
    kept = np.zeros_like(lanes[..., 0, :])
    for i in range(lanes.shape[-2]):
        kept = kept + lanes[..., i, :]
    return kept if kept.shape[-1] == 1 else summed(kept, "in pairs")[..., None]


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["of both signs", "of one sign"])
@pytest.mark.parametrize("order", ORDERS)
def test_sums_in_any_order_lie_within_the_models(order: str, shift: float) -> None:
    random = np.random.default_rng(1)
    a, b = (random.normal(shift, 1, (500, 1024)).astype(np.float32) for _ in range(2))
    exact = (a.astype(np.float64) * b).sum(1)
    apart = np.abs(summed(a * b, order).reshape(500) - exact)
    squares = torch.from_numpy((a.astype(np.float64) * b) ** 2).sum(1)
    likely = deviation(1024, torch.from_numpy(exact), squares).numpy()
    assert (apart <= SAFE * likely).all()
    assert (apart <= gamma(1024, torch.float32) * np.abs(a.astype(np.float64) * b).sum(1)).all()
    if order == "one after the other":
        assert np.sqrt((apart**2).mean()) > np.sqrt((likely**2).mean()) / 10  # and the model is not far above


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_one_rounded_layer_is_off_by_lies_within_its_reach(dtype: torch.dtype) -> None:
    """Forwards and backwards, on whatever machine this is."""
    random = torch.Generator().manual_seed(3)
    given = [torch.randn(*shape, generator=random).to(dtype) for shape in ((4, 8, 9, 9), (16, 8, 3, 3), (10, 16))]

    def act(wide: bool = True) -> list[torch.Tensor]:
        x, kernels, weight = (t.double() if wide else t for t in given)
        kernels = kernels.detach().requires_grad_()
        y = F.conv2d(x, kernels).mean((2, 3))
        (y @ weight.T).sum().backward()
        assert kernels.grad is not None
        return [(y @ weight.T).detach(), kernels.grad]

    for found, exact, most in zip(act(wide=False), act(), reach(act, dtype), strict=True):
        assert 0 < (found.double() - exact).abs().max() < most < 0.2 * exact.abs().max()


def test_other_draws_are_other_errors_and_the_same_draw_the_same() -> None:
    x = torch.randn(50, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = []
    for seed in (0, 0, 1):
        with Rounded(torch.float32, seed), torch.inference_mode():
            drawn.append(F.linear(x, x))
    assert torch.equal(drawn[0], drawn[1])
    assert not (drawn[0] == drawn[2]).any()
    assert not (drawn[0] == F.linear(x, x)).any()


def test_gamma_is_highams() -> None:
    assert gamma(1000, torch.float32) == pytest.approx(1000 / (2**24 - 1000), rel=gamma(4))
