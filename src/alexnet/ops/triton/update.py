# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The update rule (section 5) in one pass over a layer's weights and velocities."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.ops.triton.rows import ceil

UPDATE = 1024  # weights per program


# A parameter's flag and row may lie at any address: without this, Triton would compile the kernel for each alignment.
@triton.jit(do_not_specialize_on_alignment=["finite", "row"])
def momentum_kernel(w, v, g, shadow, finite, row, mu, pull, push, numbers, decays: constexpr, B: constexpr):
    """Update v <- mu v + pull w + push g, then w <- w + v. If there is a `row`, it has pull and push."""
    if row is not None:
        pull = tl.load(row)
        push = tl.load(row + 1)
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    ok = i < numbers
    weight = tl.load(w + i, mask=ok, other=0)
    velocity = tl.load(v + i, mask=ok, other=0) * mu
    if decays:
        velocity += pull * weight
    velocity += push * tl.load(g + i, mask=ok, other=0).to(tl.float32)
    weight += velocity
    tl.store(v + i, velocity, mask=ok)
    tl.store(w + i, weight, mask=ok)
    if shadow is not None:
        tl.store(shadow + i, weight.to(shadow.dtype.element_ty), mask=ok)
    # 0 * weight is NaN if the weight is not finite; otherwise no thread writes anything.
    tl.store(finite + i * 0, tl.zeros_like(i).to(tl.uint8), mask=ok & (weight * 0 != 0))


def momentum(
    w: Tensor, v: Tensor, g: Tensor, shadow: Tensor | None, finite: Tensor, rate: float | Tensor, mu: float,
    decay: float,
) -> None:  # fmt: skip
    """Update in place: v <- mu v - decay rate w - rate g, then w <- w + v; shadow <- w, rounded (section 5).

    `finite`, a bool (), becomes False if a weight is now NaN or infinite; otherwise it does not change. Autograd does
    not see that w changes.

    `rate` is a number, or a float32 tensor (2,) with -decay rate and -rate. A captured CUDA graph keeps a number, and
    reads a tensor's current value; `decay` then only tells whether there is one.
    """
    alike = [t for t in (w, v, g, shadow) if t is not None]
    if any(layout(t) != layout(w) for t in alike) or not dense(w):
        raise ValueError(
            f"all tensors must share one dense layout; their strides are {', '.join(str(t.stride()) for t in alike)}"
        )
    row, *rule = (rate, 0.0, 0.0) if isinstance(rate, Tensor) else (None, -decay * rate, -rate)
    if row is not None and (row.dtype != torch.float32 or row.shape != (2,) or not row.is_contiguous()):
        raise ValueError(f"the rate is {row.dtype} {tuple(row.shape)}; it must be float32 (2,), without gaps")
    programs, flag = ceil(w.numel(), UPDATE), finite.view(torch.uint8)
    with torch.cuda.device_of(w):
        momentum_kernel[(programs,)](
            w, v, g, shadow, flag, row, mu, *rule, w.numel(), decays=decay != 0, B=UPDATE
        )  # fmt: skip


def layout(t: Tensor) -> list[tuple[int, int]]:
    """List the sizes and strides of t that say where its numbers lie: those of sides over 1."""
    return [(size, stride) for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1]


def dense(t: Tensor) -> bool:
    """Tell whether the numbers of t fill its memory without gaps."""
    return t.numel() in (0, 1 + sum((size - 1) * stride for size, stride in layout(t)))
