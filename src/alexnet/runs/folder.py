"""Create and lock the folder of a run.

A run holds recipe.json, environment.json, log.jsonl, classes.json, pictures.safetensors and checkpoints/.
"""

import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from alexnet.config.recipe import Recipe
from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.core.files import json_bytes, lock_file, parse_json, read_bytes, sign, write
from alexnet.data.store import Store
from alexnet.runs.environment import environment

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
    """Write the files of a new run. recipe.json comes last, so a folder with that file is complete.

    `start` is the run that the first weights come from, if any.
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
            environment(store, compute, processes)
            | {"class_counts": store.class_counts}
            | ({"start": str(start.resolve())} if start else {})
        ),
    }
    sums = {file: write(run / file, [data]) for file, data in files.items()}
    record = {"name": name, "digest": recipe.digest, "recipe": recipe.plain(), "sha256": sums}
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


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise InputError if it is missing or cannot be read."""
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError:
        raise InputError(f"{path.parent} is not a run: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
