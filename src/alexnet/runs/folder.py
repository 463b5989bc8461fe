"""A run is a folder: its recipe, its environment, and what predicting needs without the store.

recipe.json, environment.json, log.jsonl, classes.json, pictures.safetensors and checkpoints/.
"""

import hashlib
import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from alexnet.config.recipe import Recipe
from alexnet.core import files as disk
from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.core.files import json_bytes, parse_json, read_bytes, read_signed, sign, write
from alexnet.data.store import Class, Store, labels
from alexnet.data.transforms import Transform, make_transform
from alexnet.runs.environment import environment

UNFINISHED = re.compile(r"\w+\.(jsonl?|safetensors)\.\d+\.tmp")  # what a killed disk.write leaves of a run's files


def create(
    run: Path,
    name: str,
    recipe: Recipe,
    store: Store,
    compute: Compute,
    processes: str = "1 process",
    start: Path | None = None,
) -> None:
    """Make the folder of a new run; recipe.json comes last, so a folder that has it is whole.

    `start`: the run whose layers it starts from, if it does.
    """
    tensors = {
        "mean": torch.from_numpy(np.ascontiguousarray(store.mean)),
        "eigenvalues": torch.from_numpy(np.ascontiguousarray(store.eigenvalues)),
        "eigenvectors": torch.from_numpy(np.ascontiguousarray(store.eigenvectors)),
    }
    files = {
        "pictures.safetensors": safetensors.torch.save(tensors),
        "classes.json": json_bytes([asdict(c) for c in store.classes]),
        "environment.json": json_bytes(
            environment(store, compute, processes) | ({"start": str(start.resolve())} if start else {})
        ),
    }
    sums = {file: write(run / file, [data]) for file, data in files.items()}
    record = {"name": name, "digest": recipe.digest, "recipe": recipe.plain(), "sha256": sums}
    write(run / "recipe.json", [json_bytes(sign(record))])


def locked(run: Path, leads: bool = True) -> AbstractContextManager[Any]:
    """Hold a run's folder, made where it is missing, for one training from now on.

    Of a training's processes the one that `leads` holds it for all. The lock goes with its process, however that ends.
    Raises InputError while another process holds it.
    """
    if not leads:
        return nullcontext()
    file = disk.lock_file(run / ".lock", f"run {run} is being trained by another process; wait for it, or stop it")
    for left in run.iterdir():
        if UNFINISHED.fullmatch(left.name):  # by a process that was killed
            left.unlink()
    return file


def is_run(run: Path) -> bool:
    """Whether the folder holds a run that `create` finished."""
    return (run / "recipe.json").is_file()


def in_use(run: Path) -> bool:
    """Whether the path is taken by more than what a `create` that was cut short left behind."""
    ours = {"pictures.safetensors", "classes.json", "environment.json", ".lock"}
    if not run.is_dir():
        return os.path.lexists(run)
    return any(p.name not in ours and not UNFINISHED.fullmatch(p.name) for p in run.iterdir())


def recipe_of(run: Path) -> tuple[str, Recipe]:
    """The recipe that a run was made with, and its name."""
    record = _record(run)
    try:
        recipe = Recipe.of(record["recipe"])
        name = str(record["name"])
        same = recipe.has_digest(record["digest"])
    except (KeyError, TypeError):
        raise InputError(f"{run / 'recipe.json'} is not a run's recipe: it lacks name, digest or recipe") from None
    if not same:
        raise InputError(f"{run / 'recipe.json'} was altered: its digest does not fit its recipe")
    return name, recipe


def identity(run: Path) -> str:
    """What tells a run from all others, with the same recipe too, wherever its folder lies."""
    _record(run)
    return hashlib.sha256(read_bytes(run / "recipe.json")).hexdigest()[:12]


def environment_of(run: Path) -> dict[str, Any]:
    """What `environment` wrote."""
    found = _parsed(run, "environment.json")
    if not isinstance(found, dict) or not {"store", "store_digest", "precision", "started"} <= found.keys():
        raise InputError(f"{run / 'environment.json'} is not what a run's beginning wrote; the run cannot be used")
    return found


def classes_of(run: Path) -> list[str]:
    """The classes as a person is shown them, in the order of the net's outputs."""
    try:
        return labels([Class(**record) for record in _parsed(run, "classes.json")])
    except TypeError:
        raise InputError(f"{run / 'classes.json'} is no list of classes; the run cannot be used") from None


def transform_of(run: Path, recipe: Recipe) -> Transform:
    """What the run's net takes pictures with."""
    data = trusted(run, "pictures.safetensors")
    try:
        tensors = safetensors.torch.load(data)
        mean, *components = (tensors[name] for name in ("mean", "eigenvalues", "eigenvectors"))
        fit = mean.dim() == 3 and mean.shape[0] == mean.shape[1] >= recipe.net.image_size
        if not fit or [tuple(t.shape) for t in (mean[0, 0], *components)] != [(3,), (3,), (3, 3)]:
            raise ValueError
    except (SafetensorError, KeyError, ValueError):
        raise InputError(f"{run / 'pictures.safetensors'} has no mean and colour components for this net") from None
    return make_transform(recipe, mean, *components)


def trusted(run: Path, file: str) -> bytes:
    """The bytes of one of the files that `create` wrote; raises InputError unless they are the same still."""
    try:
        data = read_bytes(run / file)
        same = hashlib.sha256(data).hexdigest() == _record(run)["sha256"][file]
    except (OSError, KeyError, TypeError):
        same = False
    if not same:
        raise InputError(f"{run / file} is missing or was altered since the run began; the run needs it as it was")
    return data


def read_json(path: Path) -> Any:
    """A JSON file of a run; raises InputError where there is none."""
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not a run: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _parsed(run: Path, file: str) -> Any:
    data = trusted(run, file)
    try:
        return parse_json(data)
    except ValueError as error:
        raise InputError(f"{run / file} is no JSON ({error}); the run cannot be used") from None


def _record(run: Path) -> dict[str, Any]:
    path = run / "recipe.json"
    try:
        return read_signed(path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{run} is not a run: it has no {path.name}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); the run cannot be used without it") from None
