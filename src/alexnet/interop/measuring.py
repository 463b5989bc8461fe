"""Measure how often answers are wrong on the held-out pictures of a store."""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from alexnet.core.device import choose_compute
from alexnet.data.store import Store
from alexnet.distributed.mesh import open_mesh
from alexnet.inference.classes import check_classes
from alexnet.inference.evaluate import BATCH, in_order
from alexnet.inference.evaluation import Errors, errors
from alexnet.models.network import Network


def measure(
    answer: Callable[[Tensor], Sequence[Tensor]],
    views: Sequence[int],
    net: Network,
    store: Store,
    title: str,
    progress: Callable[[int, int], None],
) -> tuple[list[Errors], list[np.ndarray]]:
    """Measure the errors of answers to the held-out pictures of a store.

    Args:
        answer: Function from uint8 pictures (N, side, side, 3) to one or more answers: probabilities (N, classes) each.
        views: The number of views behind each answer, to report.
        net: The net whose classes and transform count.
        store: The store.
        title: Name of the net, for messages.
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        The errors of each answer, and its probabilities, float32 (pictures, classes).

    Raises:
        InputError: The store has other classes or pictures of another size than the net takes.
    """
    check_classes(store, title, net)
    pictures, compute = store[store.held_out], choose_compute("cpu", "fp32")
    rows = [np.zeros((len(pictures), len(store.classes)), np.float32) for _ in views]
    with open_mesh(compute.device) as mesh:
        for first, images in in_order(pictures, compute, None, BATCH // 4, mesh, progress):
            for own, given in zip(rows, answer(images), strict=True):
                own[first : first + len(images)] = given.numpy()
    return [errors(own, pictures.labels, count) for own, count in zip(rows, views, strict=True)], rows
