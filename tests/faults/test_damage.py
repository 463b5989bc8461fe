"""Runs and checkpoints with a turned bit, cut short, swapped, or of a newer version."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults.lives import Lives
from tests.trained import Whole, alike, put, resign, training

from alexnet.core.errors import InputError
from alexnet.runs import checkpoint
from alexnet.runs import log as runlog
from alexnet.runs.run import Run, load

Count = Callable[..., None]


def used(folder: Path) -> None:
    """Read all that going on with a run, or predicting with it, reads."""
    run = Run(folder)
    assert all((run.recipe, run.environment, run.classes, run.transform))
    newest = checkpoint.list_checkpoints(folder)[-1]
    checkpoint.read_state(newest, run.identity)
    for name in checkpoint.FILES:
        checkpoint.read_tensors(newest, name)
    best = folder / "checkpoints" / run.resolve("best")
    checkpoint.read_state(best, run.identity)
    checkpoint.read_tensors(best, checkpoint.FILES[0])


def parts(folder: Path) -> list[Path]:
    """The files that `used` reads."""
    own = ("recipe.json", "environment.json", "classes.json", "pictures.safetensors")
    newest = checkpoint.list_checkpoints(folder)[-1]
    best = folder / "checkpoints" / Run(folder).resolve("best")
    named = [newest / name for name in (*checkpoint.FILES, "state.json")]
    return [folder / name for name in own] + named + [best / name for name in (checkpoint.FILES[0], "state.json")]


def refused(folder: Path, file: Path) -> bool:
    """Whether the run is refused in one line that names the file."""
    try:
        used(folder)
    except InputError as error:
        return str(file) in str(error) and "\n" not in str(error)
    return False


@pytest.fixture
def copy(whole: Whole, tmp_path: Path) -> Path:
    """A run of two epochs, to be damaged."""
    return shutil.copytree(whole.run(2), tmp_path / "copy")


def test_every_bit_that_turns_in_a_run_is_found_before_it_is_used(copy: Path, torture: bool, count: Count) -> None:
    chance, found, each = random.Random(2012), 0, 200 if torture else 15
    used(copy)
    for file in parts(copy):
        good = file.read_bytes()
        for _ in range(each):
            place, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
            file.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
            found += refused(copy, file)
        file.write_bytes(good)
    count("a bit turned in a run", injected=each * len(parts(copy)), survived=found, figure="named before use")


def test_every_file_of_a_run_that_is_cut_short_or_gone_is_found(copy: Path, torture: bool, count: Count) -> None:
    chance, found, each = random.Random(2012), 0, 30 if torture else 5
    for file in parts(copy):
        good = file.read_bytes()
        for _ in range(each):
            file.write_bytes(good[: chance.randrange(len(good))])
            found += refused(copy, file)
        file.unlink()
        found += refused(copy, file if file.name != "recipe.json" else copy)  # without it, it is no run
        file.write_bytes(good)
    count("a file of a run cut short or gone", injected=(each + 1) * len(parts(copy)), survived=found)


def test_a_checkpoint_of_another_run_with_the_same_recipe_is_refused(whole: Whole, copy: Path, count: Count) -> None:
    """Trained at another time, and so perhaps on other pictures."""
    environment = json.loads((copy / "environment.json").read_bytes())
    put(copy, "environment.json", json.dumps(environment | {"started": "another day"}).encode())
    assert Run(copy).recipe
    with pytest.raises(InputError, match="00000008 was saved by another run; restore the run's own, or delete it"):
        used(copy)
    files = checkpoint.FILES
    newest, before = reversed(checkpoint.list_checkpoints(whole.run(2)))
    mixed = shutil.copytree(whole.run(2), copy.with_name("mixed"))
    swaps = 0
    for name in files:
        shutil.copy(before / name, mixed / "checkpoints" / newest.name / name)
        swaps += refused(mixed, mixed / "checkpoints" / newest.name / name)
        shutil.copy(newest / name, mixed / "checkpoints" / newest.name / name)
    shutil.copy(before / "state.json", mixed / "checkpoints" / newest.name / "state.json")
    swaps += refused(mixed, mixed / "checkpoints" / newest.name / "state.json")
    count("a checkpoint, or a file of one, swapped", injected=4, survived=1 + swaps)


@pytest.mark.parametrize("name", ["recipe.json", "state.json"])
def test_a_run_of_a_newer_version_is_refused_as_such(copy: Path, count: Count, name: str) -> None:
    file = next(path for path in parts(copy) if path.name == name)
    resign(file, format=7)
    with pytest.raises(
        InputError, match=rf"{name} has format 7, and this alexnet reads format 1; install a newer alexnet"
    ):
        used(copy)
    count(f"a {name} of a newer version", injected=1, survived=1)


def test_the_checkpoint_offered_in_place_of_a_damaged_one_is_whole_and_ends_with_the_same_bits(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count
) -> None:
    """Of four the newest is damaged, and the one before it too."""
    folder = tmp_path / "run"
    assert lives(*training(store, folder, whole.recipe(2), keep=4)).status == 0
    good, bad, worse = checkpoint.list_checkpoints(folder)[1:]
    for path, name in ((bad, "velocity.safetensors"), (worse, "weights.safetensors")):
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    ended = lives(*training(store, folder, whole.recipe(2)))
    words = (
        f"checkpoint file {worse / 'weights.safetensors'} is damaged; delete {worse} {bad} to continue from {good.name}"
    )
    assert (ended.status, ended.line) == (2, words)
    for path in (worse, bad):
        shutil.rmtree(path)
    assert lives(*training(store, folder, whole.recipe(2))).status == 0
    count("two newest checkpoints damaged", injected=1, survived=int(alike(whole.run(2), folder)))


def test_records_that_are_nonsense_are_refused_in_a_line(
    lives: Lives, store: Path, copy: Path, torture: bool, count: Count
) -> None:
    newest, survived = checkpoint.list_checkpoints(copy)[-1], 0
    hostile = [b"", b"{}", b"[]", b"null", b"7", b'"a"', b"[" * 100_000, b"\xff\xfe", b"{" * 10, b"1" * 10_000]
    hostile += [b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"format": 1, "signature": "x"}']
    hostile = hostile if torture else hostile[-2:]
    files = [newest / "state.json", copy / "recipe.json", copy / "environment.json", copy / "classes.json"]
    for file in files:
        good = file.read_bytes()
        for data in hostile:
            file.write_bytes(data)
            ended = lives("train", store, copy, "--resume")
            assert (ended.status, ended.line.count("\n")) == (2, 0), (file, data[:20], ended)
            survived += 1
        file.write_bytes(good)
    count("records of a run that are nonsense", injected=len(files) * len(hostile), survived=survived)


def test_what_is_no_file_in_a_run_is_not_waited_for(copy: Path, count: Count) -> None:
    found = 0
    for file in parts(copy):
        good = file.read_bytes()
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
            file.unlink()
            make(file)
            found += refused(copy, file)
            (file.rmdir if file.is_dir() else file.unlink)()
            file.write_bytes(good)
    (copy / "log.jsonl").unlink()
    os.mkfifo(copy / "log.jsonl")
    with pytest.raises(InputError, match="not a regular file"):
        runlog.read(copy)
    injected = 3 * len(parts(copy))
    assert found == injected
    count("run: a pipe, folder, device for a file", injected=injected, survived=found)


def test_lines_of_a_log_that_are_none_are_left_out_and_said_when_the_run_goes_on(
    copy: Path, count: Count, capsys: pytest.CaptureFixture[str]
) -> None:
    good = runlog.read(copy)
    bad = [
        '{"kind":"ep',
        '{"kind":"epoch","step":3}',
        '{"kind":"step","step":"x"}',
        '{"kind":"step","step":null}',
        "[]",
    ]
    bad += ['{"kind":"epoch","step":3,"epoch":"q","train_error":null}', '{"kind":"step","step":2,"seconds":"a"}']
    lines = (copy / "log.jsonl").read_text().splitlines()
    (copy / "log.jsonl").write_text("\n".join([*lines[:1], *bad, *lines[1:]]) + "\n")
    assert runlog.read(copy) == good
    with runlog.RunLog(copy, good[-1]["step"], 100, 4, 100):
        pass
    assert f"{len(bad)} lines do not parse and will be dropped" in capsys.readouterr().err
    assert runlog.read(copy) == [line for line in good if line["kind"] != "final"]
    with (copy / "log.jsonl").open("a") as log:
        log.write(bad[0])
    with runlog.RunLog(copy, good[-1]["step"], 100, 4, 100):
        pass
    assert capsys.readouterr().err == ""
    count("a line of a log that is none", injected=len(bad), survived=len(bad))


def test_a_checkpoint_that_a_training_drops_while_it_is_read_is_not_called_damaged(copy: Path, count: Count) -> None:
    newest = checkpoint.list_checkpoints(copy)[-1]
    owner = Run(copy).identity
    checkpoint.remove(newest)
    for reading in (
        lambda: checkpoint.read_tensors(newest, checkpoint.FILES[0]),
        lambda: checkpoint.read_state(newest, owner),
    ):
        with pytest.raises(InputError, match="is gone: a running training"):
            reading()
    count("a checkpoint dropped while it is read", injected=2, survived=2)


def test_weights_of_a_terabyte_are_damage_and_are_not_read(copy: Path, count: Count) -> None:
    """A hole: it takes no room on the disk, and would take all of the memory."""
    newest, earlier = reversed(checkpoint.list_checkpoints(copy))
    os.truncate(newest / "weights.safetensors", 1 << 40)
    with pytest.raises(InputError, match=rf"is damaged; delete {newest} to continue from {earlier.name}"):
        load(copy)
    count("weights of a terabyte", injected=1, survived=1)
