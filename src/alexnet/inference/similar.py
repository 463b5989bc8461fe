"""Find the pictures of a store that a trained net sees as most similar to given ones (section 6.1; figure 4, right).

Similar pictures have features of the last hidden layer at a small Euclidean distance. The search is exact: it compares
every picture of the split.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.data.loader import batches_in_order
from alexnet.data.store import Split, Store, labels
from alexnet.inference.classes import check_side
from alexnet.inference.features import BATCH, Progress, extract, of_pictures
from alexnet.inference.layer_names import find_layer, last_hidden
from alexnet.inference.pictures import PicturesLike, list_pictures
from alexnet.inference.trained import RunOrNet, compute_for, load_for_inference, title
from alexnet.models.network import Network


def similar(
    run_or_net: RunOrNet,
    store: str | os.PathLike[str] | Store,
    pictures: PicturesLike,
    count: int = 6,
    *,
    split: str = "train",
    layer: str | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    progress: Progress = lambda done, of: None,
) -> list[dict[str, Any]]:
    """Find the pictures of a store that are most similar to each given picture (section 6.1; figure 4, right).

    The distance of two pictures is the Euclidean distance of their features.

    Args:
        run_or_net: A run folder, or a net from `alexnet.load`: in eval mode, with `.classes` and `.transform`.
        store: The store to search, or its folder. Its pictures must have the size that the net takes.
        pictures: Pictures in any form that `predict` takes.
        count: Number of neighbours for each picture, 1 or more.
        split: Split to search, "train", "val" or "test".
        layer: Layer whose outputs are compared, by any name that `features` takes. By default the activations of the
            last hidden layer, 4096 in AlexNet.
        checkpoint: Checkpoint of a run: "last" (the default), "best" (the lowest validation error), or a step.
        device: "auto", "cpu", "cuda" or "cuda:N". A loaded net stays on its device.
        precision: "auto", "fp32", "tf32", "bf16" or "fp64". A loaded net keeps its precision.
        workers: Number of threads that read the store ahead, 1 or more; None means 2, or on CUDA all cores.
        progress: Function called with the numbers of stored pictures compared and in all.

    Returns:
        A list with a dict for each picture, in the order given. The dict is
        {"image", "neighbours": [{"name", "class", "number", "distance"}, ...]} with the nearest picture first, or
        {"image", "error"} if the picture cannot be read. "number" is the neighbour's index in the split. "image" is as
        in `predict`.

    Raises:
        InputError: The run, net, store, picture or layer cannot be used.
    """
    if count < 1:
        raise InputError(f"--top {count}; it must be 1 or more")
    compute = compute_for(run_or_net, device, precision)
    net = load_for_inference(run_or_net, compute, checkpoint)
    opened = store if isinstance(store, Store) else Store(Path(store))
    check_side(opened, title(run_or_net), net)
    part, known = opened[split], labels(opened.classes)
    given = list_pictures(pictures)
    layer = find_layer(layer, net.order) if layer else last_hidden(net)
    asked = of_pictures(net, given, [layer], compute)[layer]
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
    net: Network,
    layer: str,
    split: Split,
    queries: Tensor,
    count: int,
    compute: Compute,
    workers: int | None = None,
    progress: Progress = lambda done, of: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest pictures of a split for each query, in order of distance.

    Of equally near pictures, the first in the store comes first. Distances sum squared differences in float64: the
    faster form, with dot products, loses digits by cancellation.

    Args:
        queries: Features of `layer`, one row for each query.

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
