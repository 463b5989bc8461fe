"""Make a run folder out of weights of another library: `alexnet.import_weights` and `alexnet import`."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import sync, write
from alexnet.data.store import Class
from alexnet.interop import caffe, foreign, onnx_reader, torchvision
from alexnet.interop.foreign import Foreign
from alexnet.interop.own import read_own
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import State
from alexnet.runs.environment import this_process
from alexnet.runs.folder import in_use, write_run
from alexnet.runs.published import CONFIG
from alexnet.runs.published import WEIGHTS as HUB
from alexnet.runs.run import Run

Kind = Literal["auto", "torchvision", "bvlc", "caffenet", "onnx"]
SUFFIXES = {  # of a file, and the kinds that it may hold
    ".pth": ("torchvision",),
    ".pt": ("torchvision",),
    ".safetensors": ("torchvision",),
    ".caffemodel": caffe.KINDS,
    ".onnx": ("torchvision", *caffe.KINDS, "onnx"),
}


@dataclass(frozen=True)
class Imported:
    """The outcome of `import_weights`: what it recognised, and the run that it made.

    Attributes:
        run: Folder of the run.
        kind: Kind of the file: torchvision, bvlc, caffenet, onnx or alexnet.
        recipe: Name of the recipe.
        layers: Weights by layer, as (name, shape).
        classes: Number of classes.
        side: Side of the pictures that the run takes, in pixels.
        sha256: SHA-256 of the file.
        licence: What the file or its publisher says about its use.
        notes: Sentences about what was assumed or found.
    """

    run: Path
    kind: str
    recipe: str
    layers: tuple[tuple[str, str], ...]
    classes: int
    side: int
    sha256: str
    licence: str
    notes: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Convert to JSON types."""
        layers = dict(self.layers)
        return {**self.__dict__, "run": str(self.run), "layers": layers, "notes": list(self.notes)}


def import_weights(
    file: str | os.PathLike[str],
    run: str | os.PathLike[str],
    *,
    kind: Kind = "auto",
    classes: str | os.PathLike[str] | None = None,
    mean: str | os.PathLike[str] | None = None,
) -> Imported:
    """Make a run folder out of trained weights of torchvision, Caffe or an ONNX file, which every command then takes.

    The weights keep their values; only the first layer's colours change their order where the file's are BGR. No code
    in the file is run. docs/interop.md says what each kind of file needs.

    Args:
        file: A .pth, .pt, .safetensors, .caffemodel or .onnx file, or a folder with model.safetensors.
        run: Folder to make. It must be new.
        kind: "torchvision", "bvlc" (BVLC's AlexNet), "caffenet" or "onnx"; "auto" finds it out. For an .onnx file it
            says how its input is made.
        classes: File with the names of the classes, one a line or as JSON, in the order of the outputs. Without it they
            are those that the file names, or "class 0", "class 1", ...
        mean: File with the mean: .binaryproto, or .npy (3, side, side) or (3,), in the order of colours of the net's
            input. Without it, a .caffemodel takes the only .binaryproto beside it.

    Returns:
        An `Imported` with what was recognised.

    Raises:
        InputError: The file is not such a net, is damaged or hostile, or needs a mean; or `run` exists.
        WorkFailed: The run cannot be written. Nothing is left of it.
    """
    source, folder = Path(file), Path(run)
    source = source / HUB if source.is_dir() and (source / HUB).is_file() else source
    if in_use(folder):
        raise InputError(f"run folder {folder} exists; name another folder")
    if kind not in get_args(Kind):
        raise InputError(f"--as {kind}; give one of {', '.join(get_args(Kind))}")
    check_suffix(source, kind)
    names = foreign.read_classes(Path(classes)) if classes is not None else None
    data = foreign.read_file(source)
    found, beside = read(source, data, kind, None if mean is None else Path(mean))
    count = found.recipe.net.classes
    if names is not None and len(names) != count:
        raise InputError(f"{classes} has {len(names)} names for the net's {count} outputs; give one for each")
    own = names or found.classes or foreign.default_classes(count)
    if len(own) != count:
        raise InputError(f"{source} has {len(own)} class names for {count} outputs; give --classes FILE")
    sha256 = hashlib.sha256(data).hexdigest()
    about = about_import(source, data, sha256, found, len(own), beside)
    write_whole(folder, found, own, about)
    shapes = {name: " x ".join(map(str, tensor.shape)) for name, tensor in found.weights.items()}
    layers = tuple((name, shapes[f"{name}.weight"]) for name in found.recipe.net.layers)
    side = found.mean.shape[0]
    return Imported(folder, found.kind, found.name, layers, count, side, sha256, found.licence, found.notes)


def check_suffix(file: Path, kind: str) -> None:
    """Raise InputError unless a file's suffix is known, and files with it may hold the kind."""
    if file.is_dir():
        raise InputError(f"{file} is a folder without {HUB}; give a file of weights")
    if file.suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{file} has the suffix {file.suffix or '(none)'}; a file of weights has one of {known}")
    if kind != "auto" and kind not in SUFFIXES[file.suffix]:
        raise InputError(f"--as {kind}: a {file.suffix} file holds {' or '.join(SUFFIXES[file.suffix])}")


def read(file: Path, data: bytes, kind: str, mean: Path | None) -> tuple[Foreign, Mapping[str, bytes]]:
    """Read the bytes of a file by its suffix; also return what was read beside it, by name."""
    if file.suffix == ".onnx":
        return onnx_reader.read_onnx(file, data, kind, mean)
    if file.suffix == ".caffemodel":
        return caffe.read_caffemodel(file, data, kind, mean), {}
    if mean is not None:
        raise InputError(f"--mean {mean}: the mean of a {file.suffix} file is known; leave it out")
    if file.name == HUB and file.with_name(CONFIG).is_file():
        return read_own(file.parent, len(data)), {}
    reader = torchvision.read_safetensors if file.suffix == ".safetensors" else torchvision.read_pth
    return reader(file, data), {}


def about_import(
    file: Path, data: bytes, sha256: str, found: Foreign, classes: int, beside: Mapping[str, bytes]
) -> dict[str, Any]:
    """Collect what environment.json holds of an imported run. The file takes the place of the store."""
    imported = {
        "file": str(file.resolve()),
        "sha256": sha256,
        "bytes": len(data),
        "kind": found.kind,
        "licence": found.licence,
        "notes": list(found.notes),
        "beside": {name: hashlib.sha256(content).hexdigest() for name, content in beside.items()},
    }
    return {
        "store": None,
        "store_digest": sha256[:12],
        "store_kind": "imported",
        "subset": None,
        "images": {},
        "classes": classes,
        "precision": "fp32",
        "imported": imported,
    } | this_process()


def write_whole(folder: Path, found: Foreign, classes: tuple[Class, ...], about: Mapping[str, Any]) -> None:
    """Write a run under another name beside its folder, then give it its name; leave nothing if that fails."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    statistics = {
        "mean": found.mean,
        "eigenvalues": torch.zeros(3) if found.eigenvalues is None else found.eigenvalues,
        "eigenvectors": torch.eye(3) if found.eigenvectors is None else found.eigenvectors,
    }
    made = [p for p in (folder.parent, *folder.parent.parents) if not p.exists()]
    try:
        part.mkdir(parents=True)
        write(part / "log.jsonl", [])
        write_run(part, found.name, found.recipe, statistics, classes, about, found.fit)
        checkpoint.save(part, found.weights, {}, State(0, (), 0.0), Run(part).identity, keep=0)
        if folder.is_dir():
            folder.rmdir()  # it is empty
        part.rename(folder)
        sync(folder.parent)
        made = []
    except (OSError, WorkFailed) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise WorkFailed(f"cannot write run {folder}: {why}; nothing is left of it") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
