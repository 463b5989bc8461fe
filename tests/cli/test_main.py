"""The command line: what it prints, and what it says of bad input."""

import csv
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet.cli.main import app, main
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.runs import checkpoint
from alexnet.runs.run import Run

VERBS = [
    "bench",
    "course",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "features",
    "figures",
    "fit",
    "import",
    "plan",
    "predict",
    "prepare",
    "recipe",
    "report",
    "serve",
    "similar",
    "slides",
    "study",
    "summary",
    "train",
    "verify",
]

IDLE = {"course", "doctor", "plan", "prepare", "recipe", "summary", "verify"}
COMPUTING = {verb: verb not in IDLE for verb in VERBS}


def command(*words: str | Path) -> int:
    """Run a command line in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(w) for w in words])
    return int(ended.value.code or 0)


def refusal(capsys: pytest.CaptureFixture[str], status: int, *words: str | Path) -> str:
    """The one line on standard error of a command that must end with `status`."""
    capsys.readouterr()
    assert command(*words) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("alexnet: ")
    return said.err


def test_an_option_without_effect_is_refused(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gives too many pictures" in refusal(capsys, 2, "prepare", "builtin:" + "9" * 99, tmp_path / "store")
    assert "use 8 to 4096 pixels" in refusal(capsys, 2, "prepare", "builtin:40", tmp_path / "store", "--side", "5000")
    records, study = tmp_path / "records", ("study", "ten-views")
    records.mkdir()
    for option in ("--seeds=3", "--epochs=7", "--run=abc", "--missing", "--list", "--device=cpu", "--first-seed=4"):
        assert "reads records only" in refusal(capsys, 2, *study, "--judge", records, option)
    for option in ("--missing", "--run=abc", f"--records={records}"):
        assert "leave out --missing, --run" in refusal(capsys, 2, *study, "--list", option)
    assert "leave out --run" in refusal(capsys, 2, *study, store, tmp_path / "out", "--missing", "--run", "abc")
    assert "--only top5 is for the figures of a run" in refusal(
        capsys, 2, "figures", records, tmp_path / "drawn", "--only", "top5"
    )
    assert "--cache ram has no effect on bench lrn; it is for end-to-end" in refusal(
        capsys, 2, "bench", "lrn", "--cache", "ram"
    )
    (tmp_path / "net.safetensors").write_bytes(b"")
    line = refusal(capsys, 2, "export", tmp_path / "net.safetensors", tmp_path / "page", "--to", "page")
    assert "name a run's folder" in line


def test_help_is_quick_and_does_not_import_torch() -> None:
    """Quick by what it loads, whatever the machine: some 250 modules, where torch alone has over a thousand."""
    code = "import sys\nfrom alexnet.cli.main import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert not {"torch", "numpy", "PIL", "matplotlib"} & set(loaded)
    assert len(loaded) < 500


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(verb, "--help") == 0
    assert f"Example: alexnet {verb}" in capsys.readouterr().out


def test_the_verbs_are_those_that_are_documented() -> None:
    assert sorted(name for name in app if not name.startswith("-")) == VERBS


def test_summary_prints_the_papers_counts_and_the_slip(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("summary", "paper") == 0
    said = capsys.readouterr().out
    for words in ("60,965,224", "724,406,816", "290,400", "(224 + 2*0 + 3 - 11)/4 + 1 = 55", "253,440"):
        assert words in said
    assert command("summary", "one-gpu", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"]["weights"] == 59_798_312
    conv1 = {"name": "conv1", "working": "(224 + 2*0 + 3 - 11)/4 + 1 = 55", "maps": 48}
    counts = {"side": 55, "weights": 17_472, "units": 145_200, "multiply_adds": 52_707_600}
    assert found["layers"][0] == conv1 | counts


def test_plan_keeps_the_keys_that_its_json_had(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("plan", "paper", "--replicas", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = [*found["plans"], *found["stops"], *(stop["fastest"] for stop in found["stops"])]
    assert {row["way"] for row in rows} == {row["strategy"] for row in rows} == {"data", "towers", "hybrid"}


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipe_prints_every_field_with_its_section(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("recipe", name) == 0
    said = capsys.readouterr().out
    assert RECIPES[name].digest in said
    assert re.search(r"sgd\.momentum +0\.9 +5", said)


def test_a_printed_recipe_can_be_given_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command("recipe", "paper", "--set", "net.lrn.n=3", "--json") == 0
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    assert command("recipe", tmp_path / "mine.json", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["digest"] == RECIPES["paper"].replace(net={"lrn": {"n": 3}}).digest


def test_the_summary_of_prepare_says_what_is_cut_away_and_what_lies_in_two_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        for n, label in enumerate(("cat", "dog")):
            (tmp_path / "tall" / split / label).mkdir(parents=True)
            Image.new("RGB", (20, 40), (n, 0, len(split))).save(tmp_path / "tall" / split / label / "a.png")
    (tmp_path / "tall/val/dog/b.png").write_bytes((tmp_path / "tall/train/cat/a.png").read_bytes())
    assert command("prepare", tmp_path / "tall", tmp_path / "store", "--side", "8", "--jobs", "1") == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "cut away: median, 90 % of pictures 50.0 %, up to 50.0 %", "pictures that lose over a quarter 5",
        "identical pictures: groups across splits 1", "identical pictures: held out, with one in train 1",
        "identical pictures: groups with two labels 1", "--fit pad keeps whole pictures", "--duplicates near finds",
    ):  # fmt: skip
        assert words in out
    assert command("prepare", tmp_path / "tall", tmp_path / "padded", "--side", "8", "--jobs", "1", "--fit", "pad") == 0
    assert "cut away" not in capsys.readouterr().out


def test_prepare_train_evaluate_predict_end_to_end(
    pictures: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run, recipe = tmp_path / "a store", tmp_path / "rün", tmp_path / "small.json"
    recipe.write_text(json.dumps(small.plain()))
    assert command("prepare", pictures, store, "--side", "64", "--val-fraction", "0.3", "--jobs", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"]["train"] == 30
    assert command("verify", store) == 0
    assert (
        command("train", store, run, "--recipe", recipe, "--epochs", "1", "--seed", "3", "--set", "sgd.batch=16") == 0
    )
    said = capsys.readouterr()
    assert "10 views" in said.out
    assert "epoch 1: training error" in said.err
    assert command("evaluate", store, run, run, "--json", "--save", tmp_path / "p.npz", "--weights", "3", "1") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"images", "views", "top1", "top5", "nats", "runs"} <= found.keys()
    assert found["images"] == 12
    assert found["views"] == 10
    assert found["one_view"]["views"] == 1
    assert found["top1_interval"][0] <= found["top1"] <= found["top1_interval"][1]
    assert len(found["runs"]) == 2
    assert (tmp_path / "p.npz").exists()


def test_predict_gives_a_line_to_what_cannot_be_read_and_goes_on(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = pictures / "red" / "00.png"
    (tmp_path / "no picture.jpg").write_text("<html>")
    assert command("predict", run, tmp_path / "no picture.jpg", good, "--json", "--top", "2") == 1
    said = capsys.readouterr()
    first, second = json.loads(said.out)
    assert set(first) == {"image", "error"}
    assert second["image"] == str(good)
    assert [set(p) for p in second["predictions"]] == [{"class", "index", "probability"}] * 2
    assert said.err.count("\n") == 1
    assert "no picture.jpg" in said.err
    assert command("predict", run, good.parent, "--csv", "--views", "1") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 14 * 3
    assert command("predict", run, good, pictures / "blue" / "00.png", good, "--json") == 0
    first, second, third = json.loads(capsys.readouterr().out)
    assert first == third != second
    assert command("predict", run, good) == 0
    assert str(good) in capsys.readouterr().out.replace("\n", "")
    assert "no picture.jpg" in refusal(capsys, 1, "predict", run, tmp_path / "no picture.jpg")  # and no empty table


def test_predict_takes_standard_input_and_a_store_and_says_what_a_url_needs(
    run: Path, store: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = pictures / "red" / "00.png"
    words = [sys.executable, "-m", "alexnet", "predict", str(run), "-", "--json"]
    with good.open() as file:
        piped = subprocess.run(words, stdin=file, capture_output=True, text=True, check=True)
    assert command("predict", run, good, "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert json.loads(piped.stdout) == [answer | {"image": "-"}]
    assert command("predict", run, store, "--split", "val", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["label"] for row in rows} == {"red", "green", "blue"}
    assert command("predict", run, store) == 0
    assert "label" in capsys.readouterr().out
    line = refusal(capsys, 2, "predict", run, "https://example.org/a.jpg")
    assert "curl -L https://example.org/a.jpg | alexnet predict RUN -" in line


@pytest.mark.parametrize("verb", [*COMPUTING])
def test_every_command_that_computes_takes_a_number_of_threads(verb: str) -> None:
    bound = app[verb].assemble_argument_collection()
    assert ("--threads" in {name for argument in bound for name in argument.names}) == COMPUTING[verb]


def test_wrong_usage_is_one_line_and_status_2(
    store: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "trian" in refusal(capsys, 2, "trian")
    assert "--epoch" in refusal(capsys, 2, "train", store, tmp_path / "r", "--epoch", "3")
    assert "RUN" in refusal(capsys, 2, "train", store)
    assert "--views" in refusal(capsys, 2, "evaluate", store, run, "--views", "5")
    assert "abc" in refusal(capsys, 2, "train", store, tmp_path / "r", "--epochs", "abc")
    assert "--keep" in refusal(capsys, 2, "train", store, tmp_path / "r", "--keep", "-1")
    assert "--save-every" in refusal(capsys, 2, "train", store, tmp_path / "r", "--save-every", "inf")
    assert "--workers" in refusal(capsys, 2, "evaluate", store, run, "--workers", "0")
    many = refusal(capsys, 2, "evaluate", store, run, "--threads", "99999")
    assert re.search(r"--threads is 99999, but this process may use (\d+) cores; give 1 to \1$", many)
    assert "--threads" in refusal(capsys, 2, "predict", run, store, "--threads", "0")
    assert "--save" in refusal(capsys, 2, "evaluate", store, run, "--save", tmp_path / "none" / "p.npz")
    assert "exclude" in refusal(capsys, 2, "predict", run, store, "--json", "--csv")
    assert "--device tpu9" in refusal(capsys, 2, "train", store, tmp_path / "r", "--recipe", "tiny", "--device", "tpu9")


def test_an_unusable_recipe_is_one_line_with_the_nearest_right_name(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    line = refusal(capsys, 2, "train", store, run, "--set", "net.lnr.n=3")
    assert "no recipe field net.lnr; did you mean net.lrn?" in line
    assert "no recipe papre; did you mean paper?" in refusal(capsys, 2, "train", store, run, "--recipe", "papre")
    assert "net.lrn.n is 'x'" in refusal(capsys, 2, "train", store, run, "--set", "net.lrn.n=x")
    assert "views of 224 pixels" in refusal(capsys, 2, "train", store, run)
    assert "epochs is 0" in refusal(capsys, 2, "train", store, run, "--epochs", "0")
    (tmp_path / "cut.json").write_text('{"net": ')
    assert "cut.json cannot be read" in refusal(capsys, 2, "train", store, run, "--recipe", tmp_path / "cut.json")
    assert "net.channels" in refusal(capsys, 2, "recipe", "cifar-13", "--set", "net.channels=[-1,64]")
    assert "epochs" in refusal(capsys, 2, "train", store, run, "--set", "epochs=" + "9" * 5000)
    never = refusal(
        capsys, 2, "train", store, run, "--recipe", "tiny", "--epochs", "200", "--set", "schedule.milestones=[50,150]"
    )
    assert "schedule.milestones has epoch 150, but epochs count to 95, the value of schedule.of_epochs" in never
    for field in ("schedule.milestones=[-5]", "late.conv1_slow=-3", "sgd.layer_weight_decay.conv1=-5"):
        assert field.partition("=")[0].removesuffix(".conv1") in refusal(
            capsys, 2, "train", store, run, "--recipe", "tiny", "--set", field
        )
    layers = refusal(capsys, 2, "train", store, run, "--recipe", "tiny", "--freeze", "conv1,conf2")
    assert "sgd.layer_lr.conf2" in layers
    assert "layers of which run?" in refusal(
        capsys, 2, "train", store, run, "--recipe", "tiny", "--layers", "conv1,fc7"
    )
    assert not run.exists()
    line = refusal(capsys, 1, "train", store, run, "--recipe", "tiny", "--set", "net.hidden=1000000000000", "--json")
    assert "not enough memory" in line
    assert not run.exists()


def test_a_resumed_run_takes_changes_to_its_own_recipe(
    run: Path, store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    assert command("train", store, folder, "--resume", "--epochs", str(small.epochs), "--json") == 0
    line = refusal(capsys, 2, "train", store, folder, "--resume", "--epochs", "9")
    assert "begun with another recipe: epochs was 3, now 9" in line
    assert "resume it without --epochs, or continue from its weights in another folder" in line


def test_an_unusable_source_is_one_line(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    assert "nowhere" in refusal(capsys, 2, "prepare", tmp_path / "nowhere", store)
    (tmp_path / "empty" / "a").mkdir(parents=True)
    assert "'a' has no picture" in refusal(capsys, 2, "prepare", tmp_path / "empty", store)
    shutil.copytree(pictures / "red", tmp_path / "one" / "red")
    assert "one" in refusal(capsys, 2, "prepare", tmp_path / "one", store)
    (tmp_path / "bad").mkdir()
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir()
        (tmp_path / "bad" / name / "x.jpg").write_bytes(b"not a picture")
    refusal(capsys, 2, "prepare", tmp_path / "bad", store)
    assert not store.exists()
    assert "already exists" in refusal(capsys, 2, "prepare", pictures, tmp_path / "one")


def test_a_damaged_store_is_one_line(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = shutil.copytree(store, tmp_path / "cut")
    shard = next((cut / "train").glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert shard.name in refusal(capsys, 2, "train", cut, tmp_path / "run", "--recipe", "tiny")
    changed = shutil.copytree(store, tmp_path / "changed")
    shard = next((changed / "train").glob("*.bin"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    assert shard.name in refusal(capsys, 2, "verify", changed)
    assert "is not a store" in refusal(capsys, 2, "train", tmp_path / "none", tmp_path / "run")


def test_an_altered_picture_stops_training_before_it_is_used(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = shutil.copytree(store, tmp_path / "changed")
    shard = next((changed / "train").glob("*.bin"))
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data)
    (tmp_path / "small.json").write_text(json.dumps(small.plain()))
    line = refusal(
        capsys,
        2,
        "train",
        changed,
        tmp_path / "run",
        "--recipe",
        tmp_path / "small.json",
        "--json",
        "--precision",
        "fp32",
    )
    assert shard.name in line


def test_a_run_that_cannot_be_used_is_one_line(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "add --resume" in refusal(capsys, 2, "train", store, run, "--recipe", "tiny")
    assert "is not a run" in refusal(capsys, 2, "evaluate", store, tmp_path)
    damaged = shutil.copytree(run, tmp_path / "damaged")
    file = checkpoint.list_checkpoints(damaged)[-1] / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    line = refusal(capsys, 2, "evaluate", store, damaged)
    assert "weights.safetensors is damaged; delete" in line
    assert "is damaged" in refusal(capsys, 2, "train", store, damaged, "--resume")
    assert "does not exist" in refusal(capsys, 2, "predict", run, tmp_path / "none.jpg")


def test_a_full_disk_is_one_line_and_harms_nothing(store: Path, pictures: Path, small: Recipe, tmp_path: Path) -> None:
    """A file-size limit stands in for the disk: the write fails in the middle of a file, with an OSError."""

    def limited(size: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return subprocess.run(
            [sys.executable, "-m", "alexnet", *map(str, words)], preexec_fn=limit,
            capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    done = limited(100_000, "prepare", pictures, tmp_path / "store", "--side", "64", "--jobs", "1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "store").exists()
    again = limited(10**9, "prepare", pictures, tmp_path / "store", "--side", "64", "--jobs", "1")
    assert again.returncode == 0, again.stderr

    recipe = tmp_path / "small.json"
    recipe.write_text(json.dumps(small.plain()))
    words = ("train", store, tmp_path / "run", "--recipe", recipe, "--precision", "fp32", "--json", "--resume")
    done = limited(10_000, *words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert limited(10**9, *words).returncode == 0


def test_features_of_several_layers_are_saved_in_one_pass(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precise = ["--precision", "fp32"]
    capsys.readouterr()
    assert command("features", run, store, tmp_path / "one", "--layer", "Features.0", *precise, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shape"] == [12, 8, 27, 27]
    assert (found["out"], found["layer"], found["errors"]) == (str(tmp_path / "one"), "conv1", {})
    words = [
        ["--layers", "conv1,relu5,fc7"],
        ["--layers", "conv1", "relu5", "fc7"],
        ["--layers", "conv1, relu5,classifier.4"],
    ]
    for i, names in enumerate(words):
        assert command("features", run, store, tmp_path / f"{i}", *names, *precise, "--rdm", "cosine", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["layers"] == ["conv1", "relu5", "fc7"]
        assert found["shapes"]["fc7"] == [12, 16]
        assert all(Path(path).is_file() for path in found["files"])
        assert len(found["files"]) == 7
        assert (tmp_path / f"{i}.conv1.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
    assert command("features", run, store, tmp_path / "all", "--layers", "fc7", "--format", "h5", *precise) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'all.h5'}/fc7: 12 x 16 float32\n"
    assert command("features", run, store, tmp_path / "seven", *precise) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'seven.npy'}: 12 x 16 float32, names in {tmp_path / 'seven.json'}\n"


def test_features_that_cannot_be_saved_are_a_line(
    run: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("features", run, store, tmp_path / "out")
    assert "did you mean relu" in refusal(capsys, 2, *words, "--layers", "fc7,relu_5")
    assert "name relu6, or drop6" in refusal(capsys, 2, *words, "--layer", "classifier.3")
    assert "exclude each other" in refusal(capsys, 2, *words, "--layer", "fc7", "--layers", "fc6")
    assert "has an empty name" in refusal(capsys, 2, *words, "--layers", "fc7,,fc6")
    assert "--rdm" in refusal(capsys, 2, *words, "--rdm", "manhattan")
    assert "--format" in refusal(capsys, 2, *words, "--format", "csv")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'alexnet[hdf5]'" in refusal(capsys, 2, *words, "--format", "h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["cyclopts", "alexnet.cli.train", "rich.console"])
def test_ctrl_c_while_the_command_is_still_loaded_is_a_line(part: str) -> None:
    code = f"""
import sys
class Impatient:
    def find_spec(self, name, *_):
        if name == {part!r}: raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from alexnet.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "alexnet: interrupted\n")


def test_prepare_reads_a_table_from_its_root_and_holds_out_by_the_seed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.*") if path.is_file())
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in names))
    digests = set()
    for seed in ("0", "1"):
        words = ("prepare", table, tmp_path / seed, "--root", pictures, "--seed", seed, "--side", "8", "--jobs", "1")
        capsys.readouterr()
        assert command(*words, "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert said["kind"] == "table"
        assert sum(said["pictures"].values()) == len(names)
        digests.add(said["digest"])
    assert len(digests) == 2
    assert "row 2: the picture" in refusal(capsys, 2, "prepare", table, tmp_path / "2")


@pytest.fixture(scope="module")
def worse(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose last checkpoint has weights of 0, which give all classes the same probability; its best is whole."""
    folder = Path(shutil.copytree(run, tmp_path_factory.mktemp("worse") / "run"))
    opened = Run(folder)
    state = checkpoint.read_state(opened.checkpoints[-1], opened.identity)
    best = folder / "checkpoints" / opened.resolve("best")
    weights = checkpoint.read_tensors(best, checkpoint.FILES[0])
    kept = checkpoint.Best(weights, checkpoint.read_state(best, opened.identity))
    zeros = {name: torch.zeros_like(t) for name, t in weights.items()}
    checkpoint.save(folder, zeros, {}, replace(state, step=99), opened.identity, 1, kept)
    return folder


def test_every_command_that_uses_a_net_takes_the_last_checkpoint_or_the_one_asked_for(
    worse: Path, store: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = pictures / "red/00.png"
    for asked, alike in (([], True), (["--checkpoint", "best"], False)):
        given, name = [*asked, "--json"], "best" if asked else "last"
        capsys.readouterr()
        assert command("predict", worse, picture, *given) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert (len({p["probability"] for p in answer["predictions"]}) == 1) == alike
        assert command("similar", worse, store, picture, "--layer", "conv1", *given) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert ({n["distance"] for n in answer["neighbours"]} == {0.0}) == alike
        assert command("features", worse, picture, tmp_path / name, *given) == 0
        assert np.load(tmp_path / f"{name}.npy").any() != alike
        about = json.loads((tmp_path / f"{name}.json").read_text())
        assert about["checkpoint"] == Run(worse).resolve(asked[1] if asked else None)
        assert command("export", worse, tmp_path / f"{name}.safetensors", "--to", "safetensors", *given) == 0
        weights = alexnet.load(tmp_path / f"{name}.safetensors").state_dict()
        assert all(not t.any() for t in weights.values()) == alike
    asks: list[list[str | Path]] = [["predict", worse, picture], ["similar", worse, store, picture]]
    asks.append(["features", worse, picture, tmp_path / "no"])
    for words in asks:
        said = refusal(capsys, 2, *words, "--checkpoint", "7")
        assert re.search(r"--checkpoint 7: run .* has last, best, 00000099$", said)


def test_class_weights_on_the_command_line_are_the_recipes_field(
    store: Path, small: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "small.json"
    recipe.write_text(json.dumps(small.replace(epochs=1).plain()))
    given: list[str | Path] = ["--recipe", recipe, "--precision", "fp32", "--json"]
    assert command("train", store, tmp_path / "run", *given, "--class-weights", "balanced") == 0
    assert Run(tmp_path / "run").recipe == small.replace(epochs=1, sgd={"class_weights": "balanced"})
    said = refusal(capsys, 2, "train", store, tmp_path / "run", "--resume", *given[:2], "--class-weights", "none")
    assert 'sgd.class_weights was "balanced", now "none"; resume it without --class-weights' in said
    assert command("train", store, tmp_path / "run", "--resume", "--json") == 0
