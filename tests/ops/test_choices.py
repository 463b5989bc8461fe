"""Choices for a device: by its name, and by words."""

import pytest
import torch

from alexnet.core.errors import InputError
from alexnet.ops import choices
from alexnet.ops.choices import Choices

CPU, OTHER = torch.device("cpu"), torch.device("meta")


def test_a_device_that_nobody_measured_takes_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALEXNET_GPU", raising=False)
    assert choices.choices(OTHER) == Choices()


def test_words_change_the_choices_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_GPU", "apart=off,early=on")
    assert choices.choices(OTHER) == Choices(apart=False, early=True)
    monkeypatch.setenv("ALEXNET_CPU", "blocks=on")
    assert choices.choices(CPU).blocks


@pytest.mark.parametrize("words", ["towers=off", "apart", "apart=no", "apart=on,x=on"])
@pytest.mark.parametrize(
    ("device", "has"),
    [
        (OTHER, r"GPU has .*; it takes blocks=on\|off, apart=on\|off, early=on\|off"),
        (CPU, r"CPU has .*; it takes blocks=on\|off$"),
    ],
)
def test_other_words_are_refused_by_a_line_that_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, has: str, words: str
) -> None:
    monkeypatch.setenv(f"ALEXNET_{has[:3]}", words)
    with pytest.raises(InputError, match=has):
        choices.choices(device)
