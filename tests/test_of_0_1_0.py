"""What alexnet 0.1.0 made: its stores, runs and recipe files open, resume and evaluate.

tests/of_0_1_0 was made by 0.1.0 (commit 157154d) on one CPU: a store of 30 drawn pictures, two runs of which each kept
its first checkpoint alone, their weights and evaluation at the end of training, and the eleven recipes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from tests.rounding import TOLERANCE, apart

from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES, named
from alexnet.core.errors import InputError
from alexnet.data.store import Store, verify
from alexnet.inference.evaluate import evaluate
from alexnet.inference.predict import predict
from alexnet.runs.run import Run
from alexnet.training.train import train

HERE = Path(__file__).parent / "of_0_1_0"
RUNS = ("alexnet", "cifar")
NEAR = 1e-6  # 16 roundings of float32 at a probability of 1


def told(name: str) -> Any:
    """What 0.1.0 said."""
    return json.loads((HERE / name).read_text())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HERE, tmp_path / "of"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (HERE / "recipes").iterdir()))
def test_a_recipe_file_reads_as_todays_and_keeps_its_digest_of_then(name: str) -> None:
    """But the biases of cifar-13 and cifar-11: their rate fell with the weights' then, and no longer does."""
    then = told(f"recipes/{name}.json")
    falls = {"bias_milestones": (500.0, 510.0)} if name in ("cifar-13", "cifar-11") else {}
    today = RECIPES[name].replace(schedule=falls)
    assert named(str(HERE / "recipes" / f"{name}.json")) == Recipe.of(then["recipe"]) == today
    assert today.digest_before == then["digest"]
    assert today.has_digest(then["digest"])
    assert today.digest != then["digest"]


def test_the_store_opens_whole() -> None:
    assert verify(HERE / "store") == []
    store = Store(HERE / "store")
    assert {name: len(split) for name, split in store.splits.items()} == {"train": 24, "val": 6}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_opens_under_its_own_digest(name: str) -> None:
    record = told(f"{name}/recipe.json")
    run = Run(HERE / name)
    assert run.recipe.digest_before == record["digest"]
    assert run.name == record["name"]
    assert [path.name for path in run.checkpoints] == ["00000003"]


@pytest.mark.parametrize("name", RUNS)
def test_it_evaluates_as_then(name: str) -> None:
    """Probabilities near 0.1 move by less than NEAR on another processor; only a tie as close may be told otherwise."""
    then = told(f"{name}.evaluate.json")
    evaluation = evaluate(HERE / "store", HERE / name, precision="fp32")
    now, ranked = evaluation.plain(), -np.sort(-evaluation.probabilities, axis=1)
    assert then.keys() <= now.keys()
    assert now["nats"] == pytest.approx(then["nats"], rel=10 * NEAR)
    for k in (1, 5):
        ties = (ranked[:, k - 1] - ranked[:, k] < NEAR).mean()
        assert abs(now[f"top{k}"] - then[f"top{k}"]) <= ties + 1e-9, k


@pytest.mark.parametrize("name", RUNS)
def test_it_goes_on_to_the_weights_that_it_came_to_then(name: str, copy: Path) -> None:
    """To tests/rounding.py's bound for twelve steps in float32; these runs make six or three.

    Weights that were not trained on are 0.6 to 1.0 of a tensor's largest number away.
    """
    train(copy / "store", copy / name, resume=True, precision="fp32", quiet=True)
    run = Run(copy / name)
    assert apart(run.net().state_dict(), load_file(HERE / f"{name}.final.safetensors")) < TOLERANCE["fp32"]
    final = [line for line in run.log if line["kind"] == "final"][-1]
    assert final["nats"] == pytest.approx(told(f"{name}.final.json")["nats"], rel=1e-4)


def test_it_predicts(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "red.png")
    (answer,) = predict(HERE / "alexnet", tmp_path / "red.png", top=10, precision="fp32")
    assert sum(p["probability"] for p in answer["predictions"]) == pytest.approx(1, abs=1e-5)


def test_resuming_compares_recipes_and_not_digests(copy: Path) -> None:
    same = Recipe.of(told("cifar/recipe.json")["recipe"])
    train(copy / "store", copy / "cifar", same, resume=True, precision="fp32", quiet=True)
    with pytest.raises(InputError, match=r"sgd\.lr was 0\.001, now 0\.5"):
        train(copy / "store", copy / "cifar", same.replace(sgd={"lr": 0.5}), resume=True, quiet=True)


@pytest.mark.parametrize(
    ("setting", "today"),
    [
        ("sgd.rate=1", "sgd.lr"),
        ("net.input=100", "net.image_size"),
        ("net.lrn.share=true", "net.lrn.divide_alpha_by_n"),
    ],
)
def test_a_setting_by_its_old_name_is_refused_with_the_new_one(setting: str, today: str) -> None:
    from alexnet.config.recipes import override

    old = setting.partition("=")[0]
    with pytest.raises(InputError) as refused:
        override(RECIPES["source"], [setting])
    assert str(refused.value) == f"recipe field {old} is now {today}: alexnet 0.2.0 renamed it"


def test_a_file_with_the_old_and_the_new_name_of_a_field_is_refused() -> None:
    with pytest.raises(InputError, match="recipe sgd has both rate and lr, two names of one field; leave one out"):
        Recipe.of({"sgd": {"rate": 0.1, "lr": 0.1}})


def test_the_fixtures_are_small() -> None:
    assert sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) <= 300_000
