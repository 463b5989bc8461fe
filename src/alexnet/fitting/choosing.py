"""Measure this machine, choose a recipe for a source and some minutes, and say what was chosen and why."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alexnet.core.errors import InputError, is_out_of_memory
from alexnet.core.threads import available_cores
from alexnet.data.sources.base import Source
from alexnet.fitting import plan
from alexnet.fitting.candidates import Candidate, candidates
from alexnet.fitting.known import known
from alexnet.fitting.measure import Sample, rehearse, sample
from alexnet.fitting.plan import Choice, Times
from alexnet.fitting.size import Size
from alexnet.training.forecast import moment, span

MOST = 160  # pictures of a sample: a batch of each recipe, and some to validate on
PART, LEAST, LONGEST = 0.006, 0.2, 5.0  # part of the time to measure each recipe for, within bounds in seconds
FASTER = 1.5  # times as many multiply-adds a second as those measured so far, with which a larger recipe may surprise
HOPELESS = 5  # epochs; a larger recipe that gets fewer even so is not measured
BATCHES, COST = 4, 0.05  # nor one of which this many batches, as a measurement takes, cost this part of the time


@dataclass(frozen=True)
class Wish:
    """The minutes for everything, the device, and a clock that returns the seconds since the beginning."""

    minutes: float
    device: str
    clock: Callable[[], float]

    @property
    def seconds(self) -> float:
        """The minutes, in seconds."""
        return 60 * self.minutes

    @property
    def measuring(self) -> float:
        """Seconds to measure a recipe for."""
        return min(LONGEST, max(LEAST, PART * self.seconds))


def choose(found: Source, size: Size, wish: Wish, folder: Path, say: Callable[[str], None]) -> Choice:
    """Choose a recipe, and say what was chosen, why, how long it takes and what error such folders reached.

    Args:
        found: The source.
        size: Its pictures, by their use.
        wish: What was asked for.
        folder: Folder to measure in; the caller removes it.
        say: Function that prints a line.

    Raises:
        InputError: No picture can be read, or the minutes are too few for one epoch of any recipe.
    """
    say(
        f"{size.train:,} pictures of {size.classes:,} classes to train on, {size.held_out:,} held out to measure the "
        "error on; measuring this machine"
    )
    options = measured(sample(found, MOST), size, wish, folder, say)
    chosen = plan.choose(options, wish.seconds, size, known())
    if not chosen:
        least = min(options, key=lambda c: options[c].total(1))
        need = options[least].total(1)
        raise InputError(
            f"--minutes {wish.minutes:g} is too little: one epoch of {least.name} ends after {span(need)} here, since "
            f"{span(options[least].before)} pass before it; give --minutes {enough(need)} or more, or fewer pictures"
        )
    for line in promise(chosen, wish.clock()):
        say(line)
    return chosen


def measured(look: Sample, size: Size, wish: Wish, folder: Path, say: Callable[[str], None]) -> dict[Candidate, Times]:
    """Measure the candidates, those with the least work first.

    One is left out if it surely gets too few epochs, or if memory does not suffice and a smaller one is there.
    """
    options: dict[Candidate, Times] = {}
    fastest = 0.0  # multiply-adds a second, so far
    for candidate in candidates(look.side):
        preparing = plan.preparing(size, candidate.side, look.seconds, available_cores())
        least = max(
            HOPELESS * size.train, BATCHES / COST * candidate.batch
        )  # pictures that the time must be enough for
        if options and least * candidate.work / (FASTER * fastest) > wish.seconds - preparing:
            continue
        try:
            seen = rehearse(look, candidate, size.classes, folder, wish.device, wish.measuring)
        except (MemoryError, RuntimeError) as error:
            if not options or not is_out_of_memory(error):
                raise
            say(f"recipe {candidate.name} at {candidate.side} pixels needs more memory than there is: left out")
            continue
        fastest = max(fastest, candidate.work / seen.picture)
        # The recipe is measured again on the store: two steps, the time itself, a validation and a checkpoint.
        again = 2 * wish.measuring + size.held_out * seen.validation + seen.save + 2 * candidate.batch * seen.picture
        options[candidate] = plan.training(size, seen, preparing + again)
    spent = wish.clock()  # with all measurements
    return {c: Times(spent + times.before, times.epoch, times.after) for c, times in options.items()}


def promise(chosen: Choice, spent: float) -> list[str]:
    """Say what was chosen, why, how long it takes and what error such folders reached.

    Args:
        chosen: The choice.
        spent: Seconds since the beginning.
    """
    times, candidate, epochs = chosen.times, chosen.candidate, chosen.epochs
    total = times.total(epochs)
    lines = [
        f"recipe {candidate.name} at {candidate.side} pixels, about {epochs:,} epoch{'s' * (epochs != 1)}: "
        f"{chosen.why}",
        f"time: {span(times.before)} until training begins, {span(epochs * times.epoch)} to train, {span(times.after)} "
        f"to evaluate and report; {total / 60:.1f} minutes in all, ends about {moment(time.time(), total - spent)}",
    ]
    if not chosen.known:
        return [*lines, "error: unknown beforehand, since no record is of such a folder"]
    return [*lines, *(f"error that such a folder reached: {row.words()}" for row in chosen.known)]


def enough(seconds: float) -> str:
    """Write the minutes that are enough for some seconds: two digits, rounded up."""
    minutes = seconds / 60
    digits = 1 - math.floor(math.log10(minutes))
    return f"{math.ceil(minutes * 10**digits) / 10**digits:g}"
