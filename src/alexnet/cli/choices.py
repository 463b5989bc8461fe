"""Parts of the help: names from the tables of figures, benches and recipes, and paragraphs without line breaks."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from alexnet.bench.suite import BENCHES
from alexnet.figures.catalogue import FIGURES

if TYPE_CHECKING:
    BenchName = str
    FigureName = str
else:  # the parser accepts only these, the help lists them, and a shell completes them
    BenchName = Literal[("all", *BENCHES)]
    FigureName = Literal[tuple(FIGURES)]

BENCHES_IN_WORDS = "Part to measure. " + ". ".join(f"{name}: {words}" for name, (_, words, _) in BENCHES.items()) + "."
ASKS = {"--help", "-h", "--install-completion"}  # words that print the help or write it to a file


def join_lines(doc: str) -> str:
    """Join the lines of each paragraph of a docstring, so that the help wraps them to the terminal's width."""
    lines: list[str] = []
    for line in doc.split("\n"):
        last = lines[-1] if lines else ""
        ruled = line.strip().startswith("---") or last.strip().startswith("---")
        if line.strip() and last.strip() and _indent(line) == _indent(last) and not ruled:
            lines[-1] = f"{last} {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def write_recipe_names(verbs: Iterable[Callable[..., Any]], words: Sequence[str]) -> None:
    """Replace {recipes} by the recipes' names in the docstring of each command whose help is wanted.

    The recipes are imported only then, so that other commands and `alexnet --help` start faster.

    Args:
        verbs: Functions of the command line. Those without {recipes} in the docstring are left as they are.
        words: Words of the command line, without the program's name.
    """
    if not ASKS & set(words):
        return
    for verb in verbs:
        if "{recipes}" in (verb.__doc__ or "") and {verb.__name__, "--install-completion"} & set(words):
            from alexnet.config.recipes import RECIPES

            verb.__doc__ = str(verb.__doc__).replace("{recipes}", ", ".join(RECIPES))
