"""Print the result of an evaluation: errors, measures of the split, and a table of the classes."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from alexnet.cli.console import show_json, table
from alexnet.core.text import escape_control, listed, percent, shorten

CLASSES = 40  # rows of the table of classes, at most
WIDE = 16  # characters of a class's name


def show_evaluation(found: Any, as_json: bool, per_class: bool = False, details: bool = False) -> None:
    """Print an evaluation.

    Args:
        found: The `Evaluation`.
        as_json: Whether to print JSON.
        per_class: Whether to add a table of the classes.
        details: Whether the JSON has each class and the confusion matrix.
    """
    if as_json:
        show_json(found.plain(details) | ({"kept": None if found.kept is None else str(found.kept)} if details else {}))
        return
    seen = found.measures
    five = seen.possible > 5  # the first five of five classes are never wrong
    rows = []
    for e in (found.errors, found.one_view) if found.errors.views > 1 else (found.errors,):
        cells = [_between(e.top1, e.top1_interval)] + [_between(e.top5, e.top5_interval)] * five
        rows.append([f"{e.views} view{'s' * (e.views > 1)}", *cells, f"{e.nats:.4f}"])
    print(textwrap.fill(escape_control(_title(found)), 80))
    for each in found.progress:
        print(escape_control(f"{shorten(each.run)}: {each.words()}"))
    table("", ["", "top-1 error"] + ["top-5 error"] * five + ["nats"], rows)
    table("", [f"with {found.errors.views} view{'s' * (found.errors.views > 1)}", "", ""], summary(seen))
    if per_class:
        _show_classes(seen)


def summary(seen: Any) -> list[list[str]]:
    """Make a row of each thing that the error alone hides: balance, classes never found, guessing and calibration."""
    rows = []
    if seen.unequal:
        low, high = seen.balanced_interval
        error = f"{percent(seen.balanced_error)} ({100 * low:.1f} to {percent(high)})"
        fewest, most = (f"{of(seen.counts[seen.present]):,}" for of in (min, max))
        rows.append(["balanced error", error, f"classes of {fewest} to {most} pictures"])
    if lost := seen.never_found:
        rows.append(["never found", f"{len(lost):,} of {len(seen.present):,} classes", listed([*map(_short, lost)])])
    if seen.majority_error is None:
        always, of = seen.best_constant_error, "commonest in this split"
    else:
        always, of = seen.majority_error, "commonest in training"
    name = f"{_short(seen.majority_class)}, {of}" if seen.majority_class else of
    rows.append(["one class always", percent(always), name])
    rows.append(["chance", percent(seen.chance), ""])
    how = seen.calibration
    rows.append(["mean confidence", percent(how.confidence), f"{percent(how.right)} are right"])
    rows.append(["calibration error", percent(how.error), f"{percent(how.by_chance)} by chance alone"])
    rows.append(["Brier score", f"{how.brier:.3f}", ""])
    return rows


def _title(found: Any) -> str:
    seen, images = found.measures, found.errors.images
    of = f"{len(seen.present):,}"
    if len(seen.present) < len(seen.classes):
        of += f" of the run's {len(seen.classes):,}"
    chosen = "" if found.among == "run" else f", chosen among the store's {seen.possible:,}"
    together = f"; {len(found.runs)} runs averaged" if len(found.runs) > 1 else ""
    pictures = f"{images:,} picture{'s' * (images != 1)}"
    return f"{found.split}: {pictures} of {of} classes{chosen}{together}; error with 95 % interval"


def _show_classes(seen: Any) -> None:
    """Print the classes that have pictures or were taken for one, the class with the lowest recall first."""
    rows = []
    order = [i for i in seen.order() if seen.counts[i] or seen.named[i]]
    for i in order[:CLASSES]:
        if not seen.counts[i]:
            rows.append([_short(seen.classes[i]), "0", "", _rate(seen.precision[i]), "no picture in this split"])
            continue
        mistake = seen.most_taken_for(i)
        words = f"{_short(mistake[0])} {percent(mistake[1])}" if mistake else ""
        rates = [_rate(of[i]) for of in (seen.recall, seen.precision)]
        rows.append([_short(seen.classes[i]), f"{seen.counts[i]:,}", *rates, words])
    table("", ["class", "pictures", "recall", "precision", "most often taken for"], rows)
    if len(order) > CLASSES:
        print(f"These are the {CLASSES} that are found least, of {len(order):,} classes; --json has all classes")


def _between(rate: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{percent(rate)}  ({percent(low)} to {percent(high)})"


def _rate(value: float) -> str:
    """Format a rate; empty where there is none."""
    return "" if math.isnan(value) else percent(value)


def _short(name: str) -> str:
    return name if len(name) <= WIDE else name[: WIDE - 3] + "..."
