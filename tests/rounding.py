"""How far rounding may move a result: the error models that the suite's tolerances follow from.

Processors and libraries sum in orders of their own, with fused multiply-adds or without. A tolerance read off one of
them fails on another, so tests take theirs from here. u is the largest relative error of one rounding.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SAFE = 4.0  # deviations: beyond them one number in 1,500 lies by Azuma's inequality, and far fewer in truth
BESIDE = 32  # roundings between two products: of a norm, an activation, a softmax, a scale

aten = torch.ops.aten


def gamma(roundings: int, dtype: torch.dtype = torch.float64) -> float:
    """Bound the relative error after so many roundings, whatever they are: n u / (1 - n u).

    A sum of n products in any order, fused or not, is off by at most gamma(n) times the sum of their magnitudes
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, lemma 3.1 and section 3.1).
    """
    nu = roundings * UNIT[dtype]
    assert nu < 0.1
    return nu / (1 - nu)


def deviation(terms: int, total: Tensor, squares: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Deviation of a sum of many products, in an order that does not look at them.

    Each rounding is off by at most u times the partial sum that it rounds, up or down at random, so their squares add
    up (Higham and Mary 2019 and 2020, SIAM J. Sci. Comput.). Partial sums of n terms of sum S and sum of squares Q
    have a mean square of S^2 / 3 + Q / 6 over all orders; the rounded products add Q / n. gamma(n) knows nothing
    of signs: for 9,216 terms it allows a tenth of a per cent of their magnitudes, and hides a term that is left out.

    Args:
        terms: how many products a sum has.
        total, squares: S and Q, of each sum.
        dtype: of the sum; a bfloat16 or float16 result is summed in float32 and rounded once more.
    """
    wide = UNIT[torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype]
    variance = wide**2 * (terms + BESIDE) * (total.square() + squares) / 3
    return (variance + (UNIT[dtype] * total).square() * (UNIT[dtype] != wide)).sqrt()


class Rounded(TorchDispatchMode):
    """Makes float64 arithmetic as inexact as another dtype's: each matrix product and convolution is off at random.

    The net carries the errors on as it would carry those of the rounding, through its norms, its pools and backwards
    (Parker 1997, Monte Carlo Arithmetic).
    """

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.random = dtype, torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        terms = TERMS.get(func)
        if not terms:
            with self:  # what inference mode hands over whole is made of what is known here
                made = func.decompose(*args, **kwargs or {})
            return made if made is not NotImplemented else func(*args, **kwargs or {})
        found = func(*args, **kwargs or {})
        squares = func(*(a.square() if isinstance(a, Tensor) else a for a in args), **kwargs or {})
        if isinstance(found, Tensor):
            return self.off(terms(*args), found, squares)
        return tuple(
            None if one is None else self.off(n, one, q) for n, one, q in zip(terms(*args), found, squares, strict=True)
        )

    def off(self, terms: int, total: Tensor, squares: Tensor) -> Tensor:
        noise = torch.randn(total.shape, generator=self.random, dtype=total.dtype)
        return total + noise * deviation(terms, total, squares, self.dtype)


def backwards(g: Tensor, x: Tensor, weight: Tensor, *_: Any) -> tuple[int, int, int]:
    """Terms of a convolution's gradients: for its input, its kernels and its biases."""
    places = g.numel() // max(1, g.shape[1])
    return weight.numel() // max(1, weight.shape[1]), places, places


TERMS: dict[Any, Callable[..., Any]] = {
    aten.mm.default: lambda a, b: b.shape[0],
    aten.bmm.default: lambda a, b: b.shape[1],
    aten.addmm.default: lambda c, a, b: b.shape[0] + 1,
    aten.baddbmm.default: lambda c, a, b: b.shape[1] + 1,
    aten.convolution.default: lambda x, weight, *_: weight[0].numel() + 1,
    aten.convolution_backward.default: backwards,
}


def reach(act: Callable[[], Sequence[Tensor]], dtype: torch.dtype = torch.float32, draws: int = 4) -> list[float]:
    """How far `dtype` may be from float64 in each tensor that `act` computes in float64: SAFE times what draws show."""
    exact, most = act(), None
    for seed in range(draws):
        with Rounded(dtype, seed):
            found = act()
        apart = [float((a - b).abs().max()) for a, b in zip(found, exact, strict=True)]
        most = [max(pair) for pair in zip(most or apart, apart, strict=True)]
    assert most is not None
    assert all(math.isfinite(one) for one in most)
    return [SAFE * one for one in most]


# The order of a sum is another: that of pictures and maps within a process, or of processes. Twelve steps under
# rounding.Rounded end 8e-15 (as float64) and 4e-6 (as float32) of a tensor's largest number from the exact run, by the
# worst of four draws; two runs may be SAFE times as far to either side: 6e-14 and 3e-5. Other nets and batches, which
# were not drawn, may need more: in float64 there is room for 16 times as much.
TOLERANCE = {"fp64": 1e-12, "fp32": 5e-5}
# A sum in another order turns bfloat16 roundings, and those turn others: after some layers all are drawn anew. Two
# draws of Rounded leave velocities 0.012 of their norm apart in full layers and 0.23 in convolutions: twice that. A
# bias's gradient is a sum over all places that cancels to its roundings: biases are left out.
NARROW = {"fc": 0.025, "conv": 0.5}


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest difference of a number, as a part of the largest number beside it."""
    assert a.keys() == b.keys()
    assert all(a[n].shape == b[n].shape and a[n].dtype == b[n].dtype for n in a)
    return max(float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-30)) for n in a)


def assert_near_in_bf16(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Assert that two trainings in bfloat16 end with like velocities, which say more than weights that moved little.

    Args:
        one, other: tensors of a run by `FILE.safetensors:LAYER.KIND`.
    """
    compared = 0
    for name, value in one.items():
        kind, layer, what = re.split(r"\.safetensors:|\.", name)
        if (kind, what) == ("velocity", "weight"):
            compared += 1
            assert (value - other[name]).norm() < NARROW[layer[:-1]] * value.norm(), name
    assert compared > 3
