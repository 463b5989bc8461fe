"""Starting a training or going on with one: what fits what, and what is refused."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from alexnet.config import overrides
from alexnet.config.recipe import Recipe, Start
from alexnet.config.recipes import named
from alexnet.core.device import Place, keep_pages, place
from alexnet.core.errors import UnusableError
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.distributed.sharding import spread
from alexnet.models.build import build
from alexnet.runs import checkpoint, environment
from alexnet.runs import folder as run
from alexnet.training import finetune as starting
from alexnet.training.trainer import Training


@dataclass(frozen=True)
class Given:
    """What a training is asked for; `name` is that of a recipe which is given as a value, `until` as `train` has it."""

    store: str | Path | Store
    recipe: str | Recipe | None
    name: str | None
    resume: bool
    until: float | None = None
    start: Path | None = None
    layers: tuple[str, ...] = ()


@contextmanager
def begin(
    mesh: Mesh, given: Given, folder: Path, where: Place, precision: str, way: str, parts: int, workers: int, cache: str
) -> Iterator["Training"]:
    """A new run's training, or an interrupted one's where it stopped; its folder is this training's alone.

    Raises UnusableError for what does not fit.
    """
    begun = mesh.settled(f"run folder {folder}", lambda: "there" if run.is_run(folder) else "missing") == "there"
    store, name, recipe, where = mesh.together(lambda: fitting(given, folder, begun, where, precision))
    mesh.alike({f"recipe's {field}": value for field, value, _ in overrides.described(recipe)} | {
        "recipe": name, "store digest": store.digest, "precision": where.precision, "way": way, "--accumulate": parts,
        "code of alexnet": environment.code(), "version of torch": torch.__version__,
    })  # fmt: skip
    over = mesh.together(lambda: spread(mesh, way, recipe.net))
    net = build(recipe.net, recipe.seed, over.layout)  # before the folder is made: it may be too large for the memory

    def create() -> None:
        if mesh.leads and not begun:
            check_free(folder)  # once more: another may have begun it meanwhile
            run.create(folder, name, recipe, store, where, over.words, given.start)

    with mesh.together(lambda: run.locked(folder, mesh.leads)):
        mesh.together(create)
        mesh.settled(f"run folder {folder}", lambda: began(folder))
        mesh.settled(f"checkpoints in {folder}", lambda: [path.name for path in checkpoint.found(folder)])
        keep_pages()
        yield mesh.together(lambda: Training(
            folder, recipe, net, over, store, where, parts, workers, cache, given.until
        ))  # fmt: skip


def began(folder: Path) -> Any:
    """When a run was begun, as its folder says."""
    return run.environment_of(folder)["started"] if run.is_run(folder) else "missing"


def fitting(
    given: Given, folder: Path, begun: bool, where: Place, precision: str
) -> tuple[Store, str, Recipe, Place]:  # fmt: skip
    """The store, the recipe with its name, and the place of a training, which fit each other and the run."""
    if not (given.resume and begun):
        check_free(folder)
    store = given.store if isinstance(given.store, Store) else Store(given.store)
    if given.recipe is None and begun:
        name, recipe = run.recipe_of(folder)
    elif isinstance(given.recipe, Recipe):
        name, recipe = given.name or "own", given.recipe
    elif given.recipe is None and given.start:
        name, recipe = run.recipe_of(given.start)
        recipe = recipe.but(start=None)
    else:
        name, recipe = given.recipe or "source", named(given.recipe or "source")
    recipe = recipe.but(net={"classes": len(store.classes)})
    check_fit(name, recipe, store)
    if given.start:
        recipe = recipe.but(start=begun_from(given, folder, recipe) if begun else fresh(given, recipe, store))
    elif given.layers:
        raise UnusableError(f"--layers {' '.join(given.layers)}: layers of which run? Add --from RUN")
    elif recipe.start and not begun:
        raise UnusableError(f"recipe {name} starts from a run of recipe {recipe.start.recipe}; say where with --from")
    if begun:
        check_same(folder, recipe, store)
        where = place(str(where.device), kept_precision(folder, precision))
    return store, name, recipe, where


def check_free(folder: Path) -> None:
    """Raise UnusableError where a new run's folder is taken."""
    if run.in_use(folder):
        advice = "add --resume to go on with it, or " if run.is_run(folder) else ""
        raise UnusableError(f"run folder {folder} exists; {advice}name another folder")


def fresh(given: Given, recipe: Recipe, store: Store) -> Start:
    """What a new run starts from; raises UnusableError unless it is what the recipe says, if it says anything."""
    assert given.start
    found = starting.start(given.start, recipe, store, given.layers or (recipe.start.layers if recipe.start else ()))
    if recipe.start and recipe.start != found:
        raise UnusableError(f"run {given.start} is not what the recipe starts from: {overrides.show(recipe.start)}")
    return found


def begun_from(given: Given, folder: Path, recipe: Recipe) -> Start | None:
    """What a run that goes on was begun from; raises UnusableError if that was another run or other layers."""
    then, before = run.environment_of(folder).get("start"), run.recipe_of(folder)[1].start
    assert given.start
    if then != str(given.start.resolve()):
        raise UnusableError(f"--from {given.start}: run {folder} was begun from {then or 'nothing'}; leave it out")
    if given.layers and before and set(given.layers) != set(before.layers):
        raise UnusableError(f"--layers {' '.join(given.layers)}: run {folder} began with {' '.join(before.layers)}")
    return before


def check_fit(name: str, recipe: Recipe, store: Store) -> None:
    """Raise UnusableError where the store lacks pictures to validate on, or they do not suit the views."""
    if not {"val", "test"} & store.splits.keys():
        raise UnusableError(f"store {store.path} has no val split to watch training on; prepare it with --val-fraction")
    view, side = recipe.net.input, store.side
    if view > side or 2 * view <= side:
        raise UnusableError(
            f"recipe {name} takes views of {view} pixels, and store {store.path} holds pictures of {side}: take "
            "another recipe (source for 256, tiny for 64, cifar-18 for 32), or prepare again with another --side"
        )


def check_same(folder: Path, recipe: Recipe, store: Store) -> None:
    """Raise UnusableError unless the run was begun with this recipe, on this store."""
    _, before = run.recipe_of(folder)
    if before != recipe:
        old, new = ({n: v for n, v, _ in overrides.described(r)} for r in (before, recipe))
        name = overrides.differing(old, new)[0]
        raise UnusableError(
            f"run {folder} was begun with another recipe: {name} was {old.get(name)}, now {new.get(name)}; "
            f"resume it without {options(name)}, or {otherwise(folder, before, recipe, store)}"
        )
    then = run.environment_of(folder)
    if then["store_digest"] != store.digest:
        raise UnusableError(
            f"run {folder} was begun on store {then['store']}, digest {then['store_digest']}; "
            f"{store.path} has {store.digest}: give the store it was begun on"
        )


def options(field: str) -> str:
    """What on the command line may have changed a field of the recipe."""
    if field in ("epochs", "seed"):
        return f"--{field}"
    return f"--set {field}, or the --recipe {'or --freeze ' * (field == 'sgd.layer_rate')}that changes it"


def otherwise(folder: Path, before: Recipe, recipe: Recipe, store: Store) -> str:
    """What serves instead of going on with another recipe.

    A run's rates follow from the part of its epochs that is done, so that one of more epochs has other rates from the
    first step on: what it has learned can be gone on from, in a run of its own.
    """
    if recipe.epochs <= before.epochs or recipe.but(epochs=before.epochs) != before:
        return "name another run folder"
    command = ["alexnet", "train", str(store.path), "NEW", "--from", str(folder)]
    more = shlex.join([*command, "--epochs", str(recipe.epochs - before.epochs)])
    return f"go on from its weights in another folder, at rates for the epochs that are added: {more}"


def kept_precision(folder: Path, precision: str) -> str:
    """The precision that a run was begun in; raises UnusableError if another is asked for."""
    then = str(run.environment_of(folder)["precision"])
    if precision not in ("auto", then):
        raise UnusableError(f"--precision {precision}: run {folder} was begun in {then} and goes on in it")
    return then
