"""The log of a run: one JSON object a line in log.jsonl, the same numbers on the console and in TensorBoard."""

import contextlib
import itertools
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import parse_json, read_bytes, write
from alexnet.core.text import escape_control

BAR = 10  # characters of the progress bar,
BESIDE = 16 + BAR  # and of all on its line but the words: "100:00:00 left", and spaces
LINE_SECONDS = 10  # between lines on a console that is not a terminal, and in log.jsonl


def console() -> Console:
    """Where progress goes: standard error, so that results alone stand on standard output."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Tally:
    """Sums over pictures seen in training, from which means are taken."""

    loss: float = 0.0
    wrong: int = 0
    pictures: int = 0

    def add(self, loss: float, wrong: int, pictures: int) -> None:
        """Count a batch: its mean loss, how many of its pictures were taken for another class, its size."""
        self.loss += loss * pictures
        self.wrong += wrong
        self.pictures += pictures

    def means(self) -> tuple[float, float]:
        """Mean loss and error rate."""
        return self.loss / max(self.pictures, 1), self.wrong / max(self.pictures, 1)


class RunLog:
    """Writes what happens in a run, from `step` of `steps` on, `seconds` into its training.

    What a killed run logged past its last checkpoint is dropped (`lines_until`), and so is its final line.
    One that does not write is for a process that must neither write nor speak.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        steps: int,
        per_epoch: int,
        epochs: int,
        seconds: float = 0.0,
        quiet: bool = False,
        writes: bool = True,
    ) -> None:
        self.path, self.steps, self.per_epoch, self.quiet = run / "log.jsonl", steps, per_epoch, quiet or not writes
        lines = _lines(run) if writes else []
        if writes:
            kept = lines_until(lines, step, epochs)
            write(self.path, [json.dumps(line).encode() + b"\n" for line in kept])
        else:
            self.path = Path(os.devnull)
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.board = None
        self.begin_span(time.monotonic())
        self.start = self.last - seconds
        self.console = console()
        self.progress = Progress(
            TimeRemainingColumn(),
            TextColumn("left"),
            TextColumn("{task.fields[words]}"),
            BarColumn(BAR),
            console=self.console,
            disable=self.quiet or not self.console.is_terminal,
            transient=True,
        )
        self.task = self.progress.add_task("training", total=steps, completed=step, words="")
        if strays := lines[:-1].count(None):  # a crash may have cut the last one short
            self.say(
                f"{self.path}: {strays} {'lines are none' if strays > 1 else 'line is none'} of a log, and left out"
            )
        try:
            self.board = _tensorboard(run, step) if writes else None
        except (OSError, UnicodeEncodeError) as error:  # it wants a path in UTF-8
            self.end_board(error)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a console that is gone
            self.progress.stop()
        with contextlib.suppress(OSError):  # of a disk that is full
            self.file.close()
        with contextlib.suppress(OSError):
            if self.board:
                self.board.close()

    def end_board(self, error: Exception) -> None:
        """Go on without TensorBoard's file: a copy; what counts is in log.jsonl."""
        self.board = None
        self.say(f"TensorBoard's file cannot be written ({getattr(error, 'strerror', None) or error}) and ends here")

    def say(self, words: str) -> None:
        """A line for the person at the console, as long as there is one: a closed terminal or pipe ends no training."""
        if not self.quiet:
            try:
                self.progress.console.print(escape_control(words), markup=False)
            except OSError:
                self.quiet = True

    def begin_span(self, now: float) -> None:
        """The next line covers what happens from here on."""
        self.recent, self.last = Tally(), now
        self.waited: float | None = None

    def step(
        self, step: int, *, loss: float, wrong: int, pictures: int, rate: float, waited: float | None = None
    ) -> None:
        """One update was made: `step` counts it. `waited`: seconds spent waiting for its pictures, where known."""
        now = time.monotonic()
        self.recent.add(loss, wrong, pictures)
        if waited is not None:
            self.waited = (self.waited or 0.0) + waited
        self.progress.update(self.task, completed=step)
        if now - self.last < LINE_SECONDS and step not in (1, self.steps):
            return
        mean_loss, error = self.recent.means()
        span = max(now - self.last, 1e-9)
        line: dict[str, Any] = {
            "kind": "step",
            "step": step,
            "epoch": round(step / self.per_epoch, 4),
            "loss": round(mean_loss, 6),
            "error": round(error, 6),
            "rate": rate,
            "pictures_per_second": round(self.recent.pictures / span, 1),
        }
        if self.waited is not None:
            line["data_wait"] = round(min(self.waited / span, 1.0), 4)
        self.write(line | self.clock())
        words = [f"{line['pictures_per_second']:.0f} pictures/s", f"epoch {line['epoch']:.2f}"]
        words += [f"loss {line['loss']:.4f}", f"error {100 * error:.1f} %", f"step {step} of {self.steps}"]
        words += [f"rate {rate:.2g}"]
        if self.waited is not None:
            words.append(f"data {100 * line['data_wait']:.1f} %")
        self.progress.update(self.task, words=fit_words(words, self.console.width - BESIDE))
        if not self.console.is_terminal:
            self.say("  ".join([f"{self.left()} left", *words]))
        self.begin_span(now)

    def epoch(self, step: int, **measured: float) -> None:
        """An epoch ended and was validated with one view."""
        self.write({"kind": "epoch", "step": step, "epoch": step // self.per_epoch} | measured | self.clock())
        self.say(
            f"epoch {step // self.per_epoch}: training error {100 * measured['train_error']:.1f} %, "
            f"loss {measured['train_loss']:.4f}; validation error top-1 {100 * measured['top1']:.1f} %, "
            f"top-5 {100 * measured['top5']:.1f} %, loss {measured['nats']:.4f}"
        )
        self.begin_span(time.monotonic())  # validation is not training time

    def resumed(self, step: int, environment: dict[str, Any]) -> None:
        """The run goes on, perhaps elsewhere."""
        self.write({"kind": "resumed", "step": step} | environment | self.clock())

    def final(self, step: int, evaluation: dict[str, Any]) -> None:
        """The run ended and was evaluated with ten views."""
        self.write({"kind": "final", "step": step} | evaluation | self.clock())

    def clock(self) -> dict[str, float]:
        """Seconds since training began, over all sittings."""
        return {"seconds": round(time.monotonic() - self.start, 1)}

    def write(self, line: dict[str, Any]) -> None:
        """One object, one line; each has `kind` and `step`."""
        try:
            self.file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WorkFailed(
                f"cannot write {self.path}: {error.strerror or error}; mend that and go on with --resume"
            ) from None
        for name, value in line.items():
            if self.board and isinstance(value, (int, float)) and name not in ("step", "epoch"):
                try:
                    self.board.add_scalar(f"{line['kind']}/{name}", value, line["step"])
                except OSError as error:
                    self.end_board(error)

    def left(self) -> str:
        """Hours, minutes and seconds to the end, as far as the progress so far tells."""
        seconds = self.progress.tasks[0].time_remaining
        if seconds is None:
            return "?"
        return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.0f} h"


def lines_until(lines: Sequence[dict[str, Any] | None], step: int, epochs: int) -> list[dict[str, Any]]:
    """The lines that a run keeps which goes on from a checkpoint: none of a later step or epoch, and no final one."""
    kept = [line for line in lines if line and line["step"] <= step and line["kind"] != "final"]
    return [line for line in kept if line["kind"] != "epoch" or line["epoch"] <= epochs]


def fit_words(words: Sequence[str], width: int) -> str:
    """As many of the words as so many characters take, the first of them in any case."""
    while len(words) > 1 and len("  ".join(words)) > width:
        words = words[:-1]
    return "  ".join(words)


def read(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; what is none, as a last line that a crash cut short, is left out.

    Raises InputError where it cannot be read.
    """
    return [line for line in _lines(run) if line]


def total_seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Seconds over all sittings; where a log's count began again, the sittings are added up."""
    marks: list[float] = [line["seconds"] for line in log if "seconds" in line]
    ends = [before for before, after in itertools.pairwise(marks) if after < before]
    return sum(ends) + (marks[-1] if marks else 0)


def _lines(run: Path) -> list[dict[str, Any] | None]:
    """Each line of a run's log; None for one that is none."""
    path = run / "log.jsonl"
    try:
        return [_line(words) for words in read_bytes(path).splitlines()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _line(words: bytes) -> dict[str, Any] | None:
    try:
        line = parse_json(words)
    except ValueError:
        return None
    return line if isinstance(line, dict) and _sound(line) else None


def _sound(line: Mapping[str, Any]) -> bool:
    """Whether a line has what going on with a run takes from it."""
    needed = {"kind", "step", "epoch", "train_error"} if line.get("kind") == "epoch" else {"kind", "step"}
    numbers = [line[name] for name in ("step", "epoch", "train_error", "seconds") if name in line]
    return needed <= line.keys() and all(isinstance(number, (int, float)) for number in numbers)


def _tensorboard(run: Path, step: int) -> Any:
    """A writer of TensorBoard events, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    threading.excepthook = _of_others
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)


_earlier = threading.excepthook


def _of_others(thrown: threading.ExceptHookArgs) -> None:
    """TensorBoard's own thread meets a full or lost disk before anyone asks it, or after: `end_board` says it."""
    if not (isinstance(thrown.exc_value, OSError) and type(thrown.thread).__module__.startswith("tensorboard.")):
        _earlier(thrown)
