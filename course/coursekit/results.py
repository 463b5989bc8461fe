"""The pictures of part 10: the paper's tables, averages of nets, and verdicts of the claims from records."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexnet
from alexnet.figures.style import FALSE, INK, SMALL, SOFT, TEXT, TRUE, new_figure
from alexnet.inference.evaluation import credit
from alexnet.reporting.paper_tables import TABLES, Table
from coursekit.plots import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def table(number: int) -> Table:
    """Return table 1 or 2 of the paper."""
    return TABLES[number - 1]


def percent(cell: str) -> float | None:
    """Read a cell such as "37.5 %"; None for a dash."""
    return float(cell.removesuffix(" %")) if cell.endswith(" %") else None


def errors_of(shown: Table) -> "Figure":
    """Draw the errors of a table of the paper as bars."""
    figure = new_figure(10, 1.2 + 0.75 * len(shown.rows))
    axes = figure.subplots()
    high = 0.8 / len(shown.heads)
    colours, hatches = (FALSE, TRUE, SOFT), ("", "//", "..")
    for place, head in enumerate(shown.heads):
        cells = [percent(row.paper[place]) for row in shown.rows]
        ys = [y + (place - (len(shown.heads) - 1) / 2) * high for y in range(len(cells))]
        style = {"color": colours[place], "hatch": hatches[place], "edgecolor": "white", "linewidth": 0}
        axes.barh(ys, [cell or 0 for cell in cells], high, label=head, **style)  # type: ignore[arg-type]
        for y, cell in zip(ys, cells, strict=True):
            if cell is not None:
                axes.text(cell + 0.4, y, f"{cell:.1f}", va="center", fontsize=SMALL, color=INK)
    axes.set_yticks(range(len(shown.rows)), [row.model for row in shown.rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 55))
    tidy(axes, "error (%)")
    axes.grid(visible=False)
    axes.tick_params(axis="y", labelsize=TEXT)
    axes.legend(frameon=False, fontsize=SMALL, loc="lower right")
    return figure


def averaged(probabilities: Sequence[np.ndarray], labels: np.ndarray, count: int) -> list[float]:
    """Compute the top-1 error, 0 to 1, of each average of `count` of the nets' probabilities (pictures, classes)."""
    chosen = combinations(probabilities, count)
    return [float(1 - credit(np.mean(each, axis=0), labels, 1).mean()) for each in chosen]


def averages(probabilities: Sequence[np.ndarray], labels: np.ndarray, chosen: int) -> "Figure":
    """Draw the error of every average of the nets, by how many are averaged, and mark the chosen number."""
    figure = new_figure(9, 3.7)
    axes = figure.subplots()
    counts = range(1, len(probabilities) + 1)
    every = [averaged(probabilities, labels, count) for count in counts]
    for count, errors in zip(counts, every, strict=True):
        colour = TRUE if count == chosen else SOFT
        axes.plot([count] * len(errors), [100 * e for e in errors], "o", color=colour, alpha=0.6, markersize=7)
    means = [100 * float(np.mean(errors)) for errors in every]
    axes.plot(counts, means, color=INK, linewidth=2, marker="_", markersize=22, label="mean of all choices")
    axes.set(ylim=(0, None), xticks=list(counts))
    tidy(axes, "nets averaged; a dot is one choice of them", "top-1 error (%)")
    axes.legend(frameon=False, fontsize=SMALL)
    return figure


def judged(short: bool = False) -> list[dict[str, Any]]:
    """Judge the claims from the records of this repository.

    Args:
        short: Whether to read no records, for tests.

    Returns:
        What `alexnet study --judge` finds; empty without the records, which an installed package lacks.
    """
    from alexnet.core.errors import InputError
    from alexnet.studies.judge import judge_folder

    folder = Path(alexnet.__file__).parents[2] / "results"  # of a clone
    if short or not (folder / "README.md").is_file():
        return []
    try:
        return judge_folder(folder)[0]
    except InputError:
        return []


def verdicts(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Write each claim in words: the paper's words and number, and ours with its interval, seeds and scale."""
    from alexnet.reporting.recorded import ours
    from alexnet.studies.claims import ALL
    from alexnet.studies.wording import every_claim, of_paper

    quotes = {claim.name: claim.words for claim in ALL}
    return {
        row["claim"]: {
            "where": row["section"],
            "words": quotes[row["claim"]],
            "paper": of_paper(row) or "-",
            "verdict": row["verdict"],
            "ours": (ours(row) if row["difference"] is not None else "") or "-",
            "seeds": str(row["seeds"]),
            "scale": f"{row['kind']}, {row['scale']}" if "scale" in row else "-",
        }
        for row in every_claim(rows)
    }
