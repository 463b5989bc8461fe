"""The line that says how long a training takes, from times that a clock of the test gives."""

import re
import time
from pathlib import Path

import pytest

from alexnet.training.forecast import FORWARD, Forecast, Work, disk_of_checkpoints, moment, span

WORK = Work(step=0, total=2280, per_epoch=24, held_out=3.0)


def said(work: Work, times: list[float]) -> list[str]:
    """Collect what is printed after steps that end at these times."""
    lines, clock = list[str](), iter(times)
    forecast = Forecast(lines.append, work, "DISK", clock=lambda: next(clock))
    for step in range(work.step + 1, work.step + 1 + len(times)):
        forecast.look(step)
        if lines:
            break
    return lines


def test_the_first_step_is_left_out_and_the_next_give_the_time() -> None:
    """After a slow first step come steps of 11.9 s; 95 validations and ten views are 3 batches and a third each."""
    (line,) = said(WORK, [100.0, 111.9, 123.8])
    seconds = 11.9 * (2277 + FORWARD * 3.0 * (95 + 10))
    assert line.startswith(f"about {span(seconds)} for 95 epochs (2,277 steps at 11.9 s, and validation); ends about ")
    assert line.endswith("; DISK")
    assert span(seconds) == "7 h 52 min"


def test_nothing_is_said_before_enough_is_timed_and_nothing_twice() -> None:
    assert not said(WORK, [0.0, 50.0])
    assert not said(WORK, [0.1 * i for i in range(30)])
    lines = list[str]()
    forecast = Forecast(lines.append, WORK, "", clock=iter(range(0, 1000, 2)).__next__)
    for step in range(1, 200):
        forecast.look(step)
    assert len(lines) == 1


def test_short_epochs_whose_validations_were_timed_are_not_counted_twice() -> None:
    """Steps of 0.5 s, of which every fourth holds a validation: that is in the time of a step already."""
    work = Work(step=0, total=400, per_epoch=4, held_out=3.0)
    (line,) = said(work, [0.5 * i for i in range(40)])
    assert line.startswith(f"about {span(0.5 * (393 + FORWARD * 3.0 * 10))} for 99 epochs (393 steps at 0.5 s")


def test_a_resumed_run_a_rule_that_ends_it_and_a_decoding_first_epoch_are_named() -> None:
    (line,) = said(Work(2256, 2280, 24, 0.0, ends_early=True), [0.0, 2.0, 4.0])
    assert line.startswith("at most about 42 s for 1 epoch (21 steps at 2 s, and validation)")
    (line,) = said(Work(0, 48, 24, 0.0, decodes=True), [0.0, 2.0, 4.0])
    assert "the first epoch also decodes the pictures, so later ones may be faster" in line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89.4, "89 s"), (720, "12 min"), (12_000, "3 h 20 min"), (442_800, "5 days 3 h")],
)
def test_a_time_is_written_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_the_end_has_its_date_where_that_is_another_day() -> None:
    noon = time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1))
    assert moment(noon, 2 * 3600 + 300) == "14:05"
    assert moment(noon, 14 * 3600) == "2026-11-29 02:00"
    assert moment(noon, 1e18) == "no date that a calendar has"


def test_the_disk_is_that_of_the_checkpoints_that_stay_and_the_one_that_is_written(tmp_path: Path) -> None:
    """Weights and velocities of three, and the best weights of each."""
    assert disk_of_checkpoints(tmp_path, 1_000_000, 2) == "checkpoints take up to 9 MB of disk"
    assert "each checkpoint takes 2 MB of disk" in disk_of_checkpoints(tmp_path, 1_000_000, 0)
    assert re.search(r"up to \d+\.\d GB of disk, of which .* is free", disk_of_checkpoints(tmp_path, 10**17, 2))
