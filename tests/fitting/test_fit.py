"""`alexnet fit`, from a folder to a trained net."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from tests.cli.test_main import command
from tests.fitting.test_known import row
from tests.trained import alike, resign

import alexnet
from alexnet.config.recipes import RECIPES
from alexnet.core.errors import InputError, Stopped
from alexnet.data.prepare.prepare import prepare
from alexnet.data.sources.recognise import read_source
from alexnet.fitting import choosing
from alexnet.fitting import fit as module
from alexnet.fitting.candidates import Candidate, candidates
from alexnet.fitting.choosing import enough, promise
from alexnet.fitting.fit import Fit, _Work
from alexnet.fitting.measure import sample
from alexnet.fitting.plan import Choice, Times
from alexnet.fitting.record import NAME, Record, listing
from alexnet.fitting.size import size_of_source
from alexnet.runs.run import Run

EPOCHS = 2


def begun(pictures: Path, out: Path, *, epochs: int | None = EPOCHS, minutes: float = 10.0) -> Record:
    """Leave what a session leaves that has chosen tiny, prepared nothing, and was killed."""
    chosen = Choice(Candidate("tiny", 64), Times(1, 1, 1), EPOCHS, "a test", (row("tiny", 0.4),))
    count, names = listing(read_source(pictures, out / "work"))
    record = Record.of(chosen, minutes=minutes, seed=0, device="auto", pictures=count, listing=names)
    out.mkdir()
    return record.write(out, epochs=epochs, spent=30.0)


@pytest.fixture(scope="module")
def fitted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fit]:
    """A fit that Ctrl-C stops in its first steps, and that the same call ends."""
    out = tmp_path_factory.mktemp("fit") / "out"
    begun(pictures, out)
    threading.Thread(target=interrupt, args=(out / "run/log.jsonl",), daemon=True).start()
    with pytest.raises(Stopped, match=r"saved at step \d of 2 in .*run; the same command goes on from there"):
        alexnet.fit(pictures, out, quiet=True)
    return out, alexnet.fit(pictures, out, quiet=True)


def interrupt(log: Path) -> None:
    """Send this process what Ctrl-C sends, once a training has begun."""
    while not log.exists():
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_fit_that_was_stopped_goes_on_to_its_end(fitted: tuple[Path, Fit], pictures: Path) -> None:
    out, found = fitted
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "fit.json", "report.html", "report.md", "run", "store",
    ]  # fmt: skip
    assert (found.recipe, found.side, found.epochs, found.run, found.report) == (
        "tiny", 64, EPOCHS, out / "run", out / "report.html",
    )  # fmt: skip
    assert found.evaluation.errors.views == 10
    assert found.evaluation.errors.images == 9  # a fifth of 14 in each of three classes
    assert found.expected == 0.4
    assert found.took > 0.5  # with what earlier sessions spent
    told = json.loads((out / NAME).read_text())
    assert told["result"]["top1"] == found.evaluation.errors.top1
    assert Run(out / "run").recipe == RECIPES["tiny"].replace(net={"classes": 3}, epochs=EPOCHS)
    assert json.loads(json.dumps(found.plain()))["known"][0]["error"] == 0.4


def test_the_time_spent_is_noted_in_training_so_that_a_kill_loses_little_of_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = begun(pictures, tmp_path / "out")
    prepare(pictures, tmp_path / "out/store", side=64, val_fraction=0.2, jobs=1)
    monkeypatch.setattr(module, "NOTE", 0.01)
    _Work(tmp_path / "out", record, time.monotonic(), print).train(quiet=True, leave=False)
    noted = Record.read(tmp_path / "out")
    assert noted
    assert 30.01 < noted.spent < 60
    assert (noted.epochs, noted.result) == (record.epochs, None)


def test_a_fit_that_has_ended_answers_again_without_training(
    fitted: tuple[Path, Fit],
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, found = fitted
    log = (out / "run/log.jsonl").read_bytes()
    assert command("fit", pictures, out) == 0
    assert (out / "run/log.jsonl").read_bytes() == log
    said = " ".join(capsys.readouterr().out.split())
    assert f"such folders reached 40.0 %. {found.took:.1f} minutes, promised 0.1. Open {out}/report.html" in said


def test_the_run_has_the_bits_of_a_training_by_hand(
    fitted: tuple[Path, Fit],
    tmp_path: Path,
) -> None:
    out, _ = fitted
    alexnet.train(out / "store", tmp_path / "run", RECIPES["tiny"].replace(epochs=EPOCHS), quiet=True)
    assert alike(out / "run", tmp_path / "run")


def test_another_request_or_another_folder_is_refused_in_a_line_that_names_it(
    fitted: tuple[Path, Fit],
    pictures: Path,
    tmp_path: Path,
) -> None:
    out, _ = fitted
    with pytest.raises(InputError, match=r"was begun with --minutes 10, now 5: give the same"):
        alexnet.fit(pictures, out, 5)
    with pytest.raises(InputError, match=r"was begun with --seed 0, now 1"):
        alexnet.fit(pictures, out, seed=1)
    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy/red/00.png").rename(tmp_path / "copy/red/renamed.png")
    with pytest.raises(InputError, match=r"not those that .* was begun with \(other names or sizes\)"):
        alexnet.fit(tmp_path / "copy", out)
    (tmp_path / "copy/red/renamed.png").unlink()
    with pytest.raises(InputError, match=r"\(42 then, 41 now\)"):
        alexnet.fit(tmp_path / "copy", out)


def test_a_recipe_that_needs_more_memory_than_there_is_is_left_out_in_a_line(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 10^12 units in fc6, its weights take petabytes."""
    monkeypatch.setitem(RECIPES, "today-64", RECIPES["today-64"].replace(net={"hidden": 10**12}))
    monkeypatch.setattr(choosing, "LONGEST", 0.05)
    monkeypatch.setattr(choosing, "candidates", partial(candidates, sides={"tiny": 64, "today-64": 64}))
    said, source = list[str](), read_source(pictures, tmp_path / "look")
    wish = choosing.Wish(1e30, "cpu", time.monotonic)
    size = size_of_source(source, str(pictures), 0)
    found = choosing.measured(sample(source, 20), size, wish, tmp_path / "measured", said.append)
    assert {candidate.name for candidate in found} == {"tiny"}
    assert said == ["recipe today-64 at 64 pixels needs more memory than there is: left out"]


def test_minutes_that_end_before_an_epoch_does_are_refused_with_those_that_are_enough_and_leave_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("fit", pictures, tmp_path / "out", "--minutes", "0.01") == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("33 pictures of 3 classes to train on, 9 held out")
    assert said[-1].startswith("alexnet: --minutes 0.01 is too little: one epoch of ")
    assert float(said[-1].partition("give --minutes ")[2].split()[0]) > 0.05
    assert len(said) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_prepare_would_leave_out_fit_leaves_out_too(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pictures, tmp_path / "folder")
    (tmp_path / "folder/notes").mkdir()
    (tmp_path / "folder/notes/a.txt").write_text("kept")
    words = ("fit", tmp_path / "folder", tmp_path / "out", "--minutes", "0.01")
    assert command(*words) == 2
    assert "--ignore notes" in capsys.readouterr().err
    assert command(*words, "--ignore", "notes") == 2
    assert "33 pictures of 3 classes to train on, 9 held out" in capsys.readouterr().err


def draw(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for n in range(count):
            Image.new("RGB", (40, 40), (n, 9, 9)).save(root / name / f"{n}.png")
    return root


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"a": 30}, "one class folder"),
        ({"a": 4, "b": 5}, "has 7 pictures to train on, and 2 held out"),
        ({"a": 1, "b": 1}, "one picture of each class"),
        ({}, "no class"),
    ],
)
def test_too_few_pictures_or_classes_are_one_line(tmp_path: Path, counts: dict[str, int], words: str) -> None:
    root = draw(tmp_path / "few", counts)
    root.mkdir(exist_ok=True)
    with pytest.raises(InputError) as error:
        alexnet.fit(root, tmp_path / "out")
    assert words in str(error.value) or not counts
    assert not (tmp_path / "out").exists()


def test_places_that_cannot_be_used_are_one_line_and_left_as_they_are(pictures: Path, tmp_path: Path) -> None:
    for name in ("look", "measured"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "letter.txt").write_text("kept")
    (tmp_path / "mine/letter.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for out, words in ((tmp_path / "mine", "holds .* and no work of alexnet fit"), (tmp_path / "file", "not a folder"),
                       (pictures / "out", "is inside")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            alexnet.fit(pictures, out)
    with pytest.raises(InputError, match="does not exist"):
        alexnet.fit(tmp_path / "missing", tmp_path / "out")
    names = ["file", *["letter.txt"] * 3, "look", "measured", "mine"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == names
    for minutes in (0, -1, float("nan"), float("inf"), True, "10"):
        with pytest.raises(InputError, match="--minutes"):
            alexnet.fit(pictures, tmp_path / "out", minutes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text(path.read_text().replace('"tiny"', '"demo"')),
        lambda path: resign(path, more=1),
        lambda path: resign(path, recipe="papre"),
        lambda path: resign(path, epochs="many"),
        lambda path: resign(path, epochs=0),
        lambda path: resign(path, known=[{"error": 1}]),
        lambda path: resign(path, spent=None),
        lambda path: resign(path, result={}),
        lambda path: resign(path, result={"took": 1}, epochs=None),
    ],
    ids=range(11),
)
def test_a_record_that_was_altered_is_one_line(pictures: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    begun(pictures, tmp_path / "out")
    spoil(tmp_path / "out" / NAME)
    with pytest.raises(InputError, match=r"fit.json cannot be used \(.*\); name another folder"):
        alexnet.fit(pictures, tmp_path / "out", quiet=True)


def test_the_size_of_a_source_is_that_of_the_store_that_is_prepared(tmp_path: Path) -> None:
    root = draw(tmp_path / "uneven", {"a": 20, "b": 5, "c": 2})
    size = size_of_source(read_source(root, tmp_path / "work"), str(root), 0)
    assert (size.train, size.held_out, size.classes, size.unequal) == (21, 6, 3, True)
    made = alexnet.prepare(root, tmp_path / "store", side=32, val_fraction=0.2, jobs=1)
    assert made.pictures == {"train": 21, "val": 6}


def test_held_out_pictures_that_are_in_train_too_are_counted_before_training(tmp_path: Path) -> None:
    root, said = draw(tmp_path / "twice", {"train/a": 12, "train/b": 12, "val/a": 2, "val/b": 1}), list[str]()
    _Work(tmp_path / "out", begun(root, tmp_path / "out"), 0.0, said.append).prepare(
        str(root), read_source(root, tmp_path / "work")
    )
    assert said[0].endswith("; 3 held out are identical to one in train, so the error looks better than it is")


def test_the_promise_names_the_choice_the_time_and_the_error_of_such_folders() -> None:
    found = Choice(Candidate("tiny", 64), Times(12.0, 2.0, 8.0), 50, "it is best", (row("tiny", 0.4),))
    lines = promise(found, spent=2.0)
    assert lines[0] == "recipe tiny at 64 pixels, about 50 epochs: it is best"
    assert lines[1].startswith(
        "time: 12 s until training begins, 2 min to train, 8 s to evaluate and report; 2.0 minutes in all, ends about "
    )
    assert lines[2].startswith("error that such a folder reached: 40.0 % (38.0 to 42.0) on flowers of 224 pixels")
    assert promise(Choice(Candidate("tiny", 64), Times(1, 1, 1), 1, "", ()), 0.0)[2].startswith("error: unknown")


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(69, "1.2"), (60, "1"), (3.01, "0.051"), (4000, "67"), (60601, "1100")]
)
def test_minutes_that_are_enough_are_rounded_up_to_two_digits(seconds: float, minutes: str) -> None:
    assert enough(seconds) == minutes
    assert float(minutes) * 60 >= seconds
