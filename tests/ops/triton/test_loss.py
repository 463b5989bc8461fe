"""The loss in one kernel, against PyTorch's in float64."""

import pytest
import torch
from tests.ops.triton.shared import DEVICE, triton

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("classes", "dtype"), [(10, torch.float32), (37, torch.bfloat16), (1, torch.float32)])
def test_loss_wrong_answers_and_gradient_are_those_of_float64(classes: int, dtype: torch.dtype) -> None:
    random = torch.Generator().manual_seed(classes)
    x = (5 * torch.randn(6, classes, generator=random)).to(DEVICE, dtype)
    labels = torch.randint(0, classes, (6,), generator=random).to(DEVICE)
    labels[0] = x[0].argmax()
    wide = x.double().requires_grad_()
    expected = torch.nn.functional.cross_entropy(wide, labels, reduction="sum") / 9
    expected.backward()
    numbers, slope = triton.cross_entropy(x, labels, 9)
    assert slope.dtype == dtype
    assert numbers[0].item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-7)
    assert numbers[1].item() == (x.argmax(1) != labels).sum().item() < 6
    rounding = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]  # the interpreter truncates
    torch.testing.assert_close(slope.double(), wide.grad, rtol=rounding, atol=1e-7)


def test_a_weighted_loss_and_gradient_are_those_of_float64_and_wrong_answers_count_alike() -> None:
    random = torch.Generator().manual_seed(3)
    x = (5 * torch.randn(6, 37, generator=random)).to(DEVICE)
    labels = torch.randint(0, 37, (6,), generator=random).to(DEVICE)
    weights = torch.tensor([0.5, 0.0, 2.25, 1.0, 17.5, 0.1], device=DEVICE)
    wide = x.double().requires_grad_()
    expected = (torch.nn.functional.cross_entropy(wide, labels, reduction="none") * weights).sum() / 9
    expected.backward()
    numbers, slope = triton.cross_entropy(x, labels, 9, weights)
    assert numbers[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert numbers[1].item() == (x.argmax(1) != labels).sum().item()
    torch.testing.assert_close(slope.double(), wide.grad, rtol=1e-5, atol=1e-7)
    ones, plain = triton.cross_entropy(x, labels, 9, torch.ones(6, device=DEVICE)), triton.cross_entropy(x, labels, 9)
    assert all(torch.equal(a, b) for a, b in zip(ones, plain, strict=True))


@pytest.mark.parametrize("classes", [10, 37])
def test_a_smoothed_loss_and_gradient_are_those_of_float64(classes: int) -> None:
    random = torch.Generator().manual_seed(classes)
    x = (5 * torch.randn(6, classes, generator=random)).to(DEVICE)
    labels = torch.randint(0, classes, (6,), generator=random).to(DEVICE)
    weights = torch.tensor([0.5, 0.0, 2.25, 1.0, 17.5, 0.1], device=DEVICE)
    wide = x.double().requires_grad_()
    each = torch.nn.functional.cross_entropy(wide, labels, reduction="none", label_smoothing=0.2)
    expected = (each * weights).sum() / 9
    expected.backward()
    numbers, slope = triton.cross_entropy(x, labels, 9, weights, 0.2)
    assert numbers[0].item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(slope.double(), wide.grad, rtol=1e-5, atol=1e-7)


def test_a_loss_of_logits_that_are_no_numbers_is_none() -> None:
    x = torch.zeros(2, 4, device=DEVICE)
    x[0, 1] = float("nan")
    numbers, _ = triton.cross_entropy(x, torch.tensor([0, 1], device=DEVICE), 2)
    assert numbers[0].isnan()


def test_no_pictures_have_no_loss() -> None:
    numbers, slope = triton.cross_entropy(torch.zeros(0, 4, device=DEVICE), torch.zeros(0, dtype=torch.int64), 1)
    assert numbers.tolist() == [0, 0]
    assert slope.shape == (0, 4)
