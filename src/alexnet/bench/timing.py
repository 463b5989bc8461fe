"""Timing: ours and the peers take turns, medians count, and a bound shows the limit of the machine."""

import json
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F

from alexnet.core.device import Compute, keep_pages
from alexnet.runs import environment
from alexnet.version import __version__

Work = Callable[[], object]
READING = 1.0  # shortest seconds of a reading on a CPU, as far as MOST_CALLS allow
MOST_CALLS = 200  # of a work in a reading on a CPU
PRODUCTS_SECONDS = 30.0  # measured seconds after which no further form of a product is tried


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
    # Each reading, in `unit`, in the order of the turns: of ours and of the peer. A peer that ran in a process apart
    # has as many, but took no turns with ours.
    ours_readings: tuple[float, ...] = ()
    peer_readings: tuple[float, ...] = ()
    products: Mapping[str, float] = field(default_factory=dict)  # 10^9 multiply-adds a second, by form of a product
    threads: int = 1
    version: str = __version__
    commit: str | None = None
    written: str = ""  # date and time, UTC

    def plain(self) -> str:
        """Write the comparison as a JSON object on one line, with four digits of each number, and five of a reading."""
        return json.dumps({name: short(value) for name, value in asdict(self).items()})


def short(value: Any, digits: int = 4) -> Any:
    """Round the floats of a value of JSON to some digits."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list | tuple):
        return [short(one, 5) for one in value]
    return {name: short(one) for name, one in value.items()} if isinstance(value, dict) else value


class Median(float):
    """The median of some readings, which remembers them."""

    readings: tuple[float, ...]

    def __new__(cls, readings: Sequence[float]) -> "Median":
        """Make the median of readings, of which there is at least one."""
        made = super().__new__(cls, statistics.median(readings))
        made.readings = tuple(readings)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process send it."""
        return Median, (self.readings,)


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

    def enough(self, calls: int, seconds: float) -> int:
        """Choose the number of calls in a reading, from the least and the seconds of one."""
        if self.compute.device.type == "cuda":
            return calls
        return max(calls, min(MOST_CALLS, math.ceil(READING / max(seconds, 1e-9))))

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

    def medians(self, works: Sequence[Work], rounds: int, calls: int = 1) -> list[Median]:
        """Measure the median seconds of a call of each, in turns, after a warm-up; malloc keeps freed pages.

        Args:
            works: What is measured.
            rounds: Number of readings of each.
            calls: Least number of calls in a reading. On a CPU a reading takes a second or more, up to MOST_CALLS.
        """
        keep_pages()
        torch.set_num_threads(self.threads)
        taken: list[list[float]] = [[] for _ in works]
        counts = [calls] * len(works)
        for turn in range(rounds):
            for i, work in enumerate(works):
                if not turn:
                    counts[i] = self.enough(calls, self.warm(work))
                elif counts[i] > 1:  # caches as this work leaves them; a long call makes them its own at once
                    work()
                taken[i].append(self.seconds(work, counts[i]))
        return [Median(t) for t in taken]

    def warm(self, work: Work) -> float:
        """Call a work before its first reading, and return the seconds of its fastest call.

        One call is enough where it takes as long as a reading: its pages are then kept, and its velocities exist.
        """
        fastest = math.inf
        for _ in range(self.first_calls):
            fastest = min(fastest, self.seconds(work))
            if fastest >= READING and self.compute.device.type == "cpu":
                break
        return fastest


def malloc(kept: bool) -> str:
    """Describe the malloc setting of a peer."""
    return "kept pages" if kept and keep_pages() else "default malloc"


def apart(clock: Clock, rounds: int, build: Callable[..., Work], *inputs: object) -> Median:
    """Measure the median seconds of the work build(*inputs) in a new process, with malloc's defaults.

    Once malloc keeps pages, it never returns them, so the two settings cannot take turns in one process.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_as_it_comes, clock, rounds, build, inputs).result()


def _as_it_comes(clock: Clock, rounds: int, build: Callable[..., Work], inputs: tuple[object, ...]) -> Median:
    os.environ["ALEXNET_KEEP_PAGES"] = "0"
    return clock.medians([build(*inputs)], rounds)[0]


def compared(
    what: str,
    ours: float,
    peer: float,
    peer_name: str,
    clock: Clock,
    *,
    amount: float = 0,
    bound: float | None = None,
    products: Mapping[str, float] | None = None,
) -> Line:
    """Make a line from seconds, `bound` included: in ms, or in pictures/s if `amount` pictures were processed.

    Args:
        what: What was measured, without the clock.
        ours: Seconds of ours; a Median brings its readings with it, and so does `peer`.
        peer: Seconds of the peer.
        peer_name: What the peer is.
        clock: What both were measured with.
        amount: Number of pictures that were processed in these seconds, or 0.
        bound: Seconds that this machine needs at least.
        products: What `product_rates` found, where the bound rests on it.
    """

    def shown(seconds: float) -> float:
        return amount / seconds if amount else 1e3 * seconds

    unit = "pictures/s" if amount else "ms"
    limit, fraction = (None, None) if bound is None else (shown(bound), bound / ours)
    mine, theirs = (tuple(map(shown, t.readings)) if isinstance(t, Median) else () for t in (ours, peer))
    return Line(
        f"{what} ({clock.name})",
        shown(ours),
        shown(peer),
        peer_name,
        peer / ours,
        limit,
        fraction,
        unit,
        clock.machine,
        mine,
        theirs,
        {form: rate / 1e9 for form, rate in (products or {}).items()},
        clock.threads,
        commit=commit(),
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@cache
def commit() -> str | None:
    """Find the commit of this code once, since a benchmark prints many lines."""
    return environment.commit()


def product_rates(clock: Clock, dtype: torch.dtype, rounds: int = 3, size: int | None = None) -> dict[str, float]:
    """Measure multiply-adds per second of products large enough to fill the machine, by their form.

    On a CPU these are a convolution, which is a product too and which oneDNN computes up to 1.2 times as fast on some
    processors; square matrices with the second one as it is and transposed; and long ones, as in fc6 and conv3. On
    a GPU it is a product of 8192, where launching a product of 2048 takes about as long as computing it.

    Args:
        clock: Device and threads.
        dtype: Format of the factors.
        rounds: Number of times to measure each; the best counts.
        size: Side of one square product to measure instead of all these.
    """
    torch.set_num_threads(clock.threads)
    found: dict[str, float] = {}
    spent = 0.0
    for form, count, work in _products(clock.compute, dtype, size):
        if spent > PRODUCTS_SECONDS:
            break  # a machine this slow is full with less
        with torch.no_grad():
            work()
            taken = [clock.device_seconds(work, clock.calls) for _ in range(rounds)]
        found[form] = count / min(taken)
        spent += sum(taken)
    return found


def _products(compute: Compute, dtype: torch.dtype, size: int | None) -> Iterator[tuple[str, int, Work]]:
    """Yield each form of a product: its name, its multiply-adds, and the work."""

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=compute.device).to(dtype)

    def transposed(rows: int, inside: int, columns: int) -> tuple[str, int, Work]:
        work = partial(F.linear, random(rows, inside), random(columns, inside))
        return f"a @ b.T, {rows} x {inside} x {columns}", rows * inside * columns, work

    cuda = compute.device.type == "cuda"
    side = size or (8192 if cuda else 2048)
    yield f"a @ b, {side} x {side}", side**3, partial(torch.mm, random(side, side), random(side, side))
    if size or cuda:
        return
    last = torch.channels_last
    maps, kernels = (t.contiguous(memory_format=last) for t in (random(64, 384, 13, 13), random(384, 384, 3, 3)))
    form = "convolution, 64 pictures, 384 x 13 x 13 to the same, 3 x 3"
    yield form, 64 * 13 * 13 * 384 * 384 * 9, partial(F.conv2d, maps, kernels, padding=1)
    yield transposed(2048, 2048, 2048)
    yield transposed(16384, 2304, 384)  # conv3 as a product of matrices
    yield transposed(1024, 9216, 4096)  # fc6
    yield transposed(4096, 4096, 4096)


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
