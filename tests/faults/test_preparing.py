"""What becomes of `alexnet prepare` when the disk fails it or it is ended: how it ends, and what stays.

Whatever happens, the same command run again ends with the bytes that an undisturbed one writes.
"""

import errno
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from tests.faults.faulty import KILLED, Faulty, calls
from tests.faults.lives import Ended, Lives
from tests.prepared import PATIENCE, SIDE, SMALL, begin, end, fingerprint, finished

from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.prepare.prepare import prepare

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")

ERRORS = {
    "disk full": errno.ENOSPC,
    "quota": errno.EDQUOT,
    "read-only": errno.EROFS,
    "permission denied": errno.EACCES,
    "input/output error": errno.EIO,
}


class Matrix:
    """`prepare` with a fault at one of its calls that change a file, then without; every case in a store of its own."""

    def __init__(self, doomed: Lives, faulty: Faulty, source: Path, folder: Path) -> None:
        self.doomed, self.faulty, self.source, self.out = doomed, faulty, source, folder / "out"
        self.out.mkdir()

    def run(self, store: Path, environment: Mapping[str, str] | None = None) -> Ended:
        """One `prepare` into a store, to its end."""
        given = ["prepare", self.source, store, "--side", SIDE, "--jobs", 1]
        return self.doomed(*given, environment=environment, before=SMALL)

    def calls(self) -> list[str]:
        """All the calls of an undisturbed one."""
        seen = self.out.parent / "seen"
        assert self.run(self.out / "count", self.faulty.counting(self.out, seen)).status == 0
        shutil.rmtree(self.out / "count")
        return calls(seen)

    def survived(self, faults: Sequence[tuple[int, int, bool]], undisturbed: dict[str, str]) -> int:
        """How many of the faults (call, errno, whether it stays) ended as promised."""
        for n, fault in enumerate(faults):
            store = self.out / str(n)
            first = self.run(store, self.faulty.environment(self.out, *fault))
            case, done = (fault, first), finished(store)
            if fault[1] == KILLED:
                assert (first.status, first.err) == (-signal.SIGKILL, ""), case
            else:
                assert first.status == 1 or (first.status == 0 and store.exists()), case
                assert len(first.err.splitlines()) == first.status, case
                assert first.err.startswith("alexnet: ") or not first.status, case
            if not store.exists():
                assert self.run(store).status == 0, case
            assert fingerprint(store) == undisturbed, case
            assert done.items() <= finished(store).items(), case  # kept, not made anew
        return len(faults)


@pytest.fixture
def matrix(doomed: Lives, faulty: Faulty, source: Path, tmp_path: Path) -> Matrix:
    return Matrix(doomed, faulty, source, tmp_path)


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
    name: str,
    faulty: Faulty,
    source: Path,
    undisturbed: dict[str, str],
    tmp_path: Path,
    torture: bool,
    count: Callable[..., None],
) -> None:
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
    except (WorkFailed, InputError) as error:
        return str(error)
    return ""


def test_a_bit_that_flips_in_unfinished_work_is_found_and_that_part_made_again(
    source: Path,
    undisturbed: dict[str, str],
    tmp_path: Path,
    torture: bool,
    count: Callable[..., None],
    small_shards: None,
) -> None:
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
                assert f"{path} has changed since it was written" in words
            assert attempt(source, store) == ""
        assert fingerprint(store) == undisturbed
        shutil.rmtree(store)
    count("prepare: a flipped bit in unfinished work", injected=tried, survived=tried, figure=f"said {said} times")


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
    number: signal.Signals,
    full: int,
    longer: tuple[Path, dict[str, str], float],
    tmp_path: Path,
    torture: bool,
    count: Callable[..., None],
) -> None:
    source, expected, seconds = longer
    chance = random.Random(int(number))
    ended = whole = 0
    marks = []
    while ended < (full if torture else 3):
        store, mark = tmp_path / str(whole), f"{tmp_path}/{whole}-{ended}"
        given = ["prepare", source, store, "--side", str(SIDE), "--jobs", "2"]
        # The shell may have started us with SIGINT ignored, which processes inherit.
        before = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        before += f"import alexnet.cli.main, alexnet.data.prepare.prepare\nopen({mark!r}, 'w').close()"
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
    source: Path, undisturbed: dict[str, str], tmp_path: Path, count: Callable[..., None], mounts: None
) -> None:
    """A disk of its own of 24 kB, then of 4 MB; each file has whole pages there."""
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
        "No space left on device; finished shards are kept: fix the cause and run the same command again to resume"
    )
    assert end(begin([*given[:2], tmp_path / "whole", *given[3:]])) == (0, [])
    assert fingerprint(saved) == fingerprint(tmp_path / "whole")
    count("prepare: a disk (tmpfs) that is full", injected=1, survived=1)
