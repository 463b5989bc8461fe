"""The fast forms can be switched off on every device."""

from collections.abc import Iterator

import pytest
import torch

from alexnet.ops import dispatch

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """The answer is kept for a process."""
    dispatch.gpu.cache_clear()
    yield
    dispatch.gpu.cache_clear()


def test_triton_serves_on_a_cuda_device() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    assert dispatch.name(CUDA) == "triton"
    assert dispatch.gpu() is not None


def test_switched_off_the_plain_forms_serve_on_a_cuda_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_NATIVE", "off")
    assert dispatch.name(CUDA) == "pytorch"
    assert dispatch.gpu() is None


def test_an_architecture_of_the_cpu_leaves_triton_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("ALEXNET_NATIVE", "x86-64-v3")
    assert dispatch.name(CUDA) == "triton"
