"""The scripts of benchmarks/, as functions."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
Command = Callable[[list[str]], int]


def main_of(script: str, patch: pytest.MonkeyPatch) -> Command:
    """The `main` of a script, which takes the words after its name and returns the exit status."""
    patch.syspath_prepend(str(BENCHMARKS))
    main: Command = runpy.run_path(str(BENCHMARKS / f"{script}.py"))["main"]
    return main
