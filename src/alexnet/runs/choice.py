"""Find the checkpoint of a run that a user asked for: the last, the best, or one of a step."""

import re
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.core.text import describe, shorten
from alexnet.runs import checkpoint

STEP = re.compile(r"[0-9]{1,18}")
SHOWN = 8  # checkpoints that a message lists


def choose_checkpoint(folder: Path, owner: str, asked: str | int | None) -> str:
    """Return the name of the folder of a run's checkpoint.

    Args:
        folder: Folder of the run.
        owner: `Run.identity` of the run.
        asked: "last" or None, "best", a step, or the name of a checkpoint's folder.

    Raises:
        InputError: There is no such checkpoint.
    """
    if asked is None or asked == "last":
        return checkpoint.newest(folder)[0]
    if isinstance(asked, bool) or not isinstance(asked, (str, int)):
        raise InputError(f"checkpoint {describe(asked)}; give best, last or a step")
    if asked == "best":
        return _best(folder, owner)
    word = str(asked)
    there = checkpoint.list_checkpoints(folder)
    kept = checkpoint.list_best(folder)
    names = [path.name for path in (*kept, *there)]
    if word in names:
        return word
    if STEP.fullmatch(word):
        at = [path.name for path in (*kept, *there) if checkpoint.step_and_attempt(path)[0] == int(word)]
        if at:
            return at[-1]
    raise InputError(f"--checkpoint {shorten(word)}: run {folder} has {_listed(folder, owner)}")


def _best(folder: Path, owner: str) -> str:
    newest = folder / "checkpoints" / checkpoint.newest(folder)[0]
    state = checkpoint.read_state(newest, owner)
    if state.best is not None:
        return state.best
    if state.errors:
        raise InputError(
            f"--checkpoint best: not kept by this run, which an earlier alexnet trained; run {folder} has "
            f"{_listed(folder, owner)}"
        )
    raise InputError(f"--checkpoint best: run {folder} has no validated epoch yet; use --checkpoint last")


def _listed(folder: Path, owner: str) -> str:
    """List the checkpoints of a run in words: "last, best, 00000004, 00000008"."""
    there = checkpoint.list_checkpoints(folder)
    if not there:
        return "none yet"
    names = [path.name for path in there]
    more = [f"{len(names) - SHOWN} earlier", *names[-SHOWN:]] if len(names) > SHOWN else names
    known = ["last"]
    if checkpoint.read_state(there[-1], owner).best is not None:
        known.append("best")
    return ", ".join((*known, *more))
