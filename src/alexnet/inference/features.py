"""Compute the features of pictures in layers of a trained net.

The net sees the central view of a picture, in eval mode. One pass computes all layers that are asked for.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.data.loader import batches_in_order
from alexnet.data.store import Split, Store, labels
from alexnet.inference.classes import check_side
from alexnet.inference.layer_names import find_layers
from alexnet.inference.pictures import Given, PictureSource, list_pictures, open_store, read_picture
from alexnet.inference.trained import RunOrNet, compute_for, load_for_inference, title
from alexnet.models.network import Network

Progress = Callable[[int, int], None]
Keep = Callable[[str], Path]  # the new .npy file for the values of a layer
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


@overload
def features(
    run_or_net: RunOrNet,
    source: PictureSource,
    layer: str = "fc7",
    *,
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    keep: Path | None = None,
    progress: Progress = ...,
) -> Features: ...
@overload
def features(
    run_or_net: RunOrNet,
    source: PictureSource,
    layer: list[str] | tuple[str, ...],
    *,
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    keep: Path | None = None,
    progress: Progress = ...,
) -> dict[str, Features]: ...
def features(
    run_or_net: RunOrNet,
    source: PictureSource,
    layer: str | list[str] | tuple[str, ...] = "fc7",
    *,
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    keep: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> Features | dict[str, Features]:
    """Compute the features of pictures: the outputs of one or more layers for their central views (section 6.1).

    Args:
        run_or_net: A run folder, or a net from `alexnet.load`: in eval mode, with `.classes` and `.transform`.
        source: A store or its folder, or pictures in any form that `predict` takes.
        layer: Name of the layer, or a list of names, which one pass computes. "fc7" is before the activation and
            "relu7" after it. "drop7" is the input of fc8, halved because testing uses all units (section 4.2).
            torchvision's names, such as "features.0", and other cases of letters are understood too.
        split: Split of the store, "train", "val" or "test"; by default the held-out one. Only for a store.
        checkpoint: Checkpoint of a run: "last" (the default), "best" (the lowest validation error), or a step.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays on its device.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its precision.
        workers: Number of threads that read a store ahead, 1 or more; None means 2, or on CUDA all cores.
        keep: A new .npy file to map the values to, instead of holding them in memory. For a list of layers, a folder,
            which gets a new file LAYER.npy for each.
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        The `Features`. Their `values` are float32 (N, units) or (N, maps, side, side), with a name in `names` a row.
        `labels` holds the classes of a store's pictures, and `errors` the reason for each picture that could not be
        read. For a list of layers, a dict with the `Features` of each, by the name that you gave.

    Raises:
        InputError: The run, net, store, picture or layer cannot be used.
    """
    names = [layer] if isinstance(layer, str) else list(layer)
    kept: Keep | None = None
    if keep:
        kept = (lambda _: keep) if isinstance(layer, str) else (lambda own: keep / f"{own}.npy")
    compute = compute_for(run_or_net, device, precision)
    net = load_for_inference(run_or_net, compute, checkpoint)
    found = of_source(net, source, names, compute, split, workers, kept, progress, title(run_or_net))
    if isinstance(layer, str):
        return next(iter(found.values()))
    return {name: found[find_layers([name], net.order)[0]] for name in names}


def of_source(
    net: Network,
    source: PictureSource,
    names: Sequence[str],
    compute: Compute,
    split: str | None,
    workers: int | None,
    keep: Keep | None,
    progress: Progress,
    words: str,
) -> dict[str, Features]:
    """Compute the features of a store or of pictures in several layers, by each layer's own name.

    `words` names the run or net in messages; the other arguments are those of `features`.
    """
    layers = find_layers(names, net.order)
    store = open_store(source)
    if store is None:
        if split:
            raise InputError(f"--split {split}: only a store has splits; leave it out for pictures")
        assert not isinstance(source, Store)
        return of_pictures(net, list_pictures(source), layers, compute, keep, progress)
    check_side(store, words, net)
    part = store[split or store.held_out]
    known = labels(store.classes)
    values = of_split(net, part, layers, compute, workers, keep, progress)
    classes = [known[label] for label in part.labels]
    return {layer: Features(rows, part.names, classes, {}) for layer, rows in values.items()}


def of_split(
    net: Network,
    part: Split,
    layers: Sequence[str],
    compute: Compute,
    workers: int | None = None,
    keep: Keep | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, np.ndarray]:
    """Compute the features of all pictures of a split in several layers, by each layer's own name."""
    seen = (batch.images for batch in batches_in_order(part, BATCH, device=compute.device, workers=workers))
    return _filled(net, layers, len(part), seen, compute, keep, progress)


def of_pictures(
    net: Network,
    given: Sequence[Given],
    layers: Sequence[str],
    compute: Compute,
    keep: Keep | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Features]:
    """Compute the features of pictures in several layers; leave out the pictures that cannot be read."""
    names: list[str] = []
    errors: dict[str, str] = {}

    def seen() -> Iterator[Tensor]:
        for first in range(0, len(given), BATCH):
            taken = []
            for picture in given[first : first + BATCH]:
                pixels = read_picture(picture.source, net.transform.side, getattr(net.transform, "fit", "crop"))
                if isinstance(pixels, str):
                    errors[picture.name] = pixels
                else:
                    taken.append(pixels)
                    names.append(picture.name)
            if taken:
                yield torch.from_numpy(np.stack(taken)).to(compute.device)

    values = _filled(net, layers, len(given), seen(), compute, keep, progress)
    return {layer: Features(rows, names, None, errors) for layer, rows in values.items()}


def extract(net: Network, layer: str, images: Tensor, compute: Compute) -> Tensor:
    """Compute the outputs of a layer, float32, for the central views of uint8 pictures (N, side, side, 3)."""
    found: list[Tensor] = []
    visit(net, [layer], images, compute, lambda _, rows: found.append(rows))
    return found[0]


@torch.inference_mode()
def visit(
    net: Network, layers: Sequence[str], images: Tensor, compute: Compute, take: Callable[[str, Tensor], None]
) -> None:
    """Run the net up to the last of some layers, and pass the outputs of each to `take`, float32.

    `take` is called before the next layer runs, which might change its input in place.

    Args:
        layers: The layers' own names.
        images: Pictures, uint8 (N, side, side, 3). The net sees their central views.
        take: Function called with a layer's name and its outputs.

    Raises:
        InputError: The pass ended without one of the layers.
    """
    left = set(layers)
    with compute.arithmetic():
        for name, x in net.walk(net.transform.center_crop(images, compute.dtype)):
            if name in left:
                take(name, x.float())
                left.remove(name)
                if not left:
                    return
    raise InputError(f"the net has no outputs of {', '.join(sorted(left))}; its forward pass leaves them out")


def _filled(
    net: Network,
    layers: Sequence[str],
    most: int,
    seen: Iterable[Tensor],
    compute: Compute,
    keep: Keep | None,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Fill an array for each layer, at most `most` rows in all, in memory or in a new file."""
    values: dict[str, np.ndarray] = {}
    done = 0

    def take(layer: str, rows: Tensor) -> None:
        if layer not in values:
            shape = (most, *rows.shape[1:])
            values[layer] = new_npy(keep(layer), shape) if keep else np.empty(shape, np.float32)
        values[layer][done : done + len(rows)] = rows.cpu().numpy()

    for images in seen:
        visit(net, layers, images, compute, take)
        done += len(images)
        progress(done, most)
    return {layer: values[layer][:done] if done else np.empty((0, 0), np.float32) for layer in layers}


def new_npy(path: Path, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """Map a new .npy file, and reserve its space now: writing to a map on a full disk would kill the process."""
    values = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # macOS lacks it
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
    return values
