"""SIGINT, SIGTERM and SIGHUP as a request to save and stop; a second one does not wait for that."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from alexnet.core.errors import Stopped
from alexnet.core.launch import rank_that_speaks

SIGHUP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
AGAIN = {  # the signals, and what is said beside each
    signal.SIGINT: "; press Ctrl-C again to stop without saving",
    signal.SIGTERM: "; a second SIGTERM stops without saving",
} | ({SIGHUP: ""} if SIGHUP else {})


class Signals:
    """Turn the first of these signals into an exception at a good moment: `poll` raises it, called between two steps.

    A thread also hears the signals at once, where Python's handler waits for the operation that the main thread is in.
    It prints a line by `say`, which the caller sets.

    A second signal raises KeyboardInterrupt in the main thread, or ends the process at once if `leave` is set, as the
    command line does. SIGHUP comes from a terminal that was closed, or beside the SIGTERM of a session that systemd
    ends. So it does not count as a second signal, nor does one that follows it. SIGHUP stays ignored where it was, as
    after nohup, and Windows has none.

    Args:
        hear: returns the signal that any of the processes has caught, given that of this one (0: none).
        same: seconds after the first signal in which another is the same one: a launcher hands on what the terminal
            has sent to its processes already.
        leave: whether a second signal ends the process at once.
        doing: what the line says that is being done.
    """

    def __init__(
        self,
        hear: Callable[[int], int] = int,
        same: float = 0.0,
        leave: bool = False,
        doing: str = "saving after this step",
    ) -> None:
        self.hear, self.same, self.leave, self.doing = hear, same, leave, doing
        self.say: Callable[[str], None] = lambda words: None
        self.caught, self.since, self.insisted, self.over = 0, 0.0, False, False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():  # Python has handlers there alone
            return self
        heard, self.told = os.pipe()
        if hasattr(os, "set_blocking"):  # Windows has it from Python 3.12 on, and does not need it
            os.set_blocking(self.told, False)
        self.earlier = signal.set_wakeup_fd(self.told, warn_on_full_buffer=False)
        self.thread = threading.Thread(target=self.listen, args=(heard,), name="signals", daemon=True)
        self.thread.start()
        for number in AGAIN:
            if number != SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.before:
            return
        self.over = True  # nothing is raised in here
        signal.set_wakeup_fd(self.earlier)
        os.close(self.told)
        self.thread.join(1)  # it may be speaking to a terminal that stands still
        for number, handler in reversed(self.before.items()):
            signal.signal(number, handler)

    def listen(self, heard: int) -> None:
        """Say what comes, as the system tells its numbers, until there is no more to hear."""
        first, since = 0, 0.0
        while told := os.read(heard, 1):
            number, now = told[0], time.monotonic()
            if number not in self.before:
                continue
            if not first:
                first, since = number, now
                self.say(f"{signal.Signals(number).name}: {self.doing}{AGAIN[number]}")
            elif self.second(number, first, since):
                self.insisted = True
                if self.leave:
                    leave(number)
        os.close(heard)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; of a second one, leave or raise KeyboardInterrupt."""
        if not self.caught:
            self.caught, self.since = number, time.monotonic()
        elif not self.over and self.second(number, self.caught, self.since):
            self.insist(number)

    def second(self, number: int, first: int, since: float) -> bool:
        """Whether a signal after the first, which came at that time, is another one."""
        return SIGHUP not in (number, first) and time.monotonic() - since >= self.same

    def insist(self, number: int) -> None:
        """Do what a second signal asks for."""
        self.over = True  # a third one shall not disturb what is let go of
        if self.leave:
            self.thread.join(1)  # it leaves, unless it is speaking to a terminal that stands still
            leave(number)
        raise KeyboardInterrupt

    def poll(self, *_: object) -> None:
        """Raise Stopped if a signal came."""
        if self.insisted and not self.over:  # two came during one operation, and as one to the handler
            self.insist(self.caught)
        if number := self.hear(self.caught):
            raise Stopped(f"stopped by {signal.Signals(number).name}", number)


def leave(number: int) -> None:
    """End this process at once, whatever its threads are in, with a line if there is a console that takes it."""
    with suppress(OSError, ValueError):
        if rank_that_speaks() == 0 and select.select([], [2], [], 0)[1]:
            os.write(
                2, f"alexnet: stopped at once by a second {signal.Signals(number).name}, without saving\n".encode()
            )
    os._exit(128 + number)
