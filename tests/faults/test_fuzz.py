"""The readers of pictures and archives under a fuzzer that sees which lines it reaches; skipped without atheris."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.torture
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris: pip install 'alexnet[torture]'")
@pytest.mark.parametrize(("what", "runs"), [("pictures", 100_000), ("archives", 50_000)])
def test_the_fuzzer_finds_nothing(what: str, runs: int, tmp_path: Path, count: Callable[..., None]) -> None:
    (tmp_path / "corpus").mkdir()
    options = [f"-runs={runs}", "-seed=6", "-timeout=60", "-rss_limit_mb=1500", f"-artifact_prefix={tmp_path}/"]
    argv = [sys.executable, "-m", "tests.faults.fuzz", what, str(tmp_path / "corpus"), "-max_len=16384", *options]
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    covered = re.findall(r"cov: (\d+)", done.stderr)
    count(f"{what}: coverage-guided", injected=runs, survived=runs, figure=f"{covered[-1]} places reached")
