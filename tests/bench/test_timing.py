"""Timing and comparing."""

import json
import pickle
import re
import time

import pytest
import torch

from alexnet.bench import timing
from alexnet.bench.timing import Clock, Median, compared
from alexnet.core.device import Compute

ONE = Clock(Compute(torch.device("cpu"), "bf16"), 1)


def test_a_rate_is_pictures_a_second_and_a_time_milliseconds() -> None:
    rate = compared("w", 2.0, 4.0, "p", ONE, amount=128, bound=1.0)
    assert (rate.ours, rate.peer, rate.bound, rate.unit) == (64.0, 32.0, 128.0, "pictures/s")
    assert (rate.ratio, rate.fraction_of_bound) == (2.0, 0.5)
    taken = compared("w", 0.002, 0.004, "p", ONE)
    assert (taken.ours, taken.peer, taken.unit, taken.ratio, taken.bound) == (2.0, 4.0, "ms", 2.0, None)


def test_works_are_measured_in_turns_and_the_first_calls_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_CALLS", 2)
    calls: list[str] = []
    slow = [1.0]  # of the first call alone

    def a() -> None:
        calls.append("a")
        end = time.process_time() + (0.05 if slow else 0)
        slow.clear()
        while time.process_time() < end:
            pass

    taken = ONE.medians([a, lambda: calls.append("b")], 2)
    assert "".join(calls) == "aaa" + "aa" + "bbb" + "bb" + "a" + "aa" + "b" + "bb"
    assert max(taken) < 0.05
    assert [len(median.readings) for median in taken] == [2, 2]


def test_a_reading_takes_a_second_or_one_call_that_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long call is its own warm-up: its first call is not read, and no other call is made for nothing."""
    assert [ONE.enough(1, seconds) for seconds in (3.0, 1.0, 0.3, 0.0)] == [1, 1, 4, timing.MOST_CALLS]
    assert ONE.enough(20, 3.0) == 20
    monkeypatch.setattr(timing, "READING", 0.01)
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    (median,) = ONE.medians([work], 3)
    assert len(calls) == 1 + 3
    assert median >= 0.02


def test_a_reading_of_many_calls_is_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's launch and wait cost the same for one call and for fifty, so they must not count."""
    monkeypatch.setattr(timing, "MOST_CALLS", 1)
    calls: list[int] = []
    assert ONE.calls == 1
    one = ONE.medians([lambda: calls.append(sum(range(10**5)))], 3, calls=20)
    assert len(calls) == 3 + 20 + 2 * (1 + 20)
    assert 0 < one[0] < 5 * ONE.seconds(lambda: sum(range(10**5)))


def test_a_line_has_the_readings_in_its_unit_and_a_median_survives_another_process() -> None:
    median = pickle.loads(pickle.dumps(Median([2.0, 1.0, 4.0])))  # noqa: S301
    assert (median, median.readings) == (2.0, (2.0, 1.0, 4.0))
    line = compared("w", median, 4.0, "p", ONE, amount=128)
    assert (line.ours, line.ours_readings, line.peer_readings) == (64.0, (64.0, 128.0, 32.0), ())
    assert json.loads(line.plain())["ours_readings"] == [64.0, 128.0, 32.0]


def test_the_clock_of_a_device_is_that_of_the_host_on_a_cpu() -> None:
    calls: list[int] = []
    assert ONE.device_seconds(lambda: calls.append(sum(range(10**5))), 20) > 0
    assert len(calls) == 20


def test_bounds_are_rates_of_this_machine() -> None:
    assert max(timing.product_rates(ONE, torch.float32, rounds=1, size=256).values()) > 1e8
    assert timing.bytes_per_second(ONE, rounds=1, size=1 << 22) > 1e8
    assert timing.bytes_read_per_second(ONE, rounds=1, size=1 << 22) > 1e8


def test_the_bound_is_the_fastest_of_square_long_and_convolved_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that needs long for the first form is full with it; the counts are those of the loops."""
    forms = list(timing._products(ONE.compute, torch.bfloat16, None))
    assert len(forms) == 6
    assert [form for form, _, _ in forms if "convolution" in form] == [forms[1][0]]
    for form, count, _ in forms[:1] + forms[2:]:
        numbers = [int(n) for n in re.findall(r"\d+", form)]
        assert count == numbers[0] * numbers[1] * numbers[-1]
    monkeypatch.setattr(timing, "PRODUCTS_SECONDS", 0.0)
    monkeypatch.setattr(timing, "_products", lambda *_: iter([("a", 1, int), ("b", 1, int)]))
    assert list(timing.product_rates(ONE, torch.float32)) == ["a"]
