"""A pool of watched worker processes. If one dies or hangs, the work ends with a line that names its task."""

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
from alexnet.core.threads import available_cores

T = TypeVar("T")
U = TypeVar("U")

PATIENCE = 120.0  # seconds that a worker may spend on one task
TICK = 0.5  # seconds between two checks of the tasks in work
ROOM = 4096  # bytes for the name of a worker's task


class ParallelMap(Protocol):
    """A function like `map`, whose results may come in any order."""

    def __call__(self, function: Callable[[T], U], tasks: Iterable[T], /) -> Iterable[U]: ...


@contextmanager
def process_pool(jobs: int | None, folder: Path) -> Iterator[ParallelMap]:
    """Provide a `map` that runs a function over tasks in worker processes, and yields results as they come.

    Args:
        jobs: Number of processes; None for one per core. With 1, this process does the work, and a task has no time
            limit. None does the same on Windows, which cannot share open files between processes.
        folder: Folder with room for an unnamed file of a few kB.

    Yields:
        A function like `map`.

    Raises:
        InputError: `jobs` is over 1 on Windows.
        WorkFailed: A process cannot be started, dies, or spends longer than PATIENCE on one task
            (`set_current_task`).
    """
    shares_files = hasattr(os, "pread")
    if jobs is not None and jobs > 1 and not shares_files:
        raise InputError(f"jobs is {jobs}, but this system supports one process only; use 1, or leave it out")
    if jobs == 1 or not shares_files:
        yield map
        return
    try:
        pool = ProcessPool(jobs or available_cores(), folder)
    except OSError as error:
        raise WorkFailed(f"cannot start worker processes in {folder}: {error.strerror or error}") from None
    try:
        yield pool.map
    finally:
        pool.end()


class ProcessPool:
    """Worker processes that wait for tasks, without semaphores or shared memory: /dev/shm may be tiny."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self.jobs, self.workers = jobs, list[Worker]()
        self.notes: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  `end` closes it

    def map(self, function: Callable[[T], U], tasks: Iterable[T], /) -> Iterator[U]:
        """Apply a function to each task, and yield the results as they come."""
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
                    worker.check_progress(min(past, 2 * TICK))  # capped: this process may have been suspended meanwhile

    def end(self) -> None:
        """Kill the processes. This is safe at any time, since they write each file whole or not at all."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.link.close()
            with suppress(subprocess.TimeoutExpired):  # a process that waits for a dead disk cannot be killed
                worker.process.wait(5)
        self.notes.close()


class Worker:
    """One worker process, as its parent handles it."""

    def __init__(self, number: int, of: int, notes: int) -> None:
        self.idle, self.seen, self.past = False, b"", 0.0
        self.notes, self.place = notes, number * ROOM
        try:
            _note(notes, self.place, "its startup")
            self.link, theirs = Pipe()
            with theirs:
                self.process = subprocess.Popen(
                    python_command("alexnet.core.process_pool", "worker_main", theirs.fileno(), notes, self.place),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), notes),
                    start_new_session=True,  # keeps Ctrl-C in the terminal away from it
                )
        except OSError as error:
            raise WorkFailed(
                f"cannot start process {number + 1} of {of}: {error.strerror or error}; "
                "run the same command again with fewer jobs"
            ) from None

    def give(self, function: Callable[[Any], Any], task: Any) -> None:
        """Send a task to the process, which is idle."""
        self.idle = False
        try:
            self.link.send((function, task))
        except OSError:
            raise self._dead() from None

    def answer(self) -> Iterator[Any]:
        """Yield the result that has arrived, or nothing at startup; raise what the task raised."""
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
        """Raise WorkFailed if the process has had the same task for too long; `past`: seconds since the last check."""
        seen = os.pread(self.notes, ROOM, self.place)
        self.past = self.past + past if seen == self.seen else 0.0
        self.seen = seen
        if self.past > PATIENCE and self.current_task():
            raise WorkFailed(
                f"a worker process has been working on {self.current_task()} for over {PATIENCE:.0f} s; finished work "
                "is kept: run the same command again to continue; if that happens again, check the disk, or remove it "
                "from the source"
            )

    def current_task(self) -> str:
        """Read the name of the process's current task."""
        return os.pread(self.notes, ROOM, self.place).split(b"\n")[0].strip(b"\0").decode(errors="replace")

    def _dead(self) -> WorkFailed:
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            status = 0
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "ended"
        return WorkFailed(
            f"a worker process {how} while working on {self.current_task() or 'no picture'}; finished work is kept: "
            "run the same command again to continue, with fewer jobs if memory is short; if that happens again, remove "
            "the picture from the source"
        )


def python_command(module: str, function: str, *own: object) -> list[str]:
    """Build the command of a Python process that calls `function` of `module` with the values `own`, sent as JSON.

    The process finds the same modules as this one, ignores modules in its working folder, and ends when this process
    ends. It inherits neither the interpreter's other options nor the caller's __main__.
    """
    code = "import json, sys; path, parent, *own = json.loads(sys.argv[1]); sys.path[:] = path; "
    code += "from alexnet.core.process_pool import exit_with_parent; exit_with_parent(parent); "
    code += f"from {module} import {function}; {function}(*own)"
    given = json.dumps([sys.path, os.getpid(), *own], default=str)  # a path may be a Path
    return [sys.executable, "-P", "-X", f"utf8={sys.flags.utf8_mode}", "-c", code, given]


def exit_with_parent(parent: int) -> None:
    """End this process soon after its parent. A parent that is killed cannot tell its children."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_own: tuple[int, int] | None = None  # in a worker: the file of notes, and the offset of its own note


def worker_main(link: int, notes: int, place: int) -> None:
    """Do the tasks that arrive over `link`, one by one, until the parent closes it."""
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
    """Record the name of this process's task from now on; with an empty name there is no time limit."""
    if _own is not None:
        _note(*_own, words)


def _note(notes: int, place: int, words: str) -> None:
    with suppress(OSError):  # the disk is full: the next real write will report it
        os.pwrite(notes, words.encode(errors="backslashreplace")[: ROOM - 1] + b"\n", place)
