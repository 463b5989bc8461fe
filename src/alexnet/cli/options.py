"""Options that several commands share, and how they are read."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from alexnet.cli.choices import join_lines
from alexnet.cli.console import complain
from alexnet.core.errors import InputError
from alexnet.core.text import shorten

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON instead of a table.")]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative=(),
        show_default=False,
        help="Recipe field to change: --set net.lrn.n=3. May be repeated.",
    ),
]
Layers = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1, show_default=False)]
Device = Annotated[str, Parameter(help="Device: auto, cpu, cuda or cuda:N.")]
Checkpoint = Annotated[
    str | None,
    Parameter(
        help="Checkpoint of the run: last, best (the lowest validation error), or a step. By default last.",
        show_default=False,
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "tf32", "bf16", "fp64"],
    Parameter(
        help="Arithmetic of the products. auto is bf16 where the hardware has it; tf32 is for CUDA; fp64 is for proofs."
    ),
]


def whole(_: object, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts by itself would round 1.5."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{shorten(text)!r} is not a whole number") from None


def number(least: int, most: int) -> Any:
    """Make the parser's rule for a whole number from `least` to `most`."""
    return Parameter(converter=whole, validator=Number(gte=least, lte=most))


Whole = Annotated[int, Parameter(converter=whole)]
Workers = Annotated[
    int | None,
    number(1, 256),
    Parameter(
        help="Number of threads that read pictures ahead; by default 2, or on CUDA all cores.", show_default=False
    ),
]
Threads = Annotated[
    int | None,
    number(1, 1_000_000),
    Parameter(
        help="Number of threads that compute on a CPU; by default one for each usable core. It changes the last bits "
        "of weights.",
        show_default=False,
    ),
]
Top = Annotated[int, number(1, 1_000_000)]
Positive = Annotated[int, number(1, 1_000_000_000)]
NotNegative = Annotated[int, number(0, 1_000_000_000)]
Rate = Annotated[float, Parameter(validator=Number(gte=0.001, lte=1e12))]


def on_command_line(options: type, **names: tuple[str, ...]) -> Any:
    """Make a subclass of a dataclass of options whose fields become options of a command.

    Args:
        options: The dataclass. Its docstring has the help of each field.
        names: Names of the option, by field, where it has more than one.
    """
    fields: list[Any] = []
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        said: dict[str, Any] = {"name": names[field.name]} if field.name in names else {}
        if hints[field.name] in (int, int | None):
            said |= {"converter": whole}
        elif hints[field.name] is bool:
            said |= {"negative": ()}
        elif get_origin(hints[field.name]) is tuple:
            said |= {"negative": (), "consume_multiple": 1, "show_default": False}
        fields.append((field.name, Annotated[hints[field.name], Parameter(**said)], field))
    # make_dataclass names a module of the standard library; the parser would take such a class for a plain value.
    return dataclasses.make_dataclass(
        options.__name__,
        fields,
        bases=(options,),
        frozen=True,
        namespace={"__doc__": join_lines(options.__doc__ or ""), "__module__": __name__},
    )


def begin_threads(threads: int | None, speak: bool = False, kept: int | None = None, look: bool = True) -> None:
    """Apply --threads, before the work begins.

    Args:
        threads: The option.
        speak: Whether to say on standard error that other programs have cores of some threads.
        kept: Number of threads that a run to resume began with.
        look: Whether to look at other programs.
    """
    from alexnet.core.threads import use_threads

    said = use_threads(threads, kept, look)
    if said and speak:
        complain(said)


def strategy_of(strategy: str, towers_apart: bool, hybrid: bool) -> str:
    """Return the chosen strategy, of which --towers-apart and --hybrid are short forms."""
    given = {"--towers-apart": towers_apart, "--hybrid": hybrid, f"--strategy {strategy}": strategy != "data"}
    asked = [option for option, is_given in given.items() if is_given]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(asked)} exclude each other; give one of them")
    return "towers" if towers_apart else "hybrid" if hybrid else strategy


def chosen(name: "str | Recipe", settings: Sequence[str], **changes: int | None) -> "Recipe":
    """Find a recipe by name or from a file, unless it is one, then apply --set and the options that name a field."""
    from alexnet.config.recipes import named, override

    value = override(named(name), list(settings))
    return value.replace(**{n: v for n, v in changes.items() if v is not None})
