"""Ladders: each step is judged as far as there are runs, its p value among the steps, and no claim sees the runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.planted import plant

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.studies import designs
from alexnet.studies.claims import CLAIMS
from alexnet.studies.judge import judge_folder
from alexnet.studies.ladder import judge_ladders, steps_of
from alexnet.studies.record import read_records
from alexnet.studies.since_2012 import RUNGS, SINCE_2012


def rungs() -> dict[str, Recipe]:
    """The recipes of the ladder on CIFAR-10, by arm."""
    _, base, _ = designs.base_of(SINCE_2012, 32, None)
    return designs.arms_of(SINCE_2012, base.replace(net={"classes": 10}))


def plant_ladder(folder: Path, errors: dict[str, float], seeds: int = 5) -> None:
    """Plant runs of some arms of the ladder, whose errors spread by a fifth of a point around these."""
    arms = rungs()
    for i, (name, error) in enumerate(errors.items()):
        noise = np.random.default_rng(i).standard_normal(seeds)
        noise = (noise - noise.mean()) / noise.std(ddof=1)
        plant(folder, arms[name], list(error + 0.002 * noise), held_out=10_000)


def test_the_steps_with_runs_are_judged_and_the_others_have_no_numbers(tmp_path: Path) -> None:
    plant_ladder(
        tmp_path,
        {"section 5's start": 0.45, "two towers": 0.42, "response norms": 0.425, "dropout": 0.31, "cosine": 0.31},
    )
    (ladder,) = judge_ladders(read_records(tmp_path))
    steps = {step["smaller"]: step for step in steps_of(ladder)}
    assert tuple(steps) == RUNGS[1:]
    judged = {name: step["verdict"] for name, step in steps.items() if step["difference"] is not None}
    assert judged == {"two towers": "holds", "response norms": "opposite", "cosine": "absent"}
    assert steps["two towers"]["difference"] == pytest.approx(0.03, abs=1e-4)
    # Holm over the three steps that have runs: the smallest p is multiplied by three.
    ps = sorted(steps[name]["p"] for name in judged)
    assert min(steps[name]["p_holm"] for name in judged) == pytest.approx(3 * ps[0])
    assert [rung["rung"] for rung in ladder["rungs"]] == list(RUNGS)
    assert [len(rung["seeds"]) for rung in ladder["rungs"]] == [0, 0, 5, 5, 5, 0, 0, 0, 5, 5, 0, 0, 0, 0, 0, 0]
    assert ladder["rungs"][2]["top1"] == pytest.approx(0.45, abs=1e-4)


def test_rungs_of_another_start_stand_at_the_rate_that_the_tuning_seed_chose(tmp_path: Path) -> None:
    arms, first, second, last = rungs(), *(SINCE_2012.tune[name] for name in ("plain", "ReLU", "He's start"))
    for names in (first, second, last):
        for name, error in zip(names, (0.6, 0.5, 0.55), strict=True):
            plant(tmp_path, arms[name], [error], first_seed=designs.TUNING_SEED)
    plant_ladder(tmp_path, {first[1]: 0.5, second[1]: 0.45, "no dropout": 0.3, last[1]: 0.29})
    (ladder,) = judge_ladders(read_records(tmp_path))
    rates = [rung["lr"] for rung in ladder["rungs"]]
    assert [rates[place] for place in (0, 1, -1)] == [arms[names[1]].sgd.lr for names in (first, second, last)]
    verdicts = {step["smaller"]: step["verdict"] for step in steps_of(ladder)}
    assert verdicts["ReLU"] == verdicts[RUNGS[-1]] == "holds"


def test_no_claim_of_the_paper_sees_the_runs_of_a_ladder(tmp_path: Path) -> None:
    """Two rungs differ as the arms of two-towers do, and two as those of crops; the base itself is a claim's arm."""
    apart = {name: 0.3 for name in RUNGS if name in rungs() and name != "dropout"}
    plant_ladder(tmp_path / "ladder", apart, seeds=2)
    rows, left = judge_folder(tmp_path / "ladder")
    assert (rows, left) == ([], [])
    base = designs.base_of(CLAIMS["crops"], 32, None)[1].replace(net={"classes": 10})
    for folder in ("claims", "ladder"):
        for recipe, error in zip(designs.arms_of(CLAIMS["crops"], base).values(), (0.3, 0.36), strict=True):
            errors = [error, error + 0.001, error - 0.001]
            plant(tmp_path / folder / "crops", recipe, errors, held_out=10_000)
    found = [judge_folder(tmp_path / folder)[0] for folder in ("claims", "ladder")]
    crops = [next(row for row in rows if row["claim"] == "crops") for rows in found]
    assert [row["seeds"] for row in crops] == [3, 3]
    assert [row["also"] for row in crops] == [[], []]


def test_the_command_shows_the_claims_and_the_ladder_apart_and_names_neither_for_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant_ladder(tmp_path, {"response norms": 0.4, "overlapping pools": 0.39})

    def said(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["study", *words, "--judge", str(tmp_path)])
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert "+ overlapping pools" in said()
    assert "not about a claim of the paper" in said()
    alone = said("since-2012")
    assert "+ overlapping pools" in alone
    assert "claims; p is adjusted" not in alone
    assert "+ overlapping pools" not in said("two-towers")
    rows = json.loads(said("--json"))
    assert [row["claim"] for row in rows][-1] == "since-2012"
    assert len(rows[-1]["rungs"]) == len(RUNGS)
