"""What the command line shows: tables and JSON on standard output, progress and complaints on standard error."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from alexnet.core.launch import speaker

# Of a terminal: the control characters, and those that turn the direction of what follows them.
COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LONGEST = 2000  # characters of a complaint
MOST_CLASSES = 20  # that are shown one by one


def show_summary(made: Any) -> None:
    """Print what preparing did: pictures by split and class, and how many were not taken as they are."""
    rows = [[f"{split} pictures", f"{n:,}"] for split, n in made.pictures.items()]
    rows += [["classes", f"{made.classes:,}"], ["pixels a side, format", f"{made.side}, {made.form}"]]
    rows += [[f"converted: {reason}", f"{n:,}"] for reason, n in made.converted.items()]
    rows += [[f"refused: {reason}", f"{n:,}"] for reason, n in made.refused.items()]
    rows += [["files in no class", f"{made.ignored:,}"]] if made.ignored else []
    rows += [[f"left out: {reason}", f"{n:,}"] for reason, n in made.left_out.items()]
    rows += [["megabytes", f"{made.bytes / 1e6:,.1f}"], ["seconds", f"{made.seconds:.1f}"], ["digest", made.digest]]
    table(f"store {made.store} from {made.kind}", ["", ""], rows)
    splits = list(made.pictures)
    if len(made.per_class) <= MOST_CLASSES:
        counts = [[name, *(f"{each[split]:,}" for split in splits)] for name, each in made.per_class.items()]
    else:
        extremes: list[tuple[str, Callable[[Iterable[int]], int]]] = [("fewest", min), ("most", max)]
        counts = [[what, *(f"{of(c[s] for c in made.per_class.values()):,}" for s in splits)] for what, of in extremes]
    table("", ["pictures of a class", *splits], counts)
    if made.converted or made.refused:
        print(f"each of them by name: {made.store / 'prepare.jsonl'}")


def show_evaluation(found: Any, as_json: bool) -> None:
    """Errors with ten views and with one, with their intervals."""
    if as_json:
        show_json(found.plain())
        return
    rows = []
    for e in (found.errors, found.one_view) if found.errors.views > 1 else (found.errors,):
        low, high = e.top1_interval
        bottom, top = e.top5_interval
        rows.append([
            f"{e.views} view{'s' * (e.views > 1)}", f"{percent(e.top1)}  ({percent(low)} to {percent(high)})",
            f"{percent(e.top5)}  ({percent(bottom)} to {percent(top)})", f"{e.nats:.4f}",
        ])  # fmt: skip
    title = (
        f"{found.errors.images} pictures, {len(found.runs)} run{'s' * (len(found.runs) > 1)}; error with 95 % interval"
    )
    table(title, ["", "top-1 error", "top-5 error", "nats"], rows)


def show_lines(lines: Iterable[Any]) -> None:
    """Each thing that was measured, as it comes: ours, the peers', and the machine's bound."""
    what = machine = ""
    for line in lines:
        if line.machine != machine:
            print(machine := line.machine)
        if line.what != what:
            print(f"\n{(what := line.what)}: {line.ours:.4g} {line.unit}", end="")
            print(f", {line.fraction_of_bound:.2f} of the bound, {line.bound:.4g}" if line.bound is not None else "")
        print(f"  {line.ratio:5.2f} times as fast as {line.peer_name}: {line.peer:.4g} {line.unit}", flush=True)


def show_plan(title: str, found: Any) -> None:
    """What training on many devices is predicted to take, each way, where more stop paying, and the small print."""
    rows = []
    for p in found.plans:
        rows.append([
            p.way, f"{p.processes:,}", f"{1e3 * p.step:.3g}", f"{1e3 * p.network:.3g}", f"{p.sent_each / 1e6:,.1f}",
            f"{p.rate:,.0f}", percent(p.efficiency), f"{p.hours:.3g}", p.limit,
        ])  # fmt: skip
    heads = ["way", "processes", "ms a step", "waiting for the network", "MB each sends", "pictures/s", "efficiency"]
    table(title, [*heads, "hours", "most goes to"], rows)
    for line in (*found.refused.values(), *found.stops, *found.notes):
        print(line)


def show_claims(rows: Sequence[Any], as_json: bool) -> None:
    """Every claim, the paper's number and 2012's, and what deciding it costs."""
    if as_json:
        show_json(rows)
        return
    heads = ["claim", "section", "paper", "2012 log", "arms", "recipe", "cost"]
    names = ("claim", "section", "paper", "log", "arms", "recipe", "cost")
    shown = [[", ".join(v) if isinstance(v := row[n], list) else v or "" for n in names] for row in rows]
    first = rows[0]
    title = f"{first['seeds']} seeds; {first['rate']:.2g} multiply-adds a second and core, {first['rate_is']}"
    table(title, heads, shown)


def show_studies(found: Sequence[Any], as_json: bool) -> None:
    """What was found of each claim: by how much, in what interval, and the verdict."""
    if as_json:
        show_json(found)
        return
    for result in found:
        rows = []
        for e in result["expects"]:
            low, high = e["low"], e["high"]
            few = e["needed"]
            rows.append([
                f"{e['measure']}: {e['more']} against {e['than'] or e['less']}{'' if e['judged'] else ' (beside)'}",
                amount(e["mean"], e), "" if low is None else f"{amount(low, e)} to {amount(high, e)}",
                amount(e["paper"], e), e["verdict"], "" if few is None or e["verdict"] != "not shown" else f"{few}",
            ])  # fmt: skip
        heads = ["larger", "by", "95 % interval", "paper", "verdict", "seeds needed"]
        table(f"{result['claim']}: {result['verdict']}; {result['scale']}, {result['seeds']} seeds", heads, rows)
        for note in result["notes"]:
            print(note)


def amount(value: float | None, e: Any) -> str:
    """A difference of errors in points, or a ratio."""
    if value is None:
        return ""
    return f"{value:.2f} times" if e["ratio"] else f"{100 * value:.2f} points"


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(harmless(title)) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for i, head in enumerate(heads):
        number = i > 0 and all(row[i][:1].isdigit() or not row[i] for row in rows)
        made.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(harmless(cell)) for cell in row))
    wide = None if sys.stdout.isatty() else 200  # a pipe has no width to fit
    Console(highlight=False, width=wide).print(made)


@contextmanager
def bar(what: str, unit: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with rate and time left, on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    shown = console.is_terminal and not quiet and not speaker()
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
    """One JSON value on standard output; where its encoding lacks a character, all but ASCII is escaped."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1, default=str)
    print("\n".join(map(harmless, text.split("\n"))))


def percent(rate: float) -> str:
    """A rate 0 to 1 in per cent."""
    return f"{100 * rate:.1f} %"


def complain_of(failures: Iterable[tuple[str, str]]) -> int:
    """A line for each thing that failed, with its reason, once; the command's exit status."""
    status = 0
    for name, reason in failures:
        status = 1
        if speaker() == 0:
            complain(f"{name}: {reason}")
    return status


def complain(words: str) -> None:
    """One plain line on standard error; of the processes that a launcher has started, all but the first name theirs."""
    rank = speaker()
    here = f"rank {rank}: " if rank and not words.startswith("rank ") else ""
    line = harmless(" ".join(words.split()))
    if len(line) > LONGEST:  # what would do stands at the end
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    try:
        sys.stderr.write(f"alexnet: {here}{line}\n")  # at once, so that two processes' lines do not mix
        sys.stderr.flush()
    except OSError:  # nobody reads it, or its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def harmless(words: str) -> str:
    """`words` with an escape such as \\u001b for what a terminal would obey and not show: a file's name may hold it."""
    return COMMANDS.sub(lambda found: json.dumps(found[0])[1:-1], words)
