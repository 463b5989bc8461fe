"""The paper's claims, in the order of its sections: arms that differ from a base recipe, and what should differ.

An arm is what `Recipe.replace` takes. An expectation says of which arm a measure is larger; the paper's number stands
beside it in the measure's unit (0.014 is 1.4 points of error). Numbers of "the 2012 log" are from the comments in the
released parameter files, top-1 / top-5 with ten views on ILSVRC-2012's validation set unless said otherwise.

ADD YOURS: a `Claim` in net_claims.py or training_claims.py; an arm that must look at the base recipe is a function of
arms.py.
"""

from collections.abc import Iterable, Sequence

from alexnet.config import overrides
from alexnet.core.errors import InputError
from alexnet.studies.claim import Claim
from alexnet.studies.net_claims import NET
from alexnet.studies.training_claims import TRAINING


def by_name(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Return the claims by their names; raises ValueError where two have one name."""
    found = dict[str, Claim]()
    for claim in claims:
        if claim.name in found:
            raise ValueError(f"two claims are named {claim.name}")
        found[claim.name] = claim
    return found


ALL = (*NET, *TRAINING)
CLAIMS = by_name(ALL)


def claims_named(names: Sequence[str]) -> list[Claim]:
    """Return the claims of these names, each once, or all for "all"; raise InputError for an unknown name."""
    for name in names:
        if name not in (*CLAIMS, "all"):
            raise InputError(overrides.unknown_name(name, name, [*CLAIMS, "all"], "", what="claim"))
    return [CLAIMS[name] for name in dict.fromkeys(CLAIMS if "all" in names else names)]
