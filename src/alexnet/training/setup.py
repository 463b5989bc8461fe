"""Starting a training or going on with one: what fits what, and what is refused."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from alexnet.config import overrides
from alexnet.config.recipe import Recipe, Start
from alexnet.config.recipes import named
from alexnet.core.device import Compute, choose_compute, keep_pages
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.distributed.sharding import sharding
from alexnet.models.build import build
from alexnet.runs import checkpoint, environment
from alexnet.runs import folder as run
from alexnet.training import finetune as starting
from alexnet.training.trainer import Trainer


@dataclass(frozen=True)
class TrainOptions:
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
    mesh: Mesh,
    given: TrainOptions,
    folder: Path,
    compute: Compute,
    precision: str,
    strategy: str,
    parts: int,
    workers: int,
    cache: str,
) -> Iterator["Trainer"]:
    """A new run's training, or an interrupted one's where it stopped; its folder is this training's alone.

    Raises InputError for what does not fit.
    """
    begun = (
        mesh.wait_until_equal(f"run folder {folder}", lambda: "there" if run.is_run(folder) else "missing") == "there"
    )
    store, name, recipe, compute = mesh.run_on_all(lambda: fitting(given, folder, begun, compute, precision))
    mesh.check_equal(
        {f"recipe's {field}": value for field, value, _ in overrides.describe(recipe)}
        | {
            "recipe": name,
            "store digest": store.digest,
            "precision": compute.precision,
            "way": strategy,
            "--accumulate": parts,
            "code of alexnet": environment.code(),
            "version of torch": torch.__version__,
        }
    )
    over = mesh.run_on_all(lambda: sharding(mesh, strategy, recipe.net))
    net = build(
        recipe.net, recipe.seed, over.model_shard
    )  # before the folder is made: it may be too large for the memory

    def create() -> None:
        if mesh.is_main and not begun:
            check_free(folder)  # once more: another may have begun it meanwhile
            run.create(folder, name, recipe, store, compute, over.description, given.start)

    with mesh.run_on_all(lambda: run.locked(folder, mesh.is_main)):
        mesh.run_on_all(create)
        mesh.wait_until_equal(f"run folder {folder}", lambda: began(folder))
        mesh.wait_until_equal(
            f"checkpoints in {folder}", lambda: [path.name for path in checkpoint.list_checkpoints(folder)]
        )
        keep_pages()
        yield mesh.run_on_all(
            lambda: Trainer(folder, recipe, net, over, store, compute, parts, workers, cache, given.until)
        )


def began(folder: Path) -> Any:
    """When a run was begun, as its folder says."""
    return run.environment_of(folder)["started"] if run.is_run(folder) else "missing"


def fitting(
    given: TrainOptions, folder: Path, begun: bool, compute: Compute, precision: str
) -> tuple[Store, str, Recipe, Compute]:
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
        recipe = recipe.replace(start=None)
    else:
        name, recipe = given.recipe or "source", named(given.recipe or "source")
    recipe = recipe.replace(net={"classes": len(store.classes)})
    check_fit(name, recipe, store)
    if given.start:
        recipe = recipe.replace(start=begun_from(given, folder, recipe) if begun else fresh(given, recipe, store))
    elif given.layers:
        raise InputError(f"--layers {' '.join(given.layers)}: layers of which run? Add --from RUN")
    elif recipe.start and not begun:
        raise InputError(f"recipe {name} starts from a run of recipe {recipe.start.recipe}; say where with --from")
    if begun:
        check_same(folder, recipe, store)
        compute = choose_compute(str(compute.device), kept_precision(folder, precision))
    return store, name, recipe, compute


def check_free(folder: Path) -> None:
    """Raise InputError where a new run's folder is taken."""
    if run.in_use(folder):
        advice = "add --resume to go on with it, or " if run.is_run(folder) else ""
        raise InputError(f"run folder {folder} exists; {advice}name another folder")


def fresh(given: TrainOptions, recipe: Recipe, store: Store) -> Start:
    """What a new run starts from; raises InputError unless it is what the recipe says, if it says anything."""
    assert given.start
    found = starting.plan_start(
        given.start, recipe, store, given.layers or (recipe.start.layers if recipe.start else ())
    )
    before = replace(found, recipe=run.recipe_of(given.start)[1].digest_before)  # as a recipe of alexnet 0.1.0 has it
    if recipe.start and recipe.start not in (found, before):
        raise InputError(f"run {given.start} is not what the recipe starts from: {overrides.show(recipe.start)}")
    return found


def begun_from(given: TrainOptions, folder: Path, recipe: Recipe) -> Start | None:
    """What a run that goes on was begun from; raises InputError if that was another run or other layers."""
    then, before = run.environment_of(folder).get("start"), run.recipe_of(folder)[1].start
    assert given.start
    if then != str(given.start.resolve()):
        raise InputError(f"--from {given.start}: run {folder} was begun from {then or 'nothing'}; leave it out")
    if given.layers and before and set(given.layers) != set(before.layers):
        raise InputError(f"--layers {' '.join(given.layers)}: run {folder} began with {' '.join(before.layers)}")
    return before


def check_fit(name: str, recipe: Recipe, store: Store) -> None:
    """Raise InputError where the store lacks pictures to validate on, or they do not suit the views."""
    if not {"val", "test"} & store.splits.keys():
        raise InputError(f"store {store.path} has no val split to watch training on; prepare it with --val-fraction")
    view, side = recipe.net.image_size, store.side
    if view > side or 2 * view <= side:
        raise InputError(
            f"recipe {name} takes views of {view} pixels, and store {store.path} holds pictures of {side}: take "
            "another recipe (source for 256, tiny for 64, cifar-18 for 32), or prepare again with another --side"
        )


def check_same(folder: Path, recipe: Recipe, store: Store) -> None:
    """Raise InputError unless the run was begun with this recipe, on this store."""
    _, before = run.recipe_of(folder)
    if before != recipe:
        old, new = ({n: v for n, v, _ in overrides.describe(r)} for r in (before, recipe))
        name = overrides.differing_names(old, new)[0]
        raise InputError(
            f"run {folder} was begun with another recipe: {name} was {old.get(name)}, now {new.get(name)}; "
            f"resume it without {options(name)}, or {otherwise(folder, before, recipe, store)}"
        )
    then = run.environment_of(folder)
    if then["store_digest"] != store.digest:
        raise InputError(
            f"run {folder} was begun on store {then['store']}, digest {then['store_digest']}; "
            f"{store.path} has {store.digest}: give the store it was begun on"
        )


def options(field: str) -> str:
    """What on the command line may have changed a field of the recipe."""
    if field in ("epochs", "seed"):
        return f"--{field}"
    return f"--set {field}, or the --recipe {'or --freeze ' * (field == 'sgd.layer_lr')}that changes it"


def otherwise(folder: Path, before: Recipe, recipe: Recipe, store: Store) -> str:
    """What serves instead of going on with another recipe.

    A run's rates follow from the part of its epochs that is done, so that one of more epochs has other rates from the
    first step on: what it has learned can be gone on from, in a run of its own.
    """
    if recipe.epochs <= before.epochs or recipe.replace(epochs=before.epochs) != before:
        return "name another run folder"
    command = ["alexnet", "train", str(store.path), "NEW", "--from", str(folder)]
    more = shlex.join([*command, "--epochs", str(recipe.epochs - before.epochs)])
    return f"go on from its weights in another folder, at rates for the epochs that are added: {more}"


def kept_precision(folder: Path, precision: str) -> str:
    """The precision that a run was begun in; raises InputError if another is asked for."""
    then = str(run.environment_of(folder)["precision"])
    if precision not in ("auto", then):
        raise InputError(f"--precision {precision}: run {folder} was begun in {then} and goes on in it")
    return then
