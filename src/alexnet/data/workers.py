"""Work spread over processes that leave promptly with Ctrl-C, and with a parent that was killed."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from alexnet.errors import FailedError

T = TypeVar("T")
U = TypeVar("U")


class Spread(Protocol):
    """Like `map`, in any order."""

    def __call__(self, function: Callable[[T], U], tasks: Iterable[T], /) -> Iterable[U]: ...


@contextmanager
def workers(jobs: int) -> Iterator[Spread]:
    """What applies a function to each task, here or in `jobs` other processes, giving results as they come."""
    if jobs == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(jobs, context, _enter_worker, (stop,))

    def spread(function: Callable[[T], U], tasks: Iterable[T], /) -> Iterator[U]:
        for future in as_completed({pool.submit(function, task) for task in tasks}):
            yield future.result()

    try:
        yield spread
    except BrokenProcessPool:
        raise FailedError(
            "a worker process died, perhaps for want of memory; run the same command again with fewer jobs to go on"
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


_stop: Any = None  # in a worker: the event that tells it to leave


def _enter_worker(stop: Any) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who then sets `stop`
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A killed parent cannot say so, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def leave_if_stopped() -> None:
    """Called between two pictures: raises FailedError in a worker whose parent was interrupted."""
    if _stop is not None and _stop.is_set():
        raise FailedError("stopped")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
