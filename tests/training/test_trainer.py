"""The training loop: its log, its errors and the files that it leaves."""

import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.recorded import Recorded
from tests.trained import alike, resign

from alexnet.cli.main import main
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.runs import checkpoint, log
from alexnet.runs.folder import locked
from alexnet.runs.run import Run, load
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.step import CudaGraphStep, Step
from alexnet.training.train import train

# Initial weights for a net this narrow; 0.01 suits the fan-in of the real one.
LIVELY = {"std": (0.02, 0.1, 0.15, 0.15, 0.15, 0.1, 0.3, 0.3), "bias_one_layers": ()}
FAST = {"lr": 0.005, "bias_lr": 0.005}


def test_a_run_is_a_folder_that_predicts_without_the_store(run: Path, store: Path) -> None:
    names = {p.name for p in run.iterdir()}
    assert {
        "recipe.json",
        "environment.json",
        "log.jsonl",
        "classes.json",
        "pictures.safetensors",
        "checkpoints",
    } <= names
    net = load(run)
    assert list(net.classes) == ["blue", "green", "red"]
    pictures = torch.from_numpy(Store(store)["val"].read(torch.arange(12).numpy()))
    assert net(net.transform.center_crop(pictures)).shape == (12, 3)


def test_a_small_net_learns_three_colours(store: Path, small: Recipe, tmp_path: Path) -> None:
    longer, steps = small.replace(net=LIVELY, sgd=FAST, epochs=15), list[tuple[int, int]]()

    def seen(done: int, of: int) -> None:
        steps.append((done, of))

    final = train(store, tmp_path / "run", longer, precision="fp32", quiet=True, progress=seen)
    assert steps == [(step, 60) for step in range(1, 61)]
    assert final.errors.top1 <= 0.1
    line = log.read(tmp_path / "run")[-1]
    assert line["kind"] == "final"
    assert line["top1"] == final.errors.top1
    assert line["one_view"]["images"] == 12


def test_every_log_line_has_its_kind_and_step_and_each_epoch_is_validated(run: Path) -> None:
    lines = log.read(run)
    assert all({"kind", "step"} <= line.keys() for line in lines)
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [4, 8, 12]
    first = next(line for line in lines if line["kind"] == "step")
    assert {"loss", "error", "rate", "pictures_per_second", "epoch", "seconds"} <= first.keys()


def test_the_environment_says_from_what_and_on_what_the_run_was_made(run: Path, store: Path) -> None:
    record = Run(run).environment
    assert record["class_counts"] == Store(store).class_counts == {"train": [10, 10, 10], "val": [4, 4, 4]}
    assert record["store_digest"] == Store(store).digest
    assert record["images"] == {"train": 30, "val": 12}
    assert record["precision"] == "fp32"


def test_tensorboard_has_the_numbers_of_the_log(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = [line["top1"] for line in log.read(run) if line["kind"] == "epoch"]
    assert [e.value for e in events.Scalars("epoch/top1")] == pytest.approx(logged)


def test_an_existing_run_folder_is_refused(run: Path, store: Path, small: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists; add --resume"):
        train(store, run, small, quiet=True)
    (tmp_path / "mine.txt").write_text("not a run")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match="link exists; name another folder"):
        train(store, tmp_path / "link", small, quiet=True)
    with pytest.raises(InputError, match="exists; name another folder"):
        train(store, tmp_path, small, resume=True, quiet=True)


def test_resuming_with_another_recipe_names_the_field(run: Path, store: Path, small: Recipe) -> None:
    with pytest.raises(InputError, match=r"sgd\.lr was 0\.002, now 0\.5"):
        train(store, run, small.replace(sgd={"lr": 0.5}), resume=True, quiet=True)


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"epochs": 2}, "--epochs, or name another run folder"),
        ({"seed": 7}, "--seed, or name another run folder"),
        ({"sgd": {"batch": 5}}, "--set sgd.batch, or the --recipe that changes it"),
        ({"sgd": {"layer_lr": {"conv1": 0.0}}}, "--set sgd.layer_lr, or the --recipe or --freeze that changes it"),
    ],
    ids=str,
)
def test_resuming_with_another_recipe_names_the_option(
    run: Path, store: Path, small: Recipe, change: dict[str, Any], option: str
) -> None:
    with pytest.raises(InputError) as refused:
        train(store, run, small.replace(**change), resume=True, quiet=True)
    assert f"resume it without {option}" in str(refused.value)


def test_more_epochs_of_a_finished_run_are_to_be_had_by_the_command_that_is_named(
    run: Path, store: Path, small: Recipe, tmp_path: Path
) -> None:
    """The added epochs have the rates of a new run, since a schedule divides all epochs of its run."""
    with pytest.raises(InputError) as refused:
        train(store, run, small.replace(epochs=5), resume=True, quiet=True)
    words, _, command = str(refused.value).partition(": alexnet ")
    assert "epochs was 3, now 5; resume it without --epochs, or continue from its weights in another folder" in words
    assert "--recipe" not in words
    assert shlex.split(command) == ["train", str(store), "NEW", "--from", str(run), "--epochs", "2"]
    arguments = [str(tmp_path / "more") if word == "NEW" else word for word in shlex.split(command)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    assert ended.value.code == 0
    begun = Run(tmp_path / "more").recipe
    assert begun.start is not None
    assert begun.start.step == 12
    assert begun.replace(start=None) == small.replace(epochs=2)


def test_resuming_without_a_checkpoint_says_that_it_begins_anew_and_why(
    run: Path, store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder's name may have a typo, or the run was killed before its first checkpoint."""
    cut = tmp_path / "cut"
    shutil.copytree(run, cut, ignore=shutil.ignore_patterns("checkpoints"))
    whys = {tmp_path / "none": "holds no run yet", cut: "ended before its first checkpoint"}
    for folder, why in whys.items():
        train(store, folder, small, resume=True, precision="fp32")
        said = capsys.readouterr().err
        assert said.count(f"{folder} {why}, so there is nothing to resume; training starts at step 0") == 1
        assert alike(folder, run)
    train(store, cut, small, resume=True, precision="fp32")
    train(store, tmp_path / "new", small.replace(epochs=1), precision="fp32")
    assert "nothing to resume" not in capsys.readouterr().err


def test_resuming_in_another_precision_is_refused(run: Path, store: Path, small: Recipe) -> None:
    with pytest.raises(InputError, match="begun in fp32"):
        train(store, run, small, resume=True, precision="bf16", quiet=True)


def test_a_recipe_whose_views_do_not_fit_the_store_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"source takes views of 224 pixels, but store .* holds pictures of 64"):
        train(store, tmp_path / "run", "source", quiet=True)
    with pytest.raises(InputError, match="cifar-18 takes views of 32 pixels"):  # its views would be the centre alone
        train(store, tmp_path / "run", "cifar-18", quiet=True)
    with pytest.raises(InputError, match=r"use another recipe \(today-256 for 256, today-64 for 64, today for 32\)"):
        train(store, tmp_path / "run", "today", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_net_too_large_for_the_memory_leaves_no_run_behind(store: Path, small: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="allocate memory"):
        train(store, tmp_path / "run", small.replace(net={"hidden": 10**12}), quiet=True)
    assert not (tmp_path / "run").exists()


def test_two_trainings_cannot_share_a_run(run: Path, store: Path) -> None:
    with locked(run), pytest.raises(InputError, match="is being trained by another process"):
        train(store, run, resume=True, quiet=True)


@pytest.mark.parametrize("file", ["classes.json", "environment.json", "pictures.safetensors"])
def test_a_run_with_an_altered_part_is_refused_by_its_name(run: Path, tmp_path: Path, file: str) -> None:
    altered = shutil.copytree(run, tmp_path / "run")
    with (altered / file).open("ab") as part:
        part.write(b" ")
    with pytest.raises(InputError, match=f"{file} is missing or was altered"):
        Run(altered).trusted(file)
    if file != "environment.json":
        with pytest.raises(InputError, match=f"{file} is missing or was altered"):
            load(altered)


def test_weights_that_are_no_numbers_are_never_saved(store: Path, small: Recipe, tmp_path: Path) -> None:
    """The loss can be finite and the update that follows it not."""
    request = Request(store, tmp_path / "run", small, TrainOptions(workers=1, cache="none"))
    with begin(Mesh(), request, choose_compute("cpu", "fp32")) as training:
        with torch.no_grad():
            next(training.net.parameters()).fill_(math.nan)
        with pytest.raises(WorkFailed, match=r"conv1\.weight holds NaN or infinity at step 0"):
            training.save()
    assert checkpoint.list_checkpoints(tmp_path / "run") == []


def test_epochs_that_are_over_before_a_save_would_pay_are_not_saved_but_the_last_is(
    store: Path, small: Recipe, tmp_path: Path
) -> None:
    """Saves may take 0.5 % of the time; after each of these epochs of four steps they would take 5 to 50 %."""
    train(store, tmp_path / "run", small.replace(epochs=40), precision="fp32", keep=0, quiet=True)
    saved = [checkpoint.step_and_attempt(path)[0] for path in checkpoint.list_checkpoints(tmp_path / "run")]
    assert len(saved) < 40
    assert (saved[0], saved[-1]) == (4, 160)
    assert all(step % 4 == 0 for step in saved)


def test_every_drop_of_the_rate_is_saved_also_within_an_epoch(store: Path, small: Recipe, tmp_path: Path) -> None:
    """At step 1 the rate warms up, at steps 9 and 12 of the 16 it drops."""
    drops = {"kind": "Steps", "milestones": (2.2, 3.0), "of_epochs": 4, "warmup_epochs": 1.0}
    recipe = small.replace(epochs=4, schedule=drops)
    train(store, tmp_path / "run", recipe, precision="fp32", keep=0, save_every=1e6, quiet=True)
    saved = {checkpoint.step_and_attempt(path)[0] for path in checkpoint.list_checkpoints(tmp_path / "run")}
    assert {9, 12, 16} <= saved
    assert saved <= {4, 8, 9, 12, 16}


def test_a_loss_that_is_no_number_stops_at_its_step_and_keeps_the_last_good_checkpoint(
    store: Path, small: Recipe, tmp_path: Path
) -> None:
    wild = small.replace(sgd={"lr": 1e6, "bias_lr": 1e6})
    with pytest.raises(WorkFailed, match=r"(the loss is (nan|inf)|holds? NaN or infinity) at step \d+ \(rate 1e\+06, "):
        train(store, tmp_path / "run", wild, precision="fp32", quiet=True)
    for kept in checkpoint.list_checkpoints(tmp_path / "run"):
        weights = checkpoint.read_tensors(kept, checkpoint.FILES[0])
        assert all(torch.isfinite(w).all() for w in weights.values())


def test_a_loss_at_the_logarithm_of_the_classes_is_diagnosed(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = small.replace(net={"std": (1e-5,) * 8}, views={"scale": 1 / 58}, sgd={"lr": 1e-6, "bias_lr": 0.0}, epochs=26)
    train(store, tmp_path / "run", flat, precision="fp32")
    told = capsys.readouterr().err
    assert f"stayed at or above ln(3) = {math.log(3):.3f} for 100 steps" in told
    assert "--set views.scale=1" in told


def test_a_stuck_loss_of_replayed_steps_is_explained_by_a_step_of_its_own(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on CUDA: read a step late, when the next replay has overwritten the views of the one that is read.

    Batches are steps of 8, 8, 8 and 6 pictures. The lines come of a later step than on a CPU, once.
    """
    flat = small.replace(net={"std": (1e-5,) * 8}, views={"scale": 1 / 58}, sgd={"lr": 1e-6, "bias_lr": 0.0}, epochs=27)
    flat = flat.replace(late={"conv1_frozen": None, "colour_off": None})  # else there are other kinds of steps
    request = Request(store, tmp_path / "run", flat, TrainOptions(workers=1, cache="none"))
    with begin(Mesh(), request, choose_compute("cpu", "fp64")) as trainer, trainer.log(quiet=False) as opened:
        graphs = Recorded(trainer.momentum)
        assert isinstance(trainer.take, Step)
        trainer.take = CudaGraphStep(trainer.take, graphs)
        kept = []
        for batch in trainer.batches():
            trainer.advance(batch, 0.0)
            kept.append(trainer.unread[-1][0].lasting)
            trainer.read(opened, keep=1)
        trainer.read(opened)
    assert (graphs.captures, graphs.replays) == (2, 108 - 2 * 3)
    # At number 100 training reads the 100th step, which makes the monitor ask. Up to 15, some steps are eager.
    assert [number for number, lasting in enumerate(kept) if lasting and number > 15] == [101, 102]
    assert capsys.readouterr().err.count("stayed at or above ln(3)") == 1


def kept_best(folder: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """The name and weights of the best checkpoint."""
    name = Run(folder).resolve("best")
    return name, checkpoint.read_tensors(folder / "checkpoints" / name, checkpoint.FILES[0])


def test_the_weights_of_the_first_of_the_best_epochs_are_kept_and_a_resumed_run_keeps_the_same(
    store: Path, small: Recipe, tmp_path: Path
) -> None:
    """Each step is a checkpoint; then a run that lost its last ones goes on, also from within an epoch."""
    folder, cut = tmp_path / "run", tmp_path / "cut"
    recipe = small.replace(net=LIVELY, sgd=FAST, epochs=6)
    train(store, folder, recipe, precision="fp32", keep=0, save_every=0, quiet=True)
    errors = [line["top1"] for line in log.read(folder) if line["kind"] == "epoch"]
    first = 1 + errors.index(min(errors))
    assert 1 < first < 6
    name, best = kept_best(folder)
    assert name == f"{4 * first:08d}-best"
    for path in checkpoint.list_checkpoints(folder):
        same = checkpoint.read_tensors(path, checkpoint.FILES[0])
        equal = all(torch.equal(best[n], t) for n, t in same.items())
        assert equal == (checkpoint.step_and_attempt(path)[0] == 4 * first), path
    shutil.copytree(folder, cut)
    for path in (*checkpoint.list_checkpoints(cut), *checkpoint.list_best(cut)):
        if checkpoint.step_and_attempt(path)[0] > 4 * first + 1:
            shutil.rmtree(path)
    train(store, cut, resume=True, precision="fp32", quiet=True)
    assert alike(cut, folder)
    assert checkpoint.list_best(cut)[-1].name == name
    final = log.read(cut)[-1]
    assert [final[key] for key in ("ended_by", "checkpoint", "epoch", "best_epoch", "best_top1")] == [
        "epochs", "00000024", 6, first, min(errors),
    ]  # fmt: skip


def test_patience_ends_a_run_that_does_not_get_better_and_a_resumed_run_may_go_on(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate of 0 leaves all errors as the first one."""
    dead = small.replace(sgd={"lr": 0.0, "bias_lr": 0.0}, epochs=6)
    given: dict[str, Any] = {"precision": "fp32", "resume": True}
    for patience, epochs, why in ((2, 3, "patience"), (2, 3, "patience"), (3, 4, "patience"), (None, 6, "epochs")):
        evaluation = train(store, tmp_path / "run", dead, patience=patience, **given)
        assert evaluation.progress[0].finished
        lines, said = log.read(tmp_path / "run"), capsys.readouterr().err
        assert sum(line["kind"] == "epoch" for line in lines) == epochs
        assert (lines[-1]["ended_by"], lines[-1]["epoch"], lines[-1]["best_epoch"]) == (why, epochs, 1)
        assert f"training ended after epoch {epochs} of 6" in said
        assert (f"no lower validation error for {patience} epochs (--patience {patience})" in said) == bool(patience)
        assert (
            f"is that of epoch 1 (--checkpoint best); the evaluation is of the last checkpoint, {4 * epochs:08d}"
            in (said)
        )
        assert lines[-1]["top1"] == evaluation.errors.top1


def test_a_patience_below_the_schedules_is_told_at_the_start(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = small.replace(schedule=RECIPES["paper"].schedule, epochs=90)
    request = Request(store, tmp_path / "run", recipe, TrainOptions(workers=1, cache="none", patience=5))
    with begin(Mesh(), request, choose_compute("cpu", "fp32")) as training:
        assert "--patience 5 ends it before the rate drops, for which 5 epochs are to pass" in training.title
        training.patience = 6
        assert "--patience" not in training.title


def test_best_weights_that_are_gone_are_told_and_those_of_a_later_epoch_kept(
    store: Path, small: Recipe, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    owner, newest = Run(folder).identity, checkpoint.list_checkpoints(folder)[-1]
    for path in (*checkpoint.list_checkpoints(folder)[:-1], *checkpoint.list_best(folder)):
        shutil.rmtree(path)
    train(store, folder, resume=True, precision="fp32")
    assert "which has the lowest validation error so far, were not kept" in capsys.readouterr().err
    resign(newest / "state.json", step=4, errors=[1.0], best=None)
    newest.rename(newest.with_name("00000004"))
    train(store, folder, resume=True, precision="fp32", quiet=True)
    assert checkpoint.read_state(checkpoint.list_checkpoints(folder)[-1], owner).best is not None


def unbalanced(store: Path) -> Store:
    """A store of ten blue, two green and one red training picture."""
    opened = Store(store)
    opened.splits["train"] = opened["train"].take([*range(10), 10, 11, 20])
    return opened


def test_a_loss_at_the_entropy_of_unequal_labels_is_diagnosed_though_it_is_far_below_that_of_equal_ones(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Biases learn the frequencies, -10/13 ln 10/13 - 2/13 ln 2/13 - 1/13 ln 1/13 = 0.687, and weights nothing."""
    flat = small.replace(
        net={"std": (1e-5,) * 8}, views={"scale": 1 / 58}, sgd={"lr": 1e-7, "bias_lr": 0.02}, epochs=90
    )
    train(unbalanced(store), tmp_path / "run", flat, precision="fp32")
    told = capsys.readouterr().err
    assert (
        "stayed at or above 0.687, the entropy of the training labels (ln(3) = 1.099 is that of equal classes)," in told
    )
    assert "the largest has 76.9 % of the training pictures. Try --class-weights balanced" in told
    assert log.read(tmp_path / "run")[-2]["train_loss"] < 0.9 * math.log(3)
    assert (
        told.count("the validation error of the last 3 epochs, 66.7 %, is that of always naming one of 3 classes") == 1
    )


def test_class_weights_reach_the_loss_and_leave_its_count_of_wrong_answers(
    store: Path, small: Recipe, tmp_path: Path
) -> None:
    """With a rate of 0, the net is the same in both: by hand from its probabilities, picture by picture."""
    still = {"crops": False, "mirror": False, "colour": 0.0, "pictures_per_crop": 1}
    recipe = small.replace(net=LIVELY | {"dropout": 0.0}, views=still, sgd={"lr": 0.0, "bias_lr": 0.0}, epochs=1)
    parts, epochs = unbalanced(store), dict[str, Any]()
    for kind in ("none", "balanced"):
        train(parts, tmp_path / kind, recipe.replace(sgd={"class_weights": kind}), precision="fp32", quiet=True)
        epochs[kind] = next(line for line in log.read(tmp_path / kind) if line["kind"] == "epoch")
    net, split = load(tmp_path / "none"), parts["train"]
    with torch.no_grad():
        logits = net(net.transform.center_crop(torch.from_numpy(split.read(range(13))))).double()
    own = [-logits[i].log_softmax(0)[label].item() for i, label in enumerate(split.labels)]
    factors = [13 / (3 * {0: 10, 1: 2, 2: 1}[int(label)]) for label in split.labels]
    assert epochs["none"]["train_loss"] == pytest.approx(sum(own) / 13, rel=1e-5)
    weighted = sum(f * loss for f, loss in zip(factors, own, strict=True)) / 13
    assert epochs["balanced"]["train_loss"] == pytest.approx(weighted, rel=1e-5)
    assert epochs["balanced"]["train_error"] == epochs["none"]["train_error"]


def test_plateaus_end_the_run_before_its_last_epoch(store: Path, small: Recipe, tmp_path: Path) -> None:
    recipe = RECIPES["paper"].schedule
    dead = small.replace(sgd={"lr": 0.0, "bias_lr": 0.0}, schedule=recipe, epochs=30)
    train(store, tmp_path / "run", dead, precision="fp32", quiet=True)
    epochs = [line for line in log.read(tmp_path / "run") if line["kind"] == "epoch"]
    # Patience is 5 of 90 epochs, so 2 of 30. No error is below the first, so every second epoch is a plateau.
    assert len(epochs) == 1 + 4 * 2


def test_late_switches_freeze_conv1_and_end_the_colour_noise(store: Path, small: Recipe, tmp_path: Path) -> None:
    late = small.replace(late={"conv1_frozen": 0.0})
    train(store, tmp_path / "run", late, precision="fp32", quiet=True)
    from alexnet.models.build import build

    start, end = build(late.net, late.seed).state_dict(), load(tmp_path / "run").state_dict()
    assert torch.equal(start["conv1.weight"], end["conv1.weight"])
    assert not torch.equal(start["conv2.weight"], end["conv2.weight"])


def test_eight_pictures_can_be_learned_by_heart(store: Path, small: Recipe, tmp_path: Path) -> None:
    still = {"crops": False, "mirror": False, "colour": 0.0, "pictures_per_crop": 1}
    late, steady = {"conv1_frozen": None}, {"kind": "Steps"}
    plain = small.replace(net=LIVELY | {"dropout": 0.0}, sgd=FAST, views=still, schedule=steady, late=late, epochs=25)
    train(store, tmp_path / "run", plain, precision="fp32", quiet=True)
    last = [line for line in log.read(tmp_path / "run") if line["kind"] == "epoch"][-1]
    assert last["train_error"] == 0
    assert last["train_loss"] < 0.1


def test_the_run_records_its_recipe_whole(run: Path, small: Recipe) -> None:
    record = json.loads((run / "recipe.json").read_text())
    assert Recipe.of(record["recipe"]) == small
    assert record["digest"] == small.digest
