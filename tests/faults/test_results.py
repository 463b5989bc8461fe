"""Files that commands make of runs, on a disk that fails: whole or not there, with a line."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.faults.faulty import Faulty, calls
from tests.faults.lives import Lives


def command(verb: str, run: Path, store: Path, out: Path) -> list[object]:
    """A command that writes below `out`, where the run and a study lie as well."""
    precise = ["--precision", "fp32"]
    return {
        "features": ["features", run, store, out / "features", "--layer", "conv5", *precise],
        "evaluate": ["evaluate", store, run, "--save", out / "answers.npz", *precise, "--json"],
        "figures": ["figures", run, out / "figures", "--only", "curves", "kernels"],
        "report": ["report", out],
        "export": ["export", run, out / "hub", "--to", "hub"],
    }[verb]


def broken(out: Path) -> list[str]:
    """Files of results that cannot be read, and what is left of unfinished ones."""
    bad = [str(path) for path in out.rglob("*") if path.suffix in (".tmp", ".part")]
    readers: dict[str, Callable[[Path], object]] = {
        ".npy": np.load,
        ".npz": lambda path: [np.load(path)[name] for name in ("probabilities", "labels")],
        ".json": lambda path: json.loads(path.read_bytes()),
        ".png": lambda path: Image.open(path).load(),
        ".svg": lambda path: path.read_text().index("</svg>"),
        ".html": lambda path: path.read_text().index("</html>"),
    }
    for path in out.rglob("*"):
        parts = path.relative_to(out).parts
        if path.suffix in readers and ("run" not in parts or "results" in parts):
            try:
                readers[path.suffix](path)
            except Exception:
                bad.append(str(path))
    return bad


@pytest.mark.parametrize("verb", ["features", "evaluate", "figures", "report", "export"])
def test_a_disk_that_fails_leaves_results_whole_or_not_there_and_costs_a_line(
    doomed: Lives,
    faulty: Faulty,
    run: Path,
    store: Path,
    tmp_path: Path,
    torture: bool,
    count: Callable[..., None],
    verb: str,
) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"

    def begun() -> list[object]:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(run, out / "run")
        return command(verb, out / "run", store, out)

    assert doomed(*begun(), environment=faulty.counting(out, seen)).status == 0
    most = len(calls(seen))
    assert most >= 3
    numbers = range(1, most + 1) if torture else sorted(random.Random(2012).sample(range(1, most + 1), 2))
    survived = 0
    for at in numbers:
        ended = doomed(*begun(), environment=faulty.environment(out, at, errno.ENOSPC, stay=True))
        kept = "is not kept in run" in ended.line  # the result itself is printed
        assert ended.status == (0 if kept and verb == "evaluate" else 1), (at, calls(seen)[at - 1], ended)
        assert os.strerror(errno.ENOSPC) in ended.line, (at, ended)
        assert "\n" not in ended.line, (at, ended)
        survived += not [path for path in broken(out) if not path.endswith((".tmp", ".part"))]
    count(f"{verb}: disk full at a call", injected=len(numbers), survived=survived, figure=f"of {most} calls")


def test_features_of_more_than_the_disk_holds_are_a_line(
    lives: Lives, run: Path, store: Path, full: Path, count: Callable[..., None]
) -> None:
    """They are written through a map, which a full disk would make the process's death of."""
    ended = lives("features", run, store, full / "features", "--layer", "conv1", "--precision", "fp32")
    assert (ended.status, "No space left on device" in ended.line) == (1, True), ended
    assert "\n" not in ended.line
    assert not list(full.iterdir())
    count("features on a real disk that is full", injected=1, survived=1)
