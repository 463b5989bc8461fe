"""Say that a training ends later than was promised, when the machine has other work."""

import time
from collections.abc import Callable

from alexnet.training.forecast import moment, span

LATE = 1.1  # of the promised time, from which on a line says so
EVERY = 10.0  # seconds between two looks at the clock


class Busy:
    """Says once that a training ends late, when two looks at the clock in a row show it.

    Args:
        say: Function that prints a line.
        spent: Function that returns the seconds since the beginning.
        promised: The seconds that were promised for everything.
    """

    def __init__(self, say: Callable[[str], None], spent: Callable[[], float], promised: float) -> None:
        self.say, self.spent, self.promised = say, spent, promised
        self.seen: tuple[int, float] | None = None
        self.told, self.late = False, 0

    def look(self, done: int, of: int) -> None:
        """Look at the clock after a step, `done` of `of`."""
        now = self.spent()
        self.seen = self.seen or (done, now)
        steps, seconds = done - self.seen[0], now - self.seen[1]
        if self.told or not steps or seconds < EVERY:
            return
        self.seen = (done, now)
        end = now + seconds / steps * (of - done)
        self.late = self.late + 1 if end > LATE * self.promised else 0
        if self.late > 1:
            self.told = True
            self.say(
                f"slower than measured, as with other work on this machine: ends about {span(end - self.promised)} "
                f"later than promised, at {moment(time.time(), end - now)}; the schedule is not cut short"
            )
