"""Which form computes an operation, and that it can be switched off."""

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from alexnet.ops import forms, plain

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """The answer is kept for a process."""
    forms.gpu.cache_clear()
    yield
    forms.gpu.cache_clear()


def chosen() -> str:
    """The module whose forms serve for a tensor on a CUDA device, which need not be there."""
    with FakeTensorMode():
        return str(forms.best(torch.empty(2, device=CUDA)).__name__)


def test_triton_serves_on_a_cuda_device() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    assert forms.name(CUDA) == "triton"
    assert chosen() == "alexnet.ops.gpu"


def test_switched_off_the_plain_forms_serve_on_a_cuda_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "off")
    assert forms.name(CUDA) == "pytorch"
    assert chosen() == plain.__name__


def test_an_architecture_of_the_cpu_leaves_triton_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("ALEXNET_NATIVE", "x86-64-v3")
    assert forms.name(CUDA) == "triton"
