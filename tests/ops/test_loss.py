"""The loss of a training step and its wrong answers, against loops in float64."""

import math

import pytest
import torch
from torch import Tensor

from alexnet.ops.loss import Loss, loss_and_wrong

LABELS = torch.tensor([2, 0, 1, 3])


def logits(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).mul_(3).to(dtype)


def by_loops(x: Tensor, pictures: int) -> tuple[float, int]:
    """-log of the softmax at the label, a mean over `pictures` (section 5)."""
    loss, wrong = 0.0, 0
    for row, label in zip(x.tolist(), LABELS.tolist(), strict=True):
        loss -= row[label] - math.log(sum(math.exp(value) for value in row))
        wrong += max(range(len(row)), key=row.__getitem__) != label
    return loss / pictures, wrong


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_loss_is_the_printed_one_in_float32_or_wider(dtype: torch.dtype) -> None:
    x = logits(dtype).requires_grad_()
    loss, numbers = loss_and_wrong(x, LABELS, 8)
    expected, wrong = by_loops(x.detach().double(), 8)
    assert numbers.dtype == torch.float64
    assert numbers.tolist() == [pytest.approx(expected, rel=1e-6), wrong]
    assert loss.item() == numbers[0]
    assert not numbers.requires_grad
    loss.backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


def test_the_gradient_of_a_kernel_is_what_it_gave_times_the_gradient_of_the_loss() -> None:
    x = logits().requires_grad_()
    slope = torch.full_like(x, 2.0)
    kernel = lambda *_: (torch.tensor([7.0, 3.0], dtype=torch.float64), slope)  # noqa: E731
    loss, numbers = Loss.apply(x, LABELS, 8, kernel)  # type: ignore[no-untyped-call]
    assert (loss.item(), numbers.tolist()) == (7.0, [7.0, 3.0])
    (loss * 3).backward()
    assert torch.equal(x.grad, 3 * slope)  # type: ignore[arg-type]


WEIGHTS = torch.tensor([0.5, 0.0, 2.25, 1.0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_weighted_loss_is_the_sum_of_weighted_losses_over_the_pictures(dtype: torch.dtype) -> None:
    """By loops and indices, and its gradient by autograd of the same sum; wrong answers count alike."""
    x = logits(dtype).requires_grad_()
    loss, numbers = loss_and_wrong(x, LABELS, 8, WEIGHTS)
    wide = x.detach().double().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for i, (label, weight) in enumerate(zip(LABELS.tolist(), WEIGHTS.tolist(), strict=True)):
        expected = expected - weight * (wide[i, label] - wide[i].exp().sum().log()) / 8
    assert numbers.tolist() == [pytest.approx(expected.item(), rel=1e-6), by_loops(wide.detach(), 8)[1]]
    loss.backward()
    expected.backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype
    room = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2**-8}[dtype]
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=room, atol=1e-12 if dtype == torch.float64 else 1e-8)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_smoothed_label_is_spread_over_all_classes(weights: Tensor | None) -> None:
    """By loops: -sum_k q_k log p_k, with q_k = (1 - e) at the label, plus e / classes (Szegedy et al. 2016)."""
    x, e = logits().requires_grad_(), 0.2
    loss, numbers = loss_and_wrong(x, LABELS, 8, weights, e)
    wide = x.detach().clone().requires_grad_()
    expected = torch.zeros((), dtype=torch.float64)
    for i, label in enumerate(LABELS.tolist()):
        total = wide[i].exp().sum().log()
        for k in range(wide.shape[1]):
            q = (1 - e) * (k == label) + e / wide.shape[1]
            expected = expected - (1.0 if weights is None else weights[i].item()) * q * (wide[i, k] - total) / 8
    assert numbers.tolist() == [pytest.approx(expected.item(), rel=1e-12), by_loops(wide.detach(), 8)[1]]
    loss.backward()
    expected.backward()
    torch.testing.assert_close(x.grad, wide.grad, rtol=1e-12, atol=1e-14)


def test_weights_of_1_give_the_loss_without_weights() -> None:
    one, other = (loss_and_wrong(logits(), LABELS, 8, weights)[1] for weights in (None, torch.ones(4)))
    torch.testing.assert_close(one, other, rtol=1e-15, atol=0)
