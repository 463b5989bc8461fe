"""The averages of nets that a claim asks for."""

from collections.abc import Collection
from dataclasses import dataclass

from alexnet.config.recipe import Recipe
from alexnet.studies.plan import StudyPlan
from alexnet.studies.record import Records, arm_digest

FIVE = 5  # nets in an average of the paper (section 6)
MOST_NETS = 10  # nets of which every choice of five is averaged


@dataclass(frozen=True)
class Wanted:
    """Nets to average, `size` at a time: their recipes by the keys of their records."""

    arm: str
    members: dict[str, Recipe]
    size: int


def wanted(plan: StudyPlan, records: Records, precision: str, failed: Collection[str] = ()) -> list[Wanted]:
    """List the averages of a claim that can be made now: their nets have records, and they have no record yet."""
    scale = plan.store.digest, precision

    def members(arms: dict[str, int]) -> dict[str, Recipe]:
        recipes = [r for arm, count in arms.items() for r in plan.arms.get(arm, ())[:count] if r.digest not in failed]
        found = {r.digest: records.of(arm_digest(r), scale).get(r.seed) for r in recipes}
        return {one.key: r for r in recipes if (one := found[r.digest])}

    asked = list[Wanted]()
    for arm in {e.larger: 0 for e in plan.claim.expects if (e.smaller_measure or "").startswith("ensemble")}:
        nets = members({arm: MOST_NETS})
        asked.append(Wanted(arm, nets, min(FIVE, len(nets))))
    for row in plan.claim.rows:
        nets = members(dict(row.nets))
        if len(nets) == sum(row.nets.values()):
            asked.append(Wanted(row.model, nets, len(nets)))
    there = {(frozenset(a.members), a.plain["size"]) for a in records.averages}
    new = {(frozenset(w.members), w.size): w for w in asked if len(w.members) > 1}
    return [w for key, w in new.items() if key not in there]
