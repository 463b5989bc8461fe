"""The figure of the ladder: a place for each rung, the gain of each step beside it, and nothing needs colour."""

from pathlib import Path

import pytest
from tests.figures.drawn import written
from tests.figures.test_claims import drawn
from tests.studies.test_ladder import plant_ladder

from alexnet.core.errors import InputError
from alexnet.figures.catalogue import draw_folder
from alexnet.figures.ladder import draw
from alexnet.studies.since_2012 import RUNGS


def test_each_rung_and_each_step_stands_in_its_line_with_its_interval(tmp_path: Path) -> None:
    plant_ladder(tmp_path, {"two towers": 0.42, "response norms": 0.40, "overlapping pools": 0.40})
    figure = draw(tmp_path)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [RUNGS[0], *(f"+ {name}" for name in RUNGS[1:])]
    assert drawn(figure, "mean response norms").get_xdata() == pytest.approx([40.0], abs=0.01)
    gain, interval = (drawn(figure, f"{what} response norms") for what in ("gain", "interval"))
    assert gain.get_xdata() == pytest.approx([2.0], abs=0.01)
    assert gain.get_ydata() == [4]
    low, high = interval.get_xdata()
    assert 1 < low < 2 < high < 3
    assert drawn(figure, "gain cosine") is None
    said = written(figure)
    assert len(said) == len(RUNGS) - 1
    assert said[3].startswith("● helps: +2.00 points (+1.")
    assert said[4].startswith(("⊘ no gain: +0.00 points", "⊘ no gain: −0.00 points"))
    assert said[-1] == "– not run"


def test_a_folder_without_its_runs_is_refused_and_beside_claims_nothing_is_said(tmp_path: Path) -> None:
    plant_ladder(tmp_path, {"dropout": 0.3}, seeds=2)
    with pytest.raises(InputError, match="holds no runs of the study since-2012"):
        draw(tmp_path)
    assert list(draw_folder(tmp_path)) == ["claims"]
    plant_ladder(tmp_path, {"cosine": 0.3}, seeds=2)
    assert list(draw_folder(tmp_path)) == ["claims", "since-2012"]
