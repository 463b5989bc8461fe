"""Batches of stored pictures, in training order or in the store's order, read ahead by threads."""

import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.core.device import enter
from alexnet.core.errors import WorkFailed
from alexnet.core.launch import Share, bounds, launch
from alexnet.core.threads import available_cores
from alexnet.data.cache import CachedPictures
from alexnet.data.split import Split

STALLED = 600.0  # seconds without a batch before giving up, for example because a network disk is gone
LOOKS = 100  # checks in that time
GRACE = 10.0  # seconds for the readers to finish their current batch at the end
READERS = 2  # threads that read ahead for a CPU, which needs its cores for the arithmetic

Planned = tuple[int, int, int, np.ndarray, int, int]  # the fields of a Batch, with the pictures' numbers only


@dataclass(frozen=True)
class Batch:
    """Pictures on the device, or this process's share: images uint8 (N, side, side, 3); labels and ids int64 (N,).

    If `stored`, `images` are all pictures of the split instead, and those of the batch are `images[ids]`.
    """

    step: int  # counted from the start of training
    epoch: int
    first: int  # position of the first picture in the epoch
    ids: Tensor
    images: Tensor
    labels: Tensor
    position: int = 0  # of the first picture in the whole batch, which several processes may share
    total: int | None = None  # pictures in the whole batch; None if it is all here
    stored: bool = False

    @property
    def whole(self) -> int:
        """The number of pictures in the whole batch, over all processes."""
        return len(self.ids) if self.total is None else self.total


# A batch, and on CUDA the event at the end of its copies.
Read = tuple[Batch, torch.cuda.Event | None]


def readers(workers: int | None, device: torch.device) -> int:
    """Return the number of threads that read ahead; None means READERS, or on CUDA this process's share of the cores.

    With CUDA, the cores have nothing else to do, and a device takes the pictures that a dozen of them decode.
    """
    if workers is not None:
        return workers
    return max(1, available_cores() // launch().beside) if device.type == "cuda" else READERS


def steps(pictures: int, batch: int) -> int:
    """Count the steps of an epoch: every picture once, so the last batch may be smaller."""
    return -(-pictures // batch)


class Batches(Iterator[Batch]):
    """An iterator over batches. `waited` is the number of seconds that its user has waited so far.

    `next` raises what the readers raise, and WorkFailed if no batch arrives for STALLED seconds. `close` stops the
    readers; so does deleting the iterator.
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
    workers: int | None,
    share: Share = (0, 1),
) -> Batches:
    """Iterate over the training batches from `first_step` on; their order depends only on seed and epoch.

    Where the pictures are kept on the device, batches are `stored`.

    Args:
        split: The pictures. A plain split is read from the store each time, without a cache.
        batch: Pictures in a batch, over all processes.
        epochs: Number of epochs in the whole training.
        seed: Seed of the run.
        reshuffle: Whether each epoch has a new order.
        first_step: Step to begin with, counted from the start of training.
        device: Device for the batches.
        workers: Number of threads that read ahead; None means as `readers` says.
        share: (i, n): this is process i of the n that share each batch.
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

    return _read_ahead(split, plan(), device, readers(workers, device), in_place=True)


def batches_in_order(
    split: Split | CachedPictures, batch: int, *, device: torch.device, workers: int | None, share: Share = (0, 1)
) -> Batches:
    """Iterate over every picture once, in the store's order; with `share` (i, n), over batches i, i + n, i + 2n, ..."""

    def plan() -> Iterator[Planned]:
        for i in range(share[0], steps(len(split), batch), share[1]):
            ids = np.arange(i * batch, min((i + 1) * batch, len(split)))
            yield i, 0, i * batch, ids, 0, len(ids)

    return _read_ahead(split, plan(), device, readers(workers, device))


def _read_ahead(
    split: Split | CachedPictures, plan: Iterator[Planned], device: torch.device, workers: int, in_place: bool = False
) -> Batches:
    """Read the planned batches ahead. `in_place` leaves pictures that are kept on the device where they are."""
    pictures = split if isinstance(split, CachedPictures) else CachedPictures(split, device)
    whole = pictures.images if in_place else None

    def read(step: int, epoch: int, first: int, ids: np.ndarray, position: int, total: int) -> Batch:
        numbers, labels = pictures.send(np.stack((ids, pictures.split.labels[ids]))).unbind()
        images = pictures.take(ids) if whole is None else whole
        return Batch(step, epoch, first, numbers, images, labels, position, total, whole is not None)

    def upload(*place: Any) -> Read:
        with pictures.uploading():
            return read(*place), pictures.uploaded()

    def ahead() -> Generator[Batch]:
        # Threads are enough: copying, checksums and decoding release Python's global lock.
        pool = ThreadPoolExecutor(max(1, workers), "loader", enter, (device,))
        waiting, stuck = deque[Future[Read]](), False
        try:
            for place in plan:
                waiting.append(pool.submit(upload, *place))
                if len(waiting) > workers + 1:
                    yield _arrived(*_result(waiting.popleft()))
            while waiting:
                yield _arrived(*_result(waiting.popleft()))
        except WorkFailed as error:
            stuck = error.stuck
            raise
        except KeyboardInterrupt:  # it came while waiting for a reader, which may be stuck
            stuck = True
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            reading = [future for future in waiting if not future.cancelled()]
            # If these close because of another reader's error, the disk may hang here too: do not wait forever.
            pool.shutdown(wait=not stuck and not wait(reading, min(STALLED, GRACE)).not_done)

    return Batches((read(*place) for place in plan) if pictures.kept == "device" else ahead())


def _arrived(batch: Batch, uploaded: torch.cuda.Event | None) -> Batch:
    """Make the current stream wait for a batch that was copied on another; the host does not wait."""
    if uploaded is not None:
        stream = torch.cuda.current_stream(batch.ids.device)
        stream.wait_event(uploaded)
        for tensor in (batch.ids, batch.images, batch.labels):
            tensor.record_stream(stream)  # else the copies of a later batch could take its memory while it is in use
    return batch


def _result(future: Future[Read]) -> Read:
    for _ in range(LOOKS):  # short waits, since a process that Ctrl-Z has stopped sleeps through at most one
        if wait([future], STALLED / LOOKS).done:
            return future.result()
    error = WorkFailed(f"no picture has arrived for {STALLED:g} s; check that the store's disk responds, then resume")
    error.stuck = True
    raise error
