"""Keep the runs of a ladder apart from those that decide the paper's claims."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

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

    The base's own runs stay. Without this, a rung could pass for the base of a claim, and its neighbour for an arm.
    """
    apart = set[str]()
    for scale in dict.fromkeys(r.scale for r in records.runs):
        of_scale = [r for r in records.runs if r.scale == scale]
        for claim in claims.LADDERS:
            for _, _, base in ladder_bases(claim, of_scale):
                apart |= {arm_digest(r) for r in designs.arms_of(claim, base).values()} - {arm_digest(base)}
    return replace(records, runs=tuple(r for r in records.runs if r.arm not in apart))
