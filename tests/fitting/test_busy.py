"""The line that a training prints when it ends late."""

from alexnet.fitting.busy import Busy


def said(seconds: list[float], promised: float, steps: int = 100) -> list[str]:
    """The lines of a training whose step n ends at `seconds[n]`."""
    lines, now = list[str](), iter(seconds)
    busy = Busy(lines.append, lambda: next(now), promised)
    for number in range(len(seconds)):
        busy.look(number + 1, steps)
    return lines


def test_a_training_that_keeps_its_pace_says_nothing() -> None:
    assert said([5.0 + n for n in range(100)], promised=105) == []
    assert said([5.0 + 0.2 * n for n in range(100)], promised=105) == []


def test_a_training_that_becomes_slow_says_once_by_how_much_and_that_the_schedule_stays_whole() -> None:
    lines = said([5.0 + n for n in range(50)] + [55.0 + 3 * n for n in range(50)], promised=105)
    assert len(lines) == 1
    assert "later than promised" in lines[0]
    assert "the schedule is not cut short" in lines[0]
    assert "ends about 2 min later" in lines[0]  # 100 s, at three times the time a step


def test_a_short_disturbance_says_nothing() -> None:
    assert said([5.0 + n + 2 * (n > 30) for n in range(100)], promised=107) == []
