"""What becomes of `alexnet prepare` when the disk, its processes or the machine fail it: how it ends, and what stays.

Whatever happens, the same command run again ends with the bytes that an undisturbed one writes.
"""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.faults.faulty import KILLED, Faulty, calls

from alexnet.data import plan, workers
from alexnet.data.prepare import prepare
from alexnet.data.store import Store, verify
from alexnet.disk import locked
from alexnet.errors import FailedError, UnusableError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

SIDE = 32
SHARD = 4 * SIDE * SIDE * 3
ERRORS = {
    "disk full": errno.ENOSPC, "quota": errno.EDQUOT, "read-only": errno.EROFS,
    "permission denied": errno.EACCES, "input/output error": errno.EIO,
}  # fmt: skip
PATIENCE = 60.0  # seconds; nothing here takes so long unless it hangs

# Runs commands of alexnet in forks of itself, which have all imported; each list of commands at the same instant.
FORKS = f"""
import json, os, sys
from alexnet import cli
from alexnet.data import plan, prepare, resize, store
plan.SHARD_BYTES = {SHARD}
def begun(tokens, environment, words, gate):
    if pid := os.fork():
        return pid
    os.dup2(os.open(words, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.close(gate[1])
    os.read(gate[0], 1)
    os.environ.update(environment)
    try:
        cli.main(tokens)
    except SystemExit as end:
        os._exit(end.code)
    os._exit(99)
ends = []
for commands in json.load(sys.stdin):
    gate = os.pipe()
    pids = [begun(*command, gate) for command in commands]
    for end in gate:
        os.close(end)
    ends.append([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])
print(json.dumps(ends))
"""
Command = tuple[Sequence[str], dict[str, str], str]


def forks(commands: Iterable[Sequence[Command]], environment: dict[str, str]) -> list[list[int]]:
    """The exit statuses of the commands (arguments, environment, file for what they say)."""
    given = json.dumps(list(commands))
    found = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=given.encode(),
        env=_environment(environment),
        stdout=subprocess.PIPE,
        check=True,
    )
    ends: list[list[int]] = json.loads(found.stdout)
    return ends


def _environment(own: dict[str, str]) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | own


def begin(
    arguments: Sequence[str | Path],
    *,
    before: str = "",
    shell: str = "",
    own: dict[str, str] | None = None,
    **named: Any,
) -> "subprocess.Popen[str]":
    """The command line in a process of its own with small shards, after Python statements or a shell's."""
    code = textwrap.dedent(before) + f"\nfrom alexnet.data import plan\nplan.SHARD_BYTES = {SHARD}\n"
    code += "import sys, alexnet.cli\nalexnet.cli.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if shell:
        command = ["unshare", "-m", "sh", "-ec", shell, "sh", *command]
    named = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"} | named
    return subprocess.Popen(command, env=_environment(own or {}), **named)


def end(process: "subprocess.Popen[str]") -> tuple[int, list[str]]:
    """Exit status and the lines on standard error; hanging is a failure."""
    try:
        _, words = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("it hangs")
    assert "Traceback" not in words, words
    return process.returncode, words.splitlines()


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def finished(store: Path) -> dict[str, int]:
    """The inodes of the shards that are done, in the work folder or the store."""
    done = {path.stem for path in store.with_name(store.name + ".part").glob("records/*.json")}
    shards = [*store.with_name(store.name + ".part").glob("store/*/*.bin"), *store.glob("*/*.bin")]
    return {
        f"{path.parent.name}/{path.name}": path.stat().st_ino
        for path in shards
        if store.exists() or f"{path.parent.name}-{path.name}" in done
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six small pictures; one is none, one is gray."""
    root = tmp_path_factory.mktemp("preparing") / "source"
    draw(root, 6)
    (root / "cat/note.txt").write_text("no picture")
    Image.new("L", (40, 40), 9).save(root / "dog/gray.png")
    return root


def draw(root: Path, each: int, size: int = 40, classes: Sequence[str] = ("cat", "dog")) -> Path:
    noise = np.random.Generator(np.random.Philox(3))
    for name in classes:
        (root / name).mkdir(parents=True)
        for n in range(each):
            Image.fromarray(noise.integers(0, 256, (size, size + 8, 3), np.uint8)).save(root / name / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def undisturbed(source: Path) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "SHARD_BYTES", SHARD)
        prepare(source, source.parent / "undisturbed", side=SIDE, jobs=1)
    return fingerprint(source.parent / "undisturbed")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", SHARD)


class Matrix:
    """`prepare` with a fault at one of its calls that change a file, then without; every case in a store of its own."""

    def __init__(self, faulty: Faulty, source: Path, folder: Path) -> None:
        self.faulty, self.source, self.out, self.said = faulty, source, folder / "out", folder / "said"
        self.out.mkdir()
        self.said.mkdir()
        self.tokens = ["prepare", str(source), "STORE", "--side", str(SIDE), "--jobs", "1"]

    def command(self, name: str, own: dict[str, str], said: str) -> Command:
        tokens = [str(self.out / name) if token == "STORE" else token for token in self.tokens]
        mine = {key: value for key, value in own.items() if key.startswith("FAULTY")}
        return tokens, mine, str(self.said / said)

    def calls(self) -> list[str]:
        """All the calls of an undisturbed one."""
        seen = self.said / "seen"
        self.run([[self.command("count", self.faulty.counting(self.out, seen), "count")]])
        shutil.rmtree(self.out / "count")
        return calls(seen)

    def run(self, commands: Iterable[Sequence[Command]]) -> list[list[int]]:
        # Only the forks know of a folder: what this process changes there is not counted.
        return forks(commands, {"LD_PRELOAD": str(self.faulty.library)})

    def survived(self, faults: Sequence[tuple[int, int, bool]], undisturbed: dict[str, str]) -> int:
        """How many of the faults (call, errno, whether it stays) ended as promised."""
        first = self.run(
            [self.command(str(n), self.faulty.environment(self.out, *fault), f"{n}.first")]
            for n, fault in enumerate(faults)
        )
        done = [finished(self.out / str(n)) for n in range(len(faults))]
        there = [(self.out / str(n)).exists() for n in range(len(faults))]
        again = [n for n in range(len(faults)) if not there[n]]
        second = self.run([self.command(str(n), {}, f"{n}.second")] for n in again)
        for n, (fault, [status]) in enumerate(zip(faults, first, strict=True)):
            case = (fault, status, words := (self.said / f"{n}.first").read_text())
            if fault[1] == KILLED:
                assert (status, words) == (-signal.SIGKILL, ""), case
            else:
                assert status == 1 or (status == 0 and there[n]), case
                assert len(words.splitlines()) == status, case
                assert words.startswith("alexnet: ") or not status, case
        for n, [status] in zip(again, second, strict=True):
            assert status == 0, (
                faults[n],
                (self.said / f"{n}.first").read_text(),
                (self.said / f"{n}.second").read_text(),
            )
        for n, fault in enumerate(faults):
            assert fingerprint(self.out / str(n)) == undisturbed, fault
            assert done[n].items() <= finished(self.out / str(n)).items(), fault  # kept, not made anew
        return len(faults)


@pytest.fixture
def matrix(faulty: Faulty, source: Path, tmp_path: Path) -> Matrix:
    return Matrix(faulty, source, tmp_path)


def test_killed_at_any_call_that_changes_a_file_it_goes_on_to_the_same_bytes(
    matrix: Matrix, undisturbed: dict[str, str], torture: bool, count: Callable[..., None]
) -> None:
    seen = matrix.calls()
    faults = [(n, KILLED, False) for n in range(1, len(seen) + 1, 1 if torture else 6)]
    kinds = f"{len(seen)} calls in all"
    count(
        "prepare: SIGKILL at a call", injected=len(faults), survived=matrix.survived(faults, undisturbed), figure=kinds
    )


@pytest.mark.parametrize("name", ERRORS)
def test_a_disk_that_fails_costs_a_line_and_nothing_written(
    name: str, matrix: Matrix, undisturbed: dict[str, str], torture: bool, count: Callable[..., None]
) -> None:
    """At every call, once and from there on."""
    most = len(matrix.calls())
    every = 1 if torture else 12
    faults = [(n, ERRORS[name], stay) for stay in (False, True) for n in range(1 + 3 * stay, most + 1, every)]
    count(f"prepare: {name} at a call", injected=len(faults), survived=matrix.survived(faults, undisturbed))
