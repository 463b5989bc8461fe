"""The names that the help lists: figures, benches and recipes, each taken from the one table that defines them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from alexnet.bench.suite import BENCHES
from alexnet.figures.catalogue import FIGURES

if TYPE_CHECKING:
    BenchName = str
    FigureName = str
else:  # the parser refuses other words, the help lists these, and a shell completes them
    BenchName = Literal[("all", *BENCHES)]
    FigureName = Literal[tuple(FIGURES)]

BENCHES_IN_WORDS = ". ".join(f"{name}: {words}" for name, (_, words) in BENCHES.items()) + "."
ASKS = {"--help", "-h", "--install-completion"}  # words that show the help, or write it into a file


def write_recipe_names(verbs: Iterable[Callable[..., Any]], words: Sequence[str]) -> None:
    """Replace {recipes} in the docstring of each verb whose help the command line asks for by the recipes' names.

    The recipes are read only then: every other command, and `alexnet --help`, starts without them.

    Args:
        verbs: The functions of the command line; one takes part if its docstring has the word {recipes}.
        words: The command line, without the program's name.
    """
    if not ASKS & set(words):
        return
    for verb in verbs:
        if "{recipes}" in (verb.__doc__ or "") and {verb.__name__, "--install-completion"} & set(words):
            from alexnet.config.recipes import RECIPES

            verb.__doc__ = str(verb.__doc__).replace("{recipes}", ", ".join(RECIPES))
