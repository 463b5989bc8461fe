"""Plans of studies: a recipe for each arm and seed of a claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from alexnet.config.recipe import Plateau, Recipe, Start
from alexnet.config.recipes import named
from alexnet.core.errors import InputError
from alexnet.data.loader import steps
from alexnet.data.store import Store
from alexnet.studies import claims, designs
from alexnet.studies.claim import Claim
from alexnet.studies.measures import HELD_OUT_CURVE, measured
from alexnet.studies.record import Records, arm_digest
from alexnet.training.setup import check_fit

SIDE = 32  # pixels a side of CIFAR-10's pictures
WATCHED = 1_000  # held-out pictures to validate on after each epoch, where no measure reads that error


@dataclass(frozen=True)
class Request:
    """The options of a study.

    Attributes:
        recipe: Base recipe, or its name; None for the one that suits the store.
        seeds: Number of seeds of each arm; None for the claim's design.
        epochs: Number of epochs of each run; None for the recipe's.
        pictures: Number of training pictures; None for the claim's design.
        held_out: Number of pictures to judge on; None for all.
        more: Store of more classes, for arms that train on it first.
        first_seed: Seed of each arm's first run; the others follow it.
    """

    recipe: str | Recipe | None = None
    seeds: int | None = None
    epochs: int | None = None
    pictures: int | None = None
    held_out: int | None = None
    more: Store | None = None
    first_seed: int = 0

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise InputError(f"--seeds is {self.seeds}; give 1 or more, and 3 or more for a verdict")

    @property
    def called(self) -> str | None:
        """Name of the given recipe, if it has one."""
        return self.recipe if isinstance(self.recipe, str) else None


@dataclass(frozen=True)
class StudyPlan:
    """The runs of a claim's study.

    Attributes:
        claim: The claim to decide.
        base: Name of the base recipe.
        store: The store, or the part of it that the design uses.
        watched: That part with few held-out pictures, if nothing reads the held-out errors of epochs: no measure of the
            claim, and no schedule. Nets train on it: validation takes less time, and their weights are the same.
        variants: Recipe of every arm with seed 0, including the candidates of `claim.tune`.
        arms: For each arm, a recipe per seed. A tuned arm is missing until its runs in `tuning` have records.
        tuning: Recipes of the runs that choose a learning rate.
        first: For the digest of each recipe that starts from another net, the recipe of that net.
        more: Store that the nets of `first` train on.
    """

    claim: Claim
    base: str
    store: Store
    watched: Store
    variants: Mapping[str, Recipe]
    arms: Mapping[str, Sequence[Recipe]]
    tuning: Sequence[Recipe] = ()
    first: Mapping[str, Recipe] = field(default_factory=dict)
    more: Store | None = None

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes by digest, each once; those that choose a learning rate come first."""
        every = [*self.tuning, *(recipe for recipes in self.arms.values() for recipe in recipes)]
        return {recipe.digest: recipe for recipe in every}

    def recorded(self, records: Records, precision: str) -> set[tuple[str, int]]:
        """List the arms and seeds that need no training: those with a record that has all that the claim reads."""
        return records.places(self.store.digest, precision, whole_curve=reads_curve(self.claim))

    @cached_property
    def arm_of(self) -> dict[str, str]:
        """The name of each recipe's arm, by the recipe's digest."""
        tuning = {v.replace(seed=designs.TUNING_SEED).digest: n for n, v in self.variants.items()}
        return tuning | {r.digest: arm for arm, recipes in self.arms.items() for r in recipes}


def plan_all(
    names: Sequence[str], store: Store, asked: Request, records: Records, precision: str
) -> tuple[list[StudyPlan], list[str]]:
    """Plan claims, and list why some are left out of "all"; raise InputError if a named one cannot be decided."""
    given = named(asked.recipe) if isinstance(asked.recipe, str) else asked.recipe
    plans, left = list[StudyPlan](), list[str]()
    for claim in claims.claims_named(names):
        try:
            plans.append(plan_claim(claim, store, asked, given, records, precision))
        except InputError as error:
            if "all" not in names:
                raise
            left.append(str(error))
    if plans and asked.more and not any(plan.first for plan in plans):
        raise InputError(
            f"--pretrain-on {asked.more.path}: no net of {' '.join(names)} trains on more classes first; leave it out"
        )
    if not plans:
        raise InputError(f"no claim can be decided on store {store.path}: {left[0] if left else 'name one, or all'}")
    return plans, left


def plan_claim(
    claim: Claim, store: Store, asked: Request, given: Recipe | None, records: Records, precision: str
) -> StudyPlan:
    """Plan a claim on a store; raise InputError if the claim cannot be decided on it."""
    name, base, pictures = designs.base_of(claim, store.side, given)
    base = base if asked.epochs is None else base.replace(epochs=asked.epochs)
    base = base.replace(net={"classes": len(store.classes)})  # before the arms, because fc-conv counts the weights
    if claim.base and store.side != SIDE:
        raise InputError(
            f"claim {claim.name} needs pictures of 32 pixels, as in CIFAR-10; store {store.path} has {store.side}"
        )
    part = part_of(store, asked, pictures)
    arms = designs.arms_of(claim, base)
    for recipe in arms.values():
        check_fit(f"of claim {claim.name}", recipe, store)
    if claim.room and base.net.image_size >= store.side:
        raise InputError(
            f"claim {claim.name} is about crops, but views of {base.net.image_size} pixels leave no room in pictures "
            f"of {store.side}, as store {store.path} has; give another --recipe"
        )
    for e in claim.expects:
        both = [arms.get(arm) for arm in (e.larger, e.smaller)]
        if e.judged and e.larger != e.smaller and all(both) and both[0] == both[1]:
            raise InputError(
                f"claim {claim.name}: its arms {e.larger} and {e.smaller} are the same net under recipe "
                f"{asked.called or name}; give a --recipe in which they differ"
            )
    if claim.rows and not asked.more:  # the table is made without the rows that need it
        arms = {n: r for n, r in arms.items() if n not in claim.first}
    chosen, tuning = choose(claim, arms, records, (part.digest, precision))
    seeded = {n: [r.replace(seed=seed) for seed in seeds_of(claim, n, r, base, asked)] for n, r in chosen.items()}
    first = dict[str, Recipe]()
    for arm in claim.first.keys() & seeded.keys():
        before = pretrained(claim, base, arm, store, asked.more)
        for i, recipe in enumerate(seeded[arm]):
            other = before.replace(seed=recipe.seed)
            assert asked.more
            end = steps(len(asked.more["train"]), other.sgd.batch) * other.epochs
            start = Start(other.digest, asked.more.digest, end, recipe.net.layers[:-1])
            seeded[arm][i] = recipe.replace(start=start)
            first[seeded[arm][i].digest] = other
    watched = part
    if not reads_curve(claim) and not any(isinstance(recipe.schedule, Plateau) for recipe in arms.values()):
        watched = part_of(store, asked, pictures, WATCHED)
    return StudyPlan(claim, asked.called or name, part, watched, arms, seeded, tuning, first, asked.more)


def part_of(store: Store, asked: Request, pictures: int | None, most: int | None = None) -> Store:
    """Select the pictures to decide a claim on, as the options or its design say, with `most` to hold out at most."""
    classes, train, held_out = len(store.classes), asked.pictures, asked.held_out
    if train is None and held_out is None and pictures is not None and classes <= pictures < len(store["train"]):
        train = pictures - pictures % classes
    if most is not None and most < (held_out or len(store[store.held_out])):
        few = min(most - most % classes, classes * min(store.class_counts[store.held_out]))
        held_out = few if few > most // 2 else held_out  # of unequal classes, a balanced draw may leave next to nothing
    return store if train is None and held_out is None else store.subset(train, held_out)


def reads_curve(claim: Claim) -> bool:
    """Tell whether a claim needs the held-out errors of every epoch, on all pictures."""
    return any(m in HELD_OUT_CURVE for e in claim.expects for m in (e.measure, e.smaller_measure))


def seeds_of(claim: Claim, arm: str, recipe: Recipe, base: Recipe, asked: Request) -> range:
    """List the seeds of an arm; raise InputError if they reach the one that chooses learning rates."""
    seeds = range(asked.first_seed, asked.first_seed + count_of(claim, arm, recipe, base, asked))
    if seeds.start < 0 or seeds.stop > designs.TUNING_SEED:
        raise InputError(
            f"--first-seed {asked.first_seed}: {len(seeds)} seeds from there on are not all within 0 to "
            f"{designs.TUNING_SEED - 1}; give one of 0 to {max(0, designs.TUNING_SEED - len(seeds))}"
        )
    return seeds


def count_of(claim: Claim, arm: str, recipe: Recipe, base: Recipe, asked: Request) -> int:
    """Count the seeds of an arm."""
    if claim.rows:
        return max((row.nets.get(arm, 0) for row in claim.rows), default=0)
    if asked.seeds is not None:
        return asked.seeds
    shared = recipe == base and not claim.adjust and not claim.base
    return max(claim.seeds, designs.BASE_SEEDS) if shared else claim.seeds


def choose(
    claim: Claim, arms: Mapping[str, Recipe], records: Records, scale: tuple[str, str]
) -> tuple[dict[str, Recipe], list[Recipe]]:
    """Choose the best candidate of each tuned arm, if the runs that choose have records.

    Returns:
        The recipes of the arms to judge, by name, and those of the runs that choose.
    """
    tuned = {name for names in claim.tune.values() for name in names}
    expected = {arm for e in claim.expects for arm in (e.larger, e.smaller)}
    chosen = {n: r for n, r in arms.items() if n not in tuned or n in expected}
    tuning = [arms[n].replace(seed=designs.TUNING_SEED) for n in sorted(tuned) if n in arms]
    for arm in claim.tune:
        if best := best_variant(claim, arm, arms, records, scale):
            chosen[arm] = arms[best]
    return chosen, tuning


def best_variant(
    claim: Claim, arm: str, arms: Mapping[str, Recipe], records: Records, scale: tuple[str, str]
) -> str | None:
    """Find the candidate that does best on the tuning seed; None while one of its runs is missing."""
    measure = next(e.measure for e in claim.expects if e.judged and arm in (e.larger, e.smaller))
    seen = {n: records.of(arm_digest(arms[n]), scale).get(designs.TUNING_SEED) for n in claim.tune[arm]}
    if not all(seen.values()):
        return None
    values = {n: measured(record, measure) for n, record in seen.items() if record}
    known = {n: value for n, value in values.items() if value is not None}
    return min(known, key=lambda n: (known[n], n)) if known else min(seen)


def pretrained(claim: Claim, base: Recipe, arm: str, store: Store, more: Store | None) -> Recipe:
    """Build the recipe that trains an arm on the store `more` first; raise InputError if `more` does not fit."""
    if more is None:
        raise InputError(
            f"claim {claim.name} trains on more classes first; name a store that has them with --pretrain-on STORE"
        )
    if more.side != store.side or len(more.classes) <= len(store.classes):
        raise InputError(
            f"--pretrain-on {more.path} has {len(more.classes)} classes and pictures of {more.side} pixels; it must "
            f"have more than {len(store.classes)} classes, and {store.side} pixels as store {store.path}"
        )
    change = claim.first[arm]
    recipe = base.replace(**(change(base) if callable(change) else change)).replace(net={"classes": len(more.classes)})
    if isinstance(recipe.schedule, Plateau):
        raise InputError(f"claim {claim.name} needs a recipe with a fixed number of epochs: source or tiny, not paper")
    check_fit(f"of claim {claim.name}", recipe, more)
    return recipe
