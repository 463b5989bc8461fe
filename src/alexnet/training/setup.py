"""Starting a training or going on with one: what fits what, and what is refused."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
from alexnet.distributed.sharding import sharding as sharding_of
from alexnet.models.build import build
from alexnet.runs import environment
from alexnet.runs.checkpoint import list_checkpoints
from alexnet.runs.folder import create, in_use, is_run, locked
from alexnet.runs.run import Run
from alexnet.training.finetune import plan_start
from alexnet.training.options import TrainOptions
from alexnet.training.trainer import Trainer


@dataclass(frozen=True)
class Request:
    """What a training is asked for; `name` is that of a recipe which is given as a value."""

    store: str | Path | Store
    folder: Path
    recipe: str | Recipe | None = None
    options: TrainOptions = field(default_factory=TrainOptions)
    name: str | None = None


@dataclass(frozen=True)
class Setup:
    """What a training uses, after all of it was found to fit."""

    store: Store
    name: str
    recipe: Recipe
    compute: Compute


@contextmanager
def begin(mesh: Mesh, request: Request, compute: Compute) -> Iterator[Trainer]:
    """Begin a new run, or go on with an interrupted one where it stopped; the folder is this training's alone.

    Every process of the mesh calls it. Raises InputError for what does not fit, in each of them.
    """
    folder, options = request.folder, request.options
    there = mesh.wait_until_equal(f"run folder {folder}", lambda: "there" if is_run(folder) else "missing") == "there"
    fit = mesh.run_on_all(lambda: fitting(request, Run(folder) if there else None, compute))
    mesh.check_equal(facts_in_common(fit, options))
    sharding = mesh.run_on_all(lambda: sharding_of(mesh, options.strategy, fit.recipe.net))
    # Build the net before the folder is made: the memory may be too small for it.
    net = build(fit.recipe.net, fit.recipe.seed, sharding.model_shard)

    def make_folder() -> None:
        if mesh.is_main and not there:
            check_free(folder)  # again: another process may have begun it meanwhile
            create(folder, fit.name, fit.recipe, fit.store, fit.compute, sharding.description, options.from_run)

    with mesh.run_on_all(lambda: locked(folder, mesh.is_main)):
        mesh.run_on_all(make_folder)
        mesh.wait_until_equal(f"run folder {folder}", lambda: started(folder))
        mesh.wait_until_equal(f"checkpoints in {folder}", lambda: [path.name for path in list_checkpoints(folder)])
        keep_pages()
        yield mesh.run_on_all(lambda: Trainer(Run(folder), fit.store, net, sharding, fit.compute, options))


def facts_in_common(fit: Setup, options: TrainOptions) -> dict[str, Any]:
    """What must be the same in every process, by name."""
    recipe = {f"recipe's {field}": value for field, value, _ in overrides.describe_fields(fit.recipe)}
    return recipe | {
        "recipe": fit.name,
        "store digest": fit.store.digest,
        "precision": fit.compute.precision,
        "strategy": options.strategy,
        "--accumulate": options.accumulate,
        "code of alexnet": environment.code(),
        "version of torch": torch.__version__,
    }


def started(folder: Path) -> Any:
    """When a run was begun, as its folder says."""
    return Run(folder).environment["started"] if is_run(folder) else "missing"


def fitting(request: Request, run: Run | None, compute: Compute) -> Setup:
    """Find what a training uses; raises InputError unless it fits together, and fits the run that is there."""
    options = request.options
    if not (options.resume and run):
        check_free(request.folder)
    store = request.store if isinstance(request.store, Store) else Store(request.store)
    name, recipe = recipe_for(request, run)
    recipe = recipe.replace(net={"classes": len(store.classes)})
    check_fit(name, recipe, store)
    if options.from_run:
        start = begun_from(options, run, recipe) if run else new_start(options, recipe, store)
        recipe = recipe.replace(start=start)
    elif options.layers:
        raise InputError(f"--layers {' '.join(options.layers)}: layers of which run? Add --from RUN")
    elif recipe.start and not run:
        raise InputError(f"recipe {name} starts from a run of recipe {recipe.start.recipe}; say where with --from")
    if run:
        check_same(run, recipe, store)
        compute = choose_compute(str(compute.device), kept_precision(run, options.precision))
    return Setup(store, name, recipe, compute)


def recipe_for(request: Request, run: Run | None) -> tuple[str, Recipe]:
    """The recipe that is asked for, and its name: given, the run's own, that of the run it starts from, or source."""
    if request.recipe is None and run:
        return run.name, run.recipe
    if isinstance(request.recipe, Recipe):
        return request.name or "own", request.recipe
    if request.recipe is None and request.options.from_run:
        first = Run(request.options.from_run)
        return first.name, first.recipe.replace(start=None)
    return request.recipe or "source", named(request.recipe or "source")


def check_free(folder: Path) -> None:
    """Raise InputError where a new run's folder is taken."""
    if in_use(folder):
        advice = "add --resume to go on with it, or " if is_run(folder) else ""
        raise InputError(f"run folder {folder} exists; {advice}name another folder")


def new_start(options: TrainOptions, recipe: Recipe, store: Store) -> Start:
    """What a new run starts from; raises InputError unless it is what the recipe says, if it says anything."""
    assert options.from_run
    first = Run(options.from_run)
    found = plan_start(first, recipe, store, options.layers or (recipe.start.layers if recipe.start else ()))
    before = replace(found, recipe=first.recipe.digest_before)  # as a recipe of alexnet 0.1.0 names it
    if recipe.start and recipe.start not in (found, before):
        raise InputError(f"run {first.folder} is not what the recipe starts from: {overrides.show(recipe.start)}")
    return found


def begun_from(options: TrainOptions, run: Run, recipe: Recipe) -> Start | None:
    """What a run that goes on was begun from; raises InputError if that was another run or other layers."""
    then, before = run.environment.get("start"), run.recipe.start
    assert options.from_run
    if then != str(options.from_run.resolve()):
        raise InputError(
            f"--from {options.from_run}: run {run.folder} was begun from {then or 'nothing'}; leave it out"
        )
    if options.layers and before and set(options.layers) != set(before.layers):
        layers = " ".join(before.layers)
        raise InputError(f"--layers {' '.join(options.layers)}: run {run.folder} began with {layers}")
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


def check_same(run: Run, recipe: Recipe, store: Store) -> None:
    """Raise InputError unless the run was begun with this recipe, on this store."""
    before, folder = run.recipe, run.folder
    if before != recipe:
        old, new = ({n: v for n, v, _ in overrides.describe_fields(r)} for r in (before, recipe))
        name = overrides.differing_names(old, new)[0]
        raise InputError(
            f"run {folder} was begun with another recipe: {name} was {old.get(name)}, now {new.get(name)}; "
            f"resume it without {options_for(name)}, or {otherwise(folder, before, recipe, store)}"
        )
    then = run.environment
    if then["store_digest"] != store.digest:
        raise InputError(
            f"run {folder} was begun on store {then['store']}, digest {then['store_digest']}; "
            f"{store.path} has {store.digest}: give the store it was begun on"
        )


def options_for(name: str) -> str:
    """What on the command line may have changed a field of the recipe."""
    if name in ("epochs", "seed"):
        return f"--{name}"
    return f"--set {name}, or the --recipe {'or --freeze ' * (name == 'sgd.layer_lr')}that changes it"


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


def kept_precision(run: Run, precision: str) -> str:
    """The precision that a run was begun in; raises InputError if another is asked for."""
    then = str(run.environment["precision"])
    if precision not in ("auto", then):
        raise InputError(f"--precision {precision}: run {run.folder} was begun in {then} and goes on in it")
    return then
