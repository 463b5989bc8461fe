"""Pictures of records for the slides: the claims, figure 1, and nets that overfit and that do not."""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alexnet.core.errors import InputError
from alexnet.figures import claims as figure
from alexnet.figures.relu_tanh import figure_1
from alexnet.figures.style import INK, LARGE, PALE, TEXT, TRUE, new_figure
from alexnet.studies.apart import of_claims
from alexnet.studies.claims import CLAIMS
from alexnet.studies.judge import findings
from alexnet.studies.record import Record, Records
from alexnet.studies.wording import unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 9  # claims on a slide
Row = Mapping[str, Any]


def pages(rows: Sequence[Row]) -> list[list[Row]]:
    """Divide the claims with a number into slides, by unit and in the paper's order."""
    ordered = [row for name in figure.PANELS for row in rows if unit(row) == name and row["difference"] is not None]
    count = -(-len(ordered) // MOST)
    return [ordered[i * len(ordered) // count : (i + 1) * len(ordered) // count] for i in range(count)]


def claims(rows: Sequence[Row]) -> "Figure":
    """Draw some claims on one axis for each unit; the marks are those of `alexnet figures`."""
    panels = {name: of for name in figure.PANELS if (of := [row for row in rows if unit(row) == name])}
    made = new_figure(12, 1.0 + 0.55 * len(panels) + 0.38 * len(rows))
    heights = [len(of) + 0.6 for of in panels.values()]
    axes = made.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, (name, of) in zip(axes, panels.items(), strict=True):
        figure.fill(panel, name, of)
    figure.legend(axes[0])
    return made


def judged(claim: str, records: Records) -> list[tuple[str, Mapping[int, Record]]]:
    """Return the two arms that the verdict on a claim compares, each with its name and its runs by seed.

    Raises:
        InputError: The records do not have runs of both.
    """
    found = findings(CLAIMS[claim], of_claims(records))
    if not found:
        raise InputError(f"the records do not decide {claim}; alexnet study {claim} --list tells what it costs")
    expect = next(e for e in found[0].claim.expects if e.judged)
    return [(arm, found[0].arms[arm]) for arm in (expect.larger, expect.smaller)]


def relu_tanh(records: Records) -> "Figure":
    """Draw figure 1 of the paper from records."""
    errors: dict[str, dict[int, list[float]]] = {"relu": {}, "tanh": {}}
    for _, runs in judged("relu-tanh", records):
        for seed, record in runs.items():
            net = record.recipe.net
            errors[net.activation][seed] = [1 - 1 / net.classes, *(line["train_error"] for line in record.curve)]
    return figure_1(errors)


def overfitting(records: Records) -> "Figure":
    """Draw training and validation error of nets that overfit, and of the same nets with a remedy."""
    arms = judged("crops", records)
    made = new_figure(12, 4.9)
    for axes, (name, runs) in zip(made.subplots(1, 2, sharey=True), arms, strict=True):
        lines: dict[str, dict[str, Any]] = {
            "train_error": {"color": INK, "dashes": (5, 2.5), "label": "training error"},
            "top1": {"color": TRUE, "label": "validation error"},
        }
        ends = {}
        for measure, style in lines.items():
            each = [[100 * line[measure] for line in record.curve] for record in runs.values()]
            mean = [statistics.fmean(values) for values in zip(*each, strict=False)]
            axes.plot(range(1, len(mean) + 1), mean, linewidth=2.4, **style)
            ends[measure] = mean[-1]
        seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
        axes.set_title(f"{name}, {seeds}:\n{ends['train_error']:.1f} % in training, {ends['top1']:.1f} % in validation",
                       loc="left", fontsize=LARGE, color=INK)  # fmt: skip
        axes.set(ylim=(0, 92))
        axes.set_xlabel("epoch", fontsize=TEXT)
        axes.tick_params(labelsize=TEXT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE)
        axes.legend(frameon=False, fontsize=TEXT)
    made.axes[0].set_ylabel("error, %", fontsize=TEXT)
    return made
