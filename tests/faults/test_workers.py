"""The processes that prepare works in: one that dies, hangs or cannot start, and machines that have little for them."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.faults.lives import state
from tests.prepared import PATIENCE, SIDE, begin, draw, end, environment, fingerprint, finished

from alexnet.core import process_pool
from alexnet.core.errors import WorkFailed
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


class Stopped(process_pool.Worker):
    """Stops one process when it has a picture in hand, and sends it another signal, if there is one.

    For that one time goes by a thousand times as fast, and for the others, on a busy machine, not at all.
    """

    number = 0
    picture = ""
    stopped: "Stopped | None" = None

    def check_progress(self, past: float) -> None:
        if not Stopped.stopped and self.current_task().startswith("picture '"):
            os.kill(self.process.pid, signal.SIGSTOP)
            while state(self.process.pid) not in "TZ":
                time.sleep(0.001)
            if self.current_task().startswith("picture '"):
                Stopped.stopped, Stopped.picture = self, self.current_task()
                if Stopped.number:
                    os.kill(self.process.pid, Stopped.number)
            if not Stopped.stopped or Stopped.number:
                os.kill(self.process.pid, signal.SIGCONT)
        super().check_progress(1000 * past if self is Stopped.stopped else 0.0)


@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGSEGV], ids=["stuck", "SIGKILL", "SIGSEGV"])
def test_a_worker_that_dies_or_is_stuck_ends_it_with_the_picture_it_had_in_hand(
    number: int,
    longer: tuple[Path, dict[str, str], float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    torture: bool,
    count: Callable[..., None],
    small_shards: None,
) -> None:
    source, expected, _ = longer
    times = 10 if torture else 1
    for n in range(times):
        store = tmp_path / str(n)
        with monkeypatch.context() as patch:
            patch.setattr(process_pool, "Worker", Stopped)
            patch.setattr(process_pool, "TICK", 0.002)
            Stopped.number, Stopped.picture, Stopped.stopped = number, "", None
            with pytest.raises(WorkFailed) as failed:
                prepare(source, store, side=SIDE, jobs=2)
        how = f"was killed by {signal.Signals(number).name} while" if number else "has been"
        assert f"a worker process {how} working on {Stopped.picture}" in str(failed.value)
        kept = finished(store)
        prepare(source, store, side=SIDE, jobs=2)
        assert kept.items() <= finished(store).items()
        assert fingerprint(store) == expected
    what = signal.Signals(number).name if number else "stuck"
    count(f"prepare: a worker {what}", injected=times, survived=times, figure="the picture is named")


def test_a_slow_compiler_and_a_path_of_python_that_is_a_path_end_no_prepare(
    longer: tuple[Path, dict[str, str], float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: Callable[..., None],
    small_shards: None,
) -> None:
    """The first prepare on a machine compiles in each worker; a notebook may add a Path to sys.path."""
    source, expected, _ = longer
    compiler = tmp_path / "c++"
    asleep = tmp_path / "asleep"
    compiler.write_text(f"""#!/bin/sh
        [ "$1" = --version ] && exit 0
        touch {asleep}.$PPID
        sleep 2
        rm {asleep}.$PPID
        exit 1
    """)
    compiler.chmod(0o755)
    slow = set()

    class Slow(process_pool.Worker):
        """Time goes by a thousand times as fast while its compiler is at work, and else not at all."""

        def check_progress(self, past: float) -> None:
            if compiling := Path(f"{asleep}.{self.process.pid}").exists():
                slow.add(self.process.pid)
            super().check_progress(1000 * past if compiling else 0.0)

    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.delenv("ALEXNET_NATIVE", raising=False)
    monkeypatch.setattr(process_pool, "Worker", Slow)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    prepare(source, tmp_path / "store", side=SIDE, jobs=2)
    assert fingerprint(tmp_path / "store") == expected
    assert slow
    count("prepare: a compiler slower than a picture may be", injected=1, survived=1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import time; time.sleep(1000)", "has been working on its startup for over 2 s"),
        ("import os; os._exit(3)", "ended while working on its startup"),
    ],
)
def test_a_worker_that_does_not_start_ends_it(
    body: str, words: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "sleep" in body:
        monkeypatch.setattr(process_pool, "PATIENCE", 2.0)
    with pytest.raises(WorkFailed, match=words):
        prepare(source, tmp_path / "store", side=SIDE, jobs=2)


MOUNTS = {
    "/dev/shm of 4 MB": "mount -t tmpfs -o size=4m none /dev/shm",
    "/dev/shm full": "mount -t tmpfs -o size=4k none /dev/shm; cat /dev/zero > /dev/shm/all 2> /dev/null || true",
    "/dev/shm read-only": "mount -t tmpfs -o ro none /dev/shm",
}


@pytest.mark.parametrize("name", MOUNTS)
def test_shared_memory_is_not_needed(
    name: str, source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None], mounts: None
) -> None:
    given = ["prepare", source, tmp_path / "store", "--side", str(SIDE), "--jobs", "2"]
    assert end(begin(given, shell=f'{MOUNTS[name]}; "$@"')) == (0, [])
    assert fingerprint(tmp_path / "store") == undisturbed
    count(f"prepare: {name}", injected=1, survived=1)


def test_few_open_files_are_enough_or_are_said(
    source: Path, tmp_path: Path, torture: bool, count: Callable[..., None], small_shards: None
) -> None:
    """64 of them for a source of 300 files and a store of 300 shards; then fewer than there is work with."""
    many = draw(tmp_path / "many", 150, 8)
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))\n"
    given = ["prepare", many, tmp_path / "store", "--side", "8", "--val-fraction", "0", "--jobs", "2"]
    assert end(begin(given, before=limit.format(64), shard=8 * 8 * 3)) == (0, [])
    read = limit.format(64) + textwrap.dedent(
        """
        import os, sys, numpy as np
        from alexnet.data.store import Store
        split = Store(sys.argv[1])["train"]
        assert len(list(os.scandir(sys.argv[1] + "/train"))) == 302
        split.read(np.random.default_rng(0).permutation(300))
        print(len(os.listdir("/proc/self/fd")))
        """
    )
    script = [sys.executable, "-c", read, str(tmp_path / "store")]
    found = subprocess.run(script, env=environment({}), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    open_files = int(found.stdout)
    assert open_files <= 3 + 8 + 2
    tried = range(6, 24) if torture else (8, 12)
    for most in tried:
        given = ["prepare", source, tmp_path / f"few{most}", "--side", str(SIDE), "--jobs", "2"]
        status, lines = end(
            begin(given, before="import alexnet.cli.main, alexnet.data.prepare.prepare\n" + limit.format(most))
        )
        assert (status, len(lines)) in ((0, 0), (1, 1), (2, 1)), lines
        if status:
            assert "Too many open files" in lines[0]
            shutil.rmtree(tmp_path / f"few{most}.part", ignore_errors=True)
    count("prepare and read with 64 open files", injected=2, survived=2, figure=f"{open_files} open at once in reading")
    count("prepare with 6 to 23 open files", injected=len(tried), survived=len(tried))


def test_one_core_is_enough(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None]
) -> None:
    given = ["prepare", source, tmp_path / "store", "--side", str(SIDE)]
    core = min(os.sched_getaffinity(0))
    assert end(begin(given, before=f"import os\nos.sched_setaffinity(0, [{core}])")) == (0, [])
    assert fingerprint(tmp_path / "store") == undisturbed
    count("prepare on one core", injected=1, survived=1)


def test_two_gigabytes_are_enough_and_less_costs_a_line(
    tmp_path: Path, torture: bool, count: Callable[..., None]
) -> None:
    """Of address space, for each process; the largest picture that is taken has 100 million pixels."""
    large = draw(tmp_path / "source", 4)
    if torture:
        Image.fromarray(np.zeros((9_900, 10_000, 3), np.uint8)).save(large / "cat/large.png")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, ({0}, {0}))\n"
    given = ["prepare", large, tmp_path / "store", "--side", str(SIDE), "--jobs", "2"]
    assert end(begin(given, before=limit.format(2 << 30))) == (0, [])
    assert len(Store(tmp_path / "store")["train"]) + len(Store(tmp_path / "store")["val"]) == 8 + torture
    count("prepare with 2 GB of memory", injected=1, survived=1)


@pytest.mark.parametrize("form", ["raw", "jpeg"])
def test_another_number_of_jobs_makes_the_same_bytes(
    form: str, source: Path, tmp_path: Path, torture: bool, count: Callable[..., None], small_shards: None
) -> None:
    numbers = (1, 2, 3, 4, 7, None) if torture else (1, 2, None)
    made = []
    for jobs in numbers:
        prepare(source, tmp_path / str(jobs), side=SIDE, format=form, jobs=jobs)  # type: ignore[arg-type]
        made.append(fingerprint(tmp_path / str(jobs)))
    assert made == made[:1] * len(made)
    count(f"prepare --format {form}: another number of jobs", injected=len(numbers) - 1, survived=len(numbers) - 1)
