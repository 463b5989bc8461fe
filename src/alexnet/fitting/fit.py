"""Fit a net to a folder of pictures in some minutes: choose, prepare, train, evaluate, and go on after a stop."""

import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError, Stopped
from alexnet.core.files import lock_file
from alexnet.core.text import escape_control
from alexnet.core.threads import available_cores
from alexnet.data.prepare.plan import held_out
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import Source
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store
from alexnet.fitting import plan
from alexnet.fitting.candidates import Candidate, candidates
from alexnet.fitting.known import Known, known
from alexnet.fitting.measure import rates, rehearse, sample
from alexnet.fitting.plan import Choice, Size, Times
from alexnet.fitting.record import NAME, Record, listing
from alexnet.inference.evaluate import Evaluation, evaluate
from alexnet.runs.folder import is_run
from alexnet.runs.log import console
from alexnet.training.forecast import moment, span
from alexnet.training.train import train

FEWEST = 10  # training pictures; fewer tell nothing of a recipe
HELD_OUT = 0.2  # of each class, where the source holds none out
MOST_MINUTES = 100_000
MOST = 160  # pictures of a sample: a batch of each recipe, and some to validate on
MEASURED = 0.01  # of the time, to measure each recipe for
LEAST, LONGEST = 0.4, 5.0  # seconds of such a measurement
HOPELESS = 0.5  # epochs by a guess from the work, below which a recipe is not measured
BUSY = 1.1  # of the promised time, from which on a line says that the machine is busy
EVERY = 10.0  # seconds between two looks at that


@dataclass(frozen=True)
class Fit:
    """What `fit` chose, promised and reached.

    Attributes:
        out: The folder, with the store and the run in it.
        run: Folder of the run, for `predict` and `evaluate`.
        store: Folder of the store.
        recipe: Name of the chosen recipe.
        side: Side of the store, in pixels.
        epochs: Number of epochs.
        why: Why the recipe was chosen.
        known: What the recipe reached on small folders, for comparison.
        asked: Minutes that were asked for.
        promised: Minutes that were promised before anything was prepared.
        took: Minutes that it took, in all sessions.
        evaluation: The `Evaluation` on the held-out pictures, with ten views.
        report: The page; None until it is written.
    """

    out: Path
    run: Path
    store: Path
    recipe: str
    side: int
    epochs: int
    why: str
    known: tuple[Known, ...]
    asked: float
    promised: float
    took: float
    evaluation: Evaluation
    report: Path | None = None

    def plain(self) -> dict[str, Any]:
        """Return the attributes as JSON types."""
        found: dict[str, Any] = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(self).items()
            if name not in ("known", "evaluation")
        }
        return found | {"known": [asdict(row) for row in self.known], "evaluation": self.evaluation.plain()}


def fit(
    photos: str | Path,
    out: str | Path,
    minutes: float = 10.0,
    *,
    device: str = "auto",
    seed: int = 0,
    quiet: bool = False,
    leave: bool = False,
    report: Callable[[Path], Path] | None = None,
) -> Fit:
    """Do what `alexnet.fit` does, with `report` to write the page."""
    begun, source, out = time.monotonic(), str(photos), Path(out)
    say = _printer(quiet)
    _check(source, out, minutes, seed)
    fresh = not out.exists()
    with _held(out, fresh):
        found = read_source(source, out / "look")
        asked = dict(zip(("pictures", "listing"), listing(found), strict=True))
        asked |= {"minutes": minutes, "seed": seed, "device": device}
        record = Record.read(out)
        if record:
            record.check(out, asked)
        else:
            _check_new(out)
            size = _size(found, source, seed)
            record = _chosen(found, size, out, asked, begun, say)
        work = _Work(out, record, begun, say)
        if record.result is None:
            work.fit(source, size_of=found, quiet=quiet, leave=leave)
        return work.ended(report)


class _Work:
    """The work of one session: `begun` is its start by the clock, and `record` what earlier ones left."""

    def __init__(self, out: Path, record: Record, begun: float, say: Callable[[str], None]) -> None:
        self.out, self.record, self.begun, self.say = out, record, begun, say
        self.before = record.spent
        self.store, self.run = out / "store", out / "run"
        self.evaluation: Evaluation | None = None

    def spent(self) -> float:
        """Return the seconds of all sessions."""
        return self.before + time.monotonic() - self.begun

    def fit(self, source: str, size_of: Source, quiet: bool, leave: bool) -> None:
        """Prepare, fix the number of epochs, train and evaluate; what an earlier session has done is not done again."""
        try:
            if not self.store.exists():
                self._prepare(source, size_of)
            if self.record.epochs is None:
                self._fix()
            self._train(quiet, leave)
        except BaseException as error:
            with suppress(OSError):
                self.record = self.record.write(self.out, spent=self.spent())
            if isinstance(error, Stopped):
                words = str(error).partition("; --resume")[0]
                raise Stopped(f"{words}; the same command again goes on from there", error.signal) from None
            if isinstance(error, KeyboardInterrupt):
                self.say("stopped; the same command again goes on")
            raise

    def _prepare(self, source: str, found: Source) -> None:
        fraction = None if {"val", "test"} & found.splits.keys() else HELD_OUT
        made = prepare(source, self.store, side=self.record.side, val_fraction=fraction, seed=self.record.seed)
        refused = sum(made.refused.values())
        note = f", {refused:,} refused ({self.store / 'prepare.jsonl'} names them)" if refused else ""
        counts = " and ".join(f"{count:,} {name}" for name, count in made.pictures.items())
        self.say(f"prepared {counts} pictures of {made.classes:,} classes in {span(made.seconds)}{note}")

    def _fix(self) -> None:
        """Measure the recipe on the store, and choose the number of epochs that ends with the minutes."""
        store, record = Store(self.store), self.record
        size = _size_of(store)
        asked = 60 * record.minutes
        seconds = min(LONGEST, max(LEAST, 2 * MEASURED * asked))
        found = rates(store, RECIPES[record.recipe], self.out / "measured" / "run", record.device, seconds)
        times = plan.training(size, found, self.spent())
        epochs = plan.whole(times, asked)
        late = "" if epochs else f"{span(times.total(1) - asked)} late: one epoch is the least, and "
        self.record = record.write(self.out, epochs=max(1, epochs), spent=self.spent())
        left = times.total(self.record.epochs or 1) - self.spent()
        self.say(
            f"{self.record.epochs:,} epoch{'s' * (self.record.epochs != 1)} of {span(times.epoch)}: "
            f"{late}ends about {moment(time.time(), left)}"
        )

    def _train(self, quiet: bool, leave: bool) -> None:
        record = self.record
        recipe = RECIPES[record.recipe].replace(epochs=record.epochs, seed=record.seed)
        self.evaluation = train(
            self.store,
            self.run,
            recipe,
            name=record.recipe,
            device=record.device,
            resume=is_run(self.run),
            quiet=quiet,
            leave=leave,
            progress=Busy(self.say, self.spent, 60 * record.promised).look,
        )

    def ended(self, report: Callable[[Path], Path] | None) -> Fit:
        """Write the report and the record, and return the result."""
        record = self.record
        found = self.evaluation or evaluate(self.store, [self.run], split=Store(self.store).held_out)
        page = report(self.out) if report else None
        took = record.result["took"] if record.result else round(self.spent() / 60, 3)
        result = {"took": took, "top1": found.errors.top1, "pictures": found.errors.images}
        if record.result is None:
            record = record.write(self.out, spent=self.spent(), result=result)
        assert record.epochs is not None
        return Fit(
            self.out,
            self.run,
            self.store,
            record.recipe,
            record.side,
            record.epochs,
            record.why,
            tuple(Known(**row) for row in record.known),
            record.minutes,
            record.promised,
            took,
            found,
            page,
        )


class Busy:
    """Says once that a training ends later than was promised, because the machine has other work.

    Args:
        say: Function that prints a line.
        spent: Function that returns the seconds of all sessions.
        promised: The promised seconds of everything.
    """

    def __init__(self, say: Callable[[str], None], spent: Callable[[], float], promised: float) -> None:
        self.say, self.spent, self.promised = say, spent, promised
        self.seen: tuple[int, float] | None = None
        self.told = False

    def look(self, done: int, of: int) -> None:
        """Look at the clock after a step, `done` of `of`."""
        now = self.spent()
        self.seen = self.seen or (done, now)
        steps, seconds = done - self.seen[0], now - self.seen[1]
        if self.told or not steps or seconds < EVERY:
            return
        self.seen = (done, now)
        end = now + seconds / steps * (of - done)
        if end > BUSY * self.promised:
            self.told = True
            late = span(end - self.promised)
            self.say(
                f"other work slows this machine: the training may end {late} late, about "
                f"{moment(time.time(), end - now)}; its schedule is not cut short"
            )


def _printer(quiet: bool) -> Callable[[str], None]:
    shown = console()

    def say(words: str) -> None:
        with suppress(OSError):  # the console is gone
            if not quiet:
                shown.print(escape_control(words), markup=False)

    return say


def _check(source: str, out: Path, minutes: float, seed: int) -> None:
    """Raise InputError for arguments that cannot be used, before anything is made."""
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= MOST_MINUTES:
        raise InputError(f"--minutes {minutes}; it must be more than 0, and at most {MOST_MINUTES:,}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"--seed {seed}; it must be a whole number, 0 or more")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is not a folder; name another")
    place = Path(source)
    if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise InputError(f"{out} is inside {source}; name a folder outside it")


def _check_new(out: Path) -> None:
    """Raise InputError if a folder without a record has files of others."""
    for path in out.iterdir():
        if path.name not in (".lock", "look", "measured"):
            raise InputError(f"{out} has other files ({path.name}), and none of alexnet fit; name another folder")


@contextmanager
def _held(out: Path, fresh: bool) -> Any:
    """Lock a folder for one fit, and remove what measuring has left there, and a new folder without a record."""
    with lock_file(out / ".lock", f"{out} is in use by another alexnet fit; wait for it, or stop it"):
        try:
            yield
        finally:
            for name in ("look", "measured"):
                shutil.rmtree(out / name, ignore_errors=True)
            if fresh and not (out / NAME).exists():
                with suppress(OSError):
                    (out / ".lock").unlink()
                    os.rmdir(out)


def _size(found: Source, source: str, seed: int) -> Size:
    """Count the pictures by their use; raise InputError if they are too few."""
    splits = found.splits
    if not {"val", "test"} & splits.keys():
        splits = splits | held_out(splits["train"], HELD_OUT, seed)
    held = splits["val" if "val" in splits else "test"]
    counts = Counter(picture.label for picture in splits["train"])
    train = len(splits["train"])
    if train < FEWEST:
        raise InputError(
            f"{source} has {train} pictures to train on and {len(held)} to measure the error on; "
            f"give {FEWEST} to train on, better hundreds"
        )
    if not held:
        raise InputError(f"{source} has one picture of each class; a second one is needed to measure the error on")
    return Size(train, len(held), len(found.classes), max(counts.values()) > 3 * min(counts.values()))


def _size_of(store: Store) -> Size:
    counts = store.class_counts["train"]
    return Size(sum(counts), len(store[store.held_out]), len(counts), max(counts) > 3 * min(counts))


def _chosen(
    found: Source, size: Size, out: Path, asked: dict[str, Any], begun: float, say: Callable[[str], None]
) -> Record:
    """Measure this machine, choose, and say what was chosen, why, how long it takes and what such folders reached."""
    seconds = 60 * asked["minutes"]
    look = sample(found, MOST)
    say(
        f"{size.train:,} pictures of {size.classes:,} classes to train on, {size.held_out:,} held out to measure the "
        f"error on; measuring this machine"
    )
    options = _measured(found, look, size, out, asked, begun)
    chosen = plan.choose(options, seconds, size, known())
    if not chosen:
        least = min(options, key=lambda c: options[c].total(1))
        need = options[least].total(1)
        raise InputError(
            f"--minutes {asked['minutes']:g} is too little: one epoch of {least.name} ends after {span(need)}, with "
            f"{span(options[least].before)} before it; give --minutes {_enough(need)} or more, or fewer pictures"
        )
    promised = chosen.times.total(chosen.epochs)
    say(f"recipe {chosen.candidate.name}, {chosen.candidate.side} pixels, about {chosen.epochs:,} epochs: {chosen.why}")
    _say_promise(chosen, promised, begun, say)
    errors = [row.error for row in chosen.known]
    record = Record(
        recipe=chosen.candidate.name,
        side=chosen.candidate.side,
        why=chosen.why,
        known=tuple(asdict(row) for row in chosen.known),
        promised=round(promised / 60, 3),
        error=sum(errors) / len(errors) if errors else None,
        **asked,
    )
    return record.write(out)


def _enough(seconds: float) -> str:
    """Write the minutes that are enough for so many seconds, rounded up."""
    minutes = seconds / 60
    digits = max(0, 1 - math.floor(math.log10(minutes)))
    return f"{math.ceil(minutes * 10**digits) / 10**digits:g}"


def _measured(
    found: Source, look: Any, size: Size, out: Path, asked: dict[str, Any], begun: float
) -> dict[Candidate, Times]:
    """Measure the candidates, those with the least work first; skip one that could not end an epoch in time."""
    seconds, cores = 60 * asked["minutes"], available_cores()
    each = min(LONGEST, max(LEAST, MEASURED * seconds))
    options: dict[Candidate, Times] = {}
    fastest = 0.0  # multiply-adds a second
    for candidate in candidates(look.side):
        before = plan.preparing(size, candidate.side, look.seconds, cores) + plan.CHECKED
        if options and size.train * candidate.work / fastest * HOPELESS > seconds - before:
            continue
        seen = rehearse(look, candidate, size.classes, out / "measured", asked["device"], each)
        fastest = max(fastest, candidate.work / seen.picture)
        options[candidate] = plan.training(size, seen, before)
    # The time that measuring took is over for each of them.
    now = time.monotonic() - begun
    return {c: Times(now + t.before, t.epoch, t.after) for c, t in options.items()}


def _say_promise(chosen: Choice, promised: float, begun: float, say: Callable[[str], None]) -> None:
    times = chosen.times
    spent = time.monotonic() - begun
    say(
        f"time: {span(times.before)} until training begins, {span(chosen.epochs * times.epoch)} to train, "
        f"{span(times.after)} to evaluate and report: {promised / 60:.1f} minutes; ends about "
        f"{moment(time.time(), promised - spent)}"
    )
    if chosen.known:
        say(f"such folders reached an error of {'; '.join(row.words() for row in chosen.known)}")
    else:
        say("such folders: no record yet, so their error is not known")
