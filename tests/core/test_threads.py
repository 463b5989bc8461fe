"""How many threads compute: quotas, the user's choice; and what is said where other programs have the cores."""

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from alexnet.core import threads
from alexnet.core.errors import InputError
from alexnet.core.threads import Crowd, Look, fitting, quota, use_threads

TICKS = os.sysconf("SC_CLK_TCK")


def load(path: Path, busy: float, nice: float = 0.0) -> Path:
    """Write a /proc/stat in which the first core that this process may use has been busy for so many seconds."""
    first, *_ = cores = sorted(os.sched_getaffinity(0))
    lines = [f"cpu{core} {int(TICKS * busy) if core == first else 0} {int(TICKS * nice)} 0 9 9 0 0 0" for core in cores]
    path.write_text("\n".join(["cpu  1 1 1 1", *lines, "cpu9999 77777 0 0 0 0 0 0 0", "intr 5"]))
    return path


def test_a_quota_of_a_control_group_or_of_its_parents_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, groups = tmp_path / "ours", tmp_path / "groups"
    (groups / "a" / "b").mkdir(parents=True)
    ours.write_text("0::/a/b\n")
    assert quota(groups, ours) is None
    (groups / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert quota(groups, ours) is None
    (groups / "a" / "cpu.max").write_text("150000 100000\n")
    assert quota(groups, ours) == 1.5
    old = groups / "cpu,cpuacct"
    old.mkdir()
    ours.write_text("3:memory:/x\n2:cpu,cpuacct:/of/the/host\n0::/\n")
    for name, value in (("quota", "-1"), ("period", "100000")):
        (old / f"cpu.cfs_{name}_us").write_text(value)
    assert quota(groups, ours) is None
    (old / "cpu.cfs_quota_us").write_text("50000")
    assert quota(groups, ours) == 0.5
    monkeypatch.setattr(threads, "GROUPS", groups)
    monkeypatch.setattr(threads, "OURS", ours)
    assert threads.available_cores() == 1


def test_a_thread_whose_core_is_less_than_half_free_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(16)}, raising=False)
    found = [fitting(16, others) for others in (None, 0.0, 0.4, 0.6, 3.0, 40.0)]
    assert found == [16, 16, 16, 15, 13, 1]
    assert fitting(4, 12.0) == 4  # 12 of 16 cores are busy, 4 are free


def test_a_look_counts_what_others_use_and_neither_this_process_nor_one_of_low_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LOAD", load(tmp_path / "stat", 10.0))
    before = Look.now()
    assert before.busy == 10.0
    assert Look(before.wall + 2, before.own + 0.5, 12.5).others(before) == pytest.approx(1.0)
    assert Look(before.wall + 0.1, before.own, 12.5).others(before) is None  # too short to tell
    if os.getpriority(os.PRIO_PROCESS, 0) <= 0:
        load(tmp_path / "stat", 10.0, nice=99.0)
        assert Look.now().busy == 10.0
    monkeypatch.setattr(threads, "LOAD", tmp_path / "none")
    assert Look.now().others(before) is None


def test_the_number_of_threads_is_the_users_or_the_runs_and_never_what_others_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in threads.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(threads, "LOAD", load(tmp_path / "stat", 1e6))
    monkeypatch.setattr(threads, "_first", Look(time.monotonic() - 1e6, time.process_time(), 0.0))  # one core is busy
    hint = "other programs use 1.0 of 2 cores, and 2 threads here would wait for each other; --threads 1 may be faster"
    try:
        for given, kept, look, expected, said in (
            (2, 1, True, 2, ""),
            (None, 1, True, 1, ""),
            (None, 64, True, 2, hint),  # a run of a larger machine
            (None, None, True, 2, hint),
            (None, None, False, 2, ""),
        ):
            torch.set_num_threads(2)
            assert use_threads(given, kept, look) == said
            assert torch.get_num_threads() == expected
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        torch.set_num_threads(2)
        assert use_threads() == ""
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError, match="--threads is 3, but this process may use 2 cores; give 1 to 2"):
            use_threads(3)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(("busy", "count"), [(1e6, 1), (0.0, 0)])
def test_a_training_among_busy_programs_says_so_once_and_lets_its_threads_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: float, count: int
) -> None:
    def holders() -> int:
        return sum(thread.name == "team" for thread in threading.enumerate())

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(threads, "LOAD", load(tmp_path / "stat", 0.0))
    said: list[str] = []
    with Crowd(said.append, 2) as crowd, Crowd(said.append, 1) as single:  # one thread waits for no other
        for look, least in enumerate((0.0, 0.0, 100.0), 1):
            load(tmp_path / "stat", busy * look)
            time.sleep(threads.SHORTEST)
            crowd.look(least, minute=0.0)
            single.look(least, minute=0.0)
            assert holders() == count
        assert len(said) == count
        assert not count or "--threads 1 may be faster" in said[0]
        crowd.look(0.0)  # begins a look in which nothing else runs
        time.sleep(threads.SHORTEST)
        crowd.look(0.0)
        assert holders() == 0
    assert holders() == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux tells the threads of a process")
def test_a_team_that_makes_threads_sleep_is_there_until_it_ends() -> None:
    torch.set_num_threads(2)
    try:
        torch.zeros(1 << 20).add_(1)
        # Threads of earlier tests may end meanwhile, so these are told by their numbers.
        before, sleeping = set(os.listdir("/proc/self/task")), threads.Sleeping()
        sleeping.begin()
        sleeping.begin()
        until = time.monotonic() + 10
        while len(team := {*os.listdir("/proc/self/task")} - before) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(team) >= 2
        sleeping.end()
        while team & {*os.listdir("/proc/self/task")} and time.monotonic() < until:
            time.sleep(0.01)
        assert not team & {*os.listdir("/proc/self/task")}
    finally:
        torch.set_num_threads(1)
