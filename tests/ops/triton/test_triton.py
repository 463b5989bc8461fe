"""The kernels, compiled for a GPU of which there is none here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tests.ops.triton.shared  # noqa: F401 (skips these tests where Triton is missing)

pytestmark = pytest.mark.gpu
FORMS, SLOW, PROCESSES = 22, 3, 2
ACROSS = {"norm_kernel, no bias", "gradient_kernel, no bias", "pool_gradient_kernel", "pool_kernel"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The forms, compiled for sm_90 in two processes: names, words of PTX, and what the binaries take.

    Those that compile slowly are left to `--torture`.
    """
    slow = bool(request.config.getoption("torture"))
    cache = {"TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | cache
    program = str(Path(__file__).with_name("compiled.py"))
    command = [sys.executable, "-W", "error", program, str(PROCESSES)]
    started = [
        subprocess.Popen(
            [*command, str(i), str(int(slow))],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(PROCESSES)
    ]
    lines = []
    for process in started:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        lines += [json.loads(line) for line in out.splitlines()]
    assert len(lines) == FORMS - (0 if slow else SLOW)
    return lines


def test_every_norm_across_maps_keeps_a_row_in_a_thread_and_loads_it_at_once(made: list[dict[str, Any]]) -> None:
    """It is fast only if a window sums one thread's registers. The interpreter does not check types, this does."""
    found = [form for form in made if form["name"] in ACROSS]
    assert len(found) == len(ACROSS), [form["name"] for form in made]
    for form in found:
        assert not any(form["ptx"][word] for word in ("shfl", "ld.shared", "ld.local")), form
        assert form["ptx"]["ld.global.v4"] > 0, form


def test_no_kernel_spills_a_register_or_has_local_memory(made: list[dict[str, Any]]) -> None:
    """A spilled register goes through memory, and lies in the stack; local memory has arrays that no register holds."""
    if not all(form["takes"] for form in made):
        pytest.skip("Triton has no cuobjdump here")
    registers = {form["name"]: form["takes"]["REG"] for form in made}
    bad = [form["name"] for form in made if form["takes"]["STACK"] or form["takes"]["LOCAL"]]
    assert not bad, f"{bad} of the registers {registers}"
