"""The figure of all claims: each has its line, its numbers are in their places, and nothing needs colour."""

from pathlib import Path
from typing import Any

import pytest
from tests.figures.drawn import written
from tests.planted import plant

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.figures.claims import draw, draw_claims
from alexnet.studies import designs
from alexnet.studies.claims import ALL, CLAIMS
from alexnet.studies.wording import first_expected


def row(name: str, verdict: str, difference: float, low: float, high: float) -> dict[str, Any]:
    """Make the row of a judged claim."""
    found = {"verdict": verdict, "difference": difference, "low": low, "high": high, "seeds": 5}
    return first_expected(CLAIMS[name]) | found


def drawn(figure: Any, name: str) -> Any:
    """Find the line with an identifier; None if it is missing."""
    return next((line for axes in figure.axes for line in axes.lines if line.get_gid() == name), None)


def towers() -> tuple[Recipe, Recipe]:
    base = designs.base_of(CLAIMS["two-towers"], 32, None)[1].replace(net={"classes": 10})
    two, one = designs.arms_of(CLAIMS["two-towers"], base).values()
    return two, one


def test_without_records_every_claim_has_a_line_that_says_not_run_beside_the_papers_number() -> None:
    figure = draw_claims([])
    names = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(claim.name for claim in ALL)
    assert written(figure) == ["– not run"] * len(ALL)
    assert drawn(figure, "paper two-towers").get_xdata() == pytest.approx([1.7])
    assert drawn(figure, "log columns").get_xdata() == pytest.approx([1.16])
    assert drawn(figure, "paper relu-tanh").get_xdata() == pytest.approx([6.0])
    assert drawn(figure, "ours two-towers") is None


def test_ours_stands_with_its_interval_in_its_own_unit_and_the_verdict_at_the_edge() -> None:
    rows = [
        row("two-towers", "holds", 0.021, 0.017, 0.025),
        row("decay", "not shown", 0.03, -0.01, 0.07),
        row("relu-tanh", "holds", 2.6, 2.4, 2.8),
    ]
    figure = draw_claims(rows)
    assert drawn(figure, "ours two-towers").get_xdata() == pytest.approx([2.1])
    assert list(drawn(figure, "interval two-towers").get_xdata()) == pytest.approx([1.7, 2.5])
    assert list(drawn(figure, "interval decay").get_xdata()) == pytest.approx([-0.01, 0.07])
    assert list(drawn(figure, "interval relu-tanh").get_xdata()) == pytest.approx([2.4, 2.8])
    said = written(figure)
    assert "● holds: +2.10 points (+1.70 to +2.50), 5 seeds" in said
    assert "○ not shown: +0.030 nats (−0.010 to +0.070), 5 seeds" in said
    assert "● holds: 2.60 times (2.40 to 2.80), 5 seeds" in said


def test_decided_and_not_shown_are_told_apart_without_colour() -> None:
    figure = draw_claims([row("colour", "absent", 0.0, -0.002, 0.002), row("depth", "not shown", 0.01, -0.01, 0.03)])
    fills = [drawn(figure, f"ours {name}").get_markerfacecolor() for name in ("colour", "depth")]
    assert fills[1] == "white"
    assert fills[0] != "white"


def test_an_interval_beyond_the_axis_ends_in_an_arrow_at_the_side_where_it_goes_on() -> None:
    figure = draw_claims([row("momentum", "holds", 0.12, 0.11, 0.13), row("crops", "not shown", 0.0, -0.2, 0.01)])
    (right,) = drawn(figure, "beyond momentum").get_xdata()
    (left,) = drawn(figure, "beyond crops").get_xdata()
    assert (left, right) == figure.axes[0].get_xlim()
    assert drawn(figure, "ours momentum") is None
    assert "● holds: +12.00 points (+11.00 to +13.00), 5 seeds" in written(figure)


def test_a_folder_of_records_is_drawn_with_what_was_left_out_counted(tmp_path: Path) -> None:
    for recipe, errors in zip(towers(), ([0.25, 0.251, 0.249], [0.28, 0.281, 0.279]), strict=True):
        plant(tmp_path, recipe, errors)
    (tmp_path / "half.json").write_text('{"record": "run"')
    figure = draw(tmp_path)
    assert drawn(figure, "ours two-towers").get_xdata() == pytest.approx([3.0], abs=0.05)
    assert "1 of the files are left out" in str(figure.get_supxlabel())
    with pytest.raises(InputError, match="does not exist"):
        draw(tmp_path / "nowhere")
