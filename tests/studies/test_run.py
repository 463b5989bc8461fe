"""Studies from end to end on a small store, and the requests that they refuse."""

import copy
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store
from alexnet.inference.evaluate import evaluate
from alexnet.models.layer_table import layers_of
from alexnet.runs import log
from alexnet.runs.run import Run
from alexnet.studies import plan
from alexnet.studies import run as study
from alexnet.studies.claims import ALL
from alexnet.studies.record import Records, read_records
from alexnet.training.train import train

QUICK: dict[str, Any] = {"precision": "fp32", "workers": 1, "quiet": True}


@pytest.fixture(scope="module")
def brief(small: Recipe) -> Recipe:
    """Make a recipe of one epoch that trains in a moment."""
    return small.replace(epochs=1)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare a store of drawn pictures of 32 pixels."""
    path = tmp_path_factory.mktemp("little") / "store"
    prepare("builtin:40", path, side=32, jobs=1)
    return path


def epochs_of(run: Path) -> list[int]:
    return [line["epoch"] for line in log.read(run) if line["kind"] == "epoch"]


def runs_in(out: Path) -> dict[str, float]:
    return {p.name: (p / "log.jsonl").stat().st_mtime for p in (out / "runs").iterdir()}


def test_a_study_writes_what_it_found_and_equal_arms_train_once(store: Path, brief: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (momentum,) = study.study(["momentum"], store, out, brief, seeds=2, **QUICK)
    assert len(runs_in(out)) == 2 + 4 + 2  # with momentum; four rates without it, on another seed; the best of them
    before = runs_in(out)
    # ten-views and ensemble reuse the runs of momentum; dropout trains only its second arm
    found = study.study(["ten-views", "ensemble", "dropout"], store, out, brief, seeds=2, **QUICK)
    assert len(runs_in(out)) == 2 + 4 + 2 + 2
    assert {name: t for name, t in runs_in(out).items() if name in before} == before
    assert [f["claim"] for f in found] == ["ten-views", "ensemble", "dropout"]
    for result in (momentum, *found):
        kept = json.loads((out / f"{result['claim']}.json").read_text())
        assert kept == result
        assert kept["verdict"] in ("holds", "opposite", "absent", "not shown")
        assert kept["store"]["digest"] == Store(store).digest
        assert kept["seeds"] == (2 if kept["claim"] != "ten-views" else len(kept["expects"][0]["differences"]))
        assert kept["seconds"] > 0
        assert all((out / run).is_dir() for arm in kept["arms"].values() for run in arm["runs"])
    assert momentum["arms"]["none"]["differs"]["sgd.momentum"] == ["0.9", "0.0"]
    assert len(list((out / "records").iterdir())) == len(runs_in(out)) + 1  # and one of the average
    assert "30 pictures of 3 classes, 64 pixels a side" in momentum["scale"]


def test_measures_are_those_of_the_runs(store: Path, brief: Recipe, tmp_path: Path) -> None:
    found = study.study(["ensemble", "decay"], store, tmp_path / "out", brief, seeds=2, **QUICK)
    from alexnet.inference.evaluate import evaluate

    runs = [tmp_path / "out" / run for run in found[0]["arms"]["net"]["runs"]]
    seen = found[0]["arms"]["net"]["measures"]
    assert seen["top1"] == [next(x for x in log.read(r) if x["kind"] == "final")["top1"] for r in runs]
    train_errors = [evaluate(store, r, views=1, split="train", precision="fp32").errors.top1 for r in runs]
    assert found[1]["arms"]["decay"]["measures"]["train"] == train_errors
    (judged,) = [e for e in found[0]["expects"] if e["judged"]]
    together = evaluate(store, runs, precision="fp32").errors.top1
    assert judged["differences"] == pytest.approx([error - together for error in seen["top1"]])


def test_validating_on_few_pictures_changes_the_curve_alone(
    brief: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are the same, and so is the error on all pictures; `dropout` reads the curve and has all of them."""
    pictures = tmp_path / "store"
    prepare("builtin:100", pictures, side=64, jobs=1)
    most = len(Store(pictures)[Store(pictures).held_out])
    few = len(Store(pictures).classes)
    assert few < most
    found = []
    for count in (most, few):
        monkeypatch.setattr(plan, "WATCHED", count)
        out = tmp_path / str(count)
        study.study("momentum", pictures, out, brief, seeds=1, **QUICK)
        found.append({r.key: r.plain for r in read_records(out / "records").runs})
    whole, part = found
    assert whole.keys() == part.keys()
    for key, record in whole.items():
        other = part[key]
        assert (record["validated"], other["validated"]) == (most, few)
        assert all(record[name] == other[name] for name in ("recipe", "store", "errors", "right"))
        assert [line[:2] for line in record["curve"]] == [line[:2] for line in other["curve"]]
    # A claim that reads the curve trains again what has only a part of it, once, and then the others use that.
    before = len(read_records(out / "records").runs)
    study.study("dropout", pictures, out, brief, seeds=1, **QUICK)
    after = read_records(out / "records").runs
    assert len(after) == before + 1
    base = {r.plain["validated"] for r in after if r.plain["recipe"]["net"]["dropout"] and r.recipe.sgd.momentum}
    assert base == {most}
    trained = runs_in(out)
    study.study("ensemble", pictures, out, brief, seeds=2, **QUICK)
    assert len(runs_in(out)) == len(trained) + 1  # a second seed


def test_a_plateau_and_unequal_classes_validate_on_all_pictures(
    brief: Recipe, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plateau's rate falls by the validation error. Of classes with 9 and 1 held out, a balanced draw leaves 2."""
    prepare("builtin:100", tmp_path / "store", side=64, jobs=1)
    store = Store(tmp_path / "store")
    monkeypatch.setattr(plan, "WATCHED", 10)

    def validated(recipe: Recipe, on: Store) -> int:
        asked = plan.Request(recipe, 1)
        (made,), _ = plan.plan_all(["momentum"], on, asked, Records((), (), ()), "fp32")
        return len(made.watched[made.watched.held_out])

    assert len(store["val"]) == 20
    assert validated(brief, store) == 10
    assert validated(brief.replace(schedule={"kind": "Plateau"}), store) == 20
    skew = copy.copy(store)
    skew.splits = store.splits | {"val": store["val"].take(np.flatnonzero(store["val"].labels < 9))}
    assert validated(brief, skew) == 18


def test_full_layers_are_held_against_convolutions_at_equal_weights(little: Path, tmp_path: Path) -> None:
    """The numbers of weights are equal for the store's classes, not for the recipe's."""
    out = tmp_path / "out"
    (found,) = study.study(["fc-conv"], little, out, seeds=2, epochs=1, **QUICK)
    assert None not in found["expects"][0]["differences"]
    recipes = [Run(out / found["arms"][arm]["runs"][0]).recipe for arm in ("convolutional", "fully connected")]
    assert {recipe.net.classes for recipe in recipes} == {len(Store(little).classes)}
    convolutional, full = (sum(layer.weights for layer in layers_of(recipe.net)) for recipe in recipes)
    assert full == pytest.approx(convolutional, rel=0.005)


def test_an_interrupted_study_goes_on(
    store: Path, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, longer = tmp_path / "out", small.replace(epochs=30)
    handlers = signal.getsignal(signal.SIGTERM)

    def stop() -> None:
        while not list(out.glob("runs/*/checkpoints/0*")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with pytest.raises(Stopped, match=r"saved at step \d+ of 120 .*; the same command resumes the study") as stopped:
        study.study(["ten-views"], store, out, longer, seeds=1, **QUICK)
    thread.join()
    assert stopped.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handlers
    assert not (out / "ten-views.json").exists()
    (found,) = study.study(["ten-views"], store, out, longer, seeds=1, **QUICK)
    assert found["verdict"] == "not shown"
    (run,) = (out / "runs").iterdir()
    assert any(line["kind"] == "resumed" for line in log.read(run))
    assert epochs_of(run) == list(range(1, 31))


def test_figure_1_says_where_no_net_came_to_its_training_error(little: Path, tmp_path: Path) -> None:
    (found,) = study.study(["relu-tanh"], little, tmp_path / "out", seeds=1, epochs=1, **QUICK)
    assert found["verdict"] == "not shown"
    assert found["arms"]["relu"]["measures"]["until"] == [None]  # not in an epoch of forty pictures
    assert found["expects"][0]["why"] == "2 of 2 runs give no value"


def test_a_training_ends_at_a_training_error_and_its_resumption_knows(
    store: Path, small: Recipe, tmp_path: Path
) -> None:
    folder, easy = tmp_path / "run", small.replace(epochs=4)
    train(store, folder, easy, until=1.0, precision="fp32", quiet=True)
    assert epochs_of(folder) == [1]
    train(store, folder, resume=True, until=1.0, precision="fp32", quiet=True)
    assert epochs_of(folder) == [1]
    train(store, folder, resume=True, precision="fp32", quiet=True)  # to the end after all
    assert epochs_of(folder) == [1, 2, 3, 4]
    whole = tmp_path / "whole"
    train(store, whole, easy, precision="fp32", quiet=True)
    bytes_of = [next((f / "checkpoints").glob("00000016/weights.safetensors")).read_bytes() for f in (folder, whole)]
    assert bytes_of[0] == bytes_of[1]


def test_a_run_that_fails_leaves_its_claim_not_shown_and_the_others_go_on(
    store: Path, brief: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **kw: object) -> object:
        if "one tower" in str(kw["name"]):
            raise WorkFailed("the loss is nan at step 3")
        return train(*args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "train", failing)
    found, other = study.study(["two-towers", "ten-views"], store, tmp_path / "out", brief, seeds=2, **QUICK)
    assert [f["seed"] for f in found["failed"]] == [0, 1]
    assert found["failed"][0]["why"] == "the loss is nan at step 3"
    assert found["verdict"] == "not shown"
    assert found["expects"][0]["why"] == "an arm has no run yet"
    assert not other["failed"]
    assert None not in other["expects"][0]["differences"]


def test_table_2_has_a_row_for_every_net_of_the_paper(store: Path, two: Path, brief: Recipe, tmp_path: Path) -> None:
    """Seven nets, two of them trained on more classes first; without such a store the rows of CNN* are left out."""
    out = tmp_path / "out"
    (alone,) = study.study(["table-2"], two, out, brief, **QUICK)
    assert [row["model"] for row in alone["rows"]] == ["1 CNN", "5 CNNs"]
    before = runs_in(out)
    (found,) = study.study(["table-2"], two, out, brief, pretrain_on=store, **QUICK)
    assert [row["model"] for row in found["rows"]] == ["1 CNN", "5 CNNs", "1 CNN*", "7 CNNs*"]
    assert found["scale"].endswith("1 epoch; CNN* first as long on 30 of 3 classes")
    assert len(runs_in(out)) == 5 + 2 + 2
    assert {name: t for name, t in runs_in(out).items() if name in before} == before
    one, _, _, seven = found["rows"]
    assert one["top1"] == pytest.approx(sum(one["each_top1"]) / 5)
    folders = [out / name for arm, n in (("CNN", 5), ("CNN*", 2)) for name in found["arms"][arm]["runs"][:n]]
    assert seven["top1"] == pytest.approx(evaluate(two, folders, precision="fp32").errors.top1)


def test_a_pre_trained_net_starts_from_its_own_seeds_first_training(
    store: Path, two: Path, brief: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (found,) = study.study(["pretrain"], two, out, brief, seeds=2, pretrain_on=store, **QUICK)
    for seed, (name, other) in enumerate(zip(found["arms"]["CNN*"]["runs"], found["arms"]["CNN"]["runs"], strict=True)):
        recipe = Run(out / name).recipe
        first = Run(Run(out / name).environment["start"])
        assert recipe.start is not None
        assert recipe.start.layers == recipe.net.layers[:-1]
        assert (recipe.start.recipe, recipe.start.store) == (first.recipe.digest, Store(store).digest)
        assert recipe.seed == first.recipe.seed == Run(out / other).recipe.seed == seed
    assert study.study(["pretrain"], two, out, brief, seeds=2, pretrain_on=store, **QUICK) == [found]


def test_a_store_of_no_more_classes_is_not_for_training_on_first(two: Path, brief: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--pretrain-on .* has 2 classes .* must have more than 2 classes"):
        study.study(["pretrain"], two, tmp_path / "out", brief, pretrain_on=two, **QUICK)


def test_all_leaves_out_what_cannot_be_decided_and_says_why(store: Path, brief: Recipe) -> None:
    plans, left = plan.plan_all(["all"], Store(store), plan.Request(brief, 2), Records((), (), ()), "fp32")
    names = {plan.claim.name for plan in plans}
    assert names == {c.name for c in ALL if not c.base} - {"fc-conv", "pretrain"}
    assert any("fc-conv needs two nets with as many weights" in words for words in left)
    assert any("claim pretrain trains on more classes first" in words for words in left)
    assert len(plans) + len(left) == len(ALL)


@pytest.mark.parametrize(
    ("claim", "recipe", "seeds", "words"),
    [
        ("lnr", None, 3, "no claim lnr; did you mean lrn?"),
        ("relu-tanh", None, 3, "claim relu-tanh needs pictures of 32 pixels, as in CIFAR-10; store .* has 64"),
        ("lrn", "source", 3, "takes views of 224 pixels, but store .* holds pictures of 64"),
        ("overlap", "cifar-13", 3, "about AlexNet's layers"),
        ("pretrain", None, 3, "pretrain trains on more classes first; name a store that has them with --pretrain-on"),
        ("lrn", None, 0, "--seeds is 0; give 1 or more"),
        ("lrn", "nothing", 3, "no recipe nothing"),
    ],
)
def test_what_cannot_be_decided_is_refused_before_anything_is_trained(
    store: Path, tmp_path: Path, claim: str, recipe: str | None, seeds: int, words: str
) -> None:
    with pytest.raises(InputError, match=words) as refused:
        study.study([claim, "ten-views"], store, tmp_path / "out", recipe, seeds=seeds, **QUICK)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_arms_that_are_the_same_under_a_recipe_are_refused(store: Path, small: Recipe, tmp_path: Path) -> None:
    free = small.replace(sgd={"weight_decay": 0.0, "bias_weight_decay": 0.0})
    with pytest.raises(InputError, match="its arms none and decay are the same net"):
        study.study(["decay"], store, tmp_path / "out", free, **QUICK)


def test_views_without_room_for_crops_are_refused(little: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="claim crops is about crops, but views of 32 pixels leave no room"):
        study.study(["crops"], little, tmp_path / "out", "cifar-18", **QUICK)


def test_a_store_with_nothing_held_out_is_refused(pictures: Path, tmp_path: Path) -> None:
    prepare(pictures, tmp_path / "store", side=64, val_fraction=0, jobs=1)
    with pytest.raises(InputError, match="has no val or test split"):
        study.study(["lrn"], tmp_path / "store", tmp_path / "out", **QUICK)


def test_records_that_are_a_file_and_a_study_that_is_none_are_refused_before_training(
    store: Path, brief: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("[]")
    with pytest.raises(InputError, match=r"--records .*file is not a folder"):
        study.study("momentum", store, tmp_path / "out", brief, records=tmp_path / "file", **QUICK)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/study.json").write_text("[]")
    with pytest.raises(InputError, match=r"study\.json is not what alexnet study wrote"):
        study.study("momentum", store, tmp_path / "out", brief, **QUICK)
    with pytest.raises(InputError, match="no net of momentum trains on more classes first"):
        study.study("momentum", store, tmp_path / "new", brief, pretrain_on=store, **QUICK)


def test_a_folder_of_another_store_or_of_other_things_is_refused(
    store: Path, little: Path, brief: Recipe, tmp_path: Path
) -> None:
    out = study.home(tmp_path / "out", Store(little))
    with pytest.raises(InputError, match=re.escape(f"folder {out} holds studies of store {little}")):
        study.study(["momentum"], store, out, brief, **QUICK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="exists but holds no studies; name another folder"):
        study.study(["momentum"], store, tmp_path / "mine", brief, **QUICK)
