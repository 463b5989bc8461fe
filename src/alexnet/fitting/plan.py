"""Choose a recipe for a number of pictures and minutes, and the epochs that end with the minutes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alexnet.core.text import percent
from alexnet.data.prepare.plan import SHARD_BYTES
from alexnet.fitting.candidates import ENLARGED, Candidate
from alexnet.fitting.known import Known, comparable
from alexnet.fitting.measure import Rates
from alexnet.fitting.size import Size
from alexnet.training.forecast import VIEWS

REPORT = 4.0  # seconds of one core for the report's figures and pages, most of them to load matplotlib
SAVES = 4  # checkpoints of a run that are worth counting: at three drops of the rate, and at the end
LATE = 1.05  # of the minutes, where a further epoch would end; they may be exceeded by this much
WHOLE = 20  # epochs from which on a schedule is worth its net, where no record tells
WRITE, BYTE = 5e-5, 3e-9  # seconds of `prepare` for a picture and for each of its bytes, beside decoding and resizing
POOL = 1.0  # seconds until the processes of `prepare` have begun


@dataclass(frozen=True)
class Times:
    """Seconds that a fit takes: before training, for an epoch of it, and after it."""

    before: float
    epoch: float
    after: float

    def total(self, epochs: float) -> float:
        """Return the seconds of the whole."""
        return self.before + epochs * self.epoch + self.after

    def epochs(self, seconds: float) -> float:
        """Return the number of epochs that fit into some seconds, with a fraction."""
        return (seconds - self.before - self.after) / self.epoch


@dataclass(frozen=True)
class Choice:
    """A chosen recipe.

    Attributes:
        candidate: The recipe, and the side of its store.
        times: What it takes.
        epochs: Number of whole epochs.
        why: The reason, in words.
        known: What the recipe reached on small folders that are most like this one.
    """

    candidate: Candidate
    times: Times
    epochs: int
    why: str
    known: tuple[Known, ...] = ()


def preparing(size: Size, side: int, decode: float, cores: int) -> float:
    """Estimate the seconds of `prepare`, which shares whole shards among processes.

    Args:
        size: The pictures.
        side: Side of the store, in pixels.
        decode: Seconds to decode and resize a picture on one core.
        cores: Number of processes.
    """
    own = 3 * side * side
    longest = max(min(count, SHARD_BYTES // own) for count in (size.train, size.held_out))
    return POOL + max(longest, (size.train + size.held_out) / cores) * (decode + WRITE + BYTE * own)


def training(size: Size, rates: Rates, before: float) -> Times:
    """Add up what training, its validations, the last evaluation and the report take.

    Args:
        size: The pictures.
        rates: What training takes here.
        before: Seconds until training begins.
    """
    validation = size.held_out * rates.validation
    after = VIEWS * validation + SAVES * rates.save + REPORT
    return Times(before, size.train * rates.picture + validation, after)


def whole(times: Times, seconds: float) -> int:
    """Return the number of epochs that end nearest to some seconds; 0 if one epoch ends far too late."""
    nearest = round(times.epochs(seconds))
    return max(0, nearest if times.total(nearest) <= LATE * seconds else nearest - 1)


def choose(options: Mapping[Candidate, Times], seconds: float, size: Size, rows: Iterable[Known]) -> Choice | None:
    """Choose the recipe with the lowest error on small folders, by records that are comparable.

    A folder of smaller pictures, which the largest store here would have enlarged, tells nothing of what a larger store
    gains.

    Where there is no such record, it is the recipe with the most work that gets WHOLE epochs, or else the one that gets
    the most epochs.

    Args:
        options: What each recipe takes.
        seconds: Time for everything.
        size: The pictures.
        rows: Rows of `known`.

    Returns:
        The choice, or None if no recipe ends an epoch in time.
    """
    epochs = {candidate: whole(times, seconds) for candidate, times in options.items()}
    epochs = {candidate: number for candidate, number in epochs.items() if number}
    if not epochs:
        return None
    names = {candidate.name: number for candidate, number in epochs.items()}
    side = max(candidate.side for candidate in epochs)
    told = comparable([row for row in rows if side < ENLARGED * row.picture], names, size.each, size.unequal)
    errors = {name: sum(row.error for row in of) / len(of) for name, of in told.items()}
    if errors:
        best = min(errors, key=lambda name: errors[name])
        found = next(candidate for candidate in epochs if candidate.name == best)
        why = because(errors, names, told[best])
    else:
        best_first = sorted(epochs, key=lambda c: (epochs[c] >= WHOLE, c.work if epochs[c] >= WHOLE else epochs[c]))
        found = best_first[-1]
        others = ", ".join(f"{c.name} {n:,}" for c, n in epochs.items() if c != found)
        beside = f" ({others})" if others else ""
        what = f"most work for a picture with {WHOLE} epochs or more" if epochs[found] >= WHOLE else "most epochs"
        why = f"no record of such a folder tells its error; it has the {what}: about {epochs[found]:,} epochs{beside}"
    return Choice(found, options[found], epochs[found], why, tuple(told.get(found.name, ())))


def because(errors: Mapping[str, float], epochs: Mapping[str, int], rows: Sequence[Known]) -> str:
    """Say why a recipe was chosen: what it and the others reached on the same folders."""
    ranked = sorted(errors, key=lambda name: errors[name])
    sets = " and ".join(row.set for row in rows)
    reached = ", ".join(f"{name} {percent(errors[name])}" for name in ranked)
    silent = [name for name in epochs if name not in errors]
    beside = f"; no record tells of {', '.join(silent)}" if silent else ""
    return f"the lowest error on {sets} with about as many pictures and epochs: {reached}{beside}"
