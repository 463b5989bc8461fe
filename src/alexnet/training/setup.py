"""Begin a training or resume one: check that recipe, store, run and processes fit together."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from alexnet.config import overrides
from alexnet.config.recipe import Cosine, Plateau, Recipe, Start, Steps
from alexnet.config.recipes import named
from alexnet.core.device import Compute, choose_compute, keep_pages
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh
from alexnet.distributed.shard import shard
from alexnet.distributed.sharding import sharding as sharding_of
from alexnet.models.build import build
from alexnet.runs import environment
from alexnet.runs.checkpoint import list_best, list_checkpoints
from alexnet.runs.folder import create, in_use, is_run, locked
from alexnet.runs.run import Run
from alexnet.training.finetune import plan_start, tuned
from alexnet.training.options import TrainOptions
from alexnet.training.trainer import Trainer


@dataclass(frozen=True)
class Request:
    """The arguments of `train`. `name` is the recipe's name if `recipe` is a `Recipe`."""

    store: str | Path | Store
    folder: Path
    recipe: str | Recipe | None = None
    options: TrainOptions = field(default_factory=TrainOptions)
    name: str | None = None


@dataclass(frozen=True)
class Setup:
    """The parts of a training, after all checks."""

    store: Store
    name: str
    recipe: Recipe
    compute: Compute


@contextmanager
def begin(mesh: Mesh, request: Request, compute: Compute) -> Iterator[Trainer]:
    """Begin a new run or resume an interrupted one, and lock its folder for this training.

    Every process of the mesh must call it. If something does not fit, all of them raise InputError.
    """
    folder, options = request.folder, request.options
    there = mesh.wait_until_equal(f"run folder {folder}", lambda: "there" if is_run(folder) else "missing") == "there"
    fit = mesh.run_on_all(lambda: fitting(request, Run(folder) if there else None, compute))
    mesh.check_equal(facts_in_common(fit, options))
    sharding = mesh.run_on_all(lambda: sharding_of(mesh, options.strategy, fit.recipe.net))
    # Build the net before the folder: if memory is too small for it, no empty run is left behind.
    net = shard(build(fit.recipe.net, fit.recipe.seed), sharding.model_shard)

    def make_folder() -> None:
        if mesh.is_main and not there:
            check_free(folder)  # check again under the lock: another process may have begun a run meanwhile
            create(folder, fit.name, fit.recipe, fit.store, fit.compute, sharding.description, options.from_run)

    with mesh.run_on_all(lambda: locked(folder, mesh.is_main)):
        mesh.run_on_all(make_folder)
        mesh.wait_until_equal(f"run folder {folder}", lambda: started(folder))
        mesh.wait_until_equal(f"checkpoints in {folder}", lambda: [path.name for path in saved(folder)])
        keep_pages()
        yield mesh.run_on_all(lambda: Trainer(Run(folder), fit.store, net, sharding, fit.compute, options))


def facts_in_common(fit: Setup, options: TrainOptions) -> dict[str, Any]:
    """Collect the facts that must be the same in every process, by name."""
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


def saved(folder: Path) -> list[Path]:
    """List what a run has saved, which a process that resumes it reads."""
    return [*list_checkpoints(folder), *list_best(folder)]


def started(folder: Path) -> Any:
    """Read the time at which a run was begun; return "missing" if there is no run."""
    return Run(folder).environment["started"] if is_run(folder) else "missing"


def fitting(request: Request, run: Run | None, compute: Compute) -> Setup:
    """Find the store, recipe and precision of a training; raise InputError if they do not fit each other or the run."""
    options = request.options
    if run and "imported" in run.environment:
        raise InputError(f"run {run.folder} was imported; train another folder --from {run.folder}")
    if not (options.resume and run):
        check_free(request.folder)
    store = request.store if isinstance(request.store, Store) else Store(request.store)
    name, recipe = recipe_for(request, run, store)
    recipe = recipe.replace(net={"classes": len(store.classes)})
    check_fit(name, recipe, store)
    if not run:
        check_milestones(recipe.schedule)
    if options.from_run:
        start = begun_from(options, run) if run else new_start(options, recipe, store)
        recipe = recipe.replace(start=start)
    elif options.layers:
        raise InputError(f"--layers {' '.join(options.layers)}: layers of which run? Add --from RUN")
    elif recipe.start and not run:
        raise InputError(f"recipe {name} starts from a run of recipe {recipe.start.recipe}; name it with --from")
    if run:
        check_same(run, recipe, store)
        compute = choose_compute(str(compute.device), kept_precision(run, options.precision))
    return Setup(store, name, recipe, compute)


def recipe_for(request: Request, run: Run | None, store: Store) -> tuple[str, Recipe]:
    """Choose the recipe and its name: as given, of the run to resume, for the run to start from, or source."""
    if request.recipe is None and run:
        return run.name, run.recipe
    if isinstance(request.recipe, Recipe):
        return request.name or "own", request.recipe
    if request.recipe is None and request.options.from_run:
        return tuned(Run(request.options.from_run), store)
    return request.recipe or "source", named(request.recipe or "source")


def check_free(folder: Path) -> None:
    """Raise InputError if the folder of a new run is taken."""
    if in_use(folder):
        advice = "add --resume to continue it, or " if is_run(folder) else ""
        raise InputError(f"run folder {folder} exists; {advice}name another folder")


def new_start(options: TrainOptions, recipe: Recipe, store: Store) -> Start:
    """Choose what a new run starts from; raise InputError if the recipe names something else."""
    assert options.from_run
    first = Run(options.from_run)
    found = plan_start(first, recipe, store, options.layers or (recipe.start.layers if recipe.start else ()))
    before = replace(found, recipe=first.recipe.digest_before)  # alexnet 0.1.0 wrote other digests
    if recipe.start and recipe.start not in (found, before):
        raise InputError(f"run {first.folder} is not what the recipe starts from: {overrides.show(recipe.start)}")
    return found


def begun_from(options: TrainOptions, run: Run) -> Start | None:
    """Return what a resumed run started from; raise InputError if the options name another run or other layers."""
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
    """Raise InputError if the store has no pictures to validate on, or its pictures do not suit the recipe's views."""
    if not {"val", "test"} & store.splits.keys():
        raise InputError(f"store {store.path} has no val or test split to validate on; prepare it with --val-fraction")
    view, side = recipe.net.image_size, store.side
    if view > side or 2 * view <= side:
        others = ("today-256", "today-64", "today") if name.startswith("today") else ("source", "tiny", "cifar-18")
        large, middle, small = others
        raise InputError(
            f"recipe {name} takes views of {view} pixels, but store {store.path} holds pictures of {side}: use another "
            f"recipe ({large} for 256, {middle} for 64, {small} for 32), or prepare the store again with another --side"
        )


def check_milestones(schedule: Plateau | Steps | Cosine) -> None:
    """Raise InputError if the rates are to fall at an epoch after the last, which would never come."""
    for name in ("milestones", "bias_milestones"):
        for epoch in getattr(schedule, name, ()):
            if epoch > schedule.of_epochs:
                raise InputError(
                    f"schedule.{name} has epoch {epoch:g}, but epochs count to {schedule.of_epochs}, the value of "
                    "schedule.of_epochs, however many the run has: set schedule.of_epochs too"
                )


def check_same(run: Run, recipe: Recipe, store: Store) -> None:
    """Raise InputError if the run was begun with another recipe or on another store."""
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
            f"{store.path} has {store.digest}: give the first store again"
        )


def options_for(name: str) -> str:
    """Name the options of the command line that change a field of the recipe."""
    if name in ("epochs", "seed"):
        return f"--{name}"
    if name == "sgd.class_weights":
        return "--class-weights"
    return f"--set {name}, or the --recipe {'or --freeze ' * (name == 'sgd.layer_lr')}that changes it"


def otherwise(folder: Path, before: Recipe, recipe: Recipe, store: Store) -> str:
    """Advise what to do instead of resuming with another recipe.

    The learning rates depend on the fraction of the epochs done. A run of more epochs therefore has other rates from
    its first step on, and cannot continue this one. But a new run can start from its weights.
    """
    if recipe.epochs <= before.epochs or recipe.replace(epochs=before.epochs) != before:
        return "name another run folder"
    command = ["alexnet", "train", str(store.path), "NEW", "--from", str(folder)]
    more = shlex.join([*command, "--epochs", str(recipe.epochs - before.epochs)])
    return f"continue from its weights in another folder, with rates for the added epochs: {more}"


def kept_precision(run: Run, precision: str) -> str:
    """Return the precision that a run began in; raise InputError if the options name another."""
    then = str(run.environment["precision"])
    if precision not in ("auto", then):
        raise InputError(f"--precision {precision}: run {run.folder} was begun in {then} and must continue in it")
    return then
