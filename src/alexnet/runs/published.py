"""Read a trained net that was exported: one .safetensors file, or a folder as Hugging Face's hub takes it.

Both hold the weights, the recipe, the class names, the mean picture and the colour components. Nothing in them can run
code. `interop/exporting.py` writes them.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from alexnet.config.recipe import Recipe
from alexnet.core.errors import InputError
from alexnet.core.files import parse_json, read_bytes
from alexnet.data.images.resize import Fit
from alexnet.data.transforms import make_transform
from alexnet.models.build import build
from alexnet.models.network import Network
from alexnet.runs import hub

# The files of a folder for the hub.
CONFIG, WEIGHTS, STATISTICS = "config.json", "model.safetensors", "transform.safetensors"
PREFIX = "transform."  # of the names of the statistics, in one file with the weights
FACTS = ("alexnet", "name", "recipe", "digest", "classes", "licence", "fit")  # the strings of a file
MOST_CONFIG = 1 << 26  # bytes


@dataclass(frozen=True)
class Published:
    """A trained net with all that its use needs, outside a run folder.

    Attributes:
        name: Name of its recipe, such as "source".
        recipe: The recipe.
        classes: Names of the outputs.
        weights: Tensors by the names of the net's state_dict.
        statistics: Tensors "mean" (side, side, 3), "eigenvalues" (3,) and "eigenvectors" (3, 3) of the training set.
        fit: How pictures become squares: "crop", "pad" or "warp".
        licence: Licence of the weights, in words; "" if nobody stated one.
    """

    name: str
    recipe: Recipe
    classes: list[str]
    weights: dict[str, Tensor]
    statistics: dict[str, Tensor]
    fit: Fit
    licence: str

    @property
    def side(self) -> int:
        """The side in pixels of the pictures that the net takes."""
        return self.statistics["mean"].shape[0]

    def net(self) -> Network:
        """Build the net, in eval mode, on the CPU.

        Raises ValueError, with the first misfit, unless the parts fit each other.
        """
        with torch.device("meta"):  # draw no initial weights
            net = build(self.recipe.net, self.recipe.seed)
        expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        check_tensors(self.weights, expected)
        side = self.statistics["mean"].shape[0] if "mean" in self.statistics and self.statistics["mean"].dim() else 0
        check_tensors(self.statistics, {"mean": (side, side, 3), "eigenvalues": (3,), "eigenvectors": (3, 3)})
        if side < self.recipe.net.image_size:
            raise ValueError(f"mean has side {side}, and views have side {self.recipe.net.image_size}")
        if len(self.classes) != self.recipe.net.classes:
            raise ValueError(f"it has {len(self.classes)} class names for {self.recipe.net.classes} outputs")
        net.load_state_dict({name: tensor.float() for name, tensor in self.weights.items()}, assign=True)
        net.classes = self.classes
        net.transform = make_transform(self.recipe, **self.statistics, fit=self.fit)
        return net.eval()


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError, with the first misfit, unless tensors have the names and shapes expected, and are floats."""
    for name in (*expected, *found):
        if name not in found or name not in expected:
            raise ValueError(f"{'no tensor' if name not in found else 'an unknown tensor'} {name}")
        if (shape := tuple(found[name].shape)) != expected[name]:
            raise ValueError(f"{name} has shape {shape}, not {expected[name]}")
        if not found[name].is_floating_point():
            raise ValueError(f"{name} is {str(found[name].dtype).removeprefix('torch.')}, not float")


def open_published(source: str | os.PathLike[str]) -> Published | None:
    """Read an exported net; return None if the path does not look like one.

    Args:
        source: A .safetensors file, a folder with config.json, or "hf:owner/name[@revision]" for one on the hub.

    Raises:
        InputError: It cannot be read or downloaded, or its parts do not fit each other.
    """
    if os.fspath(source).startswith(hub.SCHEME):
        path = hub.download(os.fspath(source), (CONFIG, WEIGHTS, STATISTICS))
    else:
        path = Path(source)
    single = path.suffix == ".safetensors" and not os.path.isdir(path)
    # os.path, which takes a name that no file can have as one that is missing
    if not single and (not os.path.isfile(path / CONFIG) or os.path.exists(path / "recipe.json")):
        if path != Path(source):
            raise InputError(f"{source} has no {CONFIG}; name a repository that alexnet export --to hub made")
        return None
    try:
        found = _read_file(path) if single else _read_folder(path)
        found.net()  # checks that the parts fit
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, InputError, KeyError, TypeError, ValueError, RuntimeError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not a net that alexnet exported: {missing}") from None
    return found


def _read_file(path: Path) -> Published:
    data = read_bytes(path)
    tensors = safetensors.torch.load(data)
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])  # checked by `load`
    facts = header.get("__metadata__", {})
    if lacking := [name for name in FACTS if name not in facts]:
        raise ValueError(
            f"its metadata lack {', '.join(lacking)}; alexnet import {path} RUN reads weights of other libraries"
        )
    statistics = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
    weights = {name: t for name, t in tensors.items() if not name.startswith(PREFIX)}
    own = {name: facts[name] for name in ("name", "digest", "licence", "fit")}
    return _made(own | {"recipe": parse_json(facts["recipe"])}, parse_json(facts["classes"]), weights, statistics)


def _read_folder(path: Path) -> Published:
    config = parse_json(read_bytes(path / CONFIG, MOST_CONFIG))
    if not isinstance(config, dict) or not isinstance(config.get("alexnet"), dict):
        raise ValueError(f"{CONFIG} has no entry alexnet")
    weights, statistics = (safetensors.torch.load(read_bytes(path / name)) for name in (WEIGHTS, STATISTICS))
    return _made(config["alexnet"], config["label_names"], weights, statistics)


def _made(
    facts: Mapping[str, Any], classes: Any, weights: dict[str, Tensor], statistics: dict[str, Tensor]
) -> Published:
    """Put together what was read; raise ValueError, KeyError or InputError for parts that are not of the right kind."""
    recipe = Recipe.of(facts["recipe"])
    if not recipe.has_digest(facts["digest"]):
        raise ValueError(f"its recipe has digest {recipe.digest}, not {facts['digest']}")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("its classes are not a list of names")
    if facts["fit"] not in get_args(Fit):
        raise ValueError(f"its fit is {json.dumps(facts['fit'])}, not one of {', '.join(get_args(Fit))}")
    if not isinstance(facts["name"], str) or not isinstance(facts["licence"], str):
        raise ValueError("its name or its licence is not a string")
    return Published(facts["name"], recipe, classes, weights, statistics, facts["fit"], facts["licence"])
