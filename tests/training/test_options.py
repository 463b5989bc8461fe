"""The options of a training: the same names and rules in Python and on the command line."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from alexnet.cli.options import on_command_line
from alexnet.core.errors import InputError
from alexnet.training.options import TrainOptions
from alexnet.training.train import train


def test_the_command_line_has_every_option_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    from alexnet.cli.main import app

    app(["train", "--help"], result_action="return_value")
    said = capsys.readouterr().out
    for field in dataclasses.fields(TrainOptions):
        assert f"--{field.name.replace('_', '-')} " in said, field.name


def test_the_parsers_options_are_options_with_the_same_defaults() -> None:
    assert isinstance(on_command_line(TrainOptions)(), TrainOptions)
    assert dataclasses.asdict(on_command_line(TrainOptions)()) == dataclasses.asdict(TrainOptions())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 0}, "--workers 0; it must be 1 to 256"),
        ({"workers": "4"}, "--workers '4'; it must be 1 to 256"),
        ({"keep": -1}, "--keep -1; it must be 0 to"),
        ({"save_every": float("nan")}, "--save-every nan; it must be 0 to"),
        ({"timeout": 0}, "--timeout 0; it must be"),
        ({"until": 1.5}, "--until 1.5; it must be 0 to 1"),
        ({"patience": 0}, "--patience 0; it must be 1 to"),
        ({"keep": 1.5}, "--keep 1.5; it must be a whole number"),
        ({"patience": 1.5}, "--patience 1.5; it must be a whole number"),
        ({"accumulate": True}, "--accumulate True; it must be 1 to"),
        ({"cache": "disk"}, "--cache disk; it must be auto, device, ram, none"),
        ({"strategy": "tower"}, "--strategy tower; it must be data, towers, hybrid"),
        ({"precison": "fp32"}, "no option of train precison; did you mean precision?"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_before_anything_is_made(
    given: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        train(tmp_path / "store", tmp_path / "run", **given)
    assert words in str(refused.value)
    assert not list(tmp_path.iterdir())
