"""The loss of a training step (section 5: the multinomial logistic regression objective), and its wrong answers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from alexnet.ops.dispatch import best


def loss_and_wrong(
    logits: Tensor, labels: Tensor, pictures: int, weights: Tensor | None = None, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute the contribution of some pictures to a batch's mean loss, and how many of their answers are wrong.

    Args:
        logits: (N, classes), any float dtype; the loss is computed in float32 or wider.
        labels: int64 (N,), the classes.
        pictures: Number of pictures of the whole batch.
        weights: float (N,), factors of the pictures' losses; None: 1 each. They change neither the divisor, which is
            `pictures`, nor the count of wrong answers.
        smoothing: Part of each label that is spread evenly over all classes, 0 to 1 (Szegedy et al. 2016).

    Returns:
        The loss, (), to which autograd sees, and without its history the loss and the number, float64 (2,).
    """
    form = best(logits, labels)
    if hasattr(form, "cross_entropy") and logits.shape[1] <= form.WIDEST:
        made: tuple[Tensor, Tensor] = Loss.apply(  # type: ignore[no-untyped-call]
            logits, labels, pictures, form.cross_entropy, weights, smoothing
        )
        return made
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bf16 is too coarse for a loss
    if weights is None:
        loss = F.cross_entropy(wide, labels, reduction="sum", label_smoothing=smoothing) / pictures
    else:
        each = F.cross_entropy(wide, labels, reduction="none", label_smoothing=smoothing)
        loss = (each * weights.to(wide.dtype)).sum() / pictures
    wrong = (logits.detach().argmax(1) != labels).sum()
    return loss, torch.stack((loss.detach().double(), wrong.double()))


class Loss(torch.autograd.Function):
    """The loss and its gradient in one kernel."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        pictures: int,
        kernel: Any,
        weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss, and both numbers."""
        numbers, slope = kernel(logits, labels, pictures, weights, smoothing)
        ctx.save_for_backward(slope)
        ctx.mark_non_differentiable(numbers)
        return numbers[0].clone(), numbers

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor, _: Tensor) -> Any:
        """Compute the gradient of the logits."""
        (slope,) = ctx.saved_tensors
        return slope * g, None, None, None, None, None
