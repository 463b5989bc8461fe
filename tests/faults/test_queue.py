"""A queue of runs that is killed: worked off again, it leaves the records of one that nothing happened to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.trained import Whole

from alexnet.studies.missing import missing
from alexnet.studies.plan import Request
from alexnet.studies.run import study

Count = Callable[..., None]
XARGS = ["xargs", "-P", "2", "-I{}", "sh", "-c", "{}"]


def test_a_queue_that_is_killed_leaves_the_records_of_one_that_is_not(
    store: Path, whole: Whole, tmp_path: Path, count: Count, torture: bool
) -> None:
    """Two processes at a time, as xargs does it; all of them killed in their first trainings, and once a run is done.

    `make torture` has longer runs, and kills them as often as ten of their checkpoints come.
    """
    epochs, seeds = (300, 2) if torture else (20, 1)
    recipe, out = str(whole.recipe(epochs)), tmp_path / "out"

    def begin() -> "subprocess.Popen[str]":
        rows = missing(["two-towers"], store, out, Request(recipe, seeds), precision="fp32")
        lines = "".join(row["command"].replace("alexnet", f"{sys.executable} -m alexnet", 1) + "\n" for row in rows)
        path = tmp_path / "lines"
        path.write_text(lines)
        with path.open() as given:
            return subprocess.Popen(
                XARGS,
                stdin=given,
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def there(pattern: str) -> Callable[[], bool]:
        known = set(out.glob(pattern))
        return lambda: bool(set(out.glob(pattern)) - known)

    moments = [*["runs/*/checkpoints/0*"] * (10 if torture else 1), "records/*.json"]
    killed = 0
    for pattern in moments:
        queue, come = begin(), there(pattern)
        while queue.poll() is None and not come():
            time.sleep(0.01)
        with suppress(ProcessLookupError):  # where all is done
            os.killpg(queue.pid, signal.SIGKILL)
        killed += queue.wait() == -signal.SIGKILL
        queue.communicate()
    queue = begin()
    _, said = queue.communicate()
    assert queue.returncode == 0, said
    study("two-towers", store, tmp_path / "one", recipe, seeds=seeds, precision="fp32", quiet=True, workers=1)
    assert contents(out / "records") == contents(tmp_path / "one" / "records")
    assert len(contents(out / "records")) == 2 * seeds
    assert killed >= 2
    count("SIGKILL of a queue of studies", injected=killed, survived=killed)


def contents(folder: Path) -> dict[str, Any]:
    """What the records of a folder say, but for the time that the runs took."""
    read = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    return {n: {k: v for k, v in r.items() if k not in ("seconds", "signature")} for n, r in read.items()}
