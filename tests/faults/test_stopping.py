"""Signals, and a console that goes away, at any moment of a training."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.faults.lives import Lives
from tests.trained import Whole, alike, epochs, past, step, training

Count = Callable[..., None]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LONG = 200  # epochs that nobody waits for


@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_a_signal_at_a_random_moment_saves_and_stops_and_resuming_ends_with_the_same_bits(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, torture: bool, count: Count, number: signal.Signals
) -> None:
    """As a person, a scheduler, a closed terminal, or a machine that is taken away gives notice."""
    of, most = (40, 20) if torture else (24, 2)
    run, chance, seconds = tmp_path / "run", random.Random(2012), []
    command = training(store, run, whole.recipe(of), every=600)  # it is the signal that saves
    for _ in range(most):
        life = lives.begin(command)
        life.until((run / "log.jsonl").exists)
        time.sleep(chance.random() * 0.3)
        life.kill(number)
        begun = time.monotonic()
        ended = life.end()
        assert ended.status != 0  # else the training was too short
        seconds.append(time.monotonic() - begun)
        if ended.status != -number and ended.line != "interrupted":  # before there was anything to save
            assert ended.status == STATUS[number], ended
            assert f"stopped by {number.name}: saved at step {step(run)} of {4 * of} in {run}" in ended.line, ended
    assert lives(*command).status == 0
    good = alike(whole.run(of), run) and epochs(whole.run(of)) == epochs(run)
    count(
        f"{number.name} in training",
        injected=len(seconds),
        survived=len(seconds) * good,
        figure=f"gone in {max(seconds):.1f} s at most, with a status of {STATUS[number]}",
    )


def test_a_second_signal_stops_at_once_and_what_was_saved_stands(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, torture: bool, count: Count
) -> None:
    run, survived, times = tmp_path / "run", 0, 10 if torture else 2
    command = training(store, run, whole.recipe(LONG))
    for _ in range(times):
        life = lives.begin(command)
        life.until(partial(past, run, step(run)))
        life.kill(signal.SIGINT)
        life.kill(signal.SIGTERM)
        survived += life.end(20).status in (130, 143)
    life = lives.begin(command)
    life.until(partial(past, run, step(run)))
    life.kill(signal.SIGTERM)
    assert life.end().status == 143
    count("two signals in training", injected=times, survived=survived, figure="left at once")


FOR_EVER = """
import ctypes
from alexnet.training.step import Step
update, lock, hold = Step.update, (ctypes.c_char * 64)(), ctypes.CDLL(None).pthread_mutex_lock
def updated(step, rates):
    update(step, rates)
    open(MARK, "w").close()
    hold(lock), hold(lock)
Step.update = updated
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_at_once_in_a_step_that_never_ends_and_a_second_one_leaves_it(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count, number: signal.Signals
) -> None:
    """A step may last for seconds in one call, in which no handler of Python's is called."""
    command = [word for word in training(store, tmp_path / "run", whole.recipe(LONG)) if word != "--json"]
    life = lives.begin(command, before=f"MARK = {str(tmp_path / 'mark')!r}{FOR_EVER}")
    says = {signal.SIGINT: "press Ctrl-C again to stop", signal.SIGTERM: "a second SIGTERM stops"}[number]

    def told() -> str:
        return life.out.with_suffix(".err").read_text()

    assert life.until((tmp_path / "mark").exists), life.end()
    life.kill(number)
    assert life.until(lambda: f"{number.name}: saving after this step; {says} without saving\n" in told()), life.end()
    life.kill(number)
    ended = life.end(20)
    assert (ended.status, ended.line) == (STATUS[number], f"stopped at once by a second {number.name}, without saving")
    assert told().count("after this step") == 1
    count(f"two {number.name} in a step that never ends", injected=2, survived=2, figure="said and left at once")


def test_where_nobody_is_to_be_told_a_signal_says_nothing(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count
) -> None:
    """With --json, which a program reads; the last line alone is said."""
    run = tmp_path / "run"
    life = lives.begin(training(store, run, whole.recipe(LONG)))
    assert life.until(partial(past, run, 0))
    life.kill(signal.SIGTERM)
    assert life.end().err.count("\n") == 1
    count("SIGTERM where nobody is told", injected=1, survived=1)


@pytest.mark.parametrize("pair", [(signal.SIGTERM, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM)])
def test_a_hangup_beside_another_signal_is_no_second_one(
    lives: Lives, store: Path, whole: Whole, tmp_path: Path, count: Count, pair: tuple[signal.Signals, signal.Signals]
) -> None:
    """systemd sends both to a session that it ends, when the machine is switched off."""
    run = tmp_path / "run"
    life = lives.begin(training(store, run, whole.recipe(LONG), every=600))  # it is the signal that saves
    life.until((run / "log.jsonl").exists)
    for number in pair:
        life.kill(number)
        time.sleep(0.01)  # else they come as one, in the order of their numbers
    ended = life.end()
    assert ended.status in {STATUS[number] for number in pair}, ended
    assert f"saved at step {step(run)} of" in ended.line
    count("SIGHUP beside SIGTERM in training", injected=1, survived=1, figure="saved")


def test_a_console_that_goes_away_ends_no_training(
    store: Path, whole: Whole, tmp_path: Path, torture: bool, count: Count
) -> None:
    """A pipe whose reader has gone, a full device, and no console from the beginning."""
    survived, errors = 0, ["pipe", "/dev/full", "closed"]
    for name in errors:
        run = tmp_path / name.strip("/").replace("/", "-")
        command = [sys.executable, "-m", "alexnet", *map(str, training(store, run, whole.recipe(2)))]
        read, write = os.pipe()
        full = os.open("/dev/full", os.O_WRONLY)
        own = {"OMP_NUM_THREADS": "1"}
        where = {"pipe": write, "/dev/full": full}.get(name)
        if where is None:
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        with subprocess.Popen(command, env=os.environ | own, stderr=where, stdout=subprocess.PIPE) as process:
            for descriptor in (read, write, full):
                os.close(descriptor)
            out, _ = process.communicate(timeout=100)
            survived += process.returncode == 0 and b"top1" in out and alike(whole.run(2), run)
    count("a console that goes away in training", injected=len(errors), survived=survived)


def test_nohup_is_respected(store: Path, whole: Whole, tmp_path: Path, count: Count) -> None:
    """A SIGHUP that the shell has asked to be ignored."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "alexnet", *map(str, training(store, run, whole.recipe(2)))]
    with subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            if step(run):
                process.send_signal(signal.SIGHUP)
            time.sleep(0.05)
        assert process.returncode == 0
    count("SIGHUP after nohup", injected=1, survived=int(alike(whole.run(2), run)))
