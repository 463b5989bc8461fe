"""Create and lock the folder of a run.

A run holds recipe.json, environment.json, log.jsonl, classes.json, pictures.safetensors and checkpoints/.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from alexnet.config.recipe import Recipe
from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.core.files import json_bytes, lock_file, parse_json, read_bytes, sign, write
from alexnet.data.images.resize import Fit
from alexnet.data.store import Class, Store
from alexnet.runs.environment import environment

STATISTICS = ("mean", "eigenvalues", "eigenvectors")  # of the training pictures, in pictures.safetensors
UNFINISHED = re.compile(r"\w+\.(jsonl?|safetensors)\.\d+\.tmp")  # temporary files that a killed `write` leaves


def create(
    run: Path,
    name: str,
    recipe: Recipe,
    store: Store,
    compute: Compute,
    processes: str = "1 process",
    start: Path | None = None,
) -> None:
    """Write the files of a new run on a store. `start` is the run that the first weights come from, if any."""
    statistics = {key: torch.from_numpy(np.ascontiguousarray(getattr(store, key))) for key in STATISTICS}
    about = environment(store, compute, processes) | {"class_counts": store.class_counts}
    about |= {"start": str(start.resolve())} if start else {}
    write_run(run, name, recipe, statistics, store.classes, about, store.fit)


def write_run(
    run: Path,
    name: str,
    recipe: Recipe,
    statistics: Mapping[str, Tensor],
    classes: Sequence[Class],
    about: Mapping[str, Any],
    fit: Fit = "crop",
) -> None:
    """Write the files of a new run. recipe.json comes last, so a folder with that file is complete.

    Args:
        run: The folder.
        name: Name of the recipe.
        recipe: The recipe.
        statistics: The tensors of STATISTICS: mean (side, side, 3), eigenvalues (3,) and eigenvectors (3, 3).
        classes: The classes, in the order of the net's outputs.
        about: What environment.json holds.
        fit: How pictures of other sizes become squares: "crop", "pad" or "warp".
    """
    files = {
        "pictures.safetensors": safetensors.torch.save({key: statistics[key] for key in STATISTICS}),
        "classes.json": json_bytes([asdict(c) for c in classes]),
        "environment.json": json_bytes(about),
    }
    sums = {file: write(run / file, [data]) for file, data in files.items()}
    record = {"name": name, "digest": recipe.digest, "recipe": recipe.plain(), "sha256": sums}
    record |= {"fit": fit} if fit != "crop" else {}
    write(run / "recipe.json", [json_bytes(sign(record))])


def locked(run: Path, leads: bool = True) -> AbstractContextManager[Any]:
    """Lock a run's folder for one training, and create the folder if it is missing.

    Only the process that `leads` takes the lock, for all processes of its training. The operating system releases it
    when that process ends, even if it is killed. Raises InputError while another process holds the lock.
    """
    if not leads:
        return nullcontext()
    file = lock_file(run / ".lock", f"run {run} is being trained by another process; wait for it, or stop it")
    for left in run.iterdir():
        if UNFINISHED.fullmatch(left.name):  # left by a killed process
            left.unlink()
    return file


def is_run(run: Path) -> bool:
    """Tell whether the folder holds a run that `create` finished."""
    return (run / "recipe.json").is_file()


def in_use(run: Path) -> bool:
    """Tell whether the path holds anything except the remains of an interrupted `create`."""
    ours = {"pictures.safetensors", "classes.json", "environment.json", ".lock"}
    if not run.is_dir():
        return os.path.lexists(run)
    return any(p.name not in ours and not UNFINISHED.fullmatch(p.name) for p in run.iterdir())


def not_a_run(file: Path) -> str:
    """Say why the folder that should hold a file of a run is not a run, and what may be meant."""
    folder = file.parent
    if not os.path.lexists(folder):
        return f"{folder} does not exist; name the folder of a run"
    if not folder.is_dir():
        return f"{folder} is a file, and not the folder of a run; alexnet import makes a run of a file of weights"
    if is_run(folder / "run"):
        return f"{folder} is not a run, but {folder / 'run'} is one"
    if (folder / "meta.json").is_file() and (folder / "statistics.safetensors").is_file():
        return f"{folder} is a store, and not a run; name the folder that alexnet train made"
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return f"{folder} is an exported net, and not a run; alexnet import {folder} RUN makes a run of it"
    return f"{folder} is not a run: it has no {file.name}"


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise InputError if it is missing or cannot be read."""
    try:
        return parse_json(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(not_a_run(path)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
