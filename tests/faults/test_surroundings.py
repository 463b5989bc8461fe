"""What lies about the work: clocks, names, places, rights, locales. None of it may matter."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.faults.several import several
from tests.prepared import SIDE, begin, end, fingerprint

from alexnet.config.recipe import Recipe
from alexnet.data.prepare.prepare import prepare
from alexnet.data.store import Store, verify
from alexnet.runs import checkpoint
from alexnet.runs.run import Run

YEARS = 10 * 365 * 86400
NAMES = ['plain "a"\n<script>alert(1)', "-dash \x1b[2J\u202e", "אבג 😀 é"]  # of classes
PLACE = "sp ace é עברית 😀 'q' \"q\" <b>"


def weights(run: Path) -> bytes:
    """The newest weights of a run."""
    return (checkpoint.list_checkpoints(run)[-1] / checkpoint.FILES[0]).read_bytes()


def halfway(run: Path, folder: Path) -> Path:
    """A copy of a finished run that stands one epoch before its end."""
    copy = shutil.copytree(run, folder)
    shutil.rmtree(checkpoint.list_checkpoints(copy)[-1])
    return copy


def chain(small: Recipe, folder: Path) -> list[Sequence[object]]:
    """The words of the whole work, in the folder that it is done in."""
    (folder / "récipe.json").write_text(json.dumps(small.replace(epochs=1).plain()))
    begin = ["train", "st ö", "./-rün", "--recipe", "récipe.json"]
    return [
        ["prepare", "pictures", "st ö", "--side", "64", "--val-fraction", "0.3", "--jobs", "1"], ["verify", "st ö"],
        begin, ["train", "st ö", "./-rün", "--resume"], ["evaluate", "st ö", "./-rün", "--save", "p é.npz"],
        ["predict", "./-rün", "pictures"], ["predict", "./-rün", "pictures", "--json"],
        ["predict", "./-rün", "pictures", "--csv"], ["figures", "./-rün", "fig ü", "--only", "top5"],
        ["features", "./-rün", "st ö", "feat ü"], ["similar", "./-rün", "st ö", "pictures"],
        ["similar", "./-rün", "st ö", "pictures", "--json"], ["report", "."],
    ]  # fmt: skip


LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C"},
    "latin-1": {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_any_names_and_any_locale_go_through_the_whole_work(
    locale: str, pictures: Path, small: Recipe, tmp_path: Path, torture: bool, count: Callable[..., None]
) -> None:
    if locale != "UTF-8" and not torture:
        pytest.skip("takes long: make torture")
    folder = tmp_path / PLACE
    for name, colour in zip(NAMES, ("red", "green", "blue"), strict=True):
        shutil.copytree(pictures / colour, folder / "pictures" / name)
    commands = chain(small, folder)
    done = several(commands, folder, LOCALES[locale])
    for words, (code, out, err) in zip(commands, done, strict=True):
        assert code == 0, (words, err)
        assert "\x1b" not in err, words
        assert "--csv" in words or not {"\x1b", "\u202e"} & set(out), words
    assert {p["class"] for a in json.loads(done[6][1]) for p in a["predictions"]} == set(NAMES)
    if locale == "UTF-8":
        assert {row["class"] for row in csv.DictReader(io.StringIO(done[7][1], newline=""))} == set(NAMES)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    count(f"names with every kind of character, locale {locale}", injected=len(done), survived=len(done))


def test_a_clock_that_jumps_by_years_changes_no_bit(
    run: Path, store: Path, small: Recipe, tmp_path: Path, count: Callable[..., None]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import itertools, time\n"
        "real, calls = time.time, itertools.count()\n"
        f"time.time = lambda: real() + (next(calls) % 3 - 1) * {YEARS}\n"
    )
    (tmp_path / "small.json").write_text(json.dumps(small.plain()))
    old = shutil.copytree(store, tmp_path / "store")
    soon = time.time() + YEARS
    for path in [old, *old.rglob("*")]:
        os.utime(path, (soon, soon))
    words = ["train", old, "run", "--recipe", "small.json", "--precision", "fp32"]
    sites = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    (begun,) = several([words], tmp_path, {"PYTHONPATH": sites})
    assert begun[0] == 0, begun[2]
    half = halfway(tmp_path / "run", tmp_path / "half")
    for file in half.rglob("*"):
        os.utime(file, (soon, soon))
    (resumed,) = several([["train", old, half, "--resume"]], tmp_path, {"PYTHONPATH": sites})
    assert resumed[0] == 0, resumed[2]
    assert weights(tmp_path / "run") == weights(half) == weights(run)
    seconds = [json.loads(line)["seconds"] for line in (half / "log.jsonl").read_text().splitlines()]
    assert 0 <= min(seconds) <= max(seconds) < 3600
    count("the clock jumps by 10 years at every look", injected=2, survived=2, figure="same bytes; log's seconds hold")


def test_a_run_and_its_store_may_be_moved_at_any_time(
    run: Path, store: Path, pictures: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    here, there = tmp_path / "here", tmp_path / "over there"
    shutil.copytree(store, here / "store")
    halfway(run, here / "run")
    here.rename(there)
    commands: list[list[object]] = [
        ["train", "store", "run", "--resume"],
        ["evaluate", "store", "run"],
        ["predict", "run", pictures / "red"],
        ["similar", "run", "store", pictures / "red" / "00.png"],
        ["features", "run", "store", "out"],
        ["report", "run"],
    ]
    done = several(commands, there)
    assert [code for code, *_ in done] == [0] * len(commands), done
    assert weights(there / "run") == weights(run)
    count("run and store are moved and renamed", injected=len(commands), survived=len(commands), figure="same bytes")


def closed(folder: Path) -> Path:
    """A folder in which nobody may write."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


def opened(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


def test_a_store_and_a_run_that_nobody_may_write_serve_all_that_reads_them(
    run: Path, store: Path, pictures: Path, small: Recipe, tmp_path: Path, count: Callable[..., None]
) -> None:
    shelf = closed(shutil.copytree(store, tmp_path / "store"))
    done_run = closed(shutil.copytree(run, tmp_path / "run"))
    (tmp_path / "small.json").write_text(json.dumps(small.replace(epochs=1).plain()))
    picture = pictures / "red" / "00.png"
    home = {"HOME": str(done_run), "XDG_CACHE_HOME": str(done_run), "TMPDIR": str(tmp_path / "none")}
    works = [
        ["verify", shelf],
        ["train", shelf, "new", "--recipe", "small.json"],
        ["evaluate", shelf, done_run],
        ["predict", done_run, picture],
        ["features", done_run, shelf, "out"],
        ["similar", done_run, shelf, picture],
        ["figures", done_run, "figures", "--only", "kernels"],
    ]
    cannot = [
        ["report", done_run],
        ["train", shelf, done_run / "new", "--recipe", "small.json"],
        ["features", done_run, shelf, shelf / "out"],
        ["evaluate", shelf, done_run, "--save", shelf / "p.npz"],
        ["figures", done_run, shelf / "figures"],
        ["prepare", pictures, shelf / "new", "--side", "64", "--jobs", "1"],
    ]
    try:
        done = several([*works, *cannot], tmp_path, home, powerless=True)
    finally:
        opened(shelf)
        opened(done_run)
    for words, (code, _, err) in zip([*works, *cannot], done, strict=True):
        assert code == (0 if words in works else 1), (words, code, err)
        assert words in works or err.count("\n") == 1, (words, err)
        assert (words[0] == "evaluate" and words in works) == ("the result is not kept in run" in err), (words, err)
    count(
        "a store and a run that are read-only, and no home",
        injected=len(done),
        survived=len(done),
        figure=f"{len(works)} work, {len(cannot)} would write there: a line",
    )


@pytest.mark.parametrize(
    "home",
    [
        pytest.param({"HOME": ""}, marks=pytest.mark.torture),
        {"HOME": "/nonexistent"},
        pytest.param({"TMPDIR": "/nonexistent"}, marks=pytest.mark.torture),
        {"PATH": "/nonexistent"},
    ],
)
def test_no_home_no_temporary_folder_and_no_path_matter(
    home: dict[str, str], run: Path, store: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    (done,) = several(
        [["evaluate", store, run, "--json", "--no-keep"]], tmp_path, home | {"XDG_CACHE_HOME": ""}, powerless=True
    )
    assert done[0] == 0, done[2]
    assert done[2].count("\n") <= 1  # that nothing can be compiled
    count(f"{next(iter(home))} is {next(iter(home.values())) or 'empty'}", injected=1, survived=1)


def test_a_working_folder_that_is_gone_is_one_line(run: Path, tmp_path: Path, count: Callable[..., None]) -> None:
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [
            "bash", "-c", 'cd "$1" && rmdir "$1" && "$2" -m alexnet predict "$3" x', "", tmp_path / "gone",
            sys.executable, run,
        ],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "alexnet: the working folder is gone; change to another\n")
    count("the working folder is gone", injected=1, survived=1, figure="a line")


def test_what_a_run_says_of_itself_does_not_depend_on_where_it_lies(run: Path, store: Path, tmp_path: Path) -> None:
    assert Run(shutil.copytree(run, tmp_path / "run")).recipe == Run(run).recipe
    assert Store(shutil.copytree(store, tmp_path / "store")).digest == Store(store).digest


def latin(folder: Path) -> dict[str, str]:
    """The environment of a locale of ISO 8859-1, or none."""
    name = "en_US.ISO-8859-1"
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / name)]
    if shutil.which("localedef") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        return {}
    return {"LOCPATH": str(folder), "LC_ALL": name}


def test_names_with_spaces_and_letters_of_any_language_prepare_in_any_locale(
    source: Path, tmp_path: Path, count: Callable[..., None]
) -> None:
    home = tmp_path / "Bücher und ☃ $HOME 'q\"uote"
    home.mkdir()
    shutil.copytree(source / "cat", home / "source/Ärger im Büro")
    shutil.copytree(source / "dog", home / "source/犬 🐕")
    (home / "source/犬 🐕/0.png").rename(home / "source/犬 🐕/naïve; rm -rf ~.png")
    locales = {"utf8": {"LC_ALL": "C.UTF-8"}, "c": {"LC_ALL": "C"}, "lang": {"LANG": "C", "LC_ALL": ""}}
    if own := latin(tmp_path):
        locales["latin-1"] = own
    prints = {}
    for name, environment in locales.items():
        given = ["prepare", home / "source", home / name, "--side", str(SIDE), "--jobs", "2"]
        assert end(begin(given, own=environment)) == (0, []), name
        assert end(begin(["verify", home / name], own=environment)) == (0, []), name
        prints[name] = fingerprint(home / name)
    if own:
        prints.pop("latin-1")  # where the same bytes are other letters
    assert [c.name for c in Store(home / "utf8").classes] == ["Ärger im Büro", "犬 🐕"]
    assert all(found == prints["utf8"] for found in prints.values())
    count("prepare: names and locales", injected=len(locales), survived=len(locales))


def test_a_store_is_renamed_moved_and_read_by_who_may_not_write(
    source: Path, tmp_path_factory: pytest.TempPathFactory, count: Callable[..., None], small_shards: None
) -> None:
    home = tmp_path_factory.mktemp("moved")
    prepare(source, home / "store", side=SIDE, jobs=1)
    expected, digest = fingerprint(home / "store"), Store(home / "store").digest
    (home / "store").rename(home / "renamed")
    shutil.move(home / "renamed", home / "elsewhere with spaces")
    moved = home / "elsewhere with spaces"
    for path in (moved, *moved.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder = os.open(moved, os.O_RDONLY)
    child = os.fork()
    if child == 0:  # another user may not pass the folders above it
        try:
            os.fchdir(folder)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            store = Store(".")
            store["train"].read(np.arange(len(store["train"])))
            os._exit(0 if store.digest == digest and verify(".") == [] else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(folder)
    assert fingerprint(moved) == expected
    for path in (moved, *moved.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    count("store renamed, moved, read-only", injected=3, survived=3)
