"""Training that starts from another run: the layers it takes, their weights, and the layers that stay frozen."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.ranks import Ranks, trained
from tests.rounding import TOLERANCE
from torch import Tensor

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.models.build import build
from alexnet.runs import checkpoint
from alexnet.runs.run import Run
from alexnet.training.finetune import FEWEST, MOST, STEPS, plan_start, tuned
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.train import train


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoint.read_tensors(checkpoint.list_checkpoints(folder)[-1], checkpoint.FILES[0])


def test_layers_that_do_not_learn_are_the_other_runs_to_the_bit(
    run: Path, two: Path, small: Recipe, tmp_path: Path
) -> None:
    """Frozen layers keep the run's weights, slow ones stay near them, and new ones are drawn from the seed."""
    rates = {"conv1": 0.0, "conv2": 0.0, "fc7": 0.1, "fc8": 0.0}
    recipe = small.replace(sgd={"layer_lr": rates}, epochs=1, seed=4)
    train(two, tmp_path / "tuned", recipe, from_run=run, precision="fp32", quiet=True)
    before, after = weights(run), weights(tmp_path / "tuned")
    for layer in ("conv1", "conv2"):
        assert torch.equal(before[f"{layer}.weight"], after[f"{layer}.weight"])
    for layer in ("conv3", "fc7"):
        moved = (after[f"{layer}.weight"] - before[f"{layer}.weight"]).norm()
        assert 0 < moved < 0.5 * before[f"{layer}.weight"].norm()
    fresh = build(recipe.replace(net={"classes": 2}).net, 4).state_dict()
    assert after["fc8.weight"].shape[0] == 2
    assert torch.equal(after["fc8.weight"], fresh["fc8.weight"])


def test_the_recipe_says_what_was_taken(run: Path, store: Path, two: Path, small: Recipe, tmp_path: Path) -> None:
    train(
        two, tmp_path / "tuned", small.replace(epochs=1), from_run=run, layers=["conv1"], precision="fp32", quiet=True
    )
    recipe = Run(tmp_path / "tuned").recipe
    assert recipe.start is not None
    assert (recipe.start.recipe, recipe.start.store) == (small.digest, Store(store).digest)
    assert (recipe.start.step, recipe.start.layers) == (12, ("conv1",))
    assert recipe.digest != recipe.replace(start=None).digest


def test_the_last_layer_is_taken_where_the_classes_are_the_same(
    run: Path, store: Path, two: Path, small: Recipe
) -> None:
    assert plan_start(Run(run), small, Store(store)).layers == small.net.layers
    assert plan_start(Run(run), small, Store(two)).layers == small.net.layers[:-1]
    wider = small.replace(net={"hidden": 32})
    assert plan_start(Run(run), wider, Store(store)).layers == ("conv1", "conv2", "conv3", "conv4", "conv5")


def test_one_that_is_stopped_before_its_first_checkpoint_starts_from_the_same(
    run: Path, two: Path, small: Recipe, tmp_path: Path
) -> None:
    recipe = small.replace(epochs=1)
    train(two, tmp_path / "whole", recipe, from_run=run, precision="fp32", quiet=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut/checkpoints")
    (tmp_path / "cut/log.jsonl").unlink()
    train(two, tmp_path / "cut", resume=True, quiet=True)
    assert all(torch.equal(a, weights(tmp_path / "cut")[n]) for n, a in weights(tmp_path / "whole").items())


def test_processes_start_from_the_same_and_freeze_the_same(
    ranks: Ranks, run: Path, two: Path, small: Recipe, tmp_path: Path
) -> None:
    """A frozen layer has no gradient to send, whether it is the first or lies between others that learn."""
    recipe = small.replace(epochs=1, sgd={"layer_lr": {"conv1": 0.0, "conv3": 0.0, "fc7": 0.0}})
    for processes, strategy in ((1, "data"), (2, "towers"), (2, "hybrid")):
        ranks(
            processes,
            trained,
            two,
            tmp_path / strategy,
            recipe,
            from_run=run,
            precision="fp64",
            strategy=strategy,
        )
    one = weights(tmp_path / "data")
    for strategy in ("towers", "hybrid"):
        apart = weights(tmp_path / strategy)
        # The order of sums over maps differs.
        assert all((one[n] - apart[n]).abs().max() < TOLERANCE["fp64"] * one[n].abs().max() for n in one)


STARTED = RECIPES["tiny"].replace(start={"recipe": "0123456789ab"})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": ["conv9"]}, "--layers conv9: this recipe's net has conv1, "),
        ({"layers": ["fc8"]}, "--layers fc8: its weights are 2 x 16 here and 3 x 16"),
        ({"recipe": RECIPES["tiny"], "layers": ["conv1"]}, "its weights are 48 x 3 x 5 x 5 here and 8 x 3 x 5 x 5"),
        ({"from_run": None, "layers": ["conv1"]}, "--layers conv1: layers of which run. Add --from RUN"),
        ({"from_run": "nowhere"}, "nowhere"),
        ({"from_run": None, "recipe": STARTED}, "name it with --from"),
    ],
    ids=["no such layer", "other classes", "another shape", "no run", "a run that is not there", "no place"],
)  # fmt: skip
def test_what_cannot_be_started_from_is_refused(
    run: Path, two: Path, small: Recipe, tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    ways: dict[str, Any] = {"recipe": small, "from_run": run, "quiet": True} | given
    with pytest.raises(InputError, match=words):
        train(two, tmp_path / "run", **ways)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_only_as_it_was_begun(run: Path, two: Path, small: Recipe, tmp_path: Path) -> None:
    folder, recipe = tmp_path / "tuned", small.replace(epochs=1)
    train(two, folder, recipe, from_run=run, precision="fp32", quiet=True)
    train(two, folder, recipe, from_run=run, resume=True, quiet=True)
    with pytest.raises(InputError, match=r"was begun from .*; leave it out"):
        train(two, folder, recipe, from_run=folder, resume=True, quiet=True)
    with pytest.raises(InputError, match=r"--layers conv1: run .* began with conv1 conv2"):
        train(two, folder, recipe, from_run=run, layers=["conv1"], resume=True, quiet=True)


def test_a_run_whose_weights_are_gone_is_named(run: Path, two: Path, small: Recipe, tmp_path: Path) -> None:
    first, folder = tmp_path / "first", tmp_path / "tuned"
    shutil.copytree(run, first)
    train(two, folder, small.replace(epochs=1), from_run=first, precision="fp32", quiet=True)
    shutil.rmtree(folder / "checkpoints")
    newest = checkpoint.list_checkpoints(first)[-1]
    newest.rename(newest.with_name("00000099"))
    with pytest.raises(InputError, match="no longer has its checkpoint of step 12"):
        train(two, folder, resume=True, quiet=True)


def test_without_a_recipe_a_run_that_starts_from_another_gets_steps_enough_and_a_crop_for_each_picture(
    run: Path, store: Path, two: Path, small: Recipe
) -> None:
    """Everything else is the other run's recipe. On the same store a run is more of the same training."""
    name, recipe = tuned(Run(run), Store(two))
    assert name == "own-tuned"
    views, sgd = {"pictures_per_crop": 1}, {"shuffle": "each epoch"}
    assert recipe == small.replace(views=views, sgd=sgd, epochs=MOST)
    assert tuned(Run(run), Store(store)) == ("own", small)


@pytest.mark.parametrize(
    ("number", "epochs"),
    [(4, MOST), (8 * STEPS // 50, 50), (8 * STEPS // 50 - 1, 50), (8 * STEPS // FEWEST, FEWEST), (8 * STEPS, FEWEST)],
)
def test_a_store_of_more_pictures_gets_fewer_epochs_within_limits(
    run: Path, two: Path, number: int, epochs: int
) -> None:
    store = Store(two)
    split = store["train"]
    store.splits = store.splits | {"train": split.take([i % len(split) for i in range(number)])}
    assert tuned(Run(run), store)[1].epochs == epochs


def test_the_first_line_names_what_was_chosen(run: Path, two: Path, tmp_path: Path) -> None:
    request = Request(two, tmp_path / "tuned", options=TrainOptions(from_run=run, precision="fp32"))
    with begin(Mesh(), request, choose_compute("cpu", "fp32")) as trainer:
        assert trainer.title.startswith("recipe own-tuned ")
        wanted = f'views.pictures_per_crop=1, sgd.shuffle="each epoch", epochs={MOST}, '
        assert f"by that run's recipe with {wanted}" in trainer.title


def test_the_first_line_tells_layers_that_were_made_for_inputs_of_another_scale(
    run: Path, two: Path, small: Recipe, tmp_path: Path
) -> None:
    """As from `small`, with raw pixels, by recipe `today`."""
    options = TrainOptions(from_run=run, precision="fp32")
    with begin(
        Mesh(),
        Request(two, tmp_path / "scaled", small.replace(views={"scale": 1 / 58}), options),
        choose_compute("cpu", "fp32"),
    ) as trainer:
        assert f"from {run}, which had views.scale=1 where this recipe has 0.0172414, " in trainer.title


def test_options_change_the_recipe_that_was_chosen_and_a_run_goes_on_with_it(
    run: Path, two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tuned"
    command = ["train", str(two), str(folder), "--from", str(run), "--freeze", "conv1", "--set", "sgd.lr=0.001"]
    for more in (["--epochs", "1"], ["--epochs", "1", "--resume"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, *more, "--precision", "fp32", "--json"])
        assert ended.value.code == 0, capsys.readouterr().err
    tuned_run, (_, chosen) = Run(folder), tuned(Run(run), Store(two))
    assert tuned_run.name == "own-tuned"
    changes = {"sgd": {"lr": 0.001, "layer_lr": {"conv1": 0.0}}, "net": {"classes": 2}, "epochs": 1}
    assert tuned_run.recipe.replace(start=None) == chosen.replace(**changes)
