"""The update rule in a kernel, against section 5 in float64."""

import math

import pytest
import torch
from tests.ops.triton.shared import CUDA, DEVICE, half_a_unit, near, raw, triton

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("decay", [0.0, 5e-4])
@pytest.mark.parametrize("shape", [(7,), (33, 70), (8, 3, 5, 5), (0,)], ids=str)
def test_the_update_is_section_5s_over_several_steps(shape: tuple[int, ...], decay: float) -> None:
    """v <- 0.9 v - decay rate w - rate g, w <- w + v."""
    w, v = raw(*shape, std=0.01), raw(*shape, seed=1, std=0.001)
    finite = torch.ones(3, dtype=torch.bool, device=DEVICE)
    expected_w, expected_v = w.double(), v.double()
    for step, dtype in enumerate((torch.float32, torch.bfloat16)):
        g, rate = raw(*shape, seed=2 + step, std=1.0, dtype=dtype), 0.01 / (step + 1)
        expected_v = 0.9 * expected_v - decay * rate * expected_w - rate * g.double()
        expected_w = expected_w + expected_v
        shadows = [torch.zeros_like(w, dtype=narrow) for narrow in (torch.float16, torch.bfloat16)]
        before = w.clone(), v.clone()
        for shadow in shadows:
            w.copy_(before[0])
            v.copy_(before[1])
            triton.momentum(w, v, g, shadow, finite[1], rate, 0.9, decay)
        near(v, expected_v, 2e-6, 1e-8)
        near(w, expected_w, 2e-6, 1e-8)
        assert torch.equal(shadows[0], w.half())
        if CUDA:
            assert torch.equal(shadows[1], w.bfloat16())
        near(shadows[1], w, half_a_unit(torch.bfloat16), 0)
        assert finite.all()


@pytest.mark.parametrize("decay", [0.0, 5e-4])
def test_an_update_by_a_rate_in_memory_is_that_by_the_number_to_the_bit(decay: float) -> None:
    """Rows lie at any multiple of 4 bytes; each is rounded once from float64, as a number is."""
    rates = [0.01, 1e-3 / 3, 0.1 / 7]
    rule = torch.tensor([(-decay * rate, -rate) for rate in rates], device=DEVICE)
    given = raw(33, 70, std=0.01), raw(33, 70, seed=1, std=0.001), raw(33, 70, seed=2, std=1.0)
    finite = torch.ones((), dtype=torch.bool, device=DEVICE)
    for row, rate in zip(rule, rates, strict=True):
        (w, v, g), (w2, v2, _) = (tuple(t.clone() for t in given) for _ in range(2))
        triton.momentum(w, v, g, None, finite, rate, 0.9, decay)
        triton.momentum(w2, v2, g, None, finite, row, 0.9, decay)
        assert torch.equal(v, v2)
        assert torch.equal(w, w2)
    with pytest.raises(ValueError, match=r"the rate is torch.float64 \(2,\)"):
        triton.momentum(*given, None, finite, rule[0].double(), 0.9, decay)


def test_an_update_without_decay_does_not_look_at_the_weights() -> None:
    """As in PyTorch's: an infinite weight times a decay of 0 would be NaN in its velocity."""
    w, v, g = (torch.ones(5, device=DEVICE) for _ in range(3))
    w[2] = math.inf
    triton.momentum(w, v, g, None, torch.ones((), dtype=torch.bool, device=DEVICE), 0.1, 0.9, 0.0)
    near(v, torch.full_like(v, 0.8), 1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["weight", "velocity", "gradient"])
def test_an_update_says_where_one_number_of_any_is_not_finite(value: float, part: str) -> None:
    """In any program; the neighbouring flags do not change."""
    for count, at in ((1, 0), (3000, 1023), (3000, 2999)):
        w, v, g = (torch.zeros(count, device=DEVICE) for _ in range(3))
        finite = torch.ones(3, dtype=torch.bool, device=DEVICE)
        triton.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.all()
        {"weight": w, "velocity": v, "gradient": g}[part][at] = value
        triton.momentum(w, v, g, None, finite[1], 0.01, 0.9, 0.0)
        assert finite.tolist() == [True, False, True]


def test_tensors_that_lie_differently_are_no_update() -> None:
    """They raise an error instead of being read in the wrong order. The stride of a side of 1 has no meaning."""
    w, finite = raw(4, 6, 3, 3), torch.ones((), dtype=torch.bool, device=DEVICE)
    with pytest.raises(ValueError, match="layout"):
        triton.momentum(w, w.clone(), w.contiguous(), None, finite, 0.1, 0.9, 0.0)
    with pytest.raises(ValueError, match="layout"):
        triton.momentum(w[:, ::2], w[:, ::2], w[:, ::2], None, finite, 0.1, 0.9, 0.0)
    one = raw(4, 6, 1, 1)
    triton.momentum(one, torch.zeros_like(one), one.as_strided(one.shape, (6, 1, 7, 9)), None, finite, 0.1, 0.9, 0.0)
