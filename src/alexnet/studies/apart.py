"""Keep the runs of a ladder apart from those that decide the paper's claims."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.studies import claims, designs
from alexnet.studies.claim import Claim
from alexnet.studies.record import Record, Records, arm_digest


def ladder_bases(claim: Claim, records: Sequence[Record]) -> Iterable[tuple[bool, str, Recipe]]:
    """Yield the base recipes of a ladder's runs among those of one scale: its design's, with their numbers of epochs.

    Each comes with whether it is the design's, and with its name.
    """
    store = records[0].plain["store"]
    try:
        name, recipe, pictures = designs.base_of(claim, store["side"], None)
    except InputError:
        return
    recipe = recipe.replace(net={"classes": store["classes"]})
    for epochs in sorted({recipe.epochs, *(r.recipe.epochs for r in records)}):
        own = epochs == recipe.epochs and (pictures is None or pictures == store["pictures"])
        yield own, name, recipe.replace(epochs=epochs)


def of_claims(records: Records) -> Records:
    """Leave out the runs that only a ladder has.

    The base's own runs stay, and so do arms of a claim's own design that are rungs too: on stores of 64 and 256 pixels,
    where both start from one recipe, the net without dropout is such an arm. Without this, a rung could pass for the
    base of a claim, and its neighbour for an arm.
    """
    apart = set[tuple[Any, str]]()
    for scale in dict.fromkeys(r.scale for r in records.runs):
        of_scale = [r for r in records.runs if r.scale == scale]
        if rungs := arms_in(claims.LADDERS, of_scale) & {r.arm for r in of_scale}:
            bases = {arm_digest(base) for claim in claims.LADDERS for _, _, base in ladder_bases(claim, of_scale)}
            apart |= {(scale, arm) for arm in rungs - bases - arms_in(claims.ALL, of_scale)}
    return replace(records, runs=tuple(r for r in records.runs if (r.scale, r.arm) not in apart))


def arms_in(studies: Iterable[Claim], records: Sequence[Record]) -> set[str]:
    """Collect the digests of the arms of designs, with the numbers of epochs of the runs of one scale."""
    found = set[str]()
    for claim in studies:
        for _, _, base in ladder_bases(claim, records):
            with suppress(InputError):  # a design that this store has no room for
                found |= {arm_digest(recipe) for recipe in designs.arms_of(claim, base).values()}
    return found
