"""Say how far a run's training had come at a checkpoint."""

from dataclasses import asdict, dataclass
from typing import Any

from alexnet.core.errors import InputError
from alexnet.runs.checkpoint import step_and_attempt
from alexnet.runs.run import Run


@dataclass(frozen=True)
class Progress:
    """A checkpoint and the training before it.

    Attributes:
        run: Folder of the run.
        checkpoint: Name of the checkpoint, such as "00001140".
        step: Number of steps before it.
        epoch: Number of epochs before it, with a fraction; None if the run does not know its pictures, or was imported.
        epochs: Number of epochs of the recipe.
        finished: Whether the run's training has ended.
    """

    run: str
    checkpoint: str
    step: int
    epoch: float | None
    epochs: int
    finished: bool

    def words(self) -> str:
        """Name the checkpoint and its epoch."""
        if self.epoch is None:
            return f"checkpoint {self.checkpoint}"
        done = f"{self.epoch:.4g}" if self.epoch == int(self.epoch) else f"{self.epoch:.1f}"
        where = f"checkpoint {self.checkpoint}, epoch {done} of {self.epochs}"
        return where if self.finished else f"{where}, training not finished"

    def plain(self) -> dict[str, Any]:
        """Return the attributes as JSON types."""
        return asdict(self)


def progress(run: Run, name: str) -> Progress:
    """Describe the checkpoint `name` of a run."""
    step, epochs = step_and_attempt(run.folder / name)[0], run.recipe.epochs
    per_epoch = _steps_an_epoch(run)
    if per_epoch is None:
        return Progress(str(run.folder), name, step, None, epochs, True)
    finished = step >= epochs * per_epoch or _ended(run)
    return Progress(str(run.folder), name, step, step / per_epoch, epochs, finished)


def _ended(run: Run) -> bool:
    try:
        return any(line["kind"] == "final" for line in run.log)
    except InputError:  # the log cannot be read: the net can still be used
        return False


def _steps_an_epoch(run: Run) -> int | None:
    try:
        images = run.environment.get("images")
    except InputError:  # lost or altered: the net can still be used
        return None
    pictures = images.get("train") if isinstance(images, dict) else None
    return -(-pictures // run.recipe.sgd.batch) if isinstance(pictures, int) and pictures > 0 else None
