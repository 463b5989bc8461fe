"""Batches of stored pictures in the order of training or of the store, read ahead by threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alexnet import rng
from alexnet.data.store import Split


@dataclass(frozen=True)
class Batch:
    """Pictures on the device: images uint8 (N, side, side, 3), labels and ids (N,) int64."""

    step: int  # since the start of training
    epoch: int
    first: int  # place of the first picture in the epoch
    ids: Tensor
    images: Tensor
    labels: Tensor


def steps(pictures: int, batch: int) -> int:
    """Steps an epoch: every picture once, so the last batch may be smaller."""
    return -(-pictures // batch)


def training_batches(
    split: Split,
    batch: int,
    *,
    epochs: int,
    seed: int,
    reshuffle: bool,
    first_step: int,
    device: torch.device,
    workers: int,
) -> Iterator[Batch]:
    """All batches from `first_step` to the end of `epochs`; the order is a function of (seed, epoch)."""
    per_epoch = steps(len(split), batch)

    def plan() -> Iterator[tuple[int, int, int, np.ndarray]]:
        for epoch in range(first_step // per_epoch, epochs):
            order = rng.permutation(len(split), seed, "order", epoch if reshuffle else 0).numpy()
            for step in range(max(first_step, epoch * per_epoch), (epoch + 1) * per_epoch):
                first = (step - epoch * per_epoch) * batch
                yield step, epoch, first, order[first : first + batch]

    return _read_ahead(split, plan(), device, workers)


def batches_in_order(split: Split, batch: int, *, device: torch.device, workers: int) -> Iterator[Batch]:
    """Every picture of the split once, in the store's order."""
    numbers = np.arange(len(split))
    plan = ((i, 0, i * batch, numbers[i * batch : (i + 1) * batch]) for i in range(steps(len(split), batch)))
    return _read_ahead(split, plan, device, workers)


def _read_ahead(
    split: Split, plan: Iterator[tuple[int, int, int, np.ndarray]], device: torch.device, workers: int
) -> Iterator[Batch]:
    def read(step: int, epoch: int, first: int, ids: np.ndarray) -> Batch:
        images = torch.from_numpy(split.read(ids)).to(device, non_blocking=True)
        labels = torch.from_numpy(split.labels[ids]).to(device, non_blocking=True)
        return Batch(step, epoch, first, torch.from_numpy(ids).to(device, non_blocking=True), images, labels)

    with ThreadPoolExecutor(max(1, workers), "loader") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for place in plan:
                waiting.append(pool.submit(read, *place))
                if len(waiting) > workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
