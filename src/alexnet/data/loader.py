"""Batches of stored pictures in the order of training or of the store, read ahead by threads."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.core.device import enter
from alexnet.core.errors import WorkFailed
from alexnet.core.launch import Share, bounds
from alexnet.data.cache import CachedPictures
from alexnet.data.split import Split

STALLED = 600.0  # seconds without a batch after which the readers are given up: a network disk, say, that is gone
LOOKS = 100  # in that time
GRACE = 10.0  # seconds for the readers to end what they are in, where no more is wanted of them

Planned = tuple[int, int, int, np.ndarray, int, int]  # what a Batch has, with the pictures' numbers alone


@dataclass(frozen=True)
class Batch:
    """Pictures on the device: images uint8 (N, side, side, 3), labels and ids (N,) int64."""

    step: int  # since the start of training
    epoch: int
    first: int  # place of the first picture in the epoch
    ids: Tensor
    images: Tensor
    labels: Tensor
    position: int = 0  # of the first picture in the batch, of which another process may have the rest,
    total: int | None = None  # and the pictures of the whole batch

    @property
    def whole(self) -> int:
        """Pictures in the whole batch."""
        return len(self.ids) if self.total is None else self.total


def steps(pictures: int, batch: int) -> int:
    """Return the steps of an epoch: every picture once, so the last batch may be smaller."""
    return -(-pictures // batch)


class Batches(Iterator[Batch]):
    """Batches, one after the other; `waited` is how many seconds their user has waited for them so far.

    `next` raises what the readers raise, and WorkFailed if nothing has come from them for STALLED seconds. Closing it
    stops the readers, and so does letting go of it.
    """

    def __init__(self, batches: Generator[Batch]) -> None:
        self.waited = 0.0
        self._batches = batches

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        begun = time.perf_counter()
        try:
            return next(self._batches)
        finally:
            self.waited += time.perf_counter() - begun

    def close(self) -> None:
        """Stop reading ahead."""
        self._batches.close()


def training_batches(
    split: Split | CachedPictures,
    batch: int,
    *,
    epochs: int,
    seed: int,
    reshuffle: bool,
    first_step: int,
    device: torch.device,
    workers: int,
    share: Share = (0, 1),
) -> Batches:
    """Give the batches of training from `first_step` on; their order is a function of (seed, epoch).

    Args:
        split: the pictures; a split that is not kept as Pictures is read from the store each time.
        batch: pictures in a batch, of all processes together.
        epochs: how many epochs training has in all.
        seed: the run's seed.
        reshuffle: whether each epoch has an order of its own.
        first_step: the step to begin with, counted from the start of training.
        device: where the batches go.
        workers: threads that read ahead.
        share: (i, n), this process's number and how many share each batch.
    """
    per_epoch = steps(len(split), batch)

    def plan() -> Iterator[Planned]:
        for epoch in range(first_step // per_epoch, epochs):
            order = rng.permutation(len(split), seed, "order", epoch if reshuffle else 0).numpy()
            for step in range(max(first_step, epoch * per_epoch), (epoch + 1) * per_epoch):
                first = (step - epoch * per_epoch) * batch
                whole = order[first : first + batch]
                begin, end = bounds(len(whole), share[1])[share[0]]
                yield step, epoch, first + begin, whole[begin:end], begin, len(whole)

    return _read_ahead(split, plan(), device, workers)


def batches_in_order(
    split: Split | CachedPictures, batch: int, *, device: torch.device, workers: int, share: Share = (0, 1)
) -> Batches:
    """Give every picture once, in the store's order; of `share` (i, n) every n-th batch, from number i on."""

    def plan() -> Iterator[Planned]:
        for i in range(share[0], steps(len(split), batch), share[1]):
            ids = np.arange(i * batch, min((i + 1) * batch, len(split)))
            yield i, 0, i * batch, ids, 0, len(ids)

    return _read_ahead(split, plan(), device, workers)


def _read_ahead(split: Split | CachedPictures, plan: Iterator[Planned], device: torch.device, workers: int) -> Batches:
    pictures = split if isinstance(split, CachedPictures) else CachedPictures(split, device)

    def read(step: int, epoch: int, first: int, ids: np.ndarray, position: int, total: int) -> Batch:
        numbers = pictures.send(ids)
        return Batch(step, epoch, first, numbers, pictures.take(ids), pictures.labels[numbers], position, total)

    def ahead() -> Generator[Batch]:
        # Threads do: copying, checksums and decoding leave Python's lock alone.
        pool = ThreadPoolExecutor(max(1, workers), "loader", enter, (device,))
        waiting, stuck = deque[Future[Batch]](), False
        try:
            for place in plan:
                waiting.append(pool.submit(read, *place))
                if len(waiting) > workers + 1:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        except WorkFailed as error:
            stuck = error.stuck
            raise
        except KeyboardInterrupt:  # while it waits for a reader, which may be stuck
            stuck = True
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            reading = [future for future in waiting if not future.cancelled()]
            # The disk may have stopped to answer for others, whose error closes these.
            pool.shutdown(wait=not stuck and not wait(reading, min(STALLED, GRACE)).not_done)

    return Batches((read(*place) for place in plan) if pictures.kept == "device" else ahead())


def _result(future: Future[Batch]) -> Batch:
    for _ in range(LOOKS):  # a process that was stopped (Ctrl-Z) and goes on has waited through one of them at most
        if wait([future], STALLED / LOOKS).done:
            return future.result()
    error = WorkFailed(f"no picture has come for {STALLED:g} s: see whether the store's disk answers, then go on")
    error.stuck = True
    raise error
