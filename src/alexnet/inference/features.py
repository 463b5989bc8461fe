"""Compute the output of any layer of a trained net, and find the most similar pictures of a store by it.

Features are those of the central view, in eval mode. Similar pictures have a small Euclidean distance between their
outputs of the last hidden layer (section 6.1). The search compares every picture of the split.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError
from alexnet.core.files import json_bytes, write
from alexnet.data.loader import batches_in_order
from alexnet.data.store import Split, Store, labels
from alexnet.inference.evaluate import check_side
from alexnet.inference.pictures import Given, PicturesLike, list_pictures, read_picture
from alexnet.inference.trained import RunOrNet, compute_for, load_for_inference, title
from alexnet.models import cifar
from alexnet.models.alexnet import AlexNet
from alexnet.models.build import AnyModel
from alexnet.models.mlp import Mlp
from alexnet.runs.run import Run

PictureSource = Store | PicturesLike
Progress = Callable[[int, int], None]
BATCH = 64  # pictures at a time


class Features(NamedTuple):
    """The outputs of a layer: a row of `values` for each of `names`."""

    values: np.ndarray  # float32, (N, units) or (N, maps, side, side)
    names: list[str]  # files, "picture N" for other pictures, or the pictures' names in the store
    labels: list[str] | None  # the pictures' classes, if they come from a store
    errors: dict[str, str]  # why a picture could not be read, by its name


def features(
    run_or_net: RunOrNet,
    source: PictureSource,
    layer: str = "fc7",
    *,
    split: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Features:
    """Compute the outputs of a layer for the central views of pictures, in eval mode.

    Args:
        run_or_net: A run folder, or a net in eval mode with its classes and transform, such as `alexnet.load` returns.
        source: A store, or pictures of any kind that `predict` takes.
        layer: Name of the layer. "fc7" is before the activation and "relu7" after it. "drop7" is the input of fc8,
            halved as the paper does in testing (section 4.2).
        split: Split of a store: "train", "val" or "test"; the held-out one by default.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays where it is.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its own.
        workers: Number of threads that read a store ahead, 1 or more.
        keep: New file (.npy) to hold the values, instead of memory.
        progress: Function to call with the number of pictures done and the number of all.

    Returns:
        Features: `values`, float32 (N, units) or (N, maps, side, side), a row for each of `names`; the `labels` of a
        store's pictures; and in `errors` the reason for each picture that could not be read and has no row.

    Raises:
        InputError: The run or the net, the store, a picture or the layer cannot be used.
    """
    compute = compute_for(run_or_net, device, precision)
    net = load_for_inference(run_or_net, compute)
    store = open_store(source)
    if store is None:
        if split:
            raise InputError(f"--split {split}; only a store has splits, leave it out for files")
        assert not isinstance(source, Store)
        return _of_pictures(net, list_pictures(source), layer, compute, keep, progress)
    check_side(store, title(run_or_net), net)
    part = store[split or store.held_out]
    known = labels(store.classes)
    seen = (batch.images for batch in batches_in_order(part, BATCH, device=compute.device, workers=workers))
    values = _filled(len(part), (extract(net, layer, images, compute) for images in seen), keep, progress)
    return Features(values, part.names, [known[label] for label in part.labels], {})


def write_features(run: str | Path, source: PictureSource, out: Path, layer: str = "fc7", **options: Any) -> Features:
    """Write OUT.npy, a row for each picture, and OUT.json, with names, classes and how the values were made.

    Each file is complete or absent. If no picture could be read, nothing is written.

    Args:
        run: A run folder.
        source: A store, or pictures of any kind that `predict` takes.
        out: Name of the files, with or without .npy, in a folder that exists.
        layer: Name of the layer, as for `features`.
        options: Other options of `features`.

    Returns:
        The Features, as `features` returns them.

    Raises:
        InputError: As `features`, and if `out` cannot be written.
    """
    base = out.with_suffix("") if out.suffix == ".npy" else out
    if not base.parent.is_dir() or not base.name:
        raise InputError(f"{out} cannot be written; name a file in a folder that exists")
    array, names = base.with_name(f"{base.name}.npy"), base.with_name(f"{base.name}.json")
    part = array.with_name(f".{array.name}.part")
    try:
        found = features(run, source, layer, keep=part, **options)
        if found.names:
            if len(np.load(part, mmap_mode="r")) > len(found.names):  # some files could not be read
                np.save(part.with_suffix(".npy"), found.values)
                os.replace(part.with_suffix(".npy"), part)
            facts: dict[str, Any] = {
                "run": str(run),
                "recipe": Run(run).recipe.digest,
                "layer": layer,
                "shape": list(found.values.shape),
            }
            facts |= {
                "precision": choose_compute(options.get("device", "auto"), options.get("precision", "auto")).precision
            }
            facts |= {"names": found.names, "classes": found.labels, "errors": found.errors}
            os.replace(part, array)
            write(names, [json_bytes(facts)])
    finally:
        part.unlink(missing_ok=True)
    return found


def similar(
    run_or_net: RunOrNet,
    store: str | os.PathLike[str] | Store,
    pictures: PicturesLike,
    count: int = 6,
    *,
    split: str = "train",
    layer: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    progress: Progress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Find the stored pictures that are nearest to each picture, nearest first (figure 4, right).

    Args:
        run_or_net: A run folder, or a net in eval mode with its classes and transform, such as `alexnet.load` returns.
        store: The store to search, or its folder. Its pictures must have the side that the net takes.
        pictures: Pictures of any kind that `predict` takes.
        count: Number of neighbours a picture, 1 or more.
        split: Split to search: "train", "val" or "test". Every picture of it is compared.
        layer: Layer whose outputs are compared; by default the last hidden layer's activations, 4,096 in AlexNet.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays where it is.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its own.
        workers: Number of threads that read the store ahead, 1 or more.
        progress: Function to call with the number of pictures compared and the number of all.

    Returns:
        A list in the order of the pictures. Each item is {"image", "neighbours": [{"name", "class", "number",
        "distance"}]}, with Euclidean distances and indices in the split, or {"image", "error"} if the picture cannot
        be read. "image" is as in `predict`.

    Raises:
        InputError: The run or the net, the store, a picture or the layer cannot be used.
    """
    if count < 1:
        raise InputError(f"--top {count}; it must be 1 or more")
    compute = compute_for(run_or_net, device, precision)
    net = load_for_inference(run_or_net, compute)
    opened = store if isinstance(store, Store) else Store(Path(store))
    check_side(opened, title(run_or_net), net)
    part, known = opened[split], labels(opened.classes)
    given = list_pictures(pictures)
    layer = layer or last_hidden(net)
    asked = _of_pictures(net, given, layer, compute)
    answers: dict[str, dict[str, Any]] = {name: {"image": name, "error": e} for name, e in asked.errors.items()}
    if asked.names:
        queries = torch.from_numpy(asked.values)
        ids, distances = nearest(net, layer, part, queries, count, compute, workers, progress)
        for name, numbers, apart in zip(asked.names, ids.tolist(), distances.tolist(), strict=True):
            answers[name] = {
                "image": name,
                "neighbours": [
                    {"name": part.names[i], "class": known[part.labels[i]], "number": i, "distance": d}
                    for i, d in zip(numbers, apart, strict=True)
                ],
            }
    return [answers[picture.name] for picture in given]


@torch.inference_mode()
def nearest(
    net: AnyModel,
    layer: str,
    split: Split,
    queries: Tensor,
    count: int,
    compute: Compute,
    workers: int = 2,
    progress: Progress = lambda done, of: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the pictures of the whole split that are nearest to each query, nearest first.

    Distances are sums of squared differences in float64. Products would cancel for near pictures. Of pictures at equal
    distance the first in the store comes first.

    Args:
        net: The net, in eval mode.
        layer: Layer whose outputs are compared.
        split: Split of a store.
        queries: Outputs of the layer, float32 (queries, ...).
        count: Number of neighbours a query.
        compute: Device and precision.
        workers: Number of threads that read the store ahead.
        progress: Function to call with the number of pictures compared and the number of all.

    Returns:
        Indices in the split and Euclidean distances, (queries, count) each.
    """
    wanted = queries.flatten(1).to(compute.device, torch.float64)
    ids = torch.empty((len(wanted), 0), dtype=torch.int64, device=compute.device)
    distances = wanted.new_empty((len(wanted), 0))
    for batch in batches_in_order(split, BATCH, device=compute.device, workers=workers):
        there = extract(net, layer, batch.images, compute).flatten(1).double()
        apart = torch.cdist(wanted, there, compute_mode="donot_use_mm_for_euclid_dist")
        distances, ids = torch.cat((distances, apart), 1), torch.cat((ids, batch.ids.expand(len(wanted), -1)), 1)
        order = torch.argsort(distances, dim=1, stable=True)[:, :count]
        distances, ids = distances.gather(1, order), ids.gather(1, order)
        progress(batch.first + len(batch.ids), len(split))
    return ids.cpu().numpy(), distances.cpu().numpy()


@torch.inference_mode()
def extract(net: AnyModel, layer: str, images: Tensor, compute: Compute) -> Tensor:
    """Compute a layer's output, float32, for the central views of pictures uint8 (N, side, side, 3) on the device."""
    with compute.arithmetic():
        return net.features(net.transform.center_crop(images, compute.dtype), layer).float()


def last_hidden(net: AnyModel) -> str:
    """Name the layer by which section 6.1 compares pictures: the activations of the last hidden layer."""
    if isinstance(net, Mlp):
        return f"relu{len(net.net.hidden)}"
    return "relu7" if isinstance(net, AlexNet) else cifar.order(net.net)[-2]


def open_store(source: PictureSource) -> Store | None:
    """Open the source if it is a store; return None for pictures and folders of them."""
    if isinstance(source, Store):
        return source
    is_folder = isinstance(source, (str, os.PathLike)) and (Path(source) / "meta.json").is_file()
    return Store(Path(source)) if is_folder else None  # type: ignore[arg-type]


def _of_pictures(
    net: AnyModel,
    given: Sequence[Given],
    layer: str,
    compute: Compute,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Features:
    names: list[str] = []
    errors: dict[str, str] = {}

    def found() -> Iterator[Tensor]:
        for first in range(0, len(given), BATCH):
            taken = []
            for picture in given[first : first + BATCH]:
                pixels = read_picture(picture.source, net.transform.side)
                if isinstance(pixels, str):
                    errors[picture.name] = pixels
                else:
                    taken.append(pixels)
                    names.append(picture.name)
            if taken:
                yield extract(net, layer, torch.from_numpy(np.stack(taken)).to(compute.device), compute)

    values = _filled(len(given), found(), keep, progress)
    return Features(values, names, None, errors)


def _filled(most: int, parts: Iterator[Tensor], keep: Path | None, progress: Progress) -> np.ndarray:
    """Stack the parts into one array of at most `most` rows, in memory or in a new file."""
    values, done = np.empty((0, 0), np.float32), 0
    for part in parts:
        if not done:
            shape = (most, *part.shape[1:])
            values = _mapped(keep, shape) if keep else np.empty(shape, np.float32)
        values[done : done + len(part)] = part.cpu().numpy()
        done += len(part)
        progress(done, most)
    return values[:done]


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Map a new file as an array. Reserve its space first: writing to a map on a full disk would kill the process."""
    values = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    with path.open("r+b") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # missing on macOS
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
    return values
