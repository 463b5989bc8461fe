"""The study `since-2012` as a ladder, from records: the error of each rung, and what each step gains."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.core.errors import InputError
from alexnet.figures.style import INK, MARKS, PALE, SMALL, SOFT, TEXT, new_figure
from alexnet.studies.wording import amount, between

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DECIDED = ("holds", "opposite", "absent")
TITLE = "From before 2012 to today, one idea at a time"
CAPTION = (
    "Left: the error of each net with ten views, of every seed (small) and on average (large). Each net has one idea "
    "more than the one above it. Right: by how much the idea lowers the error, with its 95 % interval over seeds. The "
    "dot is filled if the step is decided. Grey band: the margin in which a gain counts as absent."
)


def draw(folder: Path) -> "Figure":
    """Draw the ladder from the records in a folder; raise InputError if it holds none of its runs."""
    from alexnet.studies.ladder import judge_ladders
    from alexnet.studies.record import read_records

    found = judge_ladders(read_records(folder))
    if not found:
        raise InputError(f"{folder} holds no runs of the study since-2012")
    return draw_ladder(found[0])


def draw_ladder(ladder: Mapping[str, Any]) -> "Figure":
    """Draw a ladder that `judge_ladders` has judged; CAPTION explains the marks."""
    from alexnet.studies.ladder import steps_of

    rungs, steps = ladder["rungs"], steps_of(ladder)
    figure = new_figure(12, 1.4 + 0.4 * len(rungs))
    errors, gains = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (1, 1.3)})
    draw_errors(errors, rungs)
    draw_gains(gains, steps, ladder["margin"])
    for axes in (errors, gains):
        axes.set_ylim(len(rungs) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=SMALL)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def draw_errors(axes: "Axes", rungs: Sequence[Mapping[str, Any]]) -> None:
    """Draw the error of each rung, the first at the top."""
    for y, rung in enumerate(rungs):
        each = [100 * error for error in rung["each_top1"]]
        axes.plot(each, [y] * len(each), "o", color=SOFT, markersize=3, alpha=0.6, gid=f"seeds {rung['rung']}")
        if rung["top1"] is not None:
            axes.plot(100 * rung["top1"], y, "o", color=INK, markersize=7, gid=f"mean {rung['rung']}")
    known = [(100 * rung["top1"], y) for y, rung in enumerate(rungs) if rung["top1"] is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color=SOFT, linewidth=1, zorder=0.5)
    names = [rung["rung"] if y == 0 else f"+ {rung['rung']}" for y, rung in enumerate(rungs)]
    axes.set_yticks(range(len(rungs)), names, fontsize=TEXT)
    for label, rung in zip(axes.get_yticklabels(), rungs, strict=True):
        label.set_color(INK if rung["seeds"] else SOFT)
    axes.set_xlabel("top-1 error with ten views, %", fontsize=SMALL, color=INK)


def draw_gains(axes: "Axes", steps: Sequence[Mapping[str, Any]], margin: float) -> None:
    """Draw what each step gains, beside the rung that it leads to."""
    axes.axvspan(-100 * margin, 100 * margin, color=PALE, linewidth=0, zorder=0.4)
    axes.axvline(0, color=SOFT, linewidth=1)
    for y, step in enumerate(steps, 1):
        name = step["smaller"]
        if step["low"] is not None:
            axes.plot([100 * step["low"], 100 * step["high"]], [y, y], color=INK, linewidth=2, gid=f"interval {name}")
        if step["difference"] is not None:
            fill = INK if step["verdict"] in DECIDED else "white"
            axes.plot(
                100 * step["difference"], y, "o", color=INK, markerfacecolor=fill, markersize=7, gid=f"gain {name}"
            )
        axes.text(
            1.015, y, said(step), transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL,
            color=SOFT if step["difference"] is None else INK, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel("gain of the step, points of error", fontsize=SMALL, color=INK)


def said(step: Mapping[str, Any]) -> str:
    """Write the text at the right edge: the verdict on a step, its gain, and its interval."""
    if step["difference"] is None:
        return f"{MARKS['not run']} not run"
    of = f" ({between(step, '+')})" if step["low"] is not None else ""
    words = {"holds": "helps", "opposite": "harms", "absent": "no gain"}.get(step["verdict"], step["verdict"])
    return f"{MARKS[step['verdict']]} {words}: {amount(step['difference'], step, '+')}{of}"
