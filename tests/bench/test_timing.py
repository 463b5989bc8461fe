"""Timing and comparing."""

import time

import torch

from alexnet.bench import timing
from alexnet.bench.timing import Clock, compared
from alexnet.core.device import Compute

ONE = Clock(Compute(torch.device("cpu"), "bf16"), 1)


def test_a_rate_is_pictures_a_second_and_a_time_milliseconds() -> None:
    rate = compared("w", 2.0, 4.0, "p", ONE, amount=128, bound=1.0)
    assert (rate.ours, rate.peer, rate.bound, rate.unit) == (64.0, 32.0, 128.0, "pictures/s")
    assert (rate.ratio, rate.fraction_of_bound) == (2.0, 0.5)
    taken = compared("w", 0.002, 0.004, "p", ONE)
    assert (taken.ours, taken.peer, taken.unit, taken.ratio, taken.bound) == (2.0, 4.0, "ms", 2.0, None)


def test_works_are_measured_in_turns_and_the_first_calls_do_not_count() -> None:
    calls: list[str] = []
    slow = [1.0]  # of the first call alone

    def a() -> None:
        calls.append("a")
        end = time.process_time() + (0.05 if slow else 0)
        slow.clear()
        while time.process_time() < end:
            pass

    taken = ONE.medians([a, lambda: calls.append("b")], 2)
    assert "".join(calls) == "aaaabbbbaabb"
    assert max(taken) < 0.05


def test_a_reading_of_many_calls_is_the_time_of_one() -> None:
    """A GPU's launch and wait cost the same for one call and for fifty, so they must not count."""
    calls: list[int] = []
    assert ONE.calls == 1
    one = ONE.medians([lambda: calls.append(sum(range(10**5)))], 3, calls=20)
    assert len(calls) == 3 + 20 + 2 * (1 + 20)
    assert 0 < one[0] < 5 * ONE.seconds(lambda: sum(range(10**5)))


def test_the_clock_of_a_device_is_that_of_the_host_on_a_cpu() -> None:
    calls: list[int] = []
    assert ONE.device_seconds(lambda: calls.append(sum(range(10**5))), 20) > 0
    assert len(calls) == 20


def test_bounds_are_rates_of_this_machine() -> None:
    assert timing.products_per_second(ONE, torch.float32, rounds=1, size=256) > 1e8
    assert timing.bytes_per_second(ONE, rounds=1, size=1 << 22) > 1e8
    assert timing.bytes_read_per_second(ONE, rounds=1, size=1 << 22) > 1e8
