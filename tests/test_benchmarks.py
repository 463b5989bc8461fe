"""The comparisons in benchmarks/ run, name what they compare, and report missing peers; some may be missing here."""

import base64
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.ranks import Ranks, worked

from alexnet.bench import timing
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import RECIPES
from alexnet.core.device import choose_compute
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.recognise import read_source
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.runs.run import Run
from alexnet.training import finetune

FOLDER = Path(__file__).parents[1] / "benchmarks"
PEERS = ["onnx", "onnxruntime", "openvino", "torchvision"]
KEYS = ["what", "ours", "peer", "peer_name", "ratio", "bound", "fraction_of_bound", "unit", "machine"]
SMALL = {"channels": (8, 8, 8, 8, 8), "hidden": 16, "classes": 5}
NARROW = {"channels": (8, 8, 8, 8, 8), "hidden": 16}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a script as a module, with narrow nets."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    for name in ("source", "paper"):
        monkeypatch.setitem(RECIPES, name, RECIPES[name].replace(net=SMALL))

    def loaded(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all outside peers."""
    for name in PEERS:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("alone")
def test_without_torchvision_a_short_copy_of_its_dataset_is_measured(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["loader", "--json", "--rounds", "1", "--batch", "2", "--threads", "1"])
    monkeypatch.setattr(timing, "READING", 0.0)
    assert load("loader").main() == 0
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    assert all(list(line)[: len(KEYS)] == KEYS and line["ours"] > 0 for line in lines)
    assert all("kept pages" in line["peer_name"] or "default malloc" in line["peer_name"] for line in lines)
    assert "a short copy of its dataset is measured instead" in err
    assert len(err.splitlines()) == 1
    assert "requirements.txt" in err


def test_the_folder_in_torchvisions_place_has_the_pictures_of_the_store(
    load: Callable[[str], Any], tmp_path: Path
) -> None:
    loader = load("loader")
    loader.folders(loader.Job(2, 1, None), tmp_path / "pictures", 5)
    prepare(tmp_path / "pictures", tmp_path / "store", format="jpeg", jobs=1)
    split = Store(tmp_path / "store")["train"]
    folder = loader.Folder(tmp_path / "pictures" / "train")
    assert len(folder) == len(split) == 5
    assert [label for _, label in folder.files] == split.labels.tolist()
    view, label = folder[4]
    assert (view.shape, view.dtype, label) == ((3, 224, 224), torch.float32, 1)
    assert -3 < view.min() < view.max() < 3


def ways(mesh: Mesh, recipe: Recipe) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("ways", FOLDER / "ways.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows: list[dict[str, Any]] = module.measured(recipe, choose_compute("cpu", "fp32"), mesh, 1)
    return rows


def test_ways_counts_the_bytes_of_the_formula_and_the_kernel_no_fewer(ranks: Ranks, small: Recipe) -> None:
    """Other processes of the machine may send at the same time, and each message has a header."""
    rows = ranks(2, worked, ways, small)[0]
    assert [row["way"] for row in rows] == ["data", "towers", "hybrid"]
    for row in rows:
        assert row["sent"] == row["formula"] > 0
        assert row["kernel"] is None or row["kernel"] >= row["sent"]
        assert row["seconds"] > 0
        assert row["ratio"] == row["seconds"] / row["predicted"]


KNOWN = {"machine": {"device": "cpu"}, "versions": {}, "commit": "0" * 40}


def printing(*values: dict[str, Any]) -> list[str]:
    return [sys.executable, "-c", f"print({chr(10).join(map(json.dumps, values))!r})"]


def test_a_part_that_fails_is_written_down_and_the_others_run(load: Callable[[str], Any], tmp_path: Path) -> None:
    """One command is too slow, one fails and one is missing; figures printed before still count."""
    stages, file, one = load("stages"), tmp_path / "figures.json", {"name": "a", "value": 1.5, "unit": "ms"}
    ticks = tmp_path / "ticks"
    slow = ["sh", "-c", f"(while sleep 0.1; do echo >> {ticks}; done) & wait"]
    parts = [
        stages.Part("slow", 3, [printing(one), slow, printing(one)]),
        stages.Part("wrong", 60, [["sh", "-c", "echo no such layer; exit 3"]]),
        stages.Part("missing", 60, [["/nonexistent/python"]]),
        stages.Part("without", 60, [["false"]], without="name a folder"),
        stages.Part("well", 60, [printing(one, {"other": 1})]),
    ]
    assert not stages.staged(2, parts, KNOWN, file)
    stage = json.loads(file.read_text())["stages"]["2"]
    assert {name: stage[name] for name in KNOWN} == KNOWN
    told = {name: (part["status"], part.get("why"), part["figures"]) for name, part in stage["parts"].items()}
    assert told["slow"] == ("failed", "not finished within 3 s", [one])
    assert told["wrong"] == ("failed", "exit status 3: no such layer", [])
    assert told["missing"][0] == "failed"
    assert "No such file" in told["missing"][1]
    assert told["without"] == ("skipped", "name a folder", [])
    assert told["well"] == ("ok", None, [one])
    before = ticks.stat().st_size
    time.sleep(1)
    assert ticks.stat().st_size == before > 0


def test_a_stage_ends_in_its_time_whatever_its_parts_ask_for(load: Callable[[str], Any], tmp_path: Path) -> None:
    stages, file = load("stages"), tmp_path / "figures.json"
    parts = [stages.Part(name, 1000, [["sleep", "1000"]]) for name in ("long", "late")]
    begun = time.monotonic()
    assert not stages.staged(3, parts, KNOWN, file, seconds=3)
    assert time.monotonic() - begun < 3 + 2 * stages.GRACE
    whys = [part["why"] for part in json.loads(file.read_text())["stages"]["3"]["parts"].values()]
    assert whys == ["not finished within 3 s", "the stage had no time left"]
    assert stages.MACHINE_SECONDS + stages.STAGE_SECONDS + 4 * stages.GRACE <= 9 * 60


def test_a_part_that_went_well_at_this_commit_is_not_run_again(load: Callable[[str], Any], tmp_path: Path) -> None:
    stages, file, count = load("stages"), tmp_path / "figures.json", tmp_path / "count"
    parts = [
        stages.Part("well", 60, [["sh", "-c", f"echo >> {count}"]]),
        stages.Part("red", 60, [["sh", "-c", f"echo >> {count}; exit 1"]]),
    ]
    dirty, other = KNOWN | {"commit": "1-dirty"}, KNOWN | {"machine": {"device": "another"}}
    for of, runs in ((KNOWN, 2), (KNOWN, 3), (other, 5), (dirty, 7), (dirty, 9)):
        stages.staged(2, parts, of, file)
        assert count.read_text().count("\n") == runs
    stages.staged(3, parts, KNOWN, file)
    assert set(json.loads(file.read_text())["stages"]) == {"2", "3"}


def test_a_store_that_is_there_is_not_prepared_again(load: Callable[[str], Any], pictures: Path, store: Path) -> None:
    stages = load("stages")
    job = stages.Job("cpu", store.parent, pictures, None)
    assert stages.prepared(job, "prepare", pictures, store).commands == []
    assert stages.prepared(job, "prepare", pictures, store.parent / "another").commands


def test_where_it_is_not_right_nothing_is_measured(
    load: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = load("stages")
    for number, status in ((1, 1), (2, 0)):
        part = stages.Part("part", 60, [["sh", "-c", f"exit {status}"]])
        monkeypatch.setitem(stages.STAGES, number, lambda _, part=part: [part])
    monkeypatch.setattr(sys, "argv", ["stages", "1", "2", "--device", "cpu", "--out", str(tmp_path)])
    assert stages.main() == 1
    assert (
        capsys.readouterr().err
        == "stage 1 failed: the package does not work correctly here, so nothing else is measured\n"
    )
    assert set(json.loads((tmp_path / "figures.json").read_text())["stages"]) == {"1"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["5"], "there is no stage 5; choose from 1, 2, 3, 4"),
        (["--pictures", "absent"], "absent is not a folder"),
        (["--out", "file"], "--out file: Not a directory"),
        (["--out", "bad"], "was not written by these stages; move it away"),
    ],
)
def test_unusable_input_costs_a_line_and_status_2(
    load: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    says: str,
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/figures.json").write_text("{]")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stages", *given])
    with pytest.raises(SystemExit) as stop:
        load("stages").main()
    assert stop.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_lines_of_bench_and_the_counts_of_pytest_are_figures(load: Callable[[str], Any]) -> None:
    line = timing.Line("norm", 1.5, 3.0, "a peer", 2.0, None, None, "ms", "this machine").plain()
    printed = f"{line}\nword\n===== 1 failed, 12 passed, 3 skipped in 4.56s =====\n[1]\n"
    first, *counts = load("stages").figures(printed)
    assert (first["name"], first["value"], first["unit"], first["peer_name"]) == ("norm", 1.5, "ms", "a peer")
    found = {figure["name"]: figure["value"] for figure in counts}
    assert found == {"tests failed": 1, "tests passed": 12, "tests skipped": 3}


@pytest.mark.skipif(sys.platform != "linux", reason="the stages are for Linux")
def test_the_stages_run_on_a_cpu_on_next_to_nothing(pictures: Path, tmp_path: Path, torture: bool) -> None:
    """Run the script without an installed package; figures have the same form on a GPU.

    `make torture` runs all parts, `make test` those that take seconds.
    """
    command = [FOLDER / "gpu.sh", "--out", tmp_path / "out", "--pictures", pictures]
    command += [] if torture else ["--only", "place|ceilings|prepare|feeding"]
    environment = os.environ | {"DEVICE": "cpu", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), cwd=FOLDER.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = json.loads((tmp_path / "out/figures.json").read_text())["stages"]
    assert list(stages) == ["1", "2", "3", "4"]
    for stage in stages.values():
        assert stage["machine"]["device"] == "cpu"
        assert stage["versions"]["torch"] == torch.__version__
        assert stage["commit"]
        for part in stage["parts"].values():
            assert part["status"] == "ok" or part["why"], part
            assert all(isinstance(f["value"], int | float) and f["name"] and f["unit"] for f in part["figures"])
    status = {f"{n} {name}": part["status"] for n, stage in stages.items() for name, part in stage["parts"].items()}
    if not torture:
        assert {"1 place", "3 prepare"} <= {name for name, word in status.items() if word == "ok"}, status
        return
    shown = {name for name, part in stages["2"]["parts"].items() if part["figures"]}
    assert shown == {"ceilings 1", "step cifar-18 1"}
    assert {name for name, word in status.items() if word == "ok"} >= {"1 place", "3 prepare", "3 precision fp32 0"}
    third = {name: part["figures"] for name, part in stages["3"]["parts"].items()}
    assert {"data_wait", "top1"} <= {figure["name"].split()[-1] for figure in third["precision fp32 0"]}
    assert third["precisions"][0]["name"] == "fp32, top1 of ten views"
    (fed,) = third["feeding cifar-18"]
    assert fed["name"].startswith("end to end, cifar-18, batch 128, ")
    assert 0 <= fed["data_wait"] <= 1


def test_errors_of_several_seeds_have_students_interval(load: Callable[[str], Any]) -> None:
    """Three runs: 4.303 standard errors to either side of the mean."""
    low, high = load("probe").interval([0.30, 0.31, 0.32])
    assert (low, high) == pytest.approx((0.31 - 4.3027 * 0.01 / 3**0.5, 0.31 + 4.3027 * 0.01 / 3**0.5), abs=1e-5)


def test_a_reading_is_as_many_calls_as_its_time_asks_for(load: Callable[[str], Any]) -> None:
    within = load("probe").within
    assert within(0.002, 0.3, 5, 200) == 150
    assert within(0.5, 0.3, 5, 200) == 5
    assert within(0.0, 0.3, 5, 200) == 200


def test_plugins_that_are_not_ours_stay_out_of_the_tests(load: Callable[[str], Any]) -> None:
    """pytest-benchmark warns beside pytest-xdist, and here a warning is an error."""
    command = [*load("stages").TESTS, "--co", "-n", "2", str(FOLDER.parent / "tests/test_paper.py")]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "-pno:benchmark" in command


def test_fine_tuning_is_compared_on_draws_of_their_own_and_nothing_is_trained_twice(
    load: Callable[[str], Any],
    pictures: Path,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = load("finetune")
    monkeypatch.setattr(finetune, "FEWEST", 1)
    monkeypatch.setattr(finetune, "MOST", 1)
    monkeypatch.setattr(script, "scratch", lambda first, pictures: first.replace(epochs=2))
    for folder in (path for path in pictures.iterdir() if path.is_dir()):
        for part in ("train", "val"):
            (tmp_path / "pictures" / part).mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, tmp_path / "pictures" / part / folder.name)
    kept = tmp_path / "kept/runs.json"
    words = [str(tmp_path / "pictures"), str(run), str(tmp_path / "out"), "--each", "3", "--keep", str(kept)]
    assert script.main([*words, "--seeds", "0", "1"]) == 0
    plain = json.loads(kept.read_text())
    assert [(r["arm"], r["each"], r["seed"]) for r in plain["runs"]] == [
        (arm, 3, seed) for arm in ("from", "scratch") for seed in (0, 1)
    ]
    assert [(r["changed"]["epochs"], r["pictures"]) for r in plain["runs"]] == [("1", 42)] * 2 + [("2", 42)] * 2
    for r in plain["runs"]:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(r["right"]), np.uint8), count=42)
        assert 1 - bits.mean() == pytest.approx(r["top1"])
    stores = [r["store"] for r in plain["runs"]]
    assert stores[:2] == stores[2:]  # both arms have the same pictures
    assert len(set(stores)) == 2
    capsys.readouterr()
    assert script.main([*words, "--seeds", "0", "1"]) == 0
    assert capsys.readouterr().out == ""
    assert script.main([*words[:3], "--each", "15"]) == 2
    assert "has 14 pictures; --each 15 needs as many" in capsys.readouterr().err


def test_class_weights_are_compared_on_unequal_draws_and_nothing_is_trained_twice(
    load: Callable[[str], Any],
    pictures: Path,
    tmp_path: Path,
    small: Recipe,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = load("class_weights")
    for folder in (path for path in pictures.iterdir() if path.is_dir()):
        for part in ("train", "val"):
            (tmp_path / "pictures" / part).mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, tmp_path / "pictures" / part / folder.name)
    recipe, kept = tmp_path / "small.json", tmp_path / "kept/runs.json"
    recipe.write_text(json.dumps(small.plain()))
    words = [str(tmp_path / "pictures"), str(tmp_path / "out"), "--counts", "8", "3", "1", "--recipe", str(recipe)]
    assert script.main([*words, "--epochs", "1", "--seeds", "0", "1", "--keep", str(kept)]) == 0
    said = capsys.readouterr().out
    plain = json.loads(kept.read_text())
    assert [(r["arm"], r["seed"], r["counts"]) for r in plain["runs"]] == [
        ("balanced", 0, [8, 3, 1]), ("balanced", 1, [3, 1, 8]), ("none", 0, [8, 3, 1]), ("none", 1, [3, 1, 8]),
    ]  # fmt: skip
    assert [r["labels"] for r in plain["runs"]] == [[14, 14, 14]] * 4
    assert "|of the classes with 8 pictures|" in said
    store = Store(tmp_path / "out" / "store-0")
    assert (store.side, len(store["train"])) == (64, 12)
    assert script.main([*words, "--epochs", "1", "--seeds", "0", "1"]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert script.main([*words[:3], "15"]) == 2
    assert "has 14 pictures; --counts 15 needs as many" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["Parquet", "WebDataset shards", "CSV table", "class folders"])
def test_each_form_that_sources_packs_is_read_as_the_same_pictures(
    kind: str, load: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = load("sources")
    monkeypatch.setattr(sources, "SHARD", 8)
    monkeypatch.setattr(sources, "DRAWN", 20)
    assert kind in sources.KINDS
    pictures = sources.drawings(8)
    found = read_source(sources.KINDS[kind](pictures, 20, tmp_path / "source"), tmp_path / "work")
    labels = {int(re.sub(r"\D", "", p.name.rpartition("/")[2])): p.label for p in found.splits["train"]}
    if kind == "Parquet":  # numbered within each file
        labels = dict(enumerate(p.label for p in sorted(found.splits["train"], key=lambda p: p.name)))
    assert labels == {n: n % 10 for n in range(20)}
    assert found.open(found.splits["train"][0].place)[0].mode == "RGB"


@pytest.fixture
def folders(load: Callable[[str], Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script of small folders on one set of three classes, with a narrow net and cells of a second."""
    script, data, cells = load("small_folders"), load("small_folders_data"), load("small_folders_cells")
    for folder in (path for path in pictures.iterdir() if path.is_dir()):
        for part in ("train", "val"):
            (tmp_path / "imagenette" / part).mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, tmp_path / "imagenette" / part / folder.name)
    monkeypatch.setitem(RECIPES, "today-64", RECIPES["today-64"].replace(net=NARROW, sgd={"batch": 8}))
    monkeypatch.setitem(RECIPES, "tiny", RECIPES["tiny"].replace(net=NARROW))
    monkeypatch.setattr(script, "READING", 0.02)
    monkeypatch.setattr(script, "START", (100, 1))  # of 50 classes
    script.data, script.cells = data, cells
    return script


def test_small_folders_are_compared_at_equal_time_and_nothing_is_trained_twice(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [folders.Cell("imagenette", 8, True, 0.01, arm, seed) for seed in (0, 1) for arm in ("today", "peer")]
    monkeypatch.setattr(folders, "grid", lambda seeds: [cell for cell in cells if cell.seed in seeds])
    kept = tmp_path / "kept/runs.jsonl"
    words = [str(tmp_path), str(tmp_path / "out"), "--factor", "0.5"]
    assert folders.main([*words, "--seeds", "0", "--keep", str(kept)]) == 0
    assert folders.main([*words, "--missing"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-2:] == ["imagenette-8-unequal-today-0.01min-1", "imagenette-8-unequal-peer-0.01min-1"]
    assert err == "2 of 4 cells, 0.0 hours\n"
    first = {one["arm"]: one for one in map(json.loads, kept.read_text().splitlines())}
    assert folders.main([*words, "--keep", str(kept)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    runs = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(r["arm"], r["seed"]) for r in runs] == [(arm, seed) for arm in ("peer", "today") for seed in (0, 1)]
    for r in runs:
        assert (r["each"], r["train"]) == [(5, 15), (3, 10)][r["seed"]]  # 8, 4 and 3 pictures; 4, 3 and 3
        assert (r["held_out"], r["side"], r["threads"]) == (42, 64, 1)
        bits = np.unpackbits(np.frombuffer(base64.b64decode(r["right"]), np.uint8), count=42)
        assert 1 - bits.mean() == pytest.approx(r["top1"])
        if r["seed"]:  # as many epochs or steps as the first seed's rate promises
            before = first[r["arm"]]
            assert r["amount"] == max(1, round(60 * 0.01 * before["amount"] / before["seconds"]))
    assert len({(r["seed"], r["store"]) for r in runs}) == 2  # both arms have the same pictures
    assert runs[0]["lr"] == folders.peer.LR / 2
    lr = RECIPES["today-64"].sgd.lr
    assert runs[2]["changed"] == {"sgd.lr": lr / 2, "sgd.bias_lr": lr}


def test_a_fine_tuned_run_of_small_folders_starts_from_a_run_on_another_set_that_is_trained_once(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other set is the same here, of three classes: 2 pictures of each."""
    shutil.copytree(tmp_path / "imagenette", tmp_path / "tiny-imagenet-50")
    work = folders.Work(tmp_path, tmp_path / "out")
    found = work.result(folders.Cell("imagenette", 3, False, 0.01, "tuned", 0))
    assert (found["recipe"], found["lr_factor"], found["changed"], found["train"]) == ("tiny", 1.0, {}, 9)
    log = (tmp_path / "out/starts/tiny-imagenet/log.jsonl").read_bytes()
    assert Run(tmp_path / "out/starts/tiny-imagenet").environment["images"]["train"] == 6
    monkeypatch.setattr(folders, "train", None)  # nothing is left to train
    assert Run(work.start(folders.Cell("cifar10", 3, False, 0.01, "tuned", 0))).log
    assert (tmp_path / "out/starts/tiny-imagenet/log.jsonl").read_bytes() == log


def test_the_rates_of_small_folders_are_the_best_of_a_draw_that_no_cell_is_judged_on(
    folders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work, (cell, *_) = folders.Work(tmp_path, tmp_path / "out"), folders.grid([0])
    assert folders.main([str(tmp_path), str(tmp_path / "out"), "--only", "equal-peer-1min-3", "--missing"]) == 0
    missing = capsys.readouterr().out.splitlines()
    assert missing[:2] == ["imagenette-200-equal-peer-3min-1000-lr0.5", "imagenette-200-equal-peer-3min-1000-lr1"]
    assert missing[9] == "imagenette-200-equal-peer-1min-3"
    with pytest.raises(folders.InputError, match=r"needs imagenette-200-equal-today-3min-1000-lr0\.5 first"):
        work.factor_of(cell)
    (tmp_path / "out/records").mkdir(parents=True)
    # A recipe keeps its own rate unless another is better by more than half a point.
    for errors, chosen in (((0.4, 0.2, 0.3), 1.0), ((0.4, 0.304, 0.3), 1.0), ((0.4, 0.306, 0.3), 2.0)):
        for one in folders.tuning("today"):
            error = dict(zip((0.5, 1.0, 2.0), errors, strict=True))[one.factor] + (one.set == "cifar10") / 10
            work.file(one).write_text(
                json.dumps({"top1": error, "of": RECIPES["today" if one.side == 32 else "today-64"].digest})
            )
        assert work.factor_of(cell) == chosen
    monkeypatch.setitem(RECIPES, "today", RECIPES["today"].replace(epochs=7))
    with pytest.raises(folders.InputError, match="needs cifar10-200-equal-today"):
        work.factor_of(cell)
    train, held = folders.data.drawn(tmp_path, "imagenette", 8, False, 1000)
    everything, judged = folders.data.pictures_of(tmp_path, "imagenette")
    for name, pictures in everything.items():
        assert sorted(train[name] + held[name]) == pictures
        assert not set(held[name]) & set(judged[name])
    with pytest.raises(folders.InputError, match="has 14 pictures; 14 were asked for"):
        folders.data.drawn(tmp_path, "imagenette", 14, False, 1000)


def test_unequal_counts_turn_with_the_seed_and_cifars_bytes_are_its_pictures(folders: Any, tmp_path: Path) -> None:
    names = list("abcdef")
    assert list(folders.data.counts_of(names, 50, True, 0).values()) == [50, 25, 12, 6, 3, 50]
    assert list(folders.data.counts_of(names, 50, True, 1).values()) == [25, 12, 6, 3, 50, 25]
    assert set(folders.data.counts_of(names, 50, False, 1).values()) == {50}
    noise = np.random.Generator(np.random.Philox(3))
    pixels = noise.integers(0, 256, (4, 32, 32, 3), np.uint8)
    rows = [
        bytes([label]) + picture.transpose(2, 0, 1).tobytes()
        for label, picture in zip((7, 0, 7, 9), pixels, strict=True)
    ]
    (tmp_path / "batch.bin").write_bytes(b"".join(rows))
    found = folders.data.cifar([tmp_path / "batch.bin"])
    assert [len(found[name]) for name in ("class 0", "class 7", "class 9", "class 1")] == [1, 2, 1, 0]
    np.testing.assert_array_equal(found["class 7"][1], pixels[2])


def test_the_queue_of_small_folders_begins_with_the_comparison_at_equal_time(folders: Any) -> None:
    grid = folders.grid(range(5))
    causes = [c for c in grid if c.arm in folders.cells.CAUSES]
    assert grid[30:45] == causes
    grid = [c for c in grid if c not in causes]
    assert len(set(grid)) == len(grid) == 5 * 3 * 2 * sum(3 * len(folders.cells.arms(name)) for name in folders.SETS)
    front = [(c.set, c.arm, c.seed) for c in grid[:30] if (c.most, c.unequal, c.minutes) == (200, False, 3.0)]
    assert front == [(s, arm, seed) for seed in range(5) for s in folders.SETS for arm in ("today", "peer")]
    assert {c.minutes for c in grid[30:250]} == {1.0}
    late = {(c.set, c.arm) for c in grid if c.enlarged}
    assert late == {("cifar10", "tiny"), ("cifar10", "demo"), ("tiny-imagenet", "demo")}
    assert [c.enlarged for c in grid] == sorted(c.enlarged for c in grid)


def test_the_peer_learns_colours_and_gives_probabilities(load: Callable[[str], Any], store: Path) -> None:
    peer, script = load("small_folders_peer"), load("small_folders")
    images, labels = script.tensors(Store(store), "train")
    torch.manual_seed(0)
    net = peer.network(3, 64, 4)
    peer.train(net, images, labels, 40, 0.01, 0)
    ten, one = peer.probabilities(net, images), peer.probabilities(net, images, 1)
    torch.testing.assert_close(ten.sum(1), torch.ones(len(images)))
    assert (one.argmax(1) == labels).float().mean() > 0.9
    flat = torch.full((1, 3, 64, 64), 90, dtype=torch.uint8)  # no view of it differs from another
    torch.testing.assert_close(peer.probabilities(net, flat), peer.probabilities(net, flat, 1))


def test_nets_that_lack_a_part_of_the_peer_have_the_others(load: Callable[[str], Any]) -> None:
    """Seven convolutions on the way through the net, two beside it; the initial weights follow from torch's seed."""
    nets = load("small_folders_peer").NETS
    assert set(nets) == {"peer", *load("small_folders_cells").CAUSES}
    kinds = {name: [type(part).__name__ for part in build(10, 32).modules()] for name, build in nets.items()}
    counted = {name: (found.count("Conv2d"), found.count("BatchNorm2d")) for name, found in kinds.items()}
    assert counted == {"peer": (9, 9), "peer-unnormed": (9, 0), "peer-straight": (7, 7), "peer-layers": (5, 0)}
    for build in nets.values():
        weights = []
        for _ in range(2):
            torch.manual_seed(3)
            weights.append(torch.cat([p.flatten() for p in build(10, 64).parameters()]))
        assert torch.equal(*weights)
        assert build(10, 64)(torch.rand(2, 3, 64, 64)).shape == (2, 10)


@pytest.mark.torture
def test_fits_are_timed_from_outside_and_not_made_again(
    load: Callable[[str], Any], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole fit of half a minute, from the first measurement to the report."""
    script = load("fit_times")
    for folder in (path for path in pictures.iterdir() if path.is_dir()):
        for part in ("train", "val"):
            (tmp_path / "imagenette" / part).mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, tmp_path / "imagenette" / part / folder.name)
    kept = tmp_path / "kept/fits.json"
    words = [str(tmp_path), str(tmp_path / "out"), "--sets", "imagenette", "--each", "8", "--minutes", "0.5"]
    assert script.main([*words, "--keep", str(kept)]) == 0
    (found,) = json.loads(kept.read_text())["fits"]
    assert (found["train"], found["images"], found["asked"], found["threads"]) == (24, 42, 0.5, 1)
    assert found["took"] <= found["wall"]
    assert found["epochs"] >= 1
    assert 0 <= found["top1"] <= 1
    capsys.readouterr()
    assert script.main(words) == 0
    assert capsys.readouterr().out == ""
