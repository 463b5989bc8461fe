"""Say how long a training takes, when its first steps have been timed."""

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FEWEST = 2  # steps to time, after the first of a session, in which kernels compile and threads start
LONG = 3.0  # seconds to time
FORWARD = 1 / 3  # part of a training step's time that a forward pass of as many pictures takes
VIEWS = 10  # of each held-out picture, in the evaluation at the end


@dataclass(frozen=True)
class Work:
    """The steps and validations that a training has still to do.

    Attributes:
        step: The step from which it goes on.
        total: Steps of the whole training.
        per_epoch: Steps of an epoch.
        held_out: Pictures to validate on after each epoch, as a number of training batches.
        ends_early: Whether a rule may end it before its last epoch.
        decodes: Whether the first epoch decodes pictures that later ones find in memory.
    """

    step: int
    total: int
    per_epoch: int
    held_out: float
    ends_early: bool = False
    decodes: bool = False


class Forecast:
    """Prints one line: how long the rest takes, when it ends, and how much disk the checkpoints take.

    Args:
        say: Function that prints a line.
        work: What is left to do.
        disk: What to say about the disk.
        clock: Function that returns seconds.
    """

    def __init__(
        self, say: Callable[[str], None], work: Work, disk: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.say, self.work, self.disk, self.clock = say, work, disk, clock
        self.first: tuple[int, float] | None = None
        self.told = False

    def look(self, step: int) -> None:
        """Look at the clock after a step, and speak once enough steps have been timed."""
        if self.told:
            return
        now = self.clock()
        self.first = self.first or (step, now)
        steps, seconds = step - self.first[0], now - self.first[1]
        if steps >= FEWEST and seconds >= LONG:
            self.told = True
            self.say(
                self.line(step, seconds / steps, self.first[0] // self.work.per_epoch < step // self.work.per_epoch)
            )

    def line(self, step: int, each: float, validated: bool) -> str:
        """Write the line, from the seconds of a step; `validated` tells whether they hold validations too."""
        work = self.work
        steps, epochs = work.total - step, math.ceil((work.total - step) / work.per_epoch)
        validations = (0 if validated else epochs) + VIEWS
        seconds = each * (steps + FORWARD * work.held_out * validations)
        at_most = "at most " * work.ends_early
        plural = "s" * (epochs != 1)
        words = f"{at_most}about {span(seconds)} for {epochs} epoch{plural} ({steps:,} steps at {each:.3g} s, and "
        words += f"validation); ends about {moment(time.time(), seconds)}"
        if work.decodes:
            words += "; the first epoch also decodes the pictures, so later ones may be faster"
        return f"{words}; {self.disk}"


def span(seconds: float) -> str:
    """Write a time in the two largest units: "40 s", "12 min", "3 h 20 min", "5 days 3 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days:,} days {hours} h"


def moment(now: float, seconds: float) -> str:
    """Write the local time after some seconds: "14:05", or with its date if that is another day."""
    try:
        here, then = time.localtime(now), time.localtime(now + seconds)
    except (OverflowError, ValueError, OSError):  # beyond the calendar
        return "no date that a calendar has"
    same = (here.tm_year, here.tm_yday) == (then.tm_year, then.tm_yday)
    return time.strftime("%H:%M" if same else "%Y-%m-%d %H:%M", then)


def disk_of_checkpoints(folder: Path, weights: int, keep: int, copies: int = 2) -> str:
    """Say how much disk a run's checkpoints take.

    Args:
        folder: Folder of the run.
        weights: Bytes of the net's weights. A checkpoint has their velocities too; the best has weights alone.
        keep: Number of checkpoints that stay; 0 for all.
        copies: Files of that size in a checkpoint: weights, velocities, and weights that are not averaged.
    """
    if not keep:
        each = f"each checkpoint takes {size(copies * weights)} of disk"
        return f"{each}, up to {size((copies + 1) * weights)} with the best"
    most = (copies + 1) * (keep + 1) * weights  # while a new one is written, the oldest is still there
    words = f"checkpoints take up to {size(most)} of disk"
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < most:
            words += f", of which {size(free)} is free"
    return words


def size(count: float) -> str:
    """Write a number of bytes: "1.5 GB", "22 MB"."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:.0f} kB"
    )
