"""Save and stop on SIGINT, SIGTERM or SIGHUP; stop at once on a second signal."""

import os
import select
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from alexnet.core.errors import Stopped
from alexnet.core.launch import rank_that_speaks

SIGHUP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
AGAIN = {  # the signals, and the hint that each prints
    signal.SIGINT: "; press Ctrl-C again to stop without saving",
    signal.SIGTERM: "; a second SIGTERM stops without saving",
} | ({SIGHUP: ""} if SIGHUP else {})


class Signals:
    """A context that turns the first signal into an exception between two steps: `poll` raises it there.

    Python runs its handler only after the main thread's current operation. So a thread also listens, and prints a line
    at once through `say`, which the caller sets.

    A second signal raises KeyboardInterrupt in the main thread. With `leave`, which the command line sets, it ends the
    process at once. SIGHUP comes from a closed terminal, or together with the SIGTERM of a session that systemd ends.
    So SIGHUP never counts as a second signal, nor does a signal that follows it. If SIGHUP was ignored before, as
    after nohup, it stays ignored. Windows has no SIGHUP.

    Args:
        hear: Function from the signal that this process has caught (0: none) to the one that any process has caught.
        same: Seconds after the first signal in which a second one counts as the same. A launcher forwards a signal
            that the terminal has already sent to its processes.
        leave: Whether a second signal ends the process at once.
        doing: What the printed line says the program is doing.
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
        if threading.current_thread() is not threading.main_thread():  # Python runs handlers only there
            return self
        heard, self.told = os.pipe()
        if hasattr(os, "set_blocking"):  # missing on Windows before Python 3.12, and not needed there
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
        self.over = True  # from here on no signal raises
        signal.set_wakeup_fd(self.earlier)
        os.close(self.told)
        self.thread.join(1)  # it may be blocked on a frozen terminal
        for number, handler in reversed(self.before.items()):
            signal.signal(number, handler)

    def listen(self, heard: int) -> None:
        """Print a line for each signal that arrives in the pipe, until the pipe closes."""
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
        """Record the first signal; on a second one, leave or raise KeyboardInterrupt."""
        if not self.caught:
            self.caught, self.since = number, time.monotonic()
        elif not self.over and self.second(number, self.caught, self.since):
            self.insist(number)

    def second(self, number: int, first: int, since: float) -> bool:
        """Tell whether a signal counts as a second one, given the first and the time at which it came."""
        return SIGHUP not in (number, first) and time.monotonic() - since >= self.same

    def insist(self, number: int) -> None:
        """Stop at once: leave, or raise KeyboardInterrupt."""
        self.over = True  # a third signal must not interrupt the clean-up
        if self.leave:
            self.thread.join(1)  # the thread leaves, unless it is blocked on a frozen terminal
            leave(number)
        raise KeyboardInterrupt

    def poll(self, *_: object) -> None:
        """Raise Stopped if a signal has arrived."""
        if self.insisted and not self.over:  # two arrived during one operation, and the handler saw one
            self.insist(self.caught)
        if number := self.hear(self.caught):
            raise Stopped(f"stopped by {signal.Signals(number).name}", number)


def deliver_again() -> None:
    """Send the main thread a KeyboardInterrupt again when Python drops it, as it does in a destructor or a callback."""
    report = sys.unraisablehook

    def dropped(found: "sys.UnraisableHookArgs") -> None:
        if issubclass(found.exc_type, KeyboardInterrupt):
            threading.Timer(0.01, interrupt_main).start()  # s; raised at once, it would be dropped again
        else:
            report(found)

    sys.unraisablehook = dropped


def leave(number: int) -> None:
    """End this process at once, whatever its threads are doing; print a line if the console can take it."""
    with suppress(OSError, ValueError):
        if rank_that_speaks() == 0 and select.select([], [2], [], 0)[1]:
            os.write(
                2, f"alexnet: stopped at once by a second {signal.Signals(number).name}, without saving\n".encode()
            )
    os._exit(128 + number)
