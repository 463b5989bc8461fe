"""The log: one JSON object per line, and the same numbers on the console."""

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
import rich.console
from rich.console import Console

from alexnet.cli import console
from alexnet.runs import log as runlog


def log(folder: Path, **settings: Any) -> runlog.RunLog:
    return runlog.RunLog(folder, **{"step": 0, "steps": 2, "per_epoch": 2, "epochs": 0} | settings)


def step(to: runlog.RunLog, number: int, **more: float) -> None:
    to.step(number, loss=2.0, wrong=1, pictures=4, rate=0.01, **more)


def test_a_line_says_what_share_of_its_time_was_spent_waiting_for_data(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with log(tmp_path, steps=3) as to:
        now[0] += 0.02
        step(to, 1, waited=0.01)
        step(to, 2, waited=0.5)  # its line comes after step 3
        now[0] += 1.0
        step(to, 3, waited=0.25)
    first, last = runlog.read(tmp_path)
    assert (first["data_wait"], last["data_wait"]) == (0.5, 0.75)
    shown = capfd.readouterr().err.splitlines()
    assert all(
        f"data {100 * line['data_wait']:.1f} %" in words for line, words in zip((first, last), shown, strict=True)
    )


def test_a_share_is_never_more_than_all(tmp_path: Path) -> None:
    with log(tmp_path, quiet=True) as to:
        step(to, 1, waited=99)
    assert runlog.read(tmp_path)[0]["data_wait"] == 1


def test_waiting_before_an_epochs_end_is_not_counted_after_it(tmp_path: Path) -> None:
    with log(tmp_path, steps=9, quiet=True) as to:
        step(to, 1, waited=0.0)
        step(to, 2, waited=99)
        to.epoch(2, train_error=0.5, train_loss=1.0, top1=0.5, top5=0.1, nats=1.0)
        step(to, 9, waited=0.0)
    assert [line.get("data_wait") for line in runlog.read(tmp_path)] == [0, None, 0]


def test_where_waiting_is_not_known_nothing_is_said_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with log(tmp_path) as to:
        step(to, 1)
    assert "data_wait" not in runlog.read(tmp_path)[0]
    assert "data" not in capfd.readouterr().err


def test_what_a_killed_run_logged_past_its_checkpoint_is_dropped(tmp_path: Path) -> None:
    with log(tmp_path, steps=9, quiet=True) as to:
        step(to, 1)
        to.epoch(2, train_error=0.5, train_loss=1.0, top1=0.5, top5=0.1, nats=1.0)
        step(to, 9)
    with log(tmp_path, step=2, steps=9, epochs=0, quiet=True):
        pass
    assert [line["kind"] for line in runlog.read(tmp_path)] == ["step"]


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    with log(tmp_path, quiet=True) as to:
        step(to, 1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert [line["step"] for line in runlog.read(tmp_path)] == [1]


def terminal(width: int) -> Console:
    """Make a terminal of that width that writes to a string."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, _environ={"TERM": "xterm"}, highlight=False)


def screen(of: Console) -> list[str]:
    """Return every line that was ever shown there."""
    shown: Any = of.file
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 110, 120, 200])
def test_time_left_and_rate_are_seen_at_any_width_and_what_counts_less_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    seen = terminal(width)
    monkeypatch.setattr(runlog, "console", lambda: seen)
    with log(tmp_path, steps=123_456, per_epoch=1372) as to:
        to.last -= 99
        to.step(100_000, loss=6.9078, wrong=123, pictures=128 * 1000, rate=0.0033, waited=0.5)
        to.progress.tasks[0].finished_speed = 2.0
        to.progress.refresh()
    lines = [line for line in screen(seen) if "pictures/s" in line]
    assert lines
    assert all(re.match(r"(\d+:\d\d:\d\d|-:--:--) left \d{3,4} pictures/s\b", line) for line in lines)
    assert all(len(line) <= width and "…" not in line for line in screen(seen))
    kept = {60: "epoch 72.89", 80: "error 0.1 %", 110: "step 100000 of 123456", 120: "rate 0.0033", 200: "data "}
    assert [words for words in kept.values() if words in lines[-1]] == [kept[least] for least in kept if least <= width]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_of_the_other_verbs_shows_time_left_and_rate_at_any_width(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    seen = terminal(width)
    monkeypatch.setattr(rich.console, "Console", lambda **_: seen)
    with console.bar("draw and prepare", "pictures") as move:
        for done in range(5):
            move(done * 1000, 1_281_167)
            time.sleep(0.01)
        time.sleep(0.2)
    lines = [line for line in screen(seen) if "pictures/s" in line]
    assert lines
    assert all(re.match(r"draw and prepare \d+:\d\d:\d\d \d+ pictures/s", line) for line in lines)
