"""What the tests of the Triton kernels share: where the kernels run, numbers, and formulas in float64.

They run on a CUDA device if there is one, else in Triton's interpreter. The interpreter computes with numpy: it
truncates to bfloat16 instead of rounding, and has no fused multiply-adds.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
with pytest.MonkeyPatch.context() as patch:
    if not CUDA:
        patch.setenv("TRITON_INTERPRET", "1")  # read where a kernel is defined, so before the import
    pytest.importorskip("triton", reason="Triton is not installed")
    from alexnet.ops import triton as triton

on_cuda = pytest.mark.skipif(not CUDA, reason="no CUDA device here")
RELUS = ["", "before", "after"]
K, A, BETA = 2.0, 0.01, 0.75  # with this a, the sum is as large as k


@contextmanager
def interpreting() -> Iterator[None]:
    """Keep the interpreter's variable set for the first launch, and silence numpy's warnings of NaN."""
    with pytest.MonkeyPatch.context() as patch, np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if not CUDA:
            patch.setenv("TRITON_INTERPRET", "1")
        yield


def raw(*shape: int, seed: int = 0, std: float = 20.0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw numbers as large as pixels."""
    numbers = torch.from_numpy(np.random.default_rng(seed).normal(0, std, shape))
    return numbers.to(DEVICE, dtype, memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)


def window(t: Tensor, n: int, towers: int) -> Tensor:
    """Sum over n maps of a tower, clipped at its first and last (section 3.3): one slice for each neighbour."""
    parts = []
    for tower in t.chunk(towers, 1):
        padded = F.pad(tower, (0, 0, 0, 0, n // 2, n // 2))
        parts.append(sum((padded[:, j : j + tower.shape[1]] for j in range(n)), torch.zeros_like(tower)))
    return torch.cat(parts, 1)


def around(t: Tensor, n: int) -> Tensor:
    """Sum over n x n units of the same map, clipped at its border, as kRNorm of the 2012 code does."""
    h, total = n // 2, torch.zeros_like(t)
    padded = F.pad(t, (h, h, h, h))
    for y in range(n):
        for x in range(n):
            total = total + padded[:, :, y : y + t.shape[2], x : x + t.shape[3]]
    return total


def norm(x: Tensor, towers: int, n: int, relu: str, beta: float = BETA, a: float = A) -> Tensor:
    """Compute section 3.3 in float64, for autograd."""
    b = x.double().relu() if relu == "before" else x.double()
    y = b / (K + a * window(b**2, n, towers)) ** beta
    return y.relu() if relu == "after" else y


def within(x: Tensor, n: int, beta: float = BETA) -> Tensor:
    return x.double() / (K + A * around(x.double() ** 2, n)) ** beta


def slope(y: Tensor, x: Tensor, g: Tensor) -> Tensor:
    return torch.autograd.grad(y, x, g.double())[0]


def near(found: Tensor, expected: Tensor, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Compare; 1e-5 is gamma(84) of float32, for sums of 9 to 25, approximate roots, and gradient terms of about 1."""
    torch.testing.assert_close(found.double(), expected.detach().double(), rtol=rtol, atol=atol, equal_nan=True)


def half_a_unit(dtype: torch.dtype) -> float:
    """Return the largest relative error of one rounding; the interpreter truncates to bfloat16."""
    return {torch.float32: 3e-6, torch.float16: 2**-11, torch.bfloat16: 2**-8 if CUDA else 2**-7}[dtype] * 1.01


def norm_gradient(g: Tensor, x: Tensor, towers: int, n: int, relu: str) -> Tensor:
    """Compute the analytic gradient in float64; ReLU passes it unless x <= 0, so also for NaN, as in PyTorch."""
    g, x, on = g.double(), x.double(), ~(x <= 0)
    b = x.clamp(min=0) if relu == "before" else x
    s = K + A * window(b**2, n, towers)
    g = g.where(on, torch.zeros_like(g)) if relu == "after" else g
    d = g * s**-BETA - 2 * A * BETA * b * window(g * s**-BETA * b / s, n, towers)
    return d.where(on, torch.zeros_like(d)) if relu == "before" else d


def within_gradient(g: Tensor, x: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute in float64 the parts of the gradient of x: direct, u and the weight w, of direct - w window(u)."""
    wide, s = x.double(), K + A * around(x.double() ** 2, n)
    direct = g.double() * s**-BETA
    return direct, direct * wide / s, 2 * A * BETA * wide


def pytorch_pool(y: Tensor, size: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute max_pool2d, and its choices as places in the map and in the window."""
    p, flat = F.max_pool2d(y, size, stride, ceil_mode=True, return_indices=True)
    down = torch.arange(p.shape[2], device=y.device)[:, None] * stride
    across = torch.arange(p.shape[3], device=y.device) * stride
    return p, flat, (flat // y.shape[3] - down) * size + flat % y.shape[3] - across


def chosen(y: Tensor, flat: Tensor) -> Tensor:
    return y.flatten(2).gather(2, flat.flatten(2)).view(flat.shape)
