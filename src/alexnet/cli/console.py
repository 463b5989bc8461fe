"""Print results (tables, JSON) on standard output, and progress and errors on standard error."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alexnet.core.launch import rank_that_speaks
from alexnet.core.text import escape_control

LONGEST = 2000  # characters of an error line


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; a terminal's width limits it, a pipe's does not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(escape_control(title)) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for i, head in enumerate(heads):
        number = i > 0 and all(row[i][:1].isdigit() or not row[i] for row in rows)
        made.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(escape_control(cell)) for cell in row))
    wide = None if sys.stdout.isatty() else 200  # columns, for a pipe
    Console(highlight=False, width=wide).print(made)


@contextmanager
def bar(what: str, unit: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar with rate and time left on standard error, if that is a terminal.

    Yields:
        The function to call with (done, total) as the work proceeds.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    shown = console.is_terminal and not quiet and not rank_that_speaks()
    columns = (
        TextColumn(what),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
        MofNCompleteColumn(),
        BarColumn(20),
    )
    with Progress(*columns, console=console, disable=not shown, transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")

        def move(done: int, of: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, total=of, rate=f"{speed:.0f} {unit}/s" if speed else "")

        yield move


def show_json(value: Any) -> None:
    """Print one JSON value, with all but ASCII escaped if standard output's encoding lacks a character."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, default=str)
    print("\n".join(map(escape_control, text.split("\n"))))


def complain_of(failures: Iterable[tuple[str, str]]) -> int:
    """Print a line for each (name, reason) that failed, and return the command's exit status, 1 if any did."""
    status = 0
    for name, reason in failures:
        status = 1
        if rank_that_speaks() == 0:
            complain(f"{name}: {reason}")
    return status


def complain(words: str) -> None:
    """Print one plain line on standard error; of a launcher's processes, all but the first add their rank."""
    rank = rank_that_speaks()
    here = f"rank {rank}: " if rank and not words.startswith("rank ") else ""
    line = escape_control(" ".join(words.split()))
    if len(line) > LONGEST:  # keep the end, which says what to do
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    try:
        sys.stderr.write(f"alexnet: {here}{line}\n")  # one call, so that the lines of two processes do not mix
        sys.stderr.flush()
    except OSError:  # standard error is closed, or its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
