# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The loss of a batch, its gradient and the wrong answers in one pass over the logits."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

WIDEST = 16384  # classes that the registers of a program hold


@triton.jit
def loss_kernel(logits, labels, weights, slope, seen, factor, smoothing, WEIGHTED: constexpr, SMOOTHED: constexpr,
                classes: constexpr, B: constexpr):  # fmt: skip
    """Compute a picture's loss times `factor` and weight, whether its answer is wrong, and its logits' gradient."""
    picture = tl.program_id(0).to(tl.int64)
    if WEIGHTED:
        factor *= tl.load(weights + picture)
    i = tl.arange(0, B)
    x = tl.load(logits + picture * classes + i, mask=i < classes, other=float("-inf")).to(tl.float32)
    label = tl.load(labels + picture)
    best = tl.max(x, 0)
    power = tl.exp(x - best)
    total = tl.sum(power, 0)
    right = tl.sum(tl.where(i == label, x, 0.0), 0)
    target = tl.where(i == label, 1.0, 0.0)
    named = right - best
    if SMOOTHED:  # a part of the label is spread over all classes
        target = (1 - smoothing) * target + smoothing / classes
        named = (1 - smoothing) * named + smoothing / classes * tl.sum(tl.where(i < classes, x - best, 0.0), 0)
    tl.store(seen + 2 * picture, ((tl.log(total) - named) * factor).to(tl.float64))
    tl.store(seen + 2 * picture + 1, (tl.argmax(x, 0) != label).to(tl.float64))
    gradient = (power / total - target) * factor
    tl.store(slope + picture * classes + i, gradient.to(slope.dtype.element_ty), mask=i < classes)


def cross_entropy(
    logits: Tensor, labels: Tensor, pictures: int, weights: Tensor | None = None, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute (loss, wrong), float64 (2,), of a batch of `pictures`, and the gradient of the logits (N, classes).

    `weights`, float32 (N,), are factors of the pictures' losses. A part `smoothing` of a label is spread over all
    classes.
    """
    given, classes = logits.contiguous(), logits.shape[1]
    slope = torch.empty_like(given)
    seen = torch.empty((len(given), 2), dtype=torch.float64, device=given.device)
    if len(given):
        warps = 4 if classes <= 2048 else 8
        with torch.cuda.device_of(given):
            loss_kernel[(len(given),)](
                given, labels, labels if weights is None else weights.contiguous(), slope, seen, 1 / pictures,
                smoothing, weights is not None, smoothing > 0, classes, triton.next_power_of_2(classes),
                num_warps=warps,
            )  # fmt: skip
    return seen.sum(0), slope
