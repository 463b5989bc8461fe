"""All claims on one axis, from records: the paper's number, that of the 2012 log, and ours with its interval."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.figures.style import FALSE, INK, MARKS, PALE, SMALL, SOFT, TEXT, footnote, new_figure
from alexnet.studies.wording import amount, between, every_claim, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = {  # unit: the axis, and the value of no effect
    "points": ("points of error", 0.0),
    "nats": ("nats of loss", 0.0),
    "times": ("times (logarithmic)", 1.0),
}
FURTHEST = {"points": (-4.0, 6.0), "nats": (-0.5, 1.0), "times": (0.25, 16.0)}  # widest range of an axis
NEAREST = {"points": (-1.0, 3.0), "nats": (-0.05, 0.1), "times": (0.8, 8.0)}  # narrowest range of an axis
DECIDED = ("holds", "opposite", "absent")
DIAMOND: dict[str, Any] = {"color": FALSE, "markeredgecolor": INK, "markersize": 9}
Row = Mapping[str, Any]  # a claim, as `judge.row` describes it

TITLE = "The claims, from records"
CAPTION = (
    "Effects to the right of the line of no effect are those that the paper expects. Diamond: the paper's number. "
    "Tick: the number in the log of 2012. Dot and line: our number with its 95 % interval over seeds. The dot is "
    "filled if the claim is decided, and an arrow shows that the interval continues beyond the axis. Grey band: the "
    "margin in which an effect counts as absent. Claims in grey have no result yet."
)


def draw(folder: Path) -> "Figure":
    """Draw all claims from the records in a folder; raise InputError if it is missing or holds no records."""
    from alexnet.studies.judge import judge_folder

    rows, left = judge_folder(folder)
    figure = draw_claims(rows)
    if left:
        footnote(figure, f"{len(left)} of the files are left out; alexnet study --judge {folder.name} names them.")
    return figure


def draw_claims(rows: Sequence[Row]) -> "Figure":
    """Draw a line for every claim; CAPTION explains the marks.

    Args:
        rows: Judged claims, as `judge.judge_records` returns them. The other claims are drawn as not run.
    """
    every = every_claim(rows)
    panels = {name: of for name in PANELS if (of := [row for row in every if unit(row) == name])}
    figure = new_figure(12, 1.6 + 0.8 * len(panels) + 0.34 * len(every))
    heights = [len(of) + 0.6 for of in panels.values()]
    axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, (name, of) in zip(axes, panels.items(), strict=True):
        fill(panel, name, of)
    legend(axes[0])
    return figure


def fill(axes: "Axes", name: str, rows: Sequence[Row]) -> None:
    """Draw the claims of one unit, the first at the top."""
    words, none = PANELS[name]
    if name == "times":
        axes.set_xscale("log")
    axes.set(xlim=ends(name, rows), ylim=(len(rows) - 0.4, -0.6))
    axes.axvline(none, color=SOFT, linewidth=1)
    for y, row in enumerate(rows):
        line(axes, y, row)
    axes.set_yticks(range(len(rows)), [row["claim"] for row in rows], fontsize=TEXT)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(INK if row["difference"] is not None else SOFT)
    if name == "times":
        ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_xlabel(words, fontsize=SMALL, color=INK)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def line(axes: "Axes", y: int, row: Row) -> None:
    """Draw one claim: its margin, the paper's number, that of the log, ours, and the verdict at the right edge."""
    left, right = axes.get_xlim()
    paper, log, ours, low, high = (shown(row[key], row) for key in ("paper", "log", "difference", "low", "high"))
    near, far = (math.exp(m) if row["ratio"] else shown(m, row) or 0.0 for m in (-row["margin"], row["margin"]))
    axes.fill_betweenx([y - 0.32, y + 0.32], near, far, color=PALE, linewidth=0, zorder=0.5)
    if paper is not None:
        axes.plot(inside(paper, left, right), y, "D", gid=f"paper {row['claim']}", **DIAMOND)
    if log is not None:
        axes.plot(inside(log, left, right), y, "|", color=INK, markersize=19, gid=f"log {row['claim']}")
    if low is not None and high is not None:
        interval = [inside(low, left, right), inside(high, left, right)]
        axes.plot(interval, [y, y], color=INK, linewidth=2, gid=f"interval {row['claim']}")
        for beyond, mark, edge in ((low < left, "<", left), (high > right, ">", right)):
            if beyond:
                axes.plot(edge, y, mark, color=INK, markersize=7, clip_on=False, gid=f"beyond {row['claim']}")
    if ours is not None and left <= ours <= right:
        fill = INK if row["verdict"] in DECIDED else "white"
        axes.plot(ours, y, "o", color=INK, markerfacecolor=fill, markersize=7, gid=f"ours {row['claim']}")
    axes.text(
        1.015, y, verdict(row), transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL,
        color=SOFT if row["difference"] is None else INK, parse_math=False,
    )  # fmt: skip


def verdict(row: Row) -> str:
    """Write the text at the right edge: verdict, difference with its interval, and number of seeds."""
    said = f"{MARKS[row['verdict']]} {row['verdict']}"
    seeds = f"{row['seeds']} seed{'s' * (row['seeds'] > 1)}"
    if row["difference"] is None:
        return f"{said}, {seeds}" if row["seeds"] else said
    of = f" ({between(row, '+')})" if row["low"] is not None else ""
    return f"{said}: {amount(row['difference'], row, '+')}{of}, {seeds}"


def shown(value: float | None, row: Row) -> float | None:
    """Convert a value to the unit of its axis: errors to points."""
    return 100 * value if value is not None and unit(row) == "points" else value


def inside(value: float, left: float, right: float) -> float:
    """Clip a value to the axis."""
    return min(max(value, left), right)


def ends(name: str, rows: Sequence[Row]) -> tuple[float, float]:
    """Find the ends of an axis that shows every number, up to FURTHEST."""
    seen = [shown(row[key], row) for row in rows for key in ("paper", "log", "difference", "low", "high")]
    known = [value for value in seen if value is not None]
    (least, most), (near, far) = FURTHEST[name], NEAREST[name]
    low, high = min([near, *known]), max([far, *known])
    room = 1.05 if name == "times" else 0.03 * (high - low)
    wider = (low / room, high * room) if name == "times" else (low - room, high + room)
    return max(least, wider[0]), min(most, wider[1])


def legend(axes: "Axes") -> None:
    """Draw the legend of the marks above the figure."""
    marks: dict[str, dict[str, Any]] = {
        "the paper's number": {"marker": "D", **DIAMOND},
        "2012's log": {"marker": "|", "color": INK, "markersize": 17},
        "ours, decided": {"marker": "o", "color": INK, "markersize": 7, "linestyle": "-"},
        "ours, not shown": {"marker": "o", "color": INK, "markersize": 7, "markerfacecolor": "white", "linestyle": "-"},
    }
    for words, style in marks.items():
        axes.plot([], [], label=words, linewidth=2, **{"linestyle": "none"} | style)
    axes.fill_between([], [], color=PALE, linewidth=0, label="margin")
    axes.legend(
        frameon=False, fontsize=SMALL, ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.3,
        handlelength=2.4,
    )  # fmt: skip
