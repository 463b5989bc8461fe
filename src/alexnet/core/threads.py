"""The threads that compute: how many cores this process may use, and how many of them are free."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from alexnet.core.errors import InputError
from alexnet.core.launch import launch

GROUPS, OURS, LOAD = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/stat")
CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # a user's own choice
SHORTEST = 0.3  # seconds of a look at the load; the system counts in ticks of 10 ms
LONG = 10.0  # seconds between two looks of a training at the load
MINUTE = 60.0  # seconds that it watches before it speaks, or LONG if it ends sooner


def available_cores() -> int:
    """Count the cores that this process may use, by its affinity and by the CPU quota of its control groups."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return found if limit is None else max(1, min(found, int(limit + 0.5)))


def quota(groups: Path | None = None, ours: Path | None = None) -> float | None:
    """Read the number of cores that the control groups of this process allow it, on average; None if any.

    Args:
        groups: Folder where control groups are mounted, /sys/fs/cgroup.
        ours: File that names the groups of this process, /proc/self/cgroup.
    """
    groups, found = groups or GROUPS, []
    with suppress(OSError, ValueError):
        for line in (ours or OURS).read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            homes = [groups] if not controllers else [groups / controllers, groups / "cpu"]
            # A parent's limit counts too. Inside a container, the path may be the host's, and only its end is there.
            for folder in {home / part for home in homes for part in _upwards(path)}:
                with suppress(OSError, ValueError, ZeroDivisionError):
                    found.append(_version_2(folder) if not controllers else _version_1(folder))
    return min((cores for cores in found if cores > 0), default=None)


def _upwards(path: str) -> list[str]:
    inside = path.strip("/")
    return [inside, *(str(parent) for parent in Path(inside).parents)]


def _version_2(folder: Path) -> float:
    limit, period = (folder / "cpu.max").read_text().split()
    return int(limit) / int(period)  # ValueError for "max"


def _version_1(folder: Path) -> float:
    limit, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(limit) / int(period)  # the limit is -1 if there is none


@dataclass(frozen=True)
class Look:
    """A look at the machine: seconds of each clock since some moment; None where the system does not tell.

    Processes of a low priority (nice) do not count as busy: they give way to this one.
    """

    wall: float
    own: float
    busy: float | None

    @classmethod
    def now(cls) -> "Look":
        """Look now."""
        return cls(time.monotonic(), time.process_time(), _busy())

    def others(self, since: "Look") -> float | None:
        """Return the number of cores that other programs used since an earlier look; None if it is not known."""
        past = self.wall - since.wall
        if past < SHORTEST or self.busy is None or since.busy is None:
            return None
        return max(0.0, (self.busy - since.busy - (self.own - since.own)) / past)


def _busy() -> float | None:
    """Add up the seconds for which the cores of this process have run programs."""
    with suppress(OSError, ValueError, AttributeError, IndexError):
        allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = [line.split() for line in LOAD.read_text().splitlines() if line.startswith("cpu")]
        low = [2] if os.getpriority(os.PRIO_PROCESS, 0) > 0 else []  # this process is one of those of low priority
        kinds = [1, *low, 3, 6, 7]  # user, nice, system, interrupts
        found = [sum(int(line[kind]) for kind in kinds) for line in lines if line[0] in allowed]
        return sum(found) / os.sysconf("SC_CLK_TCK") if found else None
    return None


_first: Look | None = None


def fitting(threads: int, others: float | None) -> int:
    """Return how many of `threads` have a core, if other programs use `others` cores.

    An operation splits its work into equal parts and ends with the slowest. A part whose core is less than half free
    takes more than twice as long, so one thread less is faster from two threads on.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads if others is None else max(1, min(threads, int(cores - others + 0.5)))


def begin() -> None:
    """Begin to look at the load for `use_threads`."""
    global _first
    _first = Look.now()


def use_threads(threads: int | None = None, kept: int | None = None, look: bool = True) -> str:
    """Set the number of threads that compute in this process, before the work begins.

    Without a choice of the user, by `threads` or by OMP_NUM_THREADS, it is the number of cores that this process may
    use. What other programs do never changes it: the last bits of a run depend on it.

    Args:
        threads: Number of threads, 1 to `available_cores`; None chooses.
        kept: Number of threads to keep if the user chose none, since a run began with it.
        look: Whether to look at what other programs have used since `begin`, a second or two ago.

    Returns:
        A line for the user if other programs have the cores of some threads, else "".

    Raises:
        InputError: `threads` is more than the cores that this process may use.
    """
    cores = available_cores()
    if threads is not None and threads > cores:
        raise InputError(f"--threads is {threads}, but this process may use {cores} cores; give 1 to {cores}")
    import torch

    if threads is None and any(os.environ.get(name) for name in CHOSEN):
        return ""
    chosen = threads or (kept if kept is not None and kept <= cores else min(torch.get_num_threads(), cores))
    torch.set_num_threads(chosen)
    if threads is not None or not look or _first is None or launch().beside > 1:
        return ""
    others = Look.now().others(_first)
    if others is None or (fit := fitting(chosen, others)) >= chosen:
        return ""
    return (
        f"other programs use {others:.1f} of {cores} cores, and {in_words(chosen)} here would wait for each other; "
        f"--threads {fit} may be faster"
    )


def in_words(threads: int) -> str:
    """Write a number of threads."""
    return f"{threads} thread{'s' * (threads > 1)}"


class Crowd:
    """Watches in training whether other programs take the cores of this process's threads: a context.

    While they do, OpenMP's threads sleep instead of spinning when they wait for each other; an idle machine keeps the
    spinning, which is faster there. The results are the same bits. After a minute it says so, once.

    Args:
        say: Function to call with the line.
        threads: Number of threads that compute; with one, or 0 for a device that is no CPU, it does nothing.
    """

    def __init__(self, say: Callable[[str], None], threads: int) -> None:
        self.say, self.threads = say, threads if launch().beside == 1 else 0
        self.told, self.sleeping = False, Sleeping()
        self.last = self.before = Look.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sleeping.end()

    def look(self, least: float = LONG, minute: float = MINUTE) -> None:
        """Look at the time since the last look, if that is `least` seconds or more; speak of a `minute` or more."""
        if self.threads < 2 or time.monotonic() - self.last.wall < least:
            return
        now = Look.now()
        self.sleeping.begin() if self.fits(now, self.last)[0] < self.threads else self.sleeping.end()
        self.last = now
        if self.told or now.wall - self.before.wall < minute:
            return
        fit, others = self.fits(now, self.before)
        if fit < self.threads:
            wall, own = now.wall - self.before.wall, now.own - self.before.own
            self.told = True
            self.say(
                f"other programs used {others:.1f} cores in the last {wall:.0f} s, in which {self.threads} threads "
                f"computed for {own:.0f} s in all: they wait for each other, and --threads {fit} may be faster then"
            )
        self.before = now

    def fits(self, now: Look, before: Look) -> tuple[int, float]:
        """Return how many threads had a core between two looks, and how many cores others used."""
        others = now.others(before)
        return fitting(self.threads, others), others or 0.0


class Sleeping:
    """Makes OpenMP's threads sleep soon when they wait, from `begin` to `end`.

    GNU's libgomp, which PyTorch has on Linux, spins for a thousand turns instead of 300,000 while a process has more
    OpenMP threads than cores. So a thread holds a team of its own, which does nothing. Another library ignores it.
    """

    def __init__(self) -> None:
        self.over = threading.Event()
        self.holder: threading.Thread | None = None

    def begin(self) -> None:
        """Begin, unless it has begun."""
        if self.holder is None:
            self.over.clear()
            self.holder = threading.Thread(target=self.hold, name="team", daemon=True)
            self.holder.start()

    def hold(self) -> None:
        """Start a team by an operation that is large enough to be shared, and keep it."""
        import torch

        torch.zeros(1 << 20).add_(1)
        self.over.wait()

    def end(self) -> None:
        """End, if it has begun."""
        if self.holder is not None:
            self.over.set()
            self.holder.join()
            self.holder = None
