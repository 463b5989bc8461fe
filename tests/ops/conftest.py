"""The compiled kernels for this machine's instructions, and for older ones."""

import platform
from collections.abc import Iterator

import pytest

from alexnet.ops import cpu, cpu_build

OLDER = ["x86-64-v3", "x86-64"] if platform.machine() == "x86_64" else []  # AVX2 without AVX-512; SSE2


def clear() -> None:
    cpu.library.cache_clear()
    cpu_build.library.cache_clear()


@pytest.fixture(params=["native", *OLDER])
def architecture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ALEXNET_NATIVE", request.param)
    clear()
    if cpu.library() is None:
        pytest.skip("no C++ compiler here")
    yield request.param
    monkeypatch.undo()
    clear()
