"""The log of a run: one JSON object a line in log.jsonl, the same numbers on the console and in TensorBoard."""

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_SECONDS = 10  # between lines on a console that is not a terminal, and in log.jsonl


def console() -> Console:
    """Where progress goes: standard error, so that results alone stand on standard output."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


class RunLog:
    """Writes what happens in a run; lines of steps after `step`, left by a run that was killed, are dropped."""

    def __init__(self, run: Path, step: int, steps: int, per_epoch: int, quiet: bool = False) -> None:
        self.path, self.steps, self.per_epoch = run / "log.jsonl", steps, per_epoch
        kept = [line for line in read(run) if line["step"] <= step]
        self.path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self.file = self.path.open("a", encoding="utf-8", buffering=1)
        self.board = _tensorboard(run)
        self.recent: deque[tuple[float, float, int, float]] = (
            deque()
        )  # loss, wrong, pictures, seconds: since the last line
        self.epoch_sums = [0.0, 0.0, 0.0]  # loss, wrong, pictures: since the epoch began (or the run was resumed)
        self.last = self.start = time.monotonic()
        self.quiet = quiet
        self.console = console()
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[words]}"), TimeRemainingColumn(),
            console=self.console, disable=quiet or not self.console.is_terminal, transient=True,
        )  # fmt: skip
        self.task = self.progress.add_task("training", total=steps, completed=step, words="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()
        self.file.close()
        if self.board:
            self.board.close()

    def say(self, words: str) -> None:
        """A line for the person at the console."""
        if not self.quiet:
            self.progress.console.print(words, markup=False)

    def step(self, step: int, *, loss: float, wrong: int, pictures: int, rate: float) -> None:
        """One update was made: `step` counts it."""
        now = time.monotonic()
        self.recent.append((loss * pictures, wrong, pictures, now))
        for i, value in enumerate((loss * pictures, wrong, pictures)):
            self.epoch_sums[i] += value
        self.progress.update(self.task, completed=step)
        if now - self.last < LINE_SECONDS and step not in (1, self.steps):
            return
        sums = [sum(r[i] for r in self.recent) for i in range(3)]
        line = {
            "kind": "step",
            "step": step,
            "epoch": round(step / self.per_epoch, 4),
            "loss": round(sums[0] / sums[2], 6),
            "error": round(sums[1] / sums[2], 6),
            "rate": rate,
            "pictures_per_second": round(sums[2] / max(now - self.last, 1e-9), 1),
            "seconds": round(now - self.start, 1),
        }
        self.write(line)
        words = f"step {step} of {self.steps}  epoch {line['epoch']:.2f}  loss {line['loss']:.4f}  "
        words += f"error {100 * sums[1] / sums[2]:.1f} %  rate {rate:.2g}  {line['pictures_per_second']:.0f} pictures/s"
        self.progress.update(self.task, words=words)
        if not self.console.is_terminal:
            self.say(f"{words}  {self.left(step)} left")
        self.recent.clear()
        self.last = now

    def epoch(self, step: int, *, rate: float, **validation: float) -> None:
        """An epoch ended and was validated with one view."""
        loss, wrong, pictures = self.epoch_sums
        self.epoch_sums = [0.0, 0.0, 0.0]
        train_loss, train_error = loss / max(pictures, 1), wrong / max(pictures, 1)
        line = {"kind": "epoch", "step": step, "epoch": step // self.per_epoch, "rate": rate}
        line |= {"train_loss": round(train_loss, 6), "train_error": round(train_error, 6)} | validation
        self.write(line | {"seconds": round(time.monotonic() - self.start, 1)})
        self.say(
            f"epoch {line['epoch']}: training error {100 * train_error:.1f} %, loss {train_loss:.4f}; "
            f"validation error top-1 {100 * validation['top1']:.1f} %, top-5 {100 * validation['top5']:.1f} %, "
            f"loss {validation['nats']:.4f}"
        )
        self.last = time.monotonic()  # validation is not training time
        self.recent.clear()

    def final(self, step: int, evaluation: dict[str, Any]) -> None:
        """The run ended and was evaluated with ten views."""
        self.write({"kind": "final", "step": step} | evaluation)

    def write(self, line: dict[str, Any]) -> None:
        """One object, one line; each has `kind` and `step`."""
        self.file.write(json.dumps(line) + "\n")
        if self.board:
            for name, value in line.items():
                if isinstance(value, (int, float)) and name not in ("step", "epoch"):
                    self.board.add_scalar(f"{line['kind']}/{name}", value, line["step"])

    def left(self, step: int) -> str:
        """Hours, minutes and seconds to the end, as far as the progress so far tells."""
        seconds = self.progress.tasks[0].time_remaining
        if seconds is None:
            return "?"
        return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.0f} h"


def read(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that a crash cut short is left out."""
    with contextlib.suppress(FileNotFoundError):
        return list(_lines((run / "log.jsonl").read_text(encoding="utf-8")))
    return []


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def _tensorboard(run: Path) -> Any:
    """A writer of TensorBoard events, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run / "tensorboard"))
