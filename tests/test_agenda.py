"""What `study --list` says."""

from pathlib import Path

import pytest

from alexnet import agenda
from alexnet.claims import CLAIMS
from alexnet.errors import UnusableError
from alexnet.recipe import Recipe


def test_the_list_says_what_each_claim_costs(store: Path, small: Recipe, run: Path, tmp_path: Path) -> None:
    rows = {row["claim"]: row for row in agenda.listing()}
    assert list(rows) == list(CLAIMS)
    relu = rows["relu-tanh"]
    assert relu["multiply_adds"] == 3 * 2 * 3 * 40 * 50_000 * agenda.forward(CLAIMS["relu-tanh"].base or small)
    assert relu["cost"].startswith("at most about ")
    assert (relu["rate"], relu["rate_is"]) == (agenda.RATE, "assumed")
    assert rows["depth"]["core_minutes"] > 0
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / run.name).symlink_to(run)
    (row,) = agenda.listing(["lrn"], store, tmp_path, small, seeds=2)
    assert row["rate_is"] == "measured in OUT"
    assert row["multiply_adds"] == 3 * 3 * 2 * 3 * 30 * agenda.forward(small)
    with pytest.raises(UnusableError, match="no claim lnr"):
        agenda.listing(["lnr"])
