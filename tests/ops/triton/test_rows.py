"""The sizes that kernels are compiled for, against those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton.shared import triton

rows = triton.rows

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("side", range(1, 9))
def test_there_are_as_many_pools_as_pytorch_makes(side: int) -> None:
    """Where PyTorch raises an error, so does pooled_side."""
    for size, stride in [(3, 2), (2, 2), (3, 1), (2, 3), (5, 2)]:
        try:
            expected = F.max_pool1d(torch.zeros(1, 1, side), size, stride, ceil_mode=True).shape[2]
        except RuntimeError:
            with pytest.raises(ValueError, match="too small for pools"):
                rows.pooled_side(side, size, stride)
        else:
            assert rows.pooled_side(side, size, stride) == expected
