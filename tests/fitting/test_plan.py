"""The choice of a recipe and the number of epochs, from what the parts take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fitting.test_known import row

from alexnet.fitting.candidates import Candidate
from alexnet.fitting.measure import Rates
from alexnet.fitting.plan import BYTE, LATE, POOL, REPORT, WRITE, Times, choose, preparing, training, whole
from alexnet.fitting.size import Size

TINY, TODAY, DEMO = Candidate("tiny", 64), Candidate("today-64", 64), Candidate("demo", 256)
SIZE = Size(train=2000, held_out=500, classes=10)
SECONDS = st.floats(0.01, 1e4)


@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_the_epochs_end_with_the_minutes_to_half_an_epoch_and_never_late(
    before: float, epoch: float, after: float, seconds: float
) -> None:
    times = Times(before, epoch, after)
    epochs = whole(times, seconds)
    assert epochs >= 0
    assert not epochs or times.total(epochs) <= LATE * seconds + 1e-6
    assert times.total(epochs + 1) >= seconds - 1e-6  # no further one ends in time
    if epochs > 10 and before + after < seconds / 2:
        assert times.total(epochs) >= 0.9 * seconds


def test_the_parts_of_a_fit_add_up() -> None:
    times = training(SIZE, Rates(picture=0.01, validation=0.002, save=0.5), before=7.0)
    assert times.before == 7.0
    assert times.epoch == pytest.approx(2000 * 0.01 + 500 * 0.002)
    assert times.after == pytest.approx(10 * 500 * 0.002 + 4 * 0.5 + REPORT)
    assert times.total(3) == pytest.approx(7.0 + 3 * times.epoch + times.after)
    assert times.epochs(times.total(3)) == pytest.approx(3)


def test_preparing_is_shared_among_cores_by_whole_shards() -> None:
    alone = preparing(SIZE, 64, 0.003, cores=1) - POOL
    assert alone == pytest.approx(2500 * (0.003 + WRITE + 3 * 64 * 64 * BYTE))
    assert preparing(SIZE, 64, 0.003, cores=8) - POOL == pytest.approx(
        alone * 2000 / 2500
    )  # a shard of train, one of val
    large = preparing(SIZE, 256, 0.003, cores=1) - POOL
    assert preparing(SIZE, 256, 0.003, cores=2) - POOL == pytest.approx(large / 2)


def test_records_decide_where_they_are_comparable_and_the_reason_names_them() -> None:
    options = dict.fromkeys((TINY, TODAY, DEMO), Times(10, 1, 10))
    rows = [row("tiny", 0.4), row("today-64", 0.35), row("tiny", 0.1, each=10)]
    found = choose(options, 60, SIZE, rows)
    assert found
    assert (found.candidate, found.epochs, found.known) == (TODAY, 40, (rows[1],))
    assert "flowers" in found.why
    assert "today-64 35.0 %, tiny 40.0 %" in found.why
    assert found.why.endswith("no record tells of demo")


def test_folders_of_pictures_that_the_largest_store_would_enlarge_do_not_count() -> None:
    times = Times(10, 1, 10)
    rows = [row("tiny", 0.4, of="icons", picture=32), row("demo", 0.2, of="icons", picture=32)]
    rows += [row("tiny", 0.4), row("demo", 0.5)]
    found = choose({TINY: times, DEMO: times}, 60, SIZE, rows)
    assert found
    assert (found.candidate, found.known) == (TINY, (rows[2],))
    small = Candidate("small", 32)
    icons = choose({small: times}, 60, SIZE, [row("small", 0.3, of="icons", picture=32)])
    assert icons
    assert icons.known


def test_without_records_the_largest_net_that_gets_a_whole_schedule_is_taken_or_the_one_with_most_epochs() -> None:
    options = {DEMO: Times(10, 1.0, 10), TINY: Times(10, 0.5, 10)}
    larger = max(options, key=lambda c: c.work)
    plenty = choose(options, 600, SIZE, [])
    assert plenty
    assert plenty.candidate == larger
    assert not plenty.known
    scarce = choose(options, 30, SIZE, [])
    assert scarce
    assert (scarce.candidate, scarce.epochs) == (TINY, 20)


def test_minutes_without_one_epoch_give_no_choice() -> None:
    assert choose({TINY: Times(10, 60, 10)}, 60, SIZE, [row("tiny", 0.4)]) is None
    assert choose({TINY: Times(10, 60, 10)}, 78, SIZE, [row("tiny", 0.4)])
