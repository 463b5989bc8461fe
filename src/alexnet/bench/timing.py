"""Timing: ours and the peers take turns, medians count, and a bound shows the limit of the machine."""

import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import torch

from alexnet.core.device import Compute, keep_pages
from alexnet.runs import environment

Work = Callable[[], object]


@dataclass(frozen=True)
class Line:
    """A comparison. `ours`, `peer` and `bound` are in `unit`; `ratio` is the peer's time over ours."""

    what: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    bound: float | None
    fraction_of_bound: float | None
    unit: str
    machine: str

    def plain(self) -> str:
        """Write the comparison as a JSON object on one line."""
        short = {n: float(f"{v:.4g}") if isinstance(v, float) else v for n, v in asdict(self).items()}
        return json.dumps(short)


@dataclass(frozen=True)
class Clock:
    """A clock: CPU time on one thread, which other programs hardly disturb, or wall time on all threads."""

    compute: Compute
    threads: int

    @property
    def name(self) -> str:
        """The clock in words, such as "1 thread, CPU time"."""
        if self.compute.device.type == "cuda":
            return "wall time"
        return "1 thread, CPU time" if self.threads == 1 else f"{self.threads} threads, wall time"

    @property
    def machine(self) -> str:
        """The device of the measurement, in words."""
        if self.compute.device.type == "cuda":
            return torch.cuda.get_device_name(self.compute.device)
        return f"{environment.processor()}, {os.cpu_count()} cores, torch {torch.__version__}"

    @property
    def calls(self) -> int:
        """Number of calls between two readings; many on a GPU, where the first launch and the last wait cost time."""
        return 50 if self.compute.device.type == "cuda" else 1

    @property
    def first_calls(self) -> int:
        """Number of calls before the first reading; more on a GPU, where steps are captured as graphs in them."""
        return 12 if self.compute.device.type == "cuda" else 3

    def seconds(self, work: Work, calls: int = 1) -> float:
        """Measure the mean seconds of some calls; wait for the device after the last one."""
        one_thread = self.threads == 1 and self.compute.device.type == "cpu"
        now = time.process_time if one_thread else time.perf_counter
        self.wait()
        start = now()
        for _ in range(calls):
            work()
        self.wait()
        return (now() - start) / calls

    def device_seconds(self, work: Work, calls: int = 1) -> float:
        """Return what `seconds` does; on a GPU by its own clock, so that a launch and a wait do not count."""
        if self.compute.device.type != "cuda":
            return self.seconds(work, calls)
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(calls):
            work()
        ended.record()
        ended.synchronize()
        return begun.elapsed_time(ended) / 1e3 / calls

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize(self.compute.device)

    def medians(self, works: Sequence[Work], rounds: int, calls: int = 1) -> list[float]:
        """Measure the median seconds of a call of each, in turns, after a warm-up; malloc keeps freed pages."""
        keep_pages()
        torch.set_num_threads(self.threads)
        taken: list[list[float]] = [[] for _ in works]
        for turn in range(rounds):
            for i, work in enumerate(works):
                for _ in range(1 if turn else self.first_calls):  # caches and kept pages as this work leaves them
                    work()
                taken[i].append(self.seconds(work, calls))
        return [statistics.median(t) for t in taken]


def malloc(kept: bool) -> str:
    """Describe the malloc setting of a peer."""
    return "kept pages" if kept and keep_pages() else "default malloc"


def apart(clock: Clock, rounds: int, build: Callable[..., Work], *inputs: object) -> float:
    """Measure the median seconds of the work build(*inputs) in a new process, with malloc's defaults.

    Once malloc keeps pages, it never returns them, so the two settings cannot take turns in one process.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_as_it_comes, clock, rounds, build, inputs).result()


def _as_it_comes(clock: Clock, rounds: int, build: Callable[..., Work], inputs: tuple[object, ...]) -> float:
    os.environ["ALEXNET_KEEP_PAGES"] = "0"
    return clock.medians([build(*inputs)], rounds)[0]


def compared(
    what: str, ours: float, peer: float, peer_name: str, clock: Clock, *, amount: float = 0, bound: float | None = None
) -> Line:
    """Make a line from seconds, `bound` included: in ms, or in pictures/s if `amount` pictures were processed."""

    def shown(seconds: float) -> float:
        return amount / seconds if amount else 1e3 * seconds

    unit = "pictures/s" if amount else "ms"
    limit, fraction = (None, None) if bound is None else (shown(bound), bound / ours)
    return Line(
        f"{what} ({clock.name})", shown(ours), shown(peer), peer_name, peer / ours, limit, fraction, unit, clock.machine
    )


def products_per_second(clock: Clock, dtype: torch.dtype, rounds: int = 5, size: int | None = None) -> float:
    """Measure multiply-adds per second in the best of some square matrix products, the bound of the convolutions.

    The side is 2048 on a CPU, and 8192 on a GPU, where launching a product of 2048 takes about as long as computing it.
    """
    size = size or (8192 if clock.compute.device.type == "cuda" else 2048)
    a, b = (torch.randn(size, size, device=clock.compute.device).to(dtype) for _ in range(2))
    torch.set_num_threads(clock.threads)
    torch.mm(a, b)
    return size**3 / min(clock.device_seconds(lambda: torch.mm(a, b), clock.calls) for _ in range(rounds))


def bytes_per_second(clock: Clock, rounds: int = 5, size: int = 1 << 28) -> float:
    """Measure bytes read and written per second in copying, the bound of operations that compute little."""
    a = torch.empty(size, dtype=torch.uint8, device=clock.compute.device)
    b = torch.empty_like(a)
    torch.set_num_threads(clock.threads)
    b.copy_(a.fill_(1))
    return 2 * size / min(clock.device_seconds(lambda: b.copy_(a), clock.calls) for _ in range(rounds))


def bytes_read_per_second(clock: Clock, rounds: int = 5, size: int = 1 << 28) -> float:
    """Measure bytes read per second in summing, the bound of a pass over the weights."""
    a = torch.ones(size // 4, device=clock.compute.device)
    torch.set_num_threads(clock.threads)
    return size / min(clock.device_seconds(a.sum, clock.calls) for _ in range(rounds))
