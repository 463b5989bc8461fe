"""Write the features of pictures, and their dissimilarities, to .npy files or one HDF5 file."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError
from alexnet.core.files import json_bytes, sync, write
from alexnet.inference.features import BATCH, Features, Progress, new_npy, of_source
from alexnet.inference.layer_names import find_layers
from alexnet.inference.pictures import PictureSource, open_store
from alexnet.inference.rdm import Metric, rdm
from alexnet.inference.trained import load_for_inference, title
from alexnet.runs.run import Run

Format = Literal["npy", "h5"]
TOLD = ("run", "recipe", "checkpoint", "precision", "rdm", "store", "split")  # attributes of an HDF5 file


class Written(NamedTuple):
    """The result of `write_features`.

    Attributes:
        found: The `Features` of each layer, by its own name. Their values are mapped from files that may be gone.
        files: The files, the arrays before what describes them.
        arrays: File, and for HDF5 dataset, of each array, with its shape and dtype.
    """

    found: dict[str, Features]
    files: list[Path]
    arrays: list[tuple[str, tuple[int, ...], str]]


def write_features(
    run: str | Path,
    source: PictureSource,
    out: Path,
    layer: str | Sequence[str] = "fc7",
    *,
    metric: Metric | None = None,
    format: Format = "npy",
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    progress: Progress = lambda done, of: None,
) -> Written:
    """Write the features of pictures to OUT.npy, and their names, classes and origin to OUT.json.

    Several layers go to OUT.LAYER.npy each. With HDF5, all go to OUT.h5. Each file is written completely or not at all,
    in place of one of that name. If no picture can be read, nothing is written.

    Args:
        run: A run folder.
        source: A store or its folder, or pictures in any form that `predict` takes.
        out: Name of the files, with or without the suffix, in a folder that exists.
        layer: Name of the layer, or several names, as for `features`.
        metric: Dissimilarity whose matrix is written too, as OUT.rdm.npy or OUT.LAYER.rdm.npy, see `rdm`.
        format: "npy", or "h5" for one HDF5 file: a dataset for each layer, "names", "labels" of a store's pictures,
            "errors" with (name, reason) of pictures that could not be read, and "rdm/LAYER".
        split, checkpoint, device, precision, workers, progress: As for `features`.

    Returns:
        What was written.

    Raises:
        InputError: A picture, the run or a layer cannot be used, `out` cannot be written, a dissimilarity is undefined,
            or h5py is missing.
    """
    for what, given, known in (("metric", metric or "correlation", Metric), ("format", format, Format)):
        if given not in get_args(known):
            raise InputError(f"{what} {given}; choose from {', '.join(get_args(known))}")
    base = out.with_suffix("") if out.suffix == f".{format}" else out
    if not base.parent.is_dir() or not base.name:
        raise InputError(f"{out} cannot be written; name a file in a folder that exists")
    if format == "h5":
        h5py_or_refuse()
    compute = choose_compute(device, precision)
    name, store = Run(run).resolve(checkpoint), open_store(source)
    net = load_for_inference(run, compute, name)
    several = not isinstance(layer, str)
    layers = find_layers([layer] if isinstance(layer, str) else layer, net.order)
    files = {own: base.with_name(f"{base.name}.{own}.npy" if several else f"{base.name}.npy") for own in layers}
    targets = (
        [base.with_name(f"{base.name}.h5")]
        if format == "h5"
        else [*files.values(), base.with_name(f"{base.name}.json")]
    )
    for file in targets:
        if file.is_dir():
            raise InputError(f"{file} is a folder; name a file")
    with _unfinished() as part:
        found = of_source(
            net,
            source if store is None else store,
            layers,
            compute,
            split,
            workers,
            lambda own: part(files[own]),
            progress,
            title(run),
        )
        first = found[layers[0]]
        if not first.names:
            return Written(found, [], [])
        facts: dict[str, Any] = {"run": str(run), "recipe": Run(run).recipe.digest}
        shapes = {own: list(one.values.shape) for own, one in found.items()}
        facts |= {"layers": layers, "shapes": shapes} if several else {"layer": layers[0], "shape": shapes[layers[0]]}
        facts |= {"checkpoint": name, "precision": compute.precision} | ({"rdm": metric} if metric else {})
        if store is not None:
            facts |= {"store": store.digest, "split": split or store.held_out}
        beside = {own: file.with_name(f"{file.name.removesuffix('.npy')}.rdm.npy") for own, file in files.items()}
        matrices: dict[str, np.ndarray] = {}
        if metric:
            matrices = {own: _matrix(part(beside[own]), own, found[own], metric) for own in layers}
        if format == "h5":
            whole = base.with_name(f"{base.name}.h5")
            arrays = _write_h5(part(whole), facts, found, matrices)
            _finish(part(whole), whole)
            return Written(found, [whole], [(f"{whole}/{name}", shape, dtype) for name, shape, dtype in arrays])
        made: dict[Path, np.ndarray] = {}
        for own, file in files.items():
            _trim(part(file), found[own].values, part(file.with_name(f"{file.name}.short")))
            made |= {file: found[own].values} | ({beside[own]: matrices[own]} if metric else {})
        for file in made:
            _finish(part(file), file)
    described = base.with_name(f"{base.name}.json")
    write(described, [json_bytes(facts | {"names": first.names, "classes": first.labels, "errors": first.errors})])
    return Written(found, [*made, described], [(str(f), v.shape, str(v.dtype)) for f, v in made.items()])


def h5py_or_refuse() -> Any:
    """Import h5py; raise InputError with the command that installs it if it is missing."""
    try:
        return import_module("h5py")
    except ImportError:
        raise InputError("HDF5 needs h5py, which is not installed; pip install 'alexnet[hdf5]'") from None


@contextlib.contextmanager
def _unfinished() -> Iterator[Callable[[Path], Path]]:
    """Yield a function that names the unfinished form of a file. When the block ends, those that are left go."""
    parts: set[Path] = set()

    def part(file: Path) -> Path:
        path = file.with_name(f".{file.name}.part")
        parts.add(path)
        return path

    try:
        yield part
    finally:
        for path in parts:
            path.unlink(missing_ok=True)


def _finish(part: Path, file: Path) -> None:
    """Give a finished file its name, once the disk has all of it."""
    with part.open("r+b") as data:
        os.fsync(data.fileno())
    part.replace(file)
    sync(file.parent)


def _trim(path: Path, values: np.ndarray, short: Path) -> None:
    """Cut the file of an array down to the rows that are filled; some pictures could not be read."""
    if len(np.load(path, mmap_mode="r")) > len(values):
        rows = new_npy(short, values.shape, values.dtype)
        for at in range(0, len(values), BATCH):
            rows[at : at + BATCH] = values[at : at + BATCH]
        short.replace(path)


def _matrix(path: Path, layer: str, found: Features, metric: Metric) -> np.ndarray:
    """Compute the dissimilarities of a layer into a new file."""
    matrix = new_npy(path, (len(found.names), len(found.names)), np.float64)
    return rdm(found.values, metric, layer=layer, names=found.names, out=matrix)


def _write_h5(
    path: Path, facts: Mapping[str, Any], found: Mapping[str, Features], matrices: Mapping[str, np.ndarray]
) -> list[tuple[str, tuple[int, ...], str]]:
    """Write one HDF5 file; return its arrays with their shapes and dtypes."""
    h5py = h5py_or_refuse()
    arrays = {own: one.values for own, one in found.items()} | {
        f"rdm/{own}": matrix for own, matrix in matrices.items()
    }
    first = next(iter(found.values()))
    texts = {"names": _texts(first.names), "errors": _texts(n for p in first.errors.items() for n in p).reshape(-1, 2)}
    texts |= {"labels": _texts(first.labels)} if first.labels is not None else {}
    told = {name: _texts([facts[name]])[0] for name in TOLD if name in facts}
    try:
        # HDF5 by itself would end the process on a full disk (h5py 3.16); Python's own file raises an error.
        with path.open("w+b") as data, h5py.File(data, "w") as file:
            file.attrs.update(told)
            for name, words in texts.items():
                file.create_dataset(name, data=words, dtype=h5py.string_dtype())
            for name, values in arrays.items():
                rows = file.create_dataset(name, values.shape, values.dtype)
                for at in range(0, len(values), BATCH):
                    rows[at : at + BATCH] = values[at : at + BATCH]
    except OSError as error:  # it does not name the file
        raise type(error)(error.errno, error.strerror, str(path)) from None
    return [(name, values.shape, str(values.dtype)) for name, values in arrays.items()]


def _texts(words: Iterable[str]) -> np.ndarray:
    """Make an array of texts, with names that are not UTF-8 escaped as in JSON."""
    return np.array([word.encode(errors="backslashreplace").decode() for word in words], dtype=object)
