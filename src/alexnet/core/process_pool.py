"""Work spread over processes that are watched: one that dies or hangs ends the work in a line that says over what."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from alexnet.core.errors import InputError, WorkFailed

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = 120.0  # seconds that a worker may have one thing in hand
TICK = 0.5  # seconds between two looks at what each has in hand
ROOM = 4096  # bytes to say it in


class ParallelMap(Protocol):
    """Like `map`, in any order."""

    def __call__(self, function: Callable[[T], U], tasks: Iterable[T], /) -> Iterable[U]: ...


@contextmanager
def process_pool(jobs: int | None, folder: Path) -> Iterator[ParallelMap]:
    """Give what applies a function to each task in other processes, with results as they come.

    Args:
        jobs: the number of processes; None for one a core. With 1 the work is done in this process, where a task has
            no limit of time. So it is for None on Windows, which cannot share open files with other processes.
        folder: where there is room for a file of a few kB without a name.

    Raises:
        InputError: several processes are asked for on Windows.
        WorkFailed: a process cannot be started, dies, or has had one thing in hand (`set_current_task`) for longer
            than PATIENCE.
    """
    shares_files = hasattr(os, "pread")
    if jobs is not None and jobs > 1 and not shares_files:
        raise InputError(f"jobs {jobs} is not usable on this system; give 1, or leave it out")
    if jobs == 1 or not shares_files:
        yield map
        return
    try:
        pool = ProcessPool(jobs or available_cores(), folder)
    except OSError as error:
        raise WorkFailed(f"cannot start other processes at {folder}: {error.strerror or error}") from None
    try:
        yield pool.map
    finally:
        pool.end()


class ProcessPool:
    """Processes that wait for tasks. They need neither semaphores nor shared memory: /dev/shm may be tiny."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self.jobs, self.workers = jobs, list[Worker]()
        self.notes: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed at the end

    def map(self, function: Callable[[T], U], tasks: Iterable[T], /) -> Iterator[U]:
        """Apply a function to each task, and give the results as they come."""
        left = list(tasks)[::-1]
        while len(self.workers) < min(self.jobs, len(left)):
            self.workers.append(Worker(len(self.workers), self.jobs, self.notes.fileno()))
        looked = time.monotonic()
        while True:
            for worker in self.workers:
                if left and worker.idle:
                    worker.give(function, left.pop())
            busy = {worker.link: worker for worker in self.workers if not worker.idle}
            if not busy and not left:
                return
            for link in wait(list(busy), TICK):
                yield from busy[link].answer()  # type: ignore[index]
            if (past := time.monotonic() - looked) >= TICK:
                looked += past
                for worker in busy.values():
                    worker.check_progress(min(past, 2 * TICK))  # no more: this process may have been stopped meanwhile

    def end(self) -> None:
        """Kill the processes. Each file they write is there whole or not at all, so that this can be at any time."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.link.close()
            with suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot be ended
                worker.process.wait(5)
        self.notes.close()


class Worker:
    """One of the processes, seen from the one that started it."""

    def __init__(self, number: int, of: int, notes: int) -> None:
        self.idle, self.seen, self.past = False, b"", 0.0
        self.notes, self.place = notes, number * ROOM
        try:
            _note(notes, self.place, "its start")
            self.link, theirs = Pipe()
            with theirs:
                self.process = subprocess.Popen(
                    python_command("alexnet.core.process_pool", "worker_main", theirs.fileno(), notes, self.place),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), notes),
                    start_new_session=True,  # Ctrl-C in a terminal is not theirs
                )
        except OSError as error:
            raise WorkFailed(
                f"cannot start process {number + 1} of {of}: {error.strerror or error}; "
                "run the same command again with fewer jobs"
            ) from None

    def give(self, function: Callable[[Any], Any], task: Any) -> None:
        """Send a task to the process, which has asked for one."""
        self.idle = False
        try:
            self.link.send((function, task))
        except OSError:
            raise self._dead() from None

    def answer(self) -> Iterator[Any]:
        """Give the result that has come, or nothing at the start; raise what the task raised."""
        try:
            kind, value = self.link.recv()
        except (EOFError, OSError):
            raise self._dead() from None
        if kind == "failed":
            raise value
        self.idle, self.past = True, 0.0
        if kind == "done":
            yield value

    def check_progress(self, past: float) -> None:
        """Raise WorkFailed if the process has had the same thing in hand for too long; `past`: since the last look."""
        seen = os.pread(self.notes, ROOM, self.place)
        self.past = self.past + past if seen == self.seen else 0.0
        self.seen = seen
        if self.past > PATIENCE and self.current_task():
            raise WorkFailed(
                f"a worker process has been at {self.current_task()} for over {PATIENCE:.0f} s; what is done is kept: "
                "run the same command again to go on; if it comes to the same again, see to its disk, or take it out"
            )

    def current_task(self) -> str:
        """Return what the process has in hand."""
        return os.pread(self.notes, ROOM, self.place).split(b"\n")[0].strip(b"\0").decode(errors="replace")

    def _dead(self) -> WorkFailed:
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else "ended"
        return WorkFailed(
            f"a worker process {how} at {self.current_task() or 'no picture'}; what is done is kept: run the same "
            "command again to go on, with fewer jobs if memory is short; if it comes to the same again, take that out "
            "of the source"
        )


def python_command(module: str, function: str, *own: object) -> list[str]:
    """Return the command of a process that calls a function of a module with these values, which are JSON.

    It finds the modules that this process does, and none in its working folder, and ends when this one does. The
    interpreter's other options and the caller's __main__ stay out of it.
    """
    code = "import json, sys; path, parent, *own = json.loads(sys.argv[1]); sys.path[:] = path; "
    code += "from alexnet.core.process_pool import exit_with_parent; exit_with_parent(parent); "
    code += f"from {module} import {function}; {function}(*own)"
    given = json.dumps([sys.path, os.getpid(), *own], default=str)  # a path may be a Path
    return [sys.executable, "-P", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code, given]


def exit_with_parent(parent: int) -> None:
    """End this process soon after the one that started it, which cannot say so if it is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_own: tuple[int, int] | None = None  # in a worker: the file of notes, and where its own lies


def worker_main(link: int, notes: int, place: int) -> None:
    """Do the tasks that come over `link`, one after the other, until no more can come."""
    global _own
    _own = notes, place
    with Connection(link) as parent, suppress(EOFError, ConnectionError):
        answer: tuple[str, Any] = ("ready", None)
        while True:
            set_current_task("")
            parent.send(answer)
            function, task = parent.recv()
            try:
                answer = "done", function(task)
            except Exception as error:
                if not isinstance(error, WorkFailed):
                    error.add_note(f"in a worker process: {traceback.format_exc()}")
                answer = "failed", error


def set_current_task(words: str) -> None:
    """Note in a line what this process has in hand from now on; an empty one is not limited in time."""
    if _own is not None:
        _note(*_own, words)


def _note(notes: int, place: int, words: str) -> None:
    with suppress(OSError):  # the disk is full: what is to be written there next will say so
        os.pwrite(notes, words.encode(errors="backslashreplace")[: ROOM - 1] + b"\n", place)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
