"""Batches: every picture once an epoch, in an order that depends only on (seed, epoch), however they are read."""

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.data.cache import CachedPictures
from alexnet.data.loader import Batch, batches_in_order, readers, steps, training_batches
from alexnet.data.split import Split

CPU = torch.device("cpu")


class Tiny(Split):
    """A split in memory: every byte of picture i is i, and its label is i % 3."""

    def __init__(self, n: int, broken: int = -1, seconds: float = 0) -> None:
        self.side, self.format = 2, "raw"
        self.labels = np.arange(n) % 3
        self.broken, self.seconds = broken, seconds
        self.reads = 0

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
        if self.broken in ids:
            raise OSError(f"picture {self.broken} is damaged")
        time.sleep(self.seconds)
        out = np.empty((len(ids), 2, 2, 3), np.uint8) if out is None else out
        out[...] = ids[:, None, None, None]
        self.reads += 1
        return out


def batches(n: int = 23, batch: int = 5, cache: str = "none", **settings: Any) -> list[Batch]:
    given: dict[str, Any] = {"epochs": 3, "seed": 0, "reshuffle": True, "first_step": 0, "device": CPU, "workers": 2}
    return list(training_batches(CachedPictures(Tiny(n), CPU, cache), batch, **given | settings))


def ids(found: list[Batch]) -> list[list[int]]:
    return [b.ids.tolist() for b in found]


def orders(found: list[Batch]) -> list[list[int]]:
    """The numbers of the pictures in each epoch, in order."""
    return [[i for b in found if b.epoch == e for i in b.ids.tolist()] for e in sorted({b.epoch for b in found})]


@pytest.mark.parametrize(("n", "batch"), [(23, 5), (20, 5), (3, 5), (5, 5), (1, 1)])
def test_every_picture_comes_once_an_epoch(n: int, batch: int) -> None:
    """2012 code: the last minibatch may be smaller, and is averaged over its true size."""
    found = batches(n, batch)
    assert [sorted(order) for order in orders(found)] == [list(range(n))] * 3
    per_epoch = -(-n // batch)
    assert steps(n, batch) == per_epoch
    assert [b.step for b in found] == list(range(3 * per_epoch))
    assert [b.epoch for b in found] == [step // per_epoch for step in range(3 * per_epoch)]
    assert [b.first for b in found] == [step % per_epoch * batch for step in range(3 * per_epoch)]
    last = n - (per_epoch - 1) * batch
    assert [len(b.ids) for b in found] == ([batch] * (per_epoch - 1) + [last]) * 3


def test_pictures_come_with_their_own_labels_and_numbers() -> None:
    for b in batches():
        assert b.images.dtype == torch.uint8
        assert b.images.shape == (len(b.ids), 2, 2, 3)
        assert torch.equal(b.images[:, 0, 0, 0].long(), b.ids)
        assert torch.equal(b.labels, b.ids % 3)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    one = orders(batches())
    assert one == orders(batches())
    assert one[0] != one[1] != one[2] != one[0]
    assert one[0] != list(range(23))
    other = orders(batches(seed=1))
    assert all(a != b for a, b in zip(one, other, strict=True))
    assert orders(batches(batch=7)) == one  # the batch size does not matter
    assert orders(batches(epochs=1)) == one[:1]


def test_a_shuffle_made_once_stays_for_all_epochs() -> None:
    """2012 code: batches are visited in sequence and are not shuffled between epochs."""
    found = orders(batches(reshuffle=False))
    assert found[0] == found[1] == found[2] == orders(batches())[0]
    assert found[0] != list(range(23))


@pytest.mark.parametrize("reshuffle", [False, True])
@pytest.mark.parametrize("first", [0, 1, 4, 5, 9, 14, 15])
def test_resuming_at_a_step_gives_the_tail(first: int, reshuffle: bool) -> None:
    whole, tail = batches(reshuffle=reshuffle), batches(reshuffle=reshuffle, first_step=first)
    assert ids(tail) == ids(whole[first:])
    assert [(b.step, b.epoch, b.first) for b in tail] == [(b.step, b.epoch, b.first) for b in whole[first:]]


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
@pytest.mark.parametrize("workers", [0, 1, 4, 50])
def test_the_number_of_workers_and_the_cache_change_nothing(workers: int, cache: str) -> None:
    one, other = batches(workers=2), batches(workers=workers, cache=cache)
    assert [(b.step, b.epoch, b.first) for b in one] == [(b.step, b.epoch, b.first) for b in other]
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.ids, b.ids)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_a_split_in_order_is_read_once_in_the_stores_order() -> None:
    found = list(batches_in_order(Tiny(13), 4, device=CPU, workers=3))
    assert ids(found) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]
    assert [b.first for b in found] == [0, 4, 8, 12]
    assert not list(batches_in_order(Tiny(0), 4, device=CPU, workers=3))


def test_a_picture_that_cannot_be_read_is_an_error_in_its_place() -> None:
    found = batches_in_order(Tiny(13, broken=9), 4, device=CPU, workers=3)
    assert [next(found).first, next(found).first] == [0, 4]
    with pytest.raises(OSError, match="picture 9"):
        next(found)


def test_stopping_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    found = training_batches(Tiny(23), 5, epochs=1000, seed=0, reshuffle=True, first_step=0, device=CPU, workers=4)
    next(found)
    found.close()
    assert threading.active_count() <= before
    assert not list(found)


def test_batches_no_longer_held_are_read_no_further() -> None:
    before, split = threading.active_count(), Tiny(23)
    found = training_batches(split, 5, epochs=1000, seed=0, reshuffle=True, first_step=0, device=CPU, workers=4)
    next(found)
    del found
    gc.collect()
    assert threading.active_count() <= before
    assert split.reads < 10


def test_the_time_spent_waiting_is_that_of_reading_what_is_not_there_yet() -> None:
    split = Tiny(9, seconds=1.0)
    found = batches_in_order(split, 3, device=CPU, workers=1)
    assert found.waited == 0
    next(found)
    first = found.waited
    assert first >= 1.0
    while split.reads < 3:
        time.sleep(0.01)
    next(found)
    assert found.waited < first + 1.0  # it was ready


def test_each_reader_makes_the_batches_device_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default a thread uses the first device, so each of several processes would pin its pictures there."""
    taken: list[tuple[torch.device, str]] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda at: taken.append((at, threading.current_thread().name)))
    second = torch.device("cuda", 1)
    assert len(batches(device=second, workers=2)) == 15
    assert {device for device, _ in taken} == {second}
    assert all(thread.startswith("loader") for _, thread in taken)


def test_there_are_two_readers_on_a_cpu_and_one_for_each_core_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a machine share its cores; a number that is given holds everywhere."""
    cuda = torch.device("cuda", 0)
    monkeypatch.setattr("alexnet.data.loader.available_cores", lambda: 16)
    assert (readers(None, CPU), readers(None, cuda)) == (2, 16)
    for name, value in {"RANK": "1", "WORLD_SIZE": "24", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    assert (readers(None, CPU), readers(None, cuda)) == (2, 5)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "24")
    assert readers(None, cuda) == 1
    assert (readers(7, CPU), readers(7, cuda)) == (7, 7)


def test_pictures_that_are_kept_in_one_tensor_stay_there_in_training_alone() -> None:
    """As on a CUDA device, whose batches then have the whole split's pictures."""
    kept = CachedPictures(Tiny(23), CPU)
    kept.images, kept.kept = torch.from_numpy(kept.split.read(np.arange(23))), "device"
    given: dict[str, Any] = {"device": CPU, "workers": 2}
    stored = list(training_batches(kept, 5, epochs=3, seed=0, reshuffle=True, first_step=0, **given))
    for found, plain in zip(stored, batches(), strict=True):
        assert (found.stored, plain.stored) == (True, False)
        assert found.images is kept.images
        assert torch.equal(found.images[found.ids], plain.images)
        assert torch.equal(found.labels, plain.labels)
    for found in batches_in_order(kept, 5, **given):
        assert not found.stored
        assert torch.equal(found.images[:, 0, 0, 0].long(), found.ids)
