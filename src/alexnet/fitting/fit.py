"""Fit a net to a folder of pictures in some minutes: choose, prepare, train, evaluate, and go on after a stop."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, Stopped
from alexnet.core.files import lock_file
from alexnet.core.text import escape_control
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.base import Source
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store
from alexnet.fitting import plan
from alexnet.fitting.busy import Busy
from alexnet.fitting.choosing import Wish, choose
from alexnet.fitting.known import Known
from alexnet.fitting.measure import rates
from alexnet.fitting.record import NAME, Record, listing
from alexnet.fitting.size import HELD_OUT, size_of_source, size_of_store
from alexnet.inference.evaluate import Evaluation, evaluate
from alexnet.runs.folder import is_run
from alexnet.runs.log import console
from alexnet.training.forecast import moment, span
from alexnet.training.train import train

MOST_MINUTES = 100_000
NOTE = 30.0  # seconds between two notes of the time spent, which a kill would lose
LOOK, MEASURED = "fit-look.part", "fit-measured.part"  # folders in `out` while it works, which it removes


@dataclass(frozen=True)
class Fit:
    """The result of `fit`: its choice, its promise, and what came of it.

    Attributes:
        out: The folder, with the store and the run in it.
        run: Folder of the run, for `predict` and `evaluate`.
        store: Folder of the store.
        recipe: Name of the chosen recipe.
        side: Side of the store, in pixels.
        epochs: Number of epochs.
        why: Why the recipe was chosen.
        known: What the recipe reached on folders like this one.
        asked: Minutes that were asked for.
        promised: Minutes that were promised before anything was prepared.
        took: Minutes that it took, in all sessions.
        evaluation: The `Evaluation` on the held-out pictures, with ten views.
        report: The page; None if it was not to be written.
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

    @property
    def expected(self) -> float | None:
        """The mean error of `known`, 0 to 1; None without a record."""
        return sum(row.error for row in self.known) / len(self.known) if self.known else None

    def plain(self) -> dict[str, Any]:
        """Return the attributes as JSON types."""
        found: dict[str, Any] = {n: str(v) if isinstance(v, Path) else v for n, v in vars(self).items()}
        found |= {"expected": self.expected, "known": [asdict(row) for row in self.known]}
        return found | {"evaluation": self.evaluation.plain()}


def fit(
    photos: str | Path,
    out: str | Path,
    minutes: float = 10.0,
    *,
    ignore: str | Sequence[str] = (),
    root: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    quiet: bool = False,
    leave: bool = False,
    since: float | None = None,
    report: Callable[[Path], Path] | None = None,
) -> Fit:
    """Do what `alexnet.fit` does, with a function that writes the page."""
    begun = time.monotonic() if since is None else since
    source, out, say = str(photos), Path(out), _printer(quiet)
    ignore = [ignore] if isinstance(ignore, str) else list(ignore)
    _check(source, out, minutes, seed)
    choose_compute(device)
    with _held(out):
        found = read_source(source, out / LOOK, ignore, root)
        pictures, names = listing(found)
        asked = {"minutes": minutes, "seed": seed, "device": device, "pictures": pictures, "listing": names}
        record = Record.read(out)
        if record:
            record.check(out, asked)
        else:
            wish = Wish(minutes, device, lambda: time.monotonic() - begun)
            chosen = choose(found, size_of_source(found, source, seed), wish, out / MEASURED, say)
            record = Record.of(chosen, **asked)
            record.write(out)
        work = _Work(out, record, begun, say, ignore, root)
        if record.result is None:
            work.go_on(source, found, quiet, leave)
        return work.end(report)


class _Work:
    """The work of one session, which began at `begun`, by the monotonic clock, with what earlier ones left."""

    def __init__(
        self,
        out: Path,
        record: Record,
        begun: float,
        say: Callable[[str], None],
        ignore: Sequence[str] = (),
        root: str | Path | None = None,
    ) -> None:
        self.ignore, self.root = ignore, root
        self.out, self.record, self.begun, self.say = out, record, begun, say
        self.before = record.spent
        self.store, self.run = out / "store", out / "run"
        self.evaluation: Evaluation | None = None

    def spent(self) -> float:
        """Return the seconds of all sessions."""
        return self.before + time.monotonic() - self.begun

    def go_on(self, source: str, found: Source, quiet: bool, leave: bool) -> None:
        """Prepare, fix the epochs, train and evaluate: each part that no earlier session has done."""
        try:
            if not self.store.exists():
                self.prepare(source, found)
            if self.record.epochs is None:
                self.fix_epochs()
            self.train(quiet, leave)
        except BaseException as error:
            with suppress(OSError):
                self.record.write(self.out, spent=self.spent())
            if isinstance(error, Stopped):
                words = str(error).partition("; --resume")[0]
                raise Stopped(f"{words}; the same command goes on from there", error.signal) from None
            if isinstance(error, KeyboardInterrupt):
                self.say("stopped; the same command goes on from here")
            raise

    def prepare(self, source: str, found: Source) -> None:
        """Prepare the store."""
        fraction = None if {"val", "test"} & found.splits.keys() else HELD_OUT
        made = prepare(
            source,
            self.store,
            side=self.record.side,
            val_fraction=fraction,
            seed=self.record.seed,
            ignore=self.ignore,
            root=self.root,
        )
        counts = " and ".join(f"{count:,} {name}" for name, count in made.pictures.items())
        refused = sum(made.refused.values())
        note = f"; {refused:,} refused, which {self.store / 'prepare.jsonl'} names" if refused else ""
        twins = made.duplicates["identical"]["held_out"] if made.duplicates else 0
        if twins:
            note += f"; {twins:,} held out are identical to one in train, so the error looks better than it is"
        self.say(f"prepared {counts} pictures of {made.classes:,} classes in {span(made.seconds)}{note}")

    def fix_epochs(self) -> None:
        """Measure the recipe on the store, and fix the number of epochs that ends with the minutes."""
        store, record = Store(self.store), self.record
        wish = Wish(record.minutes, record.device, self.spent)
        folder = self.out / MEASURED / "run"
        found = rates(store, RECIPES[record.recipe], folder, record.device, 2 * wish.measuring)
        times = plan.training(size_of_store(store), found, self.spent())
        epochs = max(1, plan.whole(times, wish.seconds))
        self.record = record.write(self.out, epochs=epochs, spent=self.spent())
        total = times.total(epochs)
        late = total > plan.LATE * wish.seconds
        note = f", {span(total - wish.seconds)} late, since one epoch is the least" if late else ""
        self.say(
            f"{epochs:,} epoch{'s' * (epochs != 1)}, each of {times.epoch:.3g} s: ends about "
            f"{moment(time.time(), total - self.spent())}{note}"
        )

    def train(self, quiet: bool, leave: bool) -> None:
        """Train, and evaluate."""
        record, busy = self.record, Busy(self.say, self.spent, 60 * self.record.promised)
        recipe = RECIPES[record.recipe].replace(epochs=record.epochs, seed=record.seed)

        def look(done: int, of: int) -> None:
            busy.look(done, of)
            if self.spent() - self.record.spent > NOTE:
                with suppress(OSError):  # training may go on, whatever the disk does
                    self.record = self.record.write(self.out, spent=self.spent())

        self.evaluation = train(
            self.store,
            self.run,
            recipe,
            name=record.recipe,
            device=record.device,
            resume=is_run(self.run),
            quiet=quiet,
            leave=leave,
            progress=look,
        )

    def end(self, report: Callable[[Path], Path] | None) -> Fit:
        """Write the report and the record, and return the result."""
        found = self.evaluation or evaluate(
            self.store, [self.run], split=Store(self.store).held_out, device=self.record.device
        )
        page = report(self.out) if report else None
        record = self.record
        if record.result is None:
            took = {"took": round(self.spent() / 60, 3)}
            result = took | {"top1": found.errors.top1, "pictures": found.errors.images}
            record = record.write(self.out, spent=self.spent(), result=result)
        assert record.epochs is not None
        assert record.result is not None
        return Fit(
            out=self.out,
            run=self.run,
            store=self.store,
            recipe=record.recipe,
            side=record.side,
            epochs=record.epochs,
            why=record.why,
            known=tuple(Known(**row) for row in record.known),
            asked=record.minutes,
            promised=record.promised,
            took=record.result["took"],
            evaluation=found,
            report=page,
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
    RECIPES["tiny"].replace(seed=seed)  # raises InputError for a seed that no recipe can have
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(f"{out} is not a folder; name another")
    place = Path(source)
    if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise InputError(f"{out} is inside {source}; name a folder outside it")


def _check_new(out: Path) -> None:
    """Raise InputError if a folder without a record has files of others."""
    for path in out.iterdir():
        if path.name not in (".lock", LOOK, MEASURED):
            raise InputError(f"{out} holds {path.name} and no work of alexnet fit; name another folder")


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Lock a folder for one fit; at the end remove what measuring left there, and what was made in vain.

    Raises:
        InputError: Another fit works there, or it is a folder of other things, of which nothing is changed.
    """
    fresh, locked = not out.exists(), (out / ".lock").exists()
    with lock_file(out / ".lock", f"{out} is in use by another alexnet fit; wait for it, or stop it"):
        try:
            if not (out / NAME).exists():
                _check_new(out)
            _clean(out)  # after a kill
            try:
                yield
            finally:
                _clean(out)
        finally:
            if not locked and not (out / NAME).exists():
                with suppress(OSError):
                    (out / ".lock").unlink()
                    if fresh:
                        out.rmdir()


def _clean(out: Path) -> None:
    for name in (LOOK, MEASURED):
        shutil.rmtree(out / name, ignore_errors=True)
