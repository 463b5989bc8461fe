"""What a study trains: for each arm of a claim a recipe a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alexnet.config.recipe import Plateau, Recipe, Start
from alexnet.config.recipes import named
from alexnet.core.errors import InputError
from alexnet.data.loader import steps
from alexnet.data.store import Store
from alexnet.studies import claims
from alexnet.studies.claim import Claim
from alexnet.training.setup import check_fit

SIDE = 32  # pixels, of CIFAR-10's pictures


@dataclass(frozen=True)
class StudyPlan:
    """What a claim's study trains: for each arm a recipe a seed.

    `first`: by the digest of a recipe that starts from another net, what that is, trained on the store `more`.
    """

    claim: Claim
    base: str
    arms: Mapping[str, Sequence[Recipe]]
    first: Mapping[str, Recipe] = field(default_factory=dict)
    more: Store | None = None

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Each recipe once, by its digest."""
        return {recipe.digest: recipe for recipes in self.arms.values() for recipe in recipes}


def plan_all(
    names: Sequence[str],
    store: Store,
    recipe: str | Recipe | None,
    seeds: int,
    epochs: int | None,
    more: Store | None = None,
) -> tuple[list[StudyPlan], list[str]]:
    """The claims' plans, and for "all" why some are left out; raises InputError for one that cannot be decided."""
    if seeds < 1:
        raise InputError(f"--seeds {seeds}; give 1 or more, and 2 or more for an interval")
    given, every, plans, left = named(recipe) if isinstance(recipe, str) else recipe, "all" in names, [], []
    for claim in claims.claims_named(names):
        try:
            called = recipe if isinstance(recipe, str) else None
            plans.append(plan_claim(claim, store, given, called, seeds, epochs, more))
        except InputError as error:
            if not every:
                raise
            left.append(str(error))
    if not plans:
        raise InputError(f"no claim can be decided on store {store.path}: {left[0] if left else 'name one, or all'}")
    return plans, left


def plan_claim(
    claim: Claim,
    store: Store,
    given: Recipe | None,
    called: str | None,
    seeds: int,
    epochs: int | None,
    more: Store | None = None,
) -> StudyPlan:
    """A claim's plan on a store; raises InputError where the one cannot be decided on the other."""
    name, base = base_recipe(claim, store.side, given, epochs)
    base = base.replace(net={"classes": len(store.classes)})  # before the arms: one counts the weights
    if claim.base and store.side != SIDE:
        raise InputError(
            f"claim {claim.name} needs pictures of 32 pixels, as CIFAR-10 has; store {store.path} holds {store.side}"
        )
    arms = claims.arms(claim, base)
    for recipe in arms.values():
        check_fit(f"of claim {claim.name}", recipe, store)
    if claim.room and base.net.image_size >= store.side:
        raise InputError(
            f"claim {claim.name} is about crops, and views of {base.net.image_size} pixels leave no room in the "
            f"{store.side} of store {store.path}; give another --recipe"
        )
    for e in claim.expects:
        if e.judged and e.larger != e.smaller and arms[e.larger].digest == arms[e.smaller].digest:
            raise InputError(
                f"claim {claim.name}: its arms {e.larger} and {e.smaller} are the same net under recipe "
                f"{called or name}; give a --recipe in which they differ"
            )
    if claim.rows and not more:  # a table without the rows that need it
        arms = {n: r for n, r in arms.items() if n not in claim.first}
    counts = {n: max((row.nets.get(n, 0) for row in claim.rows), default=seeds) for n in arms}
    seeded = {n: [r.replace(seed=seed) for seed in range(counts[n])] for n, r in arms.items()}
    first = dict[str, Recipe]()
    for arm in claim.first.keys() & arms.keys():
        before = pretrained(claim, base, arm, store, more)
        for i, recipe in enumerate(seeded[arm]):
            other = before.replace(seed=recipe.seed)
            assert more
            end = steps(len(more["train"]), other.sgd.batch) * other.epochs
            start = Start(other.digest, more.digest, end, recipe.net.layers[:-1])
            seeded[arm][i] = recipe.replace(start=start)
            first[seeded[arm][i].digest] = other
    return StudyPlan(claim, called or name, seeded, first, more)


def pretrained(claim: Claim, base: Recipe, arm: str, store: Store, more: Store | None) -> Recipe:
    """What an arm is trained as on the store `more`; raises InputError where there is none that serves."""
    if more is None:
        raise InputError(
            f"claim {claim.name} trains on more classes first; name a store of them with --pretrain-on STORE"
        )
    if more.side != store.side or len(more.classes) <= len(store.classes):
        raise InputError(
            f"--pretrain-on {more.path} has {len(more.classes)} classes and pictures of {more.side} pixels; it must "
            f"have more than {len(store.classes)} classes, and {store.side} pixels as store {store.path}"
        )
    change = claim.first[arm]
    recipe = base.replace(**(change(base) if callable(change) else change)).replace(net={"classes": len(more.classes)})
    if isinstance(recipe.schedule, Plateau):
        raise InputError(f"claim {claim.name} needs a recipe whose length is known before: source or tiny, not paper")
    check_fit(f"of claim {claim.name}", recipe, more)
    return recipe


def base_recipe(claim: Claim, side: int, given: Recipe | None, epochs: int | None) -> tuple[str, Recipe]:
    """The recipe that a claim's arms differ from, and its name; raises InputError for a claim that cannot be run."""
    name, base = claims.base(claim, side, given)
    return name, base.replace(epochs=epochs) if epochs is not None else base
