"""What several verbs take, and what they make of it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin, get_type_hints

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from alexnet.core.errors import InputError
from alexnet.core.text import shorten

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON for machines instead of a table.")]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", negative=(), show_default=False, help="Change a field: --set net.lrn.n=3. May be repeated."
    ),
]
Layers = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1, show_default=False)]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    Literal["auto", "fp32", "tf32", "bf16", "fp64"],
    Parameter(
        help="auto: bf16 where the hardware has it. tf32: on CUDA, products of 10-bit mantissas. fp64: for proofs."
    ),
]


def whole(_: object, tokens: Sequence[Token]) -> int:
    """A whole number as it was typed; cyclopts itself would round 1.5."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{shorten(text)!r} is not a whole number") from None


def number(least: int, most: int) -> Any:
    """Make the parser's rule for a whole number."""
    return Parameter(converter=whole, validator=Number(gte=least, lte=most))


Whole = Annotated[int, Parameter(converter=whole)]
Workers = Annotated[int, number(1, 256), Parameter(help="Threads that read pictures ahead.")]
Top = Annotated[int, number(1, 1_000_000)]
Positive = Annotated[int, number(1, 1_000_000_000)]
NotNegative = Annotated[int, number(0, 1_000_000_000)]
Rate = Annotated[float, Parameter(validator=Number(gte=0.001, lte=1e12))]


def on_command_line(options: type, **names: tuple[str, ...]) -> Any:
    """A subclass of a dataclass of options whose fields the parser reads as the other options of a verb.

    `names`: the option's names, for fields that have more than one.
    """
    fields: list[Any] = []
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        said: dict[str, Any] = {"name": names[field.name]} if field.name in names else {}
        if hints[field.name] is int:
            said |= {"converter": whole}
        elif hints[field.name] is bool:
            said |= {"negative": ()}
        elif get_origin(hints[field.name]) is tuple:
            said |= {"negative": (), "consume_multiple": 1, "show_default": False}
        fields.append((field.name, Annotated[hints[field.name], Parameter(**said)], field))
    # The parser takes a class of a module of the standard library, as make_dataclass gives it, for a plain value.
    return dataclasses.make_dataclass(
        options.__name__,
        fields,
        bases=(options,),
        frozen=True,
        namespace={"__doc__": options.__doc__, "__module__": __name__},
    )


def strategy_of(strategy: str, towers_apart: bool, hybrid: bool) -> str:
    """The strategy that was asked for: --towers-apart and --hybrid are short forms of it."""
    given = {"--towers-apart": towers_apart, "--hybrid": hybrid, f"--strategy {strategy}": strategy != "data"}
    asked = [option for option, is_given in given.items() if is_given]
    if len(asked) > 1:
        raise InputError(f"{' and '.join(asked)} exclude each other; give one")
    return "towers" if towers_apart else "hybrid" if hybrid else strategy


def chosen(name: str, settings: Sequence[str], **changes: int | None) -> "Recipe":
    """A recipe by name or file, with --set and the flags that stand for a field."""
    from alexnet.config.recipes import named, override

    value = override(named(name), list(settings))
    return value.replace(**{n: v for n, v in changes.items() if v is not None})
