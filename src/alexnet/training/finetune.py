"""Start a run from the layers of another run: pre-training and fine-tuning (section 6, table 2).

`tuned` is the rule that chooses the recipe of such a run where no recipe is given. docs/log.md has the trials behind
its numbers.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from alexnet.config import overrides
from alexnet.config.recipe import Recipe, Start
from alexnet.core.errors import InputError
from alexnet.data.loader import steps
from alexnet.data.store import Store, labels
from alexnet.models.build import build
from alexnet.runs import checkpoint
from alexnet.runs.run import Run

TUNED = "-tuned"  # the end of the name of a recipe that `tuned` chose
STEPS = 1000  # fewer cost much: 60 in place of 180 on 300 pictures, 6 points of error; more gained little
FEWEST, MOST = 20, 120  # epochs of a large and of a small store


def tuned(first: Run, store: Store) -> tuple[str, Recipe]:
    """Choose the recipe of a new run that starts from another, where none is given, and its name.

    It is the other run's recipe with as many epochs as make STEPS steps on this store, but FEWEST to MOST epochs. Each
    picture gets a crop and a mirroring of its own, in a new order each epoch: a small store has too few batches for
    pictures to share them. Learning rates stay as they are, and no layer is frozen.

    On the store that the other run saw, a new run is more of the same training, and the recipe stays as it is.
    """
    recipe = first.recipe.replace(start=None)
    if first.environment["store_digest"] == store.digest:
        return first.name, recipe
    per_epoch = steps(len(store["train"]), recipe.sgd.batch)
    epochs = min(MOST, max(FEWEST, round(STEPS / per_epoch)))
    changes = {"views": {"pictures_per_crop": 1}, "sgd": {"shuffle": "each epoch"}, "epochs": epochs}
    return first.name.removesuffix(TUNED) + TUNED, recipe.replace(**changes)


def changed(recipe: Recipe, first: Recipe) -> dict[str, str]:
    """Find the fields of a recipe that differ from that of the run that it starts from, but for start and classes."""
    now, before = ({name: value for name, value, _ in overrides.describe_fields(r)} for r in (recipe, first))
    names = (name for name in overrides.differing_names(now, before) if name in now)
    return {name: now[name] for name in names if name.split(".")[0] != "start" and name != "net.classes"}


def describe_tuning(recipe: Recipe, first: Recipe) -> str:
    """List what differs between a recipe and that of the run that it starts from, such as "epochs=60"."""
    return ", ".join(f"{name}={value}" for name, value in changed(recipe, first).items())


def plan_start(run: Run, recipe: Recipe, store: Store, layers: Sequence[str] = ()) -> Start:
    """Choose the layers that a new run takes from the newest checkpoint of another.

    Args:
        run: The run to start from.
        recipe: The new run's recipe.
        store: The new run's store.
        layers: Names of layers. By default every layer of the same name and shape, the last one only if the classes
            are the same.

    Raises:
        InputError: A layer is missing in one of the nets or has another shape, or no layer would be taken.
    """
    name, _ = run.newest()
    theirs, folder = run.recipe, run.folder
    with torch.device("meta"):
        own, other = (build(r.net, 0) for r in (recipe.replace(net={"classes": len(store.classes)}), theirs))
    shape, seen = ({n: tuple(t.shape) for n, t in net.state_dict().items()} for net in (own, other))
    last = recipe.net.layers[-1]
    new = run.classes != labels(store.classes)
    if layers:
        for layer in dict.fromkeys(layers):
            _check(layer, folder, shape, seen)
        if new and last in layers:
            raise InputError(
                f"layer {last} of run {folder} is for other classes than those of store {store.path}; leave it out"
            )
    taken = tuple(
        layer
        for layer in recipe.net.layers
        if (layer in layers if layers else _alike(layer, shape, seen) and not (new and layer == last))
    )
    if not taken:
        raise InputError(f"run {folder} has no layer in common with this recipe's net; use the run's own recipe")
    return Start(theirs.digest, run.environment["store_digest"], checkpoint.step_and_attempt(Path(name))[0], taken)


def load_layers(run: Run, begun: Start) -> dict[str, Tensor]:
    """Load the weights that a run starts from, by name; raise InputError if the other run no longer has them."""
    recipe, folder = run.recipe, run.folder
    if not (recipe.has_digest(begun.recipe) and run.environment["store_digest"] == begun.store):
        raise InputError(f"run {folder} is not the start of this recipe: recipe {begun.recipe} on store {begun.store}")
    at = [path for path in run.checkpoints if checkpoint.step_and_attempt(path)[0] == begun.step]
    if not at:
        raise InputError(
            f"run {folder} no longer has its checkpoint of step {begun.step} to start from; start a new run"
        )
    checkpoint.read_state(at[-1], run.identity)
    with torch.device("meta"):
        like = build(recipe.net, recipe.seed)
    found = checkpoint.read_tensors(at[-1], checkpoint.FILES[0], like)
    return {name: tensor for name, tensor in found.items() if name.split(".")[0] in begun.layers}


def _alike(layer: str, own: dict[str, tuple[int, ...]], other: dict[str, tuple[int, ...]]) -> bool:
    names = [f"{layer}.weight", f"{layer}.bias"]
    return all(n in other and own[n] == other[n] for n in names)


def _check(layer: str, folder: Path, own: dict[str, tuple[int, ...]], other: dict[str, tuple[int, ...]]) -> None:
    weight = f"{layer}.weight"
    for shape, whose in ((own, "this recipe's net"), (other, f"run {folder}")):
        if weight not in shape:
            known = ", ".join(n.removesuffix(".weight") for n in shape if n.endswith(".weight"))
            raise InputError(f"--layers {layer}: {whose} has {known}")
    if not _alike(layer, own, other):
        sizes = (" x ".join(map(str, shape[weight])) for shape in (own, other))
        raise InputError("--layers {}: its weights are {} here and {} in run {}".format(layer, *sizes, folder))
