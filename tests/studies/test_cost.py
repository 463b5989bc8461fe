"""The list of claims and costs of `study --list`."""

from pathlib import Path

import pytest

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.studies import cost
from alexnet.studies.claims import CLAIMS


def test_the_list_says_what_each_claim_costs(store: Path, small: Recipe, run: Path, tmp_path: Path) -> None:
    rows = {row["claim"]: row for row in cost.listing()}
    assert list(rows) == list(CLAIMS)
    relu = rows["relu-tanh"]
    assert relu["multiply_adds"] == 3 * (10 + 2 * 5) * 40 * 50_000 * cost.forward_products(
        CLAIMS["relu-tanh"].base or small
    )
    assert relu["cost"].startswith("at most about ")
    assert (relu["rate"], relu["rate_is"]) == (cost.RATE, "assumed")
    assert rows["depth"]["core_minutes"] > 0
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / run.name).symlink_to(run)
    (row,) = cost.listing(["lrn"], store, tmp_path, small, seeds=2)
    assert row["rate_is"] == "measured in OUT"
    assert row["multiply_adds"] == 3 * (4 * 2) * 3 * 30 * cost.forward_products(small)
    with pytest.raises(InputError, match="no claim lnr"):
        cost.listing(["lnr"])
