"""Ranks from the environment, and shares of work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.core.errors import InputError
from alexnet.core.launch import Launch, bounds, launch


def test_a_process_that_no_launcher_started_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert launch() == Launch(0, 1, 0, 0, 1)
    assert launch().is_main


def test_a_launchers_process_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    facts["TORCHELASTIC_RESTART_COUNT"] = "2"
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(5, 8, 1, 2, 4)
    assert not launch().is_main


def test_a_place_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(InputError, match="RANK is 'first' in the environment"):
        launch()


@given(st.integers(0, 300), st.integers(1, 40))
def test_shares_are_all_of_it_in_order_and_differ_by_one_at_most(n: int, parts: int) -> None:
    shares = bounds(n, parts)
    assert [i for begin, end in shares for i in range(begin, end)] == list(range(n))
    sizes = {end - begin for begin, end in shares}
    assert len(shares) == parts
    assert max(sizes) - min(sizes) <= 1
