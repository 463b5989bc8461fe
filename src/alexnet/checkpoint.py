"""Checkpoints: whole or not at all, checked by SHA-256 before use, weights and velocities as safetensors.

RUN/checkpoints/00001234/ holds weights.safetensors, velocity.safetensors and state.json, which is written last and
names the others' checksums. No file here can run code.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from alexnet import nets, run
from alexnet.disk import sync, write, write_json
from alexnet.errors import FailedError, UnusableError
from alexnet.nets import Network

NAME = re.compile(r"\d{8,}(-\d+)?")
FILES = ("weights.safetensors", "velocity.safetensors")


@dataclass(frozen=True)
class State:
    """Where training stood: after `step` steps, with the validation error of each epoch so far."""

    step: int
    errors: tuple[float, ...]
    seconds: float  # spent training so far
    tally: tuple[float, int, int] = (0.0, 0, 0)  # of the epoch that is under way: loss, wrong, pictures


def save(
    folder: Path, weights: Mapping[str, Tensor], velocity: Mapping[str, Tensor], state: State, digest: str, keep: int
) -> Path:
    """Write a checkpoint of the run `folder`, then let all but the newest `keep` go (0 keeps all).

    Raises FailedError where it cannot be written; the earlier ones stand.
    """
    home = folder / "checkpoints"
    earlier = [p for p in found(folder) if place(p)[0] == state.step]
    final = home / (f"{state.step:08d}-{place(earlier[-1])[1] + 1}" if earlier else f"{state.step:08d}")
    part = home / f".{final.name}.part"
    for left in home.glob(".*.part"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        home.mkdir(exist_ok=True)
        part.mkdir()
        sums = {}
        for name, tensors in zip(FILES, (weights, velocity), strict=True):
            data = safetensors.torch.save({n: t.detach().cpu().contiguous() for n, t in tensors.items()})
            sums[name] = write(part / name, [data])
        write_json(part / "state.json", _signed(asdict(state) | {"recipe": digest, "sha256": sums}))
        part.rename(final)
        sync(home)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise FailedError(
            f"cannot save step {state.step} in {home}: {error.strerror or error}; earlier checkpoints stand: "
            "mend that and go on with --resume"
        ) from None
    for old in found(folder)[:-keep] if keep else []:
        shutil.rmtree(old)
    return final


def found(folder: Path) -> list[Path]:
    """The run's checkpoints, oldest first."""
    home = folder / "checkpoints"
    return sorted((p for p in home.iterdir() if NAME.fullmatch(p.name)), key=place) if home.is_dir() else []


def place(checkpoint: Path) -> tuple[int, int]:
    """(step, how often that step was saved before): "00000012-1" is the second checkpoint after step 12."""
    step, _, again = checkpoint.name.partition("-")
    return int(step), int(again or 0)


def newest(folder: Path) -> tuple[str, str]:
    """The newest checkpoint's name, and what identifies it; raises UnusableError if it is no run, or has none."""
    run.recipe_of(folder)
    checkpoints = found(folder)
    if not checkpoints:
        raise UnusableError(f"{folder} has no checkpoint yet; train it first, or on with --resume")
    state = checkpoints[-1] / "state.json"
    try:
        return checkpoints[-1].name, hashlib.sha256(state.read_bytes()).hexdigest()[:12]
    except OSError:
        raise UnusableError(_damaged(checkpoints[-1], state)) from None


def read_state(checkpoint: Path, digest: str) -> State:
    """A checkpoint's state; raises UnusableError if it was damaged or belongs to another recipe."""
    path = checkpoint / "state.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        signature = record.pop("signature")
        intact = _signed(record)["signature"] == signature
        state = State(record["step"], tuple(record["errors"]), record["seconds"], tuple(record["tally"]))
        recipe = record["recipe"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UnusableError(_damaged(checkpoint, path)) from None
    if not intact or state.step != place(checkpoint)[0]:
        raise UnusableError(_damaged(checkpoint, path))
    if recipe != digest:
        raise UnusableError(f"{checkpoint} belongs to a run with recipe {recipe}; this run's is {digest}")
    return state


def read_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint; raises UnusableError if a single bit of it changed."""
    path = checkpoint / name
    try:
        expected = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["sha256"][name]
        data = path.read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise UnusableError(_damaged(checkpoint, path)) from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise UnusableError(_damaged(checkpoint, path))
    return safetensors.torch.load(data)


def load(folder: str | Path, name: str | None = None) -> Network:
    """The trained net of a run, from its newest checkpoint (or the one of that name), in eval mode.

    It has `.classes`, the names of its outputs in order, and `.viewer`, which makes its input from uint8 pictures
    (N, side, side, 3): ``net(net.viewer.centre(pictures))``. Raises UnusableError if the folder is not a run, has no
    checkpoint yet, or the checkpoint is damaged.
    """
    folder = Path(folder)
    _, recipe = run.recipe_of(folder)
    chosen = folder / "checkpoints" / (name or newest(folder)[0])
    read_state(chosen, recipe.digest)
    with torch.device("meta"):  # no initial weights are drawn
        net = nets.build(recipe.net, recipe.seed)
    net.load_state_dict(read_tensors(chosen, FILES[0]), assign=True)
    net.classes = run.classes_of(folder)
    net.viewer = run.viewer_of(folder, recipe)
    return net.eval()


def _signed(record: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(record, sort_keys=True)
    return record | {"signature": hashlib.sha256(text.encode()).hexdigest()}


def _damaged(checkpoint: Path, path: Path) -> str:
    others = [p for p in found(checkpoint.parent.parent) if place(p) < place(checkpoint)]
    advice = f"delete {checkpoint} to go on from {others[-1].name}" if others else "there is no earlier one"
    return f"checkpoint file {path} is damaged; {advice}"
