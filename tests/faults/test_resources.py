"""Few cores, files, bytes of memory and of shared memory; other numbers of threads."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.faults.several import several

from alexnet.config.recipe import Recipe
from alexnet.data.prepare import plan
from alexnet.data.prepare.prepare import prepare
from alexnet.inference.evaluate import evaluate
from alexnet.runs import checkpoint
from alexnet.training.train import train

WORK = [["train", "store", "new", "--recipe", "small.json", "--precision", "fp32"], ["evaluate", "store", "new"]]
WORK += [["predict", "new", "picture.png"]]


@pytest.fixture
def place(store: Path, pictures: Path, small: Recipe, tmp_path: Path) -> Path:
    """A folder with what WORK needs."""
    shutil.copytree(store, tmp_path / "store")
    shutil.copy(pictures / "red" / "00.png", tmp_path / "picture.png")
    (tmp_path / "small.json").write_text(json.dumps(small.plain()))
    return tmp_path


def weights(run: Path) -> bytes:
    return (checkpoint.list_checkpoints(run)[-1] / checkpoint.FILES[0]).read_bytes()


def test_one_core_is_enough_and_changes_no_bit(place: Path, run: Path, count: Callable[..., None]) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cores cannot be chosen here")
    first = min(os.sched_getaffinity(0))
    done = several(WORK, place, preexec_fn=lambda: os.sched_setaffinity(0, {first}))
    assert [code for code, *_ in done] == [0, 0, 0], done
    assert weights(place / "new") == weights(run)
    count("one core", injected=3, survived=3, figure="same bytes")


def test_64_open_files_serve_a_store_of_more_shards(
    place: Path, run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, count: Callable[..., None]
) -> None:
    monkeypatch.setattr(plan, "SHARD_BYTES", 1)
    shutil.rmtree(place / "store")
    many = place / "pictures"
    for colour in ("red", "green", "blue"):
        for copy in "abc":
            for path in (pictures / colour).iterdir():
                (many / colour).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, many / colour / f"{copy}{path.name}")
    prepare(many, place / "store", side=64, val_fraction=0.29, jobs=1)
    shards = len(list((place / "store" / "train").glob("*.bin")))
    assert shards > 64
    work: list[Iterable[object]] = [
        [*WORK[0]],
        ["evaluate", "store", run, "--no-keep"],
        ["predict", run, "picture.png"],
    ]
    done = several(work, place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
    for words, (code, _, err) in zip(work, done, strict=True):
        assert code in (0, 1), (words, err)
        assert code == 0 or err.splitlines()[-1].endswith("Too many open files"), (words, err)
        assert "Traceback" not in err
    assert done[2][0] == 0
    worked = sum(code == 0 for code, *_ in done)
    count("64 open files", injected=3, survived=3, figure=f"{shards} shards; {worked} of 3 work, others are a line")


def test_2_gb_of_memory_are_enough_for_a_small_net_and_a_line_for_a_large_one(
    place: Path, count: Callable[..., None]
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))

    large = ["train", "store", "large", "--recipe", "small.json", "--set", "net.hidden=40000"]
    done = several([*WORK, large], place, preexec_fn=limit)
    assert [code for code, *_ in done] == [0, 0, 0, 1], done
    for _, _, err in done[3:]:
        assert "Traceback" not in err
        assert "not enough memory" in err.splitlines()[-1]
    count("2 GB of memory", injected=4, survived=4, figure="3 work, a net of 6 GB does not fit: a line")


def test_4_mb_of_shared_memory_are_enough(place: Path, run: Path, count: Callable[..., None]) -> None:
    script = 'mount -t tmpfs -o size=4m none /dev/shm && exec "$@"'
    unshare = ["unshare", "-m", "bash", "-c", script, "bash"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    commands = [*WORK, ["prepare", "more", "other", "--side", "64", "--jobs", "2"]]
    for colour in ("a", "b"):
        (place / "more" / colour).mkdir(parents=True)
        for i in range(8):
            shutil.copy(place / "picture.png", place / "more" / colour / f"{i}.png")
    for words in commands:
        done = subprocess.run(
            [*unshare, sys.executable, "-m", "alexnet", *words],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, (words, done.stderr)
    assert weights(place / "new") == weights(run)
    count("/dev/shm of 4 MB", injected=len(commands), survived=len(commands), figure="same bytes")


def test_a_small_stack_is_enough(place: Path, run: Path, count: Callable[..., None]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))

    done = several(WORK, place, preexec_fn=limit)
    assert [code for code, *_ in done] == [0, 0, 0], done
    assert weights(place / "new") == weights(run)
    count("a stack of 1 MB", injected=3, survived=3, figure="same bytes")


def test_other_threads_leave_other_roundings_and_no_other_net(
    run: Path, store: Path, small: Recipe, tmp_path: Path, count: Callable[..., None]
) -> None:
    """The same number of threads leaves the same bytes (test_laws.py); another number adds in another order."""
    try:
        torch.set_num_threads(2)
        for name in ("two", "again"):
            train(store, tmp_path / name, small, precision="fp32", quiet=True)
    finally:
        torch.set_num_threads(1)
    assert weights(tmp_path / "two") == weights(tmp_path / "again")
    one, two = (safetensors.torch.load(weights(folder)) for folder in (run, tmp_path / "two"))
    apart = max(float((one[n] - two[n]).abs().max() / one[n].abs().max()) for n in one)
    assert apart < 5e-5  # TOLERANCE of test_laws.py for float32: sums in another order, over twelve steps
    first, second = (evaluate(store, folder, precision="fp32").probabilities for folder in (run, tmp_path / "two"))
    told = float(abs(first - second).max())
    assert told < 1e-5  # logits near 0, of weights so far apart; two softmaxes of three classes
    figure = (
        f"2 threads twice: same bytes; against 1: {apart:.0e} of a layer's largest weight, {told:.0e} of a probability"
    )
    count("another number of threads", injected=2, survived=2, figure=figure)
