"""The list of claims and costs of `study --list`."""

import io
import sys
from pathlib import Path

import pytest

from alexnet.cli.studies import show_claims
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
    (few,) = cost.listing(["lrn"], store, tmp_path, small, seeds=2, pictures=15)
    assert few["multiply_adds"] == row["multiply_adds"] / 2
    (tmp_path / "runs" / ".DS_Store").write_text("a file of the system")
    assert cost.listing(["lrn"], store, tmp_path, small, seeds=2) == [row]
    with pytest.raises(InputError, match="no claim lnr"):
        cost.listing(["lnr"])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_list_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no codes for bold words
    monkeypatch.setattr(sys, "stdout", shown := Terminal())
    show_claims(cost.listing(), False)
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 2 * len(CLAIMS)
    assert all(any(claim in line for line in lines) for claim in CLAIMS)


def test_the_list_of_one_claim_has_its_arms_and_the_log_of_2012(capsys: pytest.CaptureFixture[str]) -> None:
    show_claims(cost.listing(["lrn"]), False)
    said = capsys.readouterr().out
    assert all(arm in said for arm in CLAIMS["lrn"].arms)
    assert str(CLAIMS["lrn"].log) in said
