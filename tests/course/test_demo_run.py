"""The run of the demo in the user's cache: it is made once, checked, and made again when it is damaged."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from alexnet.core.errors import InputError
from alexnet.core.files import lock_file
from coursekit import demo_run as module
from coursekit.demo_run import BUSY, demo_run, small_store


@pytest.fixture
def own(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own with the short run, which may be damaged; returns the folder of the run and its store."""
    demo_run(short=True)
    shutil.copytree(cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (home,) = (tmp_path / "cache/alexnet/course").glob("*-short")
    return home


def stamps(home: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in home.rglob("*")
        if path.is_file() and path.name != ".lock" and "tfevents" not in path.name
    }


def test_a_whole_run_is_used_as_it_is_without_a_word(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stamps(own)
    run, store = demo_run(short=True)
    assert stamps(own) == before
    assert capsys.readouterr().err == ""
    assert run.log[-1]["kind"] == "final"
    assert run.environment["store_digest"] == store.digest


@pytest.mark.parametrize(
    "damaged",
    [
        "run/log.jsonl",
        pytest.param("weights.safetensors", marks=pytest.mark.torture),
        pytest.param("store/train/*", marks=pytest.mark.torture),
    ],
)
def test_a_damaged_file_is_found_and_the_run_is_made_again(
    damaged: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sorted(own.rglob(damaged))[-1]
    before, lines = stamps(own).keys(), len((own / "run/log.jsonl").read_text().splitlines())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    run, store = demo_run(short=True)
    assert module.SAYING in capsys.readouterr().err
    assert stamps(own).keys() == before
    assert len(run.log) == lines
    assert len(store["train"]) == 80


def test_a_training_that_was_stopped_goes_on(own: Path) -> None:
    lines = (own / "run/log.jsonl").read_text().splitlines()
    assert '"final"' in lines[-1]
    (own / "run/log.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    (own / "made.json").unlink()
    checkpoints = sorted((own / "run/checkpoints").iterdir())
    run, _ = demo_run(short=True)
    assert run.log[-1]["kind"] == "final"
    assert sorted((own / "run/checkpoints").iterdir()) == checkpoints


def test_another_notebook_that_makes_the_run_is_waited_for_but_not_for_ever(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock_file(own / ".lock", BUSY)
    released = threading.Timer(0.3, held.__exit__, (None, None, None))
    released.start()
    begun = time.monotonic()
    demo_run(short=True)
    assert time.monotonic() - begun > 0.25
    monkeypatch.setattr(module, "WAIT", 0.1)
    with lock_file(own / ".lock", BUSY), pytest.raises(InputError, match=BUSY):
        demo_run(short=True)


def test_a_cache_that_cannot_be_written_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for made in (demo_run, small_store):
        with pytest.raises(InputError, match=r"cannot be written .*; set XDG_CACHE_HOME to a folder"):
            made(True)


def test_the_store_of_small_pictures_is_made_again_when_it_is_damaged(own: Path) -> None:
    digest = small_store(short=True).digest
    (own / "store-32/meta.json").write_text("{}")
    again = small_store(short=True)
    assert again.digest == digest
    assert again.side == 32
