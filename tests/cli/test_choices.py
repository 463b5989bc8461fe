"""The names in the help are those of the tables that define them."""

import re
import subprocess
import sys

import pytest

from alexnet.bench.suite import BENCHES
from alexnet.cli import choices, model
from alexnet.cli.main import VERBS, main
from alexnet.config.recipes import RECIPES
from alexnet.figures.catalogue import FIGURES
from alexnet.training.options import TrainOptions


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that ends well prints, without the frame, in one line."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("verb", ["recipe", "summary", "plan"])
def test_the_help_of_a_verb_that_takes_a_recipe_lists_every_recipe(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ", ".join(RECIPES) in shown(capsys, verb, "--help")


def test_the_help_lists_every_figure_and_every_bench_with_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"[choices: {', '.join(FIGURES)}]" in shown(capsys, "figures", "--help")
    found = shown(capsys, "bench", "--help")
    assert f"[choices: all, {', '.join(BENCHES)}]" in found
    assert all(f"{name}: {words}." in found for name, (_, words, _) in BENCHES.items())


def test_no_help_shows_a_word_that_should_have_been_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        assert not re.search(r"\{[a-z_]*\}", shown(capsys, verb.__name__.rstrip("_"), "--help"))


def test_no_words_of_help_are_lost_as_markup() -> None:
    """In brackets, a word in lower case is markup of rich: pip install 'alexnet[near]' would lose it."""
    for doc in (*(verb.__doc__ for verb in VERBS), TrainOptions.__doc__):
        assert not re.search(r"\[[a-z/@#]", doc or "")


def test_recipes_are_not_read_unless_the_help_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.summary, "__doc__", "{recipes}")
    for words in ([], ["--help"], ["summary"], ["verify", "--help"]):
        choices.write_recipe_names([model.summary], words)
        assert model.summary.__doc__ == "{recipes}"
    choices.write_recipe_names([model.summary], ["summary", "-h"])
    assert model.summary.__doc__ == ", ".join(RECIPES)


def test_help_of_a_verb_imports_no_large_library() -> None:
    code = "import sys\nfrom alexnet.cli.main import main\n"
    code += "try: main(['summary', '--help'])\nexcept SystemExit: print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "matplotlib"} & set(done.stdout.splitlines()[-1].split())


def test_the_help_leaves_the_wrapping_of_a_paragraph_to_the_terminal() -> None:
    doc = "Do it.\n\n    One\n    two\n\n    Parameters\n    ----------\n    a\n        x\n        y\n    b\n        z"
    joined = "Do it.\n\n    One two\n\n    Parameters\n    ----------\n    a\n        x y\n    b\n        z"
    assert choices.join_lines(doc) == choices.join_lines(joined) == joined
