"""What several verbs take, and what they make of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.errors import UnusableError

if TYPE_CHECKING:
    from alexnet.recipe import Recipe

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON for machines instead of a table.")]
Settings = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", negative=(), show_default=False, help="Change a field: --set net.lrn.n=3. May be repeated."
    ),
]
Layers = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=True, show_default=False)]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    Literal["auto", "fp32", "tf32", "bf16", "fp64"],
    Parameter(
        help="auto: bf16 where the hardware has it. tf32: on CUDA, products of 10-bit mantissas. fp64: for proofs."
    ),
]
Workers = Annotated[int, Parameter(help="Threads that read pictures ahead.", validator=Number(gte=1, lte=256))]
Top = Annotated[int, Parameter(validator=Number(gte=1))]
NotNegative = Annotated[int, Parameter(validator=Number(gte=0))]


def way_of(towers_apart: bool, hybrid: bool) -> str:
    """How the net is to lie over the processes: one of launch.WAYS."""
    if towers_apart and hybrid:
        raise UnusableError("--towers-apart and --hybrid exclude each other; give one")
    return "towers" if towers_apart else "hybrid" if hybrid else "data"


def chosen(name: str, settings: Sequence[str], **changes: int | None) -> "Recipe":
    """A recipe by name or file, with --set and the flags that stand for a field."""
    from alexnet.recipe import named, override

    value = override(named(name), list(settings))
    return value.but(**{n: v for n, v in changes.items() if v is not None})
