"""The `Run` object, which opens the folder of a run: recipe, log, checkpoints and trained net."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.core.files import check_signed, parse_json, read_bytes
from alexnet.core.text import describe
from alexnet.data.images.resize import Fit
from alexnet.data.store import Class, labels
from alexnet.data.transforms import Transform, make_transform
from alexnet.models.build import build
from alexnet.models.network import Network
from alexnet.runs import checkpoint, log
from alexnet.runs.checkpoint import identify
from alexnet.runs.choice import choose_checkpoint
from alexnet.runs.folder import not_a_run
from alexnet.runs.published import open_published


class Run:
    """A run: a folder that `alexnet.train` made.

    Opening it reads recipe.json. Other files are read on first use, verified by their checksums, and kept. The log and
    the checkpoints are read again each time, since a run may still be training.

    Args:
        folder: Folder of the run.

    Attributes:
        folder: Folder of the run.
        recipe: The `Recipe` that it trains.
        name: Name of the recipe, such as "source".
        identity: 12 hexadecimal digits that identify the run, even if its folder moves.

    Raises:
        InputError: The folder is not a run, or recipe.json is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        data, self._record = _read_record(self.folder / "recipe.json")
        self.identity = hashlib.sha256(data).hexdigest()[:12]
        self.recipe, self.name = _recipe(self.folder / "recipe.json", self._record)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        saved = self.checkpoints
        where = f"{len(saved)} checkpoints, newest {saved[-1].name}" if saved else "no checkpoint yet"
        return f"<Run {self.folder}: recipe {self.name} {self.recipe.digest}, {where}>"

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl. Each has a `step` and a `kind`: "step", "epoch", "resumed" or "final"."""
        return log.read(self.folder)

    @property
    def checkpoints(self) -> list[Path]:
        """The folders of the checkpoints, oldest first."""
        return checkpoint.list_checkpoints(self.folder)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """The store, device, versions, commit and command of the run."""
        found = self._json("environment.json")
        if not isinstance(found, dict) or not {"store", "store_digest", "precision", "started"} <= found.keys():
            raise InputError(
                f"{self.folder / 'environment.json'} lacks fields of a run's environment; the run is unusable"
            )
        return found

    @cached_property
    def class_records(self) -> list[Class]:
        """The classes with their names in the source and their WordNet ids, in the order of the net's outputs."""
        try:
            records = [Class(**record) for record in self._json("classes.json")]
            if not all(
                isinstance(c.name, str) and all(isinstance(w, str | None) for w in (c.wnid, c.words)) for c in records
            ):
                raise TypeError
        except TypeError:
            raise InputError(f"{self.folder / 'classes.json'} is not a list of classes; the run is unusable") from None
        return records

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of the net's outputs."""
        return labels(self.class_records)

    @property
    def fit(self) -> Fit:
        """The way in which pictures of other sizes become squares: "crop", "pad" or "warp"."""
        fit = self._record.get("fit", "crop")
        if fit not in get_args(Fit):
            raise InputError(f"{self.folder / 'recipe.json'} has fit {describe(fit)}, not {', '.join(get_args(Fit))}")
        return cast(Fit, fit)

    @cached_property
    def transform(self) -> Transform:
        """The transform from pictures to inputs: it subtracts the training set's mean, crops, and adds colour noise."""
        data = self.trusted("pictures.safetensors")
        try:
            tensors = safetensors.torch.load(data)
            mean, *components = (tensors[name] for name in ("mean", "eigenvalues", "eigenvectors"))
            fit = mean.dim() == 3 and mean.shape[0] == mean.shape[1] >= self.recipe.net.image_size
            if not fit or [tuple(t.shape) for t in (mean[0, 0], *components)] != [(3,), (3,), (3, 3)]:
                raise ValueError
        except (SafetensorError, KeyError, ValueError):
            file = self.folder / "pictures.safetensors"
            raise InputError(f"{file} has no mean and colour components for this net") from None
        return make_transform(self.recipe, mean, *components, fit=self.fit)

    def net(self, name: str | int | None = None) -> Network:
        """Load the trained net, in eval mode.

        Args:
            name: A checkpoint, in any form that `resolve` takes; by default the newest.

        Returns:
            The net, on the CPU. `.classes` names its outputs in order. `.transform` makes its input from
            uint8 pictures (N, side, side, 3): ``net(net.transform.center_crop(pictures))`` gives logits (N, classes).

        Raises:
            InputError: There is no such checkpoint, or it is damaged.
        """
        chosen = self.folder / "checkpoints" / self.resolve(name)
        checkpoint.read_state(chosen, self.identity)
        with torch.device("meta"):  # draw no initial weights
            net = build(self.recipe.net, self.recipe.seed)
        net.load_state_dict(checkpoint.read_tensors(chosen, checkpoint.FILES[0], net), assign=True)
        net.classes = self.classes
        if len(net.classes) != self.recipe.net.classes:
            raise InputError(
                f"run {self.folder} has {len(net.classes)} class names for {self.recipe.net.classes} outputs"
            )
        net.transform = self.transform
        return net.eval()

    def newest(self) -> tuple[str, str]:
        """Return the name and a digest of the newest checkpoint; raise InputError if there is no checkpoint yet."""
        return checkpoint.newest(self.folder)

    def resolve(self, checkpoint: str | int | None = None) -> str:
        """Find a checkpoint and return the name of its folder.

        Args:
            checkpoint: "last" or None for the newest. "best" for the one with the lowest validation error, of equals
                the earliest. Or a step, or the name of a folder, such as "00001234".

        Raises:
            InputError: The run has no such checkpoint; the message lists what it has.
        """
        return choose_checkpoint(self.folder, self.identity, checkpoint)

    def chosen(self, checkpoint: str | int | None = None) -> tuple[str, str]:
        """Return the name and a digest of a checkpoint; raise InputError as `resolve` does."""
        name = self.resolve(checkpoint)
        return name, identify(self.folder / "checkpoints" / name)

    def trusted(self, file: str) -> bytes:
        """Read a file that was written when the run began; raise InputError if it is missing or was changed."""
        path = self.folder / file
        try:
            data = read_bytes(path)
            same = hashlib.sha256(data).hexdigest() == self._record["sha256"][file]
        except (OSError, KeyError, TypeError):
            same = False
        if not same:
            raise InputError(f"{path} is missing or was altered since the run began; restore the original file")
        return data

    def _json(self, file: str) -> Any:
        data = self.trusted(file)
        try:
            return parse_json(data)
        except ValueError as error:
            raise InputError(f"{self.folder / file} is not JSON ({error}); the run is unusable") from None


def load(folder: str | Path, name: str | int | None = None) -> Network:
    """Load a trained net, in eval mode: of a run, or one that `alexnet export` wrote.

    Args:
        folder: Folder of a run. Or what `export` wrote for safetensors (the file) or for hub (the folder). Or
            "hf:owner/name[@revision]", such a folder on Hugging Face's hub; this needs `pip install 'alexnet[hub]'`.
        name: Checkpoint of a run: "last" (the default), "best" (the lowest validation error), or a step.

    Returns:
        The net, on the CPU. `.classes` names its outputs in order. `.transform` makes its input from uint8
        pictures (N, side, side, 3): ``net(net.transform.center_crop(pictures))`` gives logits (N, classes).

    Raises:
        InputError: It is neither a run nor an exported net, the run has no checkpoint yet, or a file is damaged.
        WorkFailed: The hub cannot be reached.
    """
    exported = open_published(folder)
    if exported is None:
        return Run(folder).net(name)
    if name is not None:
        raise InputError(f"checkpoint {name}: {folder} is an exported net, without checkpoints")
    return exported.net()


def _read_record(path: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        data = read_bytes(path)
        return data, check_signed(path, data)
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(not_a_run(path)) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); the run is unusable without it") from None


def _recipe(path: Path, record: Mapping[str, Any]) -> tuple[Recipe, str]:
    try:
        recipe = Recipe.of(record["recipe"])
        name = str(record["name"])
        same = recipe.has_digest(record["digest"])
    except (KeyError, TypeError):
        raise InputError(f"{path} is not a run's recipe: it lacks name, digest or recipe") from None
    if not same:
        raise InputError(f"{path} was altered: its digest does not match its recipe")
    return recipe, name
