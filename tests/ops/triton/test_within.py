"""The norm within a map, against the 2012 kernel's formula in float64."""

import pytest
from tests.ops.triton.shared import BETA, A, K, near, raw, slope, triton, within

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 1), (1, 1)], ids=str)
def test_the_norm_within_a_map_is_the_2012_kernel(size: tuple[int, int], n: int) -> None:
    """2012 code: the window is clipped at the border, also in maps smaller than the window."""
    x, g = raw(2, 6, *size, seed=n).requires_grad_(), raw(2, 6, *size, seed=n + 1, std=1.0)
    expected = within(x, n)
    near(triton.within_forward(x.detach(), n, K, A, BETA), expected)
    near(triton.within_backward(g, x.detach(), n, K, A, BETA), slope(expected, x, g))
