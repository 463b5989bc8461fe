"""The runs of a ladder are told by their recipes, whatever their number of epochs; all other runs stay."""

from pathlib import Path

from tests.planted import plant
from tests.studies.test_ladder import rungs

from alexnet.config.recipes import RECIPES
from alexnet.studies import designs
from alexnet.studies.apart import of_claims
from alexnet.studies.judge import judge_folder
from alexnet.studies.record import read_records


def test_only_runs_of_the_ladder_alone_are_left_out(tmp_path: Path) -> None:
    arms = rungs()
    apart = [arms["section 5's start"], arms["cosine"].replace(epochs=7)]
    kept = [arms["dropout"], designs.GROUNDS["A"].recipe, RECIPES["cifar-18"].replace(epochs=7), arms["dropout"]]
    kept[-1] = kept[-1].replace(views={"crops": False, "mirror": False})
    for i, recipe in enumerate([*apart, *kept]):
        plant(tmp_path / f"{i}", recipe.replace(net={"classes": 10}), [0.3, 0.31])
    records = read_records(tmp_path)
    assert len(records.runs) == 12
    found = of_claims(records)
    assert {r.path.parent.name for r in records.runs} - {r.path.parent.name for r in found.runs} == {"0", "1"}
    assert (found.averages, found.left) == (records.averages, records.left)


def test_arms_of_a_claims_own_design_that_are_rungs_too_stay_and_are_judged(tmp_path: Path) -> None:
    """From `tiny`, both the claim about dropout and the ladder have a net without dropout."""
    base = RECIPES["tiny"].replace(net={"classes": 10})
    for i, (recipe, error) in enumerate(((base, 0.30), (base.replace(net={"dropout": 0.0}), 0.35))):
        plant(tmp_path / f"{i}", recipe, [error + seed / 1000 for seed in range(3)], side=64)
    rows, _ = judge_folder(tmp_path)
    assert "dropout" in {row["claim"] for row in rows}
