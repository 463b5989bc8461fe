"""SIGINT, SIGTERM and SIGHUP as a request to save and stop; the second one stops at once."""

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from alexnet.errors import StoppedError


class Signals:
    """While entered, the first of such signals is only noted: `poll`, called where all is consistent, raises it.

    SIGHUP comes from a terminal that was closed, or beside the SIGTERM of a session that systemd ends: it is no second
    signal, and none that follows it is. One that is ignored, as after nohup, stays so.

    `hear`: what all processes together have caught, given what this one has. A signal within `same` seconds of the
    first is the first again: a launcher hands on what the terminal has sent to its processes already.
    """

    def __init__(self, hear: Callable[[int], int] = int, same: float = 0.0) -> None:
        self.hear, self.same = hear, same
        self.caught, self.since = 0, 0.0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python has handlers there alone
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, or leave at once if one was noted before."""
        if not self.caught:
            self.caught, self.since = number, time.monotonic()
        elif signal.SIGHUP not in (number, self.caught) and time.monotonic() - self.since >= self.same:
            os._exit(128 + number)

    def poll(self, *_: object) -> None:
        """Raise StoppedError if a signal came."""
        if number := self.hear(self.caught):
            raise StoppedError(f"stopped by {signal.Signals(number).name}", number)
