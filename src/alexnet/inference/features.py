"""Compute the features of pictures in a layer of a trained net.

The net sees the central view of a picture, in eval mode.
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
from alexnet.data.store import Store, labels
from alexnet.inference.evaluate import check_side
from alexnet.inference.pictures import Given, PicturesLike, list_pictures, read_picture
from alexnet.inference.trained import RunOrNet, compute_for, load_for_inference, title
from alexnet.models.build import AnyModel
from alexnet.runs.run import Run

PictureSource = Store | PicturesLike
Progress = Callable[[int, int], None]
BATCH = 64  # pictures in a batch


class Features(NamedTuple):
    """The features of pictures in one layer, with a row of `values` for each name.

    Attributes:
        values: The features, float32 (N, units) or (N, maps, side, side).
        names: Paths, "picture N" for pictures that are not files, or names in the store.
        labels: Class of each picture of a store; None for other pictures.
        errors: Reason for each picture that could not be read, by name. Such a picture has no row.
    """

    values: np.ndarray
    names: list[str]
    labels: list[str] | None
    errors: dict[str, str]


def features(
    run_or_net: RunOrNet,
    source: PictureSource,
    layer: str = "fc7",
    *,
    split: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Features:
    """Compute the features of pictures: the outputs of a layer for their central views (section 6.1).

    Args:
        run_or_net: A run folder, or a net from `alexnet.load`: in eval mode, with `.classes` and `.transform`.
        source: A store or its folder, or pictures in any form that `predict` takes.
        layer: Name of the layer. "fc7" is before the activation and "relu7" after it. "drop7" is the input of fc8,
            halved because testing uses all units (section 4.2).
        split: Split of the store, "train", "val" or "test"; by default the held-out one. Only for a store.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays on its device.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its precision.
        workers: Number of threads that read a store ahead, 1 or more; None means 2, or on CUDA all cores.
        keep: A new .npy file to map the values to, instead of holding them in memory.
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        The `Features`: `values`, float32 (N, units) or (N, maps, side, side), and `names`, one for each row. `labels`
        holds the classes of a store's pictures, and `errors` the reason for each picture that could not be read.

    Raises:
        InputError: The run, net, store, picture or layer cannot be used.
    """
    compute = compute_for(run_or_net, device, precision)
    net = load_for_inference(run_or_net, compute)
    store = open_store(source)
    if store is None:
        if split:
            raise InputError(f"--split {split}: only a store has splits; leave it out for pictures")
        assert not isinstance(source, Store)
        return of_pictures(net, list_pictures(source), layer, compute, keep, progress)
    check_side(store, title(run_or_net), net)
    part = store[split or store.held_out]
    known = labels(store.classes)
    seen = (batch.images for batch in batches_in_order(part, BATCH, device=compute.device, workers=workers))
    values = _filled(len(part), (extract(net, layer, images, compute) for images in seen), keep, progress)
    return Features(values, part.names, [known[label] for label in part.labels], {})


def write_features(run: str | Path, source: PictureSource, out: Path, layer: str = "fc7", **options: Any) -> Features:
    """Write the features of pictures to OUT.npy, and their names, classes and origin to OUT.json.

    Each file is written completely or not at all. If no picture can be read, nothing is written.

    Args:
        run: A run folder.
        source: A store or its folder, or pictures in any form that `predict` takes.
        out: Name of the files, with or without .npy, in a folder that exists.
        layer: Name of the layer, as for `features`.
        options: Other arguments of `features`.

    Returns:
        The `Features`.

    Raises:
        InputError: `features` raises it, or `out` cannot be written.
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


@torch.inference_mode()
def extract(net: AnyModel, layer: str, images: Tensor, compute: Compute) -> Tensor:
    """Compute the outputs of a layer, float32, for the central views of uint8 pictures (N, side, side, 3)."""
    with compute.arithmetic():
        return net.features(net.transform.center_crop(images, compute.dtype), layer).float()


def open_store(source: PictureSource) -> Store | None:
    """Open the source if it is a store or its folder; return None for pictures."""
    if isinstance(source, Store):
        return source
    is_folder = isinstance(source, (str, os.PathLike)) and (Path(source) / "meta.json").is_file()
    return Store(Path(source)) if is_folder else None  # type: ignore[arg-type]


def of_pictures(
    net: AnyModel,
    given: Sequence[Given],
    layer: str,
    compute: Compute,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Features:
    """Compute the features of pictures; leave out the pictures that cannot be read."""
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
    """Concatenate the parts, at most `most` rows in all, in memory or in a new file."""
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
    """Map a new .npy file, and reserve its space now: writing to a map on a full disk would kill the process."""
    values = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    with path.open("r+b") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # macOS lacks it
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
    return values
