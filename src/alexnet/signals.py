"""SIGINT and SIGTERM as a request to save and stop; the second one stops at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from alexnet.errors import StoppedError


class Signals:
    """While entered, the first SIGINT or SIGTERM is only noted: `poll`, called where all is consistent, raises it."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python has handlers there alone
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, or leave at once if one was noted before."""
        if self.caught:
            os._exit(128 + number)
        self.caught = number

    def poll(self, *_: object) -> None:
        """Raise StoppedError if a signal came."""
        if self.caught:
            raise StoppedError(f"stopped by {signal.Signals(self.caught).name}", self.caught)
