"""Options that other tools have: what the command line says of them."""

import re

import pytest

from alexnet.cli.habits import FIELDS, OPTIONS, RECIPE_VERBS
from alexnet.cli.main import app, main
from alexnet.config.recipes import RECIPES

POSITIONALS = {"train": ["store", "run"], "prepare": ["source", "store"], "predict": ["run", "a.jpg"]}


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["--lr", "0.1"], "--set sgd.lr=0.1 (biases have"),
        (["--learning_rate=0.1"], "--set sgd.lr=0.1 (biases have"),
        (["--batch-size", "32"], "--set sgd.batch=32\n"),
        (["--batch-size"], "--set sgd.batch=...\n"),
        (["-e", "3"], "--epochs 3\n"),
        (["--optimizer", "adam"], "leave it out: every recipe trains by SGD"),
    ],
)
def test_an_option_of_other_tools_gets_the_words_to_write_here(
    words: list[str], instead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = said(capsys, "train", "store", "run", *words)
    assert line.startswith(f"alexnet: train has no option {words[0].partition('=')[0]}; ")
    assert instead in line


def test_an_option_that_no_tool_has_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "train", "store", "run", "--epoch", "3") == (
        "alexnet: Unknown option: --epoch. Did you mean --epochs?\n"
    )


def test_every_field_that_a_line_names_is_a_field_of_recipes() -> None:
    fields = [field for line in FIELDS.values() for field in re.findall(r"--set ([\w.]+)=", line)]
    assert len(fields) >= 8
    for field in fields:
        value: object = RECIPES["source"]
        for part in field.split("."):
            value = getattr(value, part)


@pytest.mark.parametrize("verb", sorted({*OPTIONS, *RECIPE_VERBS}))
def test_every_option_that_a_line_names_is_one_of_its_command(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = {name for argument in app[verb].assemble_argument_collection() for name in argument.names}
    lines = [*OPTIONS.get(verb, {}).values(), *(FIELDS.values() if verb in RECIPE_VERBS else ())]
    named = {option for line in lines if "alexnet prepare" not in line for option in re.findall(r"--[a-z-]+", line)}
    assert named
    assert named <= known | {"--help"}
    taken = {alias for names in OPTIONS.get(verb, {}) for alias in names}
    assert not {f"--{alias}" for alias in taken} & known, "a line for an option that there is"
