"""Predict the classes of pictures with a trained net."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError
from alexnet.data.store import Store
from alexnet.distributed.mesh import Mesh, open_mesh
from alexnet.inference.classes import check_side
from alexnet.inference.evaluate import check_views, probabilities
from alexnet.inference.pictures import (
    Given,
    PictureSource,
    Stored,
    list_pictures,
    list_stored,
    open_store,
    read_picture,
)
from alexnet.inference.trained import RunOrNet, compute_for, load_for_inference, title
from alexnet.models.network import Network
from alexnet.runs.run import Run

BATCH = 16


def predict(
    run_or_net: RunOrNet,
    pictures: PictureSource,
    *,
    top: int = 5,
    views: int = 10,
    split: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Predict the likeliest classes of each picture, with ten views or one (section 4.1).

    Each picture is rotated upright, and its central square is resized to the size that the net was trained on. The
    views are crops of that square. A file, its bytes, its PIL image and its array give the same result.

    Args:
        run_or_net: A run folder, or a net from `alexnet.load`. A folder's checkpoint is loaded at each call.
            A net must be in eval mode and have `.classes` and `.transform`.
        pictures: A path, a PIL image, a file's bytes, a uint8 array or tensor (H, W, 3) of RGB values 0 to 255, or an
            iterable of any of these. A folder means all files in it, at any depth, as for `prepare`. An array or
            tensor (N, H, W, 3) is N pictures. "-" is a file on standard input. Or a store or its folder: then all
            pictures of a split.
        top: Number of classes to return for each picture, 1 or more.
        views: 10 averages the probabilities of four corners, the centre and their mirror images; 1 takes the centre.
        split: Split of the store, "train", "val" or "test"; by default the held-out one. Only for a store.
        checkpoint: Checkpoint of a run: "last" (the default), "best" (the lowest validation error), or a step.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays on its device.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its precision.
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        A list with a dict for each picture, in the order given, also if there is only one picture. The dict is
        {"image", "predictions": [{"class", "index", "probability"}, ...]} with the likeliest class first, or
        {"image", "error"} if the picture cannot be read. "image" is the path, or "picture N" for the picture at index
        N of `pictures` if it is not a file. A store's pictures have their names there, and "label", their class.

    Raises:
        InputError: The run or the net cannot be used, a picture has another type, a path does not exist, or a folder
            holds no pictures.
    """
    if top < 1:
        raise InputError(f"--top {top}; it must be 1 or more")
    check_views(views)
    store = open_store(pictures)
    if split is not None and store is None:
        raise InputError(f"--split {split} is for a store; leave it out, or give one store instead of pictures")
    compute = compute_for(run_or_net, device, precision)
    with open_mesh(compute.device) as mesh:
        name = checkpoint_for_all(mesh, run_or_net, checkpoint)
        net = mesh.run_on_all(lambda: load_for_inference(run_or_net, compute, name))
        given = mesh.run_on_all(lambda: _list(pictures, store, split, net, title(run_or_net)))
        mesh.check_equal({"pictures": [picture.name for picture in given]})
        number, of = mesh.everyone.share
        answers: dict[int, list[dict[str, Any]]] = {}
        for first in range(number * BATCH, len(given), of * BATCH):
            answers[first] = list(answer(net, given[first : first + BATCH], top, views, compute))
            progress(min(first + BATCH, len(given)), len(given))
        everyones = {int(first): found for told in mesh.all_gather_json(answers) for first, found in told.items()}
        return [found for first in sorted(everyones) for found in everyones[first]]


def _list(pictures: Any, store: Store | None, split: str | None, net: Network, words: str) -> list[Given]:
    """List the pictures of a store, or those that were given; `words` names the run or net in messages."""
    if store is None:
        return list_pictures(pictures)
    check_side(store, words, net)
    return list_stored(store, split)


def checkpoint_for_all(mesh: Mesh, run_or_net: RunOrNet, asked: str | int | None) -> str | int | None:
    """Agree on the checkpoint that all processes load; return what was asked for with a loaded net."""
    if isinstance(run_or_net, nn.Module):
        return asked
    run, what = Path(run_or_net), "newest checkpoint" if asked is None else f"checkpoint {asked}"
    return mesh.wait_until_equal(f"{what} of {run}", lambda: Run(run).chosen(asked))[0]


def answer(net: Network, given: Sequence[Given], top: int, views: int, compute: Compute) -> Iterator[dict[str, Any]]:
    """Yield the predictions of a batch of pictures, in their order."""
    read = [
        read_picture(picture.source, net.transform.side, getattr(net.transform, "fit", "crop")) for picture in given
    ]
    taken = [pixels for pixels in read if not isinstance(pixels, str)]
    ranked = iter(top_classes(net, np.stack(taken), top, views, compute) if taken else [])
    for picture, pixels in zip(given, read, strict=True):
        if isinstance(pixels, str):
            yield {"image": picture.name, "error": pixels}
            continue
        best = next(ranked)
        if math.isfinite(best[0][1]):
            named = [{"class": net.classes[i], "index": i, "probability": p} for i, p in best]
            truth = {"label": picture.source.label} if isinstance(picture.source, Stored) else {}
            yield {"image": picture.name, **truth, "predictions": named}
        else:  # NaN is ranked first
            yield {"image": picture.name, "error": "the run's net gives NaN for it; its training diverged"}


def predict_arrays(
    net: Network, pictures: np.ndarray, top: int = 5, views: int = 10, compute: Compute | None = None
) -> list[list[tuple[str, float]]]:
    """Predict the `top` likeliest (class, probability) of pictures, uint8 (N, side, side, 3), best first."""
    return [
        [(net.classes[i], p) for i, p in one]
        for one in top_classes(net, pictures, top, views, compute or choose_compute())
    ]


def top_classes(
    net: Network, pictures: np.ndarray, top: int, views: int, compute: Compute
) -> list[list[tuple[int, float]]]:
    """Predict the `top` likeliest (class index, probability) of pictures, uint8 (N, side, side, 3), best first."""
    images = torch.from_numpy(pictures).to(compute.device)
    _, mean = probabilities(net, net.transform.to(compute.device), images, compute, views)
    if mean.shape[1] != len(net.classes):
        raise InputError(
            f"the net has {mean.shape[1]} outputs, but .classes has {len(net.classes)} names; give one name per output"
        )
    best = mean.topk(min(top, mean.shape[1]))
    return [list(zip(i, p, strict=True)) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
