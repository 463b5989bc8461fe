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
    arguments: Sequence[object],
    *,
    before: str = "",
    shell: str = "",
    shard: int = SHARD,
    own: dict[str, str] | None = None,
) -> "subprocess.Popen[str]":
    """The command line in a process of its own with small shards, after Python statements or a shell's."""
    code = textwrap.dedent(before) + f"\nfrom alexnet.data import plan\nplan.SHARD_BYTES = {shard}\n"
    code += "import sys, alexnet.cli\nalexnet.cli.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if shell:
        command = ["unshare", "-m", "sh", "-ec", shell, "sh", *command]
    return subprocess.Popen(
        command,
        env=_environment(own or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


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
    every = 1 if torture else 24
    faults = [(n, ERRORS[name], stay) for stay in (False, True) for n in range(1 + 9 * stay, most + 1, every)]
    count(f"prepare: {name} at a call", injected=len(faults), survived=matrix.survived(faults, undisturbed))


@pytest.mark.parametrize("name", ["SIGKILL", *ERRORS])
def test_a_worker_on_a_disk_that_fails_ends_it_with_a_line(
    name: str, faulty: Faulty, source: Path, undisturbed: dict[str, str], tmp_path: Path, torture: bool,
    count: Callable[..., None],
) -> None:  # fmt: skip
    """Each process counts its own calls, so that a fault hits this one or the other."""
    (tmp_path / "out").mkdir()
    places = range(1, 40) if torture else [5] if name in ("SIGKILL", "disk full") else []
    for n in places:
        store = tmp_path / "out" / str(n)
        given = ["prepare", source, store, "--side", str(SIDE), "--jobs", "2"]
        fault = faulty.environment(tmp_path / "out", n, ERRORS.get(name, KILLED), stay=n % 2 == 0)
        status, lines = end(begin(given, own=fault))
        assert (status, len(lines)) in ((1, 1), (0, 0), (-9, 0)), lines
        if not store.exists():
            assert end(begin(given)) == (0, [])
        assert fingerprint(store) == undisturbed
    if places:
        count(f"prepare --jobs 2: {name} at a call", injected=len(places), survived=len(places))


def attempt(source: Path, store: Path) -> str:
    """What prepare says if it fails."""
    try:
        prepare(source, store, side=SIDE, jobs=1)
    except (FailedError, UnusableError) as error:
        return str(error)
    return ""


def test_a_bit_that_flips_in_unfinished_work_is_found_and_that_part_made_again(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, torture: bool, count: Callable[..., None],
    small_shards: None,
) -> None:  # fmt: skip
    """The next run makes that part again, or says it and is repeated."""

    class StopError(Exception):
        pass

    def progress(done: int, total: int) -> None:
        if total - done <= 2:
            raise StopError

    with pytest.raises(StopError):
        prepare(source, tmp_path / "begun", side=SIDE, jobs=1, progress=progress)
    chance = random.Random(9)
    begun = tmp_path / "begun.part"
    files = sorted(path.relative_to(begun) for path in begun.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(files) > 6
    tried, said = 500 if torture else 40, 0
    for n in range(tried):
        store = tmp_path / str(n)
        path = shutil.copytree(begun, tmp_path / f"{n}.part") / files[n % len(files)]
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        if words := attempt(source, store):
            said += 1
            if path.name == "work.json":  # it is no longer known what was begun
                assert "remove" in words
                shutil.rmtree(tmp_path / f"{n}.part")
            else:
                assert f"{path} is no longer what was written there" in words
            assert attempt(source, store) == ""
        assert fingerprint(store) == undisturbed
        shutil.rmtree(store)
    count("prepare: a flipped bit in unfinished work", injected=tried, survived=tried, figure=f"said {said} times")


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], float]:
    """A source that takes a second or more, its store's bytes, and the seconds."""
    root = tmp_path_factory.mktemp("longer")
    draw(root / "source", 40, 300)
    started = time.monotonic()
    assert end(begin(["prepare", root / "source", root / "store", "--side", str(SIDE), "--jobs", "2"])) == (0, [])
    return root / "source", fingerprint(root / "store"), time.monotonic() - started


def mine(mark: str) -> list[int]:
    """The processes that have the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MARK={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:  # of a process that is no more
            continue
    return found


def gone(mark: str) -> None:
    last = time.monotonic() + PATIENCE
    while left := mine(mark):
        assert time.monotonic() < last, f"{left} are left"
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "full"), [(signal.SIGKILL, 50), (signal.SIGTERM, 20), (signal.SIGINT, 20)])
def test_ended_at_a_random_moment_it_leaves_no_process_and_goes_on_to_the_same_bytes(
    number: signal.Signals, full: int, longer: tuple[Path, dict[str, str], float], tmp_path: Path, torture: bool,
    count: Callable[..., None],
) -> None:  # fmt: skip
    source, expected, seconds = longer
    chance = random.Random(int(number))
    ended = whole = 0
    marks = []
    while ended < (full if torture else 3):
        store, mark = tmp_path / str(whole), f"{tmp_path}/{whole}-{ended}"
        given = ["prepare", source, store, "--side", str(SIDE), "--jobs", "2"]
        # The shell may have started us with SIGINT ignored, which processes inherit.
        before = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        before += f"import alexnet.cli, alexnet.data.prepare\nopen({mark!r}, 'w').close()"
        process = begin(given, before=before, own={"MARK": mark})
        while number == signal.SIGINT and process.poll() is None and not Path(mark).exists():
            time.sleep(0.01)  # importing, the interpreter says it in its own words
        time.sleep(chance.uniform(0, seconds / 2))
        process.send_signal(number)
        status, lines = end(process)
        marks.append(mark)
        if status != 0:
            ended += 1
            assert status in (-number, 128 + number), lines
            assert lines in ([], ["alexnet: interrupted"])
        if store.exists():
            assert fingerprint(store) == expected
            whole += 1
    store = tmp_path / str(whole)
    assert end(begin(["prepare", source, store, "--side", str(SIDE), "--jobs", "2"])) == (0, [])
    assert fingerprint(store) == expected
    for mark in marks:  # only now: the next command has to bear with workers that are about to leave
        gone(mark)
    count(
        f"prepare --jobs 2: {number.name} at a random moment",
        injected=ended,
        survived=ended,
        figure=f"{whole + 1} stores",
    )


def test_a_disk_that_is_really_full_is_said_and_room_is_all_it_needs(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None]
) -> None:
    """A disk of its own of 24 kB, then of 4 MB; each file has whole pages there."""
    mountable()
    (tmp_path / "disk").mkdir()
    disk, full, saved = tmp_path / "disk", tmp_path / "full", tmp_path / "saved"
    shell = f"""
        mount -t tmpfs -o size=24k none '{disk}'
        "$@" 2> '{full}' && exit 99 || test $? = 1
        mount -o remount,size=4m '{disk}'
        "$@"
        cp -r '{disk}/store' '{saved}'
        """
    given = ["prepare", source, disk / "store", "--side", str(SIDE), "--jobs", "1", "--format", "jpeg"]
    assert end(begin(given, shell=shell)) == (0, [])
    (line,) = full.read_text().splitlines()
    assert line.endswith(
        "No space left on device; what is done is kept: mend that and run the same command again to go on"
    )
    assert end(begin([*given[:2], tmp_path / "whole", *given[3:]])) == (0, [])
    assert fingerprint(saved) == fingerprint(tmp_path / "whole")
    count("prepare: a disk (tmpfs) that is full", injected=1, survived=1)


def mountable() -> None:
    if subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Stopped(workers.Worker):
    """Stops one process when it has a picture in hand, and sends it another signal, if there is one.

    For that one time goes by a thousand times as fast, and for the others, on a busy machine, not at all.
    """

    number = 0
    picture = ""
    stopped: "Stopped | None" = None

    def look(self, past: float) -> None:
        if not Stopped.stopped and self.at().startswith("picture '"):
            os.kill(self.process.pid, signal.SIGSTOP)
            while state(self.process.pid) not in "TZ":
                time.sleep(0.001)
            if self.at().startswith("picture '"):
                Stopped.stopped, Stopped.picture = self, self.at()
                if Stopped.number:
                    os.kill(self.process.pid, Stopped.number)
            if not Stopped.stopped or Stopped.number:
                os.kill(self.process.pid, signal.SIGCONT)
        super().look(1000 * past if self is Stopped.stopped else 0.0)


@pytest.mark.parametrize("number", [0, signal.SIGKILL, signal.SIGSEGV], ids=["stuck", "SIGKILL", "SIGSEGV"])
def test_a_worker_that_dies_or_is_stuck_ends_it_with_the_picture_it_had_in_hand(
    number: int, longer: tuple[Path, dict[str, str], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    torture: bool, count: Callable[..., None], small_shards: None,
) -> None:  # fmt: skip
    source, expected, _ = longer
    times = 10 if torture else 1
    for n in range(times):
        store = tmp_path / str(n)
        with monkeypatch.context() as patch:
            patch.setattr(workers, "Worker", Stopped)
            patch.setattr(workers, "TICK", 0.002)
            Stopped.number, Stopped.picture, Stopped.stopped = number, "", None
            with pytest.raises(FailedError) as failed:
                prepare(source, store, side=SIDE, jobs=2)
        how = f"was ended by {signal.Signals(number).name}" if number else "has been"
        assert f"a worker process {how} at {Stopped.picture}" in str(failed.value)
        kept = finished(store)
        prepare(source, store, side=SIDE, jobs=2)
        assert kept.items() <= finished(store).items()
        assert fingerprint(store) == expected
    what = signal.Signals(number).name if number else "stuck"
    count(f"prepare: a worker {what}", injected=times, survived=times, figure="the picture is named")


def test_a_slow_compiler_and_a_path_of_python_that_is_a_path_end_no_prepare(
    longer: tuple[Path, dict[str, str], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    count: Callable[..., None], small_shards: None,
) -> None:  # fmt: skip
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

    class Slow(workers.Worker):
        """Time goes by a thousand times as fast while its compiler is at work, and else not at all."""

        def look(self, past: float) -> None:
            if compiling := Path(f"{asleep}.{self.process.pid}").exists():
                slow.add(self.process.pid)
            super().look(1000 * past if compiling else 0.0)

    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.delenv("ALEXNET_NATIVE", raising=False)
    monkeypatch.setattr(workers, "Worker", Slow)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])
    prepare(source, tmp_path / "store", side=SIDE, jobs=2)
    assert fingerprint(tmp_path / "store") == expected
    assert slow
    count("prepare: a compiler slower than a picture may be", injected=1, survived=1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import time; time.sleep(1000)", "has been at its start for over 2 s"),
        ("import os; os._exit(3)", "ended at its start"),
    ],
)
def test_a_worker_that_does_not_start_ends_it(
    body: str, words: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if "sleep" in body:
        monkeypatch.setattr(workers, "PATIENCE", 2.0)
    with pytest.raises(FailedError, match=words):
        prepare(source, tmp_path / "store", side=SIDE, jobs=2)


MOUNTS = {
    "/dev/shm of 4 MB": "mount -t tmpfs -o size=4m none /dev/shm",
    "/dev/shm full": "mount -t tmpfs -o size=4k none /dev/shm; cat /dev/zero > /dev/shm/all 2> /dev/null || true",
    "/dev/shm read-only": "mount -t tmpfs -o ro none /dev/shm",
}


@pytest.mark.parametrize("name", MOUNTS)
def test_shared_memory_is_not_needed(
    name: str, source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None]
) -> None:
    mountable()
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
    found = subprocess.run(script, env=_environment({}), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    open_files = int(found.stdout)
    assert open_files <= 3 + 8 + 2
    tried = range(6, 24) if torture else (8, 12)
    for most in tried:
        given = ["prepare", source, tmp_path / f"few{most}", "--side", str(SIDE), "--jobs", "2"]
        status, lines = end(begin(given, before="import alexnet.cli, alexnet.data.prepare\n" + limit.format(most)))
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
        prepare(source, tmp_path / str(jobs), side=SIDE, form=form, jobs=jobs)  # type: ignore[arg-type]
        made.append(fingerprint(tmp_path / str(jobs)))
    assert made == made[:1] * len(made)
    count(f"prepare --format {form}: another number of jobs", injected=len(numbers) - 1, survived=len(numbers) - 1)


def test_a_second_prepare_on_one_store_is_refused_in_a_line(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None]
) -> None:
    """And the lock of one that was killed holds nobody up: it is a file like another."""
    store = tmp_path / "store"
    given = ["prepare", source, store, "--side", str(SIDE), "--jobs", "1"]
    before = len(os.listdir("/proc/self/fd"))
    with locked(tmp_path / "store.part/.lock", "held"):
        words = f"alexnet: store '{store}' is being prepared by another process; wait for it, or stop it"
        assert end(begin(given)) == (2, [words])
        for _ in range(3):
            with pytest.raises(UnusableError, match="held"):
                locked(tmp_path / "store.part/.lock", "held")
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "store.part/.lock").exists()
    assert end(begin(given)) == (0, [])
    assert fingerprint(store) == undisturbed
    assert not (tmp_path / "store.part").exists()
    count("two prepares on one store: second refused", injected=1, survived=1)
    count("prepare: a stale lock", injected=1, survived=1)


def test_of_prepares_started_at_one_instant_one_makes_the_store(
    source: Path, undisturbed: dict[str, str], tmp_path: Path, torture: bool, count: Callable[..., None]
) -> None:
    races, runners = (200, 4) if torture else (20, 2)
    commands: list[list[Command]] = []
    for n in range(races):
        tokens = ["prepare", str(source), str(tmp_path / f"store{n}"), "--side", str(SIDE), "--jobs", "1"]
        commands.append([(tokens, {}, str(tmp_path / f"{n}.said")) for _ in range(runners)])
    for n, statuses in enumerate(forks(commands, {})):
        lines = (tmp_path / f"{n}.said").read_text().splitlines()
        assert sorted(statuses) == [0] + [2] * (runners - 1), lines
        assert len(lines) == runners - 1
        assert all("by another process" in line or "is there already" in line for line in lines), lines
        assert fingerprint(tmp_path / f"store{n}") == undisturbed
        assert not (tmp_path / f"store{n}.part").exists()
    count("prepares started at one instant", injected=races, survived=races, figure=f"{runners} at a time")


def latin(folder: Path) -> dict[str, str]:
    """The environment of a locale of ISO 8859-1, or none."""
    name = "en_US.ISO-8859-1"
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / name)]
    if shutil.which("localedef") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        return {}
    return {"LOCPATH": str(folder), "LC_ALL": name}


def test_names_with_spaces_and_letters_of_any_language_prepare_in_any_locale(
    source: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    home = tmp_path / "Bücher und ☃ $HOME 'q\"uote"
    home.mkdir()
    shutil.copytree(source / "cat", home / "source/Ärger im Büro")
    shutil.copytree(source / "dog", home / "source/犬 🐕")
    (home / "source/犬 🐕/0.png").rename(home / "source/犬 🐕/naïve; rm -rf ~.png")
    locales = {"utf8": {"LC_ALL": "C.UTF-8"}, "c": {"LC_ALL": "C"}, "lang": {"LANG": "C", "LC_ALL": ""}}
    if own := latin(tmp_path):
        locales["latin-1"] = own
    prints = {}
    for name, environment in locales.items():
        given = ["prepare", home / "source", home / name, "--side", str(SIDE), "--jobs", "2"]
        assert end(begin(given, own=environment)) == (0, []), name
        assert end(begin(["verify", home / name], own=environment)) == (0, []), name
        prints[name] = fingerprint(home / name)
    if own:
        prints.pop("latin-1")  # where the same bytes are other letters
    assert [c.name for c in Store(home / "utf8").classes] == ["Ärger im Büro", "犬 🐕"]
    assert all(found == prints["utf8"] for found in prints.values())
    count("prepare: names and locales", injected=len(locales), survived=len(locales))


def test_a_store_is_renamed_moved_and_read_by_who_may_not_write(
    source: Path, tmp_path_factory: pytest.TempPathFactory, count: Callable[..., None], small_shards: None
) -> None:
    home = tmp_path_factory.mktemp("moved")
    prepare(source, home / "store", side=SIDE, jobs=1)
    expected, digest = fingerprint(home / "store"), Store(home / "store").digest
    (home / "store").rename(home / "renamed")
    shutil.move(home / "renamed", home / "elsewhere with spaces")
    moved = home / "elsewhere with spaces"
    for path in (moved, *moved.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder = os.open(moved, os.O_RDONLY)
    child = os.fork()
    if child == 0:  # another user may not pass the folders above it
        try:
            os.fchdir(folder)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            store = Store(".")
            store["train"].read(np.arange(len(store["train"])))
            os._exit(0 if store.digest == digest and verify(".") == [] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(folder)
    assert fingerprint(moved) == expected
    for path in (moved, *moved.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    count("store renamed, moved, read-only", injected=3, survived=3)
