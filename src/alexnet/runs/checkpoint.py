"""Write and read checkpoints. A checkpoint is complete or absent, and its SHA-256 is checked before use.

RUN/checkpoints/00001234/ holds weights.safetensors, velocity.safetensors and state.json. state.json is written last and
holds the checksums of the others. None of these files can run code. If the recipe averages weights, weights.safetensors
has the average, which all evaluation uses, and unaveraged.safetensors has the weights that training goes on from.

RUN/checkpoints/00000987-best/ holds the weights with the lowest validation error so far, and their state.json, without
velocities. Each checkpoint names the best of its time, which stays as long as a checkpoint names it.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import LARGEST, digest, read_bytes, read_signed, sign, sync, write, write_json
from alexnet.models.network import Network

NAME = re.compile(r"[0-9]{8,}(-[0-9]+)?")
BEST = "-best"  # the end of the name of a folder with the best weights
BEST_NAME = re.compile(rf"[0-9]{{8,}}{BEST}")
LOST = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.EINVAL, errno.EFBIG)  # errors of lost content
FILES = ("weights.safetensors", "velocity.safetensors")
UNAVERAGED = "unaveraged.safetensors"


@dataclass(frozen=True)
class State:
    """The state of a training after `step` steps, with the validation error of each epoch so far."""

    step: int
    errors: tuple[float, ...]
    seconds: float  # spent training so far
    tally: tuple[float, int, int] = (0.0, 0, 0)  # of the epoch that is under way: loss, wrong, pictures
    best: str | None = None  # folder of the best weights; None before a validation, and where they were not kept


@dataclass(frozen=True)
class Best:
    """The weights with the lowest validation error of a training so far, by name, and the state at that step."""

    weights: Mapping[str, Tensor]
    state: State

    @property
    def name(self) -> str:
        """The name of their folder."""
        return f"{self.state.step:08d}{BEST}"


def save(
    folder: Path,
    weights: Mapping[str, Tensor],
    velocity: Mapping[str, Tensor],
    state: State,
    owner: str,
    keep: int,
    best: Best | None = None,
    unaveraged: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`.

    Args:
        folder: Folder of the run.
        weights: Parameters of the net, by name.
        velocity: Velocity of each parameter, by name.
        state: The step, errors and counts so far.
        owner: `Run.identity` of the run; no other run can use the checkpoint.
        keep: Number of checkpoints to keep; 0 keeps all.
        best: The best weights so far. They are written unless an earlier checkpoint names them already, before the
            checkpoint that names them.
        unaveraged: The weights that training goes on from, if `weights` are an average; else None.

    Raises:
        WorkFailed: The checkpoint cannot be written. The earlier ones are untouched.
    """
    home = folder / "checkpoints"
    earlier = [p for p in list_checkpoints(folder) if step_and_attempt(p)[0] == state.step]
    final = home / (f"{state.step:08d}-{step_and_attempt(earlier[-1])[1] + 1}" if earlier else f"{state.step:08d}")
    part = home / f".{final.name}.part"
    for left in home.glob(".*.part"):  # a killed run leaves these
        shutil.rmtree(left, ignore_errors=True)
    try:
        if not home.is_dir():
            home.mkdir()
            sync(folder)
        part.mkdir()
        held = dict(zip(FILES, (weights, velocity), strict=True))
        held |= {} if unaveraged is None else {UNAVERAGED: unaveraged}
        sums = {name: _write(part / name, tensors) for name, tensors in held.items()}
        if best:
            state = replace(state, best=best.name)
            same = (part / FILES[0], sums[FILES[0]]) if best.state.step == state.step else None
            _save_best(home, best, owner, same)
        write_json(part / "state.json", sign(asdict(state) | {"run": owner, "sha256": sums}))
        part.rename(final)
        sync(home)
    except OSError as error:
        for left in home.glob(".*.part"):
            shutil.rmtree(left, ignore_errors=True)
        raise WorkFailed(
            f"cannot save step {state.step} in {home}: {error.strerror or error}; earlier checkpoints are "
            "intact: fix that and continue with --resume"
        ) from None
    if keep:
        for old in list_checkpoints(folder)[:-keep]:
            remove(old)
        named = _named_as_best(list_checkpoints(folder))
        for old in list_best(folder):
            if named is not None and old.name not in named:
                remove(old)
    return final


def _save_best(home: Path, best: Best, owner: str, same: tuple[Path, str] | None) -> None:
    """Write the best weights, unless the newest checkpoint names them: then they are on the disk.

    `same` is a file with the same weights, and its SHA-256. A hard link to it takes neither time nor space.
    """
    final, part = home / best.name, home / f".{best.name}.part"
    if final.is_dir() and best.name in (_named_as_best(list_checkpoints(home.parent)[-1:]) or ()):
        return
    remove(final)  # left by a killed save, perhaps on another machine
    part.mkdir()
    try:
        if same is None:
            raise FileNotFoundError
        os.link(same[0], part / FILES[0])
        total = same[1]
    except OSError:  # no such file, or a disk without links
        total = _write(part / FILES[0], best.weights)
    state = replace(best.state, best=best.name)
    write_json(part / "state.json", sign(asdict(state) | {"run": owner, "sha256": {FILES[0]: total}}))
    part.rename(final)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    return write(path, [safetensors.torch.save({n: t.detach().cpu().contiguous() for n, t in tensors.items()})])


def _named_as_best(checkpoints: Sequence[Path]) -> set[str] | None:
    """Collect the folders that checkpoints name as their best; None if one cannot be read, which may name any."""
    try:
        return {str(read_signed(path / "state.json").get("best")) for path in checkpoints}
    except (OSError, ValueError, InputError):
        return None


def remove(checkpoint: Path) -> None:
    """Remove a checkpoint from the list at once. Files that cannot be deleted now are deleted at a later save."""
    gone = checkpoint.with_name(f".{checkpoint.name}.part")
    with suppress(OSError):
        checkpoint.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """List the run's checkpoints, oldest first."""
    home = folder / "checkpoints"
    try:
        return sorted((p for p in home.iterdir() if NAME.fullmatch(p.name)), key=step_and_attempt)
    except (FileNotFoundError, NotADirectoryError):  # missing, or lost during a training: `save` reports that
        return []


def list_best(folder: Path) -> list[Path]:
    """List the folders of best weights, oldest first: those that checkpoints name, and what a killed save left."""
    home = folder / "checkpoints"
    return sorted(p for p in home.glob(f"*{BEST}") if BEST_NAME.fullmatch(p.name)) if home.is_dir() else []


def step_and_attempt(checkpoint: Path) -> tuple[int, int]:
    """Read (step, earlier saves of that step) from its name: "00000012-1" is the second checkpoint after step 12."""
    step, _, again = checkpoint.name.removesuffix(BEST).partition("-")
    return int(step), int(again or 0)


def newest(folder: Path) -> tuple[str, str]:
    """Return the name and a digest of the newest checkpoint; raise InputError if there is no checkpoint yet."""
    checkpoints = list_checkpoints(folder)
    if not checkpoints:
        raise InputError(f"{folder} has no checkpoint yet; train it, or continue it with --resume")
    return checkpoints[-1].name, identify(checkpoints[-1])


def identify(checkpoint: Path) -> str:
    """Return a digest of a checkpoint; raise InputError if it cannot be read."""
    state = checkpoint / "state.json"
    try:
        return hashlib.sha256(read_bytes(state)).hexdigest()[:12]
    except OSError as error:
        raise InputError(_damaged(checkpoint, state, error)) from None


def read_state(checkpoint: Path, owner: str) -> State:
    """Read a checkpoint's state; raise InputError if it is damaged or belongs to another run than `owner`."""
    path = checkpoint / "state.json"
    record = _record(checkpoint)
    try:
        errors, best = tuple(record["errors"]), record.get("best")  # alexnet 0.1.0 kept no best
        state = State(record["step"], errors, record["seconds"], tuple(record["tally"]), best)
        sound = best is None or bool(BEST_NAME.fullmatch(best))
    except (KeyError, TypeError):
        raise InputError(_damaged(checkpoint, path)) from None
    if state.step != step_and_attempt(checkpoint)[0] or not sound:
        raise InputError(_damaged(checkpoint, path))
    if record.get("run", owner) != owner:
        raise InputError(f"checkpoint {checkpoint} was saved by another run; restore the run's own, or delete it")
    return state


def read_tensors(checkpoint: Path, name: str, like: Network | None = None) -> dict[str, Tensor]:
    """Read the tensors of one file of a checkpoint.

    Raises InputError if its checksum is wrong, or if names, shapes or types differ from those of the net `like`.
    """
    path, fault = checkpoint / name, None
    try:
        most = LARGEST if like is None else 8 * sum(t.numel() for t in like.state_dict().values()) + (1 << 20)
        data, expected = read_bytes(path, most), _record(checkpoint)["sha256"][name]
        if hashlib.sha256(data).hexdigest() == expected:
            found = safetensors.torch.load(data)
            if like is None or _fits(found, like.state_dict()):
                # In each process safetensors gives another order, and processes exchange shared weights in order.
                return {name: found[name] for name in sorted(found)}
    except (OSError, KeyError, TypeError, SafetensorError) as error:
        fault = error
    raise InputError(_damaged(checkpoint, path, fault))


def _record(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / "state.json"
    try:
        return read_signed(path)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(_damaged(checkpoint, path, error)) from None


def _fits(found: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> bool:
    return found.keys() == like.keys() and all(
        tensor.shape == like[name].shape and tensor.is_floating_point() for name, tensor in found.items()
    )


def _whole(checkpoint: Path) -> bool:
    try:
        sums = read_signed(checkpoint / "state.json")["sha256"]
        names = (*FILES, UNAVERAGED) if UNAVERAGED in sums else FILES
        return all(digest(checkpoint / name) == sums[name] for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _damaged(checkpoint: Path, path: Path, error: Exception | None = None) -> str:
    if not checkpoint.is_dir() and checkpoint.name.endswith(BEST):
        return (
            f"checkpoint {checkpoint} is gone: a running training replaces it by a better one, and then the same "
            "command works; otherwise use --checkpoint last"
        )
    if not checkpoint.is_dir():
        return f"checkpoint {checkpoint} is gone: a running training keeps only the newest; run the same command again"
    if isinstance(error, OSError) and error.errno not in LOST:  # the file may be intact: do not advise to delete it
        return f"checkpoint file {path} cannot be read: {error.strerror or error}; fix that, the file may be intact"
    if checkpoint.name.endswith(BEST):
        advice = f"use --checkpoint last, or delete {checkpoint}: a training then goes on without the best so far"
        return f"checkpoint file {path} is damaged; {advice}"
    earlier = [
        p
        for p in reversed(list_checkpoints(checkpoint.parent.parent))
        if step_and_attempt(p) < step_and_attempt(checkpoint)
    ]
    good = next((p for p in earlier if _whole(p)), None)
    late = " ".join(str(p) for p in [checkpoint, *earlier[: earlier.index(good)]]) if good else ""
    advice = f"delete {late} to continue from {good.name}" if good else "no earlier checkpoint is intact"
    return f"checkpoint file {path} is damaged; {advice}"
