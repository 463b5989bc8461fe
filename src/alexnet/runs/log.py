"""Write and read a run's log: log.jsonl, with the same numbers on the console and in TensorBoard."""

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

BAR = 10  # width of the progress bar, in characters
BESIDE = 16 + BAR  # width of the progress line without its words: the bar, "100:00:00 left", and spaces
LINE_SECONDS = 10  # seconds between lines in log.jsonl, and on a console that is not a terminal


def console() -> Console:
    """Open the console for progress on standard error, so that standard output holds only results."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass
class Tally:
    """The sums of loss and errors over the pictures seen in training, and their means."""

    loss: float = 0.0
    wrong: int = 0
    pictures: int = 0

    def add(self, loss: float, wrong: int, pictures: int) -> None:
        """Add a batch: its mean loss, its number of wrongly classified pictures, and its size."""
        self.loss += loss * pictures
        self.wrong += wrong
        self.pictures += pictures

    def means(self) -> tuple[float, float]:
        """Return the mean loss and the error rate."""
        return self.loss / max(self.pictures, 1), self.wrong / max(self.pictures, 1)


class RunLog:
    """The log of a run, open for writing from `step` of `steps` on, after `seconds` of training.

    Opening it drops the lines that a killed run logged after its last checkpoint, and its final line (`lines_until`).
    With `writes=False`, for all processes except the first, it neither writes nor prints.
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
        if strays := lines[:-1].count(None):  # not the last line, which a crash may have cut short
            self.say(f"{self.path}: {strays} {'lines do' if strays > 1 else 'line does'} not parse and will be dropped")
        try:
            self.board = _tensorboard(run, step) if writes else None
        except (OSError, UnicodeEncodeError) as error:  # TensorBoard needs a UTF-8 path
            self.end_board(error)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the console is gone
            self.progress.stop()
        with contextlib.suppress(OSError):  # the disk is full
            self.file.close()
        with contextlib.suppress(OSError):
            if self.board:
                self.board.close()

    def end_board(self, error: Exception) -> None:
        """Continue without TensorBoard's file, which is only a copy of log.jsonl."""
        self.board = None
        self.say(f"cannot write TensorBoard's file ({getattr(error, 'strerror', None) or error}); going on without it")

    def say(self, words: str) -> None:
        """Print a line on the console. A closed terminal or pipe does not end the training."""
        if not self.quiet:
            try:
                self.progress.console.print(escape_control(words), markup=False)
            except OSError:
                self.quiet = True

    def begin_span(self, now: float) -> None:
        """Start the time span of the next line."""
        self.recent, self.last = Tally(), now
        self.waited: float | None = None

    def step(
        self, step: int, *, loss: float, wrong: int, pictures: int, rate: float, waited: float | None = None
    ) -> None:
        """Log update number `step`. `waited` is the time in seconds spent waiting for its pictures, if known."""
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
        """Log the end of an epoch and its validation with one view."""
        self.write({"kind": "epoch", "step": step, "epoch": step // self.per_epoch} | measured | self.clock())
        self.say(
            f"epoch {step // self.per_epoch}: training error {100 * measured['train_error']:.1f} %, "
            f"loss {measured['train_loss']:.4f}; validation error top-1 {100 * measured['top1']:.1f} %, "
            f"top-5 {100 * measured['top5']:.1f} %, loss {measured['nats']:.4f}"
        )
        self.begin_span(time.monotonic())  # validation is not training time

    def resumed(self, step: int, environment: dict[str, Any]) -> None:
        """Log that the run was resumed, perhaps on another machine."""
        self.write({"kind": "resumed", "step": step} | environment | self.clock())

    def final(self, step: int, evaluation: dict[str, Any]) -> None:
        """Log the end of the run and its evaluation with ten views."""
        self.write({"kind": "final", "step": step} | evaluation | self.clock())

    def clock(self) -> dict[str, float]:
        """Return the seconds spent in training, over all sessions."""
        return {"seconds": round(time.monotonic() - self.start, 1)}

    def write(self, line: dict[str, Any]) -> None:
        """Write one object, with `kind` and `step`, as one line."""
        try:
            self.file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise WorkFailed(
                f"cannot write {self.path}: {error.strerror or error}; fix that and continue with --resume"
            ) from None
        for name, value in line.items():
            if self.board and isinstance(value, (int, float)) and name not in ("step", "epoch"):
                try:
                    self.board.add_scalar(f"{line['kind']}/{name}", value, line["step"])
                except OSError as error:
                    self.end_board(error)

    def left(self) -> str:
        """Estimate the time to the end, as HH:MM:SS."""
        seconds = self.progress.tasks[0].time_remaining
        if seconds is None:
            return "?"
        return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.0f} h"


def lines_until(lines: Sequence[dict[str, Any] | None], step: int, epochs: int) -> list[dict[str, Any]]:
    """Select the lines that a resumed run keeps: up to its checkpoint's step and epoch, without final lines."""
    kept = [line for line in lines if line and line["step"] <= step and line["kind"] != "final"]
    return [line for line in kept if line["kind"] != "epoch" or line["epoch"] <= epochs]


def fit_words(words: Sequence[str], width: int) -> str:
    """Join as many of the words as fit into `width` characters, but at least the first."""
    while len(words) > 1 and len("  ".join(words)) > width:
        words = words[:-1]
    return "  ".join(words)


def read(run: Path) -> list[dict[str, Any]]:
    """Read a run's log, except lines that do not parse, such as a last line that a crash cut short.

    Raises InputError if the file cannot be read.
    """
    return [line for line in _lines(run) if line]


def total_seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Add up the seconds of all sessions. In logs of early versions each session counts from 0."""
    marks: list[float] = [line["seconds"] for line in log if "seconds" in line]
    ends = [before for before, after in itertools.pairwise(marks) if after < before]
    return sum(ends) + (marks[-1] if marks else 0)


def _lines(run: Path) -> list[dict[str, Any] | None]:
    """Read a run's log line by line, with None for each line that does not parse."""
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
    """Tell whether a line has the fields that a resumed run needs."""
    needed = {"kind", "step", "epoch", "train_error"} if line.get("kind") == "epoch" else {"kind", "step"}
    numbers = [line[name] for name in ("step", "epoch", "train_error", "seconds") if name in line]
    return needed <= line.keys() and all(isinstance(number, (int, float)) for number in numbers)


def _tensorboard(run: Path, step: int) -> Any:
    """Open a writer of TensorBoard events, or return None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    threading.excepthook = _of_others
    return SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)


_earlier = threading.excepthook


def _of_others(thrown: threading.ExceptHookArgs) -> None:
    """Ignore a full or lost disk in TensorBoard's thread: `end_board` reports it."""
    if not (isinstance(thrown.exc_value, OSError) and type(thrown.thread).__module__.startswith("tensorboard.")):
        _earlier(thrown)
