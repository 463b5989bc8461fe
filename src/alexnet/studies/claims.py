"""The list of the paper's claims, in the order of its sections.

A claim has arms, which are nets that differ from a base recipe in the fields given to `Recipe.replace`, and
expectations, which name the arm with the larger value of a measure. The paper's number is in the measure's unit (0.014
is 1.4 points of error). Numbers of "the 2012 log" are from comments in the released parameter files. They are top-1 /
top-5 errors with ten views on the validation set of ILSVRC-2012, unless they name another set.

ADD YOURS: write a `Claim` in net_claims.py or training_claims.py. If an arm depends on the base recipe, write a
function in arms.py.
"""

from collections.abc import Iterable, Sequence

from alexnet.config import overrides
from alexnet.core.errors import InputError
from alexnet.studies.claim import Claim
from alexnet.studies.net_claims import NET
from alexnet.studies.since_2012 import SINCE_2012
from alexnet.studies.training_claims import TRAINING


def by_name(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Index claims by name; raise ValueError if two share a name."""
    found = dict[str, Claim]()
    for claim in claims:
        if claim.name in found:
            raise ValueError(f"two claims are named {claim.name}")
        found[claim.name] = claim
    return found


ALL = (*NET, *TRAINING)
LADDERS = (SINCE_2012,)  # studies that are not about a claim of the paper: "all" does not name them
CLAIMS = by_name((*ALL, *LADDERS))


def claims_named(names: Sequence[str]) -> list[Claim]:
    """Look up claims by name, each once, or all of the paper's for "all"; raise InputError for an unknown name."""
    for name in names:
        if name not in (*CLAIMS, "all"):
            raise InputError(overrides.unknown_name(name, name, [*CLAIMS, "all"], "", what="claim"))
    every = [*(claim.name for claim in ALL), *(name for name in names if name != "all" and CLAIMS[name].steps)]
    return [CLAIMS[name] for name in dict.fromkeys(every if "all" in names else names)]
