"""Judging from records alone: planted effects are found, planted nulls are absent, and order changes nothing."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.planted import plant

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError
from alexnet.studies import designs
from alexnet.studies.claims import CLAIMS
from alexnet.studies.judge import judge_folder

BASE = RECIPES["small"].replace(net={"classes": 10})


def command(*words: object) -> int:
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def arms(claim: str) -> dict[str, Recipe]:
    _, base, _ = designs.base_of(CLAIMS[claim], 32, None)
    return designs.arms_of(CLAIMS[claim], base.replace(net={"classes": 10}))


def spread(mean: float, count: int, sd: float = 0.002, seed: int = 0) -> list[float]:
    """Draw errors whose mean and spread are exactly these."""
    values = np.random.default_rng(seed).standard_normal(count)
    values = (values - values.mean()) / values.std(ddof=1)
    return list(mean + sd * values)


def judged(folder: Path, claim: str) -> dict[str, Any]:
    rows, _ = judge_folder(folder)
    return next(row for row in rows if row["claim"] == claim)


def towers(folder: Path, effect: float, seeds: int = 6, sd: float = 0.002, first_seed: int = 0) -> Path:
    """Plant records of two-towers with an effect of this size."""
    two, one = arms("two-towers").values()
    plant(folder, two, spread(0.25, seeds, sd, seed=1), first_seed, held_out=10_000)
    plant(folder, one, spread(0.25 + effect, seeds, sd, seed=2), first_seed, held_out=10_000)
    return folder


def test_a_planted_effect_is_found_with_its_size_and_sign(tmp_path: Path) -> None:
    up, down = (judged(towers(tmp_path / f"{e}", e), "two-towers") for e in (0.017, -0.017))
    assert (up["verdict"], down["verdict"]) == ("holds", "opposite")
    assert up["difference"] == pytest.approx(0.017, abs=1e-4)
    assert up["low"] < up["difference"] < up["high"]
    assert up["paper_inside"]
    assert not down["paper_inside"]
    assert up["seeds"] == 6
    assert 0 < up["p"] <= up["p_holm"] < 0.05


def test_a_planted_null_is_absent_where_the_interval_lies_inside_the_margin(tmp_path: Path) -> None:
    row = judged(towers(tmp_path / "calm", 0.0), "two-towers")
    assert row["verdict"] == "absent"
    assert judged(towers(tmp_path / "wild", 0.0, sd=0.03), "two-towers")["verdict"] == "not shown"


def test_two_seeds_give_no_verdict_and_two_folders_of_two_give_that_of_one_of_four(tmp_path: Path) -> None:
    two, one = arms("two-towers").values()
    errors = {two.digest: spread(0.25, 4, seed=1), one.digest: spread(0.28, 4, seed=2)}
    for recipe in (two, one):
        plant(tmp_path / "four", recipe, errors[recipe.digest])
        plant(tmp_path / "both" / "mine", recipe, errors[recipe.digest][:2])
        plant(tmp_path / "both" / "yours", recipe, errors[recipe.digest][2:], first_seed=2)
    assert judged(tmp_path / "both" / "mine", "two-towers")["verdict"] == "not shown"
    assert judge_folder(tmp_path / "both") == judge_folder(tmp_path / "four")
    assert judged(tmp_path / "four", "two-towers")["verdict"] == "holds"


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    towers(tmp_path / "a", 0.01)
    files = sorted((tmp_path / "a").iterdir())
    random.Random(0).shuffle(files)
    (tmp_path / "b").mkdir()
    for i, path in enumerate(files):
        (tmp_path / "b" / f"{i:03d}.json").write_bytes(path.read_bytes())
    assert judge_folder(tmp_path / "a") == judge_folder(tmp_path / "b")


def test_records_of_other_pictures_or_precisions_are_not_mixed(tmp_path: Path) -> None:
    two, one = arms("two-towers").values()
    plant(tmp_path, two, spread(0.25, 6))
    plant(tmp_path, one, spread(0.30, 6), store="1" * 64)
    assert not [row for row in judge_folder(tmp_path)[0] if row["claim"] == "two-towers"]
    plant(tmp_path, one, spread(0.27, 3), held_out=1000)
    plant(tmp_path, two, spread(0.25, 5, seed=3), store="1" * 64)
    row = judged(tmp_path, "two-towers")
    assert row["seeds"] == 5
    assert [other["seeds"] for other in row["also"]] == [3]


def test_a_rate_is_chosen_on_a_seed_that_is_not_judged(tmp_path: Path) -> None:
    every, claim = arms("momentum"), CLAIMS["momentum"]
    plant(tmp_path, every["momentum"], spread(0.30, 5))
    names = claim.tune["none"]
    for name in names:
        plant(tmp_path, every[name], spread(0.35, 5), first_seed=0)
    assert not [row for row in judge_folder(tmp_path)[0] if row["claim"] == "momentum"]
    for name, error in zip(names, (0.40, 0.32, 0.36, 0.41), strict=True):
        plant(tmp_path, every[name], [error], first_seed=designs.TUNING_SEED)
    plant(tmp_path / "best", every[names[1]], spread(0.37, 3), first_seed=5)
    row = judged(tmp_path, "momentum")
    assert row["difference"] == pytest.approx((0.35 * 5 + 0.37 * 3) / 8 - 0.30, abs=0.001)
    assert row["seeds"] == 5


def test_ten_views_are_judged_by_all_nets_and_pictures(tmp_path: Path) -> None:
    towers(tmp_path, 0.02)
    row = judged(tmp_path, "ten-views")
    assert row["verdict"] == "holds"
    assert row["difference"] == pytest.approx(0.01, abs=1e-4)
    assert row["seeds"] == 12


def test_a_folder_without_records_is_refused_with_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no record of a run; make some with"):
        judge_folder(tmp_path)
    (path,) = plant(tmp_path, BASE, [0.25])
    path.write_text(path.read_text().replace("0.25", "0.24"))
    with pytest.raises(InputError, match=r"1 are left out, the first .* its checksum is wrong"):
        judge_folder(tmp_path)


def test_the_command_judges_and_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    towers(tmp_path, 0.02)
    (tmp_path / "half.json").write_text('{"record": "run"')
    assert command("study", "--judge", tmp_path, "--json") == 0
    out = capsys.readouterr()
    rows = {row["claim"]: row for row in json.loads(out.out)}
    asked = {"claim", "verdict", "difference", "low", "high", "p", "seeds", "paper", "paper_inside"}
    assert all(asked <= row.keys() for row in rows.values())
    assert "left out:" in out.err
    assert "half.json" in out.err
    assert command("study", "two-towers", "--judge", tmp_path) == 0
    assert "two-towers" in capsys.readouterr().out
    assert command("study", "--judge", tmp_path / "nowhere") == 2
    assert "does not exist" in capsys.readouterr().err
