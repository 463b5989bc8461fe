"""Choices for a GPU: by device, and by words."""

import pytest
import torch

from alexnet.core.errors import InputError
from alexnet.ops import choices
from alexnet.ops.choices import Choices

CPU = torch.device("cpu")


def test_a_device_that_nobody_measured_takes_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALEXNET_GPU", raising=False)
    assert choices.choices(CPU) == Choices()


def test_words_change_the_choices_that_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_GPU", "apart=off,early=on")
    assert choices.choices(CPU) == Choices(apart=False, early=True)


@pytest.mark.parametrize("words", ["towers=off", "apart", "apart=no", "apart=on,x=on"])
def test_other_words_are_refused_by_a_line_that_says_what_there_is(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setenv("ALEXNET_GPU", words)
    with pytest.raises(InputError, match=r"it takes blocks=on\|off, apart=on\|off, early=on\|off"):
        choices.choices(CPU)
