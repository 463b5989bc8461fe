"""The commands of missing runs: plain words, each once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.studies.claims import CLAIMS
from alexnet.studies.designs import QUEUE
from alexnet.studies.missing import missing
from alexnet.studies.plan import Request
from alexnet.studies.run import study


def command(*words: object) -> int:
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def commands(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    capsys.readouterr()
    assert command("study", *words) == 0
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def brief(small: Recipe, tmp_path: Path) -> Path:
    """Write the file of a recipe that trains in a moment."""
    path = tmp_path / "brief.json"
    path.write_text(json.dumps(small.replace(epochs=1).plain()))
    return path


def test_what_is_missing_is_a_plain_command_a_run_and_nothing_when_all_is_there(
    store: Path, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--records",
        tmp_path / "records",
        "--recipe",
        brief,
        "--seeds",
        2,
        "--precision",
        "fp32",
        "--threads",
        1,
    ]
    wanted = commands(capsys, "two-towers", store, tmp_path / "out", *options, "--missing")
    assert len(wanted) == 4
    assert all(re.fullmatch(r"alexnet study two-towers [\w./ -]+ --run [0-9a-f]{12}.*", line) for line in wanted)
    assert all(" --threads 1 --run " in line for line in wanted)
    assert command(*wanted[0].split()[1:], "--json") == 0
    assert commands(capsys, "two-towers", store, tmp_path / "out", *options, "--missing") == wanted[1:]
    for line in wanted:
        assert command(*line.split()[1:], "--json") == 0
    assert commands(capsys, "two-towers", store, tmp_path / "out", *options, "--missing") == []
    assert len(list((tmp_path / "records").iterdir())) == 4
    assert not (tmp_path / "out" / "two-towers.json").exists()


def test_a_run_that_several_claims_share_is_wanted_once(store: Path, brief: Path, tmp_path: Path) -> None:
    asked = Request(str(brief), 2)
    rows = missing(["two-towers", "columns", "depth"], store, tmp_path / "out", asked, precision="fp32")
    assert len({row["digest"] for row in rows}) == len(rows)


def test_an_average_is_wanted_once_its_nets_are_there(store: Path, brief: Path, tmp_path: Path, small: Recipe) -> None:
    out, asked = tmp_path / "out", Request(str(brief), 2)
    assert len(missing(["ensemble"], store, out, asked, precision="fp32")) == 2
    how: dict[str, Any] = {"precision": "fp32", "quiet": True, "workers": 1}
    study("ten-views", store, out, str(brief), seeds=2, **how)
    (row,) = missing(["ensemble"], store, out, asked, precision="fp32")
    assert row["arm"] == "averages of nets"
    study("ensemble", store, out, str(brief), seeds=2, **how)
    assert missing(["ensemble"], store, out, asked, precision="fp32") == []


def test_a_name_that_a_shell_reads_otherwise_is_refused(store: Path, brief: Path, tmp_path: Path) -> None:
    for name in ("my runs", "it's", "a\\b", "$HOME", "{}"):
        with pytest.raises(InputError, match="holds a character that a shell interprets"):
            missing(["two-towers"], store, tmp_path / name, Request(str(brief), 2), precision="fp32")


def test_every_claim_has_its_place_in_the_queue() -> None:
    assert sorted(QUEUE) == sorted(CLAIMS)


def test_a_repetition_has_seeds_of_its_own(
    store: Path, brief: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["two-towers", store, tmp_path / "out", "--recipe", brief, "--seeds", 2, "--precision", "fp32"]
    first = commands(capsys, *given, "--missing")
    again = commands(capsys, *given, "--first-seed", 100, "--missing")
    assert len(again) == 4
    assert not set(first) & set(again)
    assert all(" --seeds 2 --first-seed 100 " in line for line in again)
    rows = missing(["two-towers"], store, tmp_path / "out", Request(str(brief), 2, first_seed=998), precision="fp32")
    assert {row["seed"] for row in rows} == {998, 999}
    with pytest.raises(
        InputError, match=r"--first-seed 999: 2 seeds from there on are not all within 0 to 999; .* 998$"
    ):
        missing(["two-towers"], store, tmp_path / "out", Request(str(brief), 2, first_seed=999), precision="fp32")
    with pytest.raises(InputError, match="--first-seed -1"):
        missing(["two-towers"], store, tmp_path / "out", Request(str(brief), 2, first_seed=-1), precision="fp32")
