"""A cache changes how often pictures are read, and nothing else."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alexnet.core.errors import InputError
from alexnet.data.cache import CachedPictures, choose_cache
from alexnet.data.prepare.prepare import prepare
from alexnet.data.split import Split
from alexnet.data.store import Store

CPU = torch.device("cpu")
FORMS = ("raw", "jpeg")


@pytest.fixture(params=FORMS)
def split(request: pytest.FixtureRequest, tree: Callable[..., Path], tmp_path: Path) -> Split:
    prepare(tree(each=8), tmp_path / "store", side=32, format=request.param, jobs=1)
    return Store(tmp_path / "store")["train"]


class Counted(Split):
    """A split of any length, whose picture i has every byte i; it counts how often each is read."""

    def __init__(self, n: int, form: Any = "raw", side: int = 16) -> None:
        self.side, self.format, self.n = side, form, n
        self.labels = np.arange(min(n, 1000)) % 3
        self.reads = np.zeros(min(n, 1000), int)
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.n

    def read(self, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
        with self.lock:
            np.add.at(self.reads, ids, 1)
        out = np.empty((len(ids), self.side, self.side, 3), np.uint8) if out is None else out
        out[...] = ids[:, None, None, None] % 251
        return out


@pytest.mark.parametrize("cache", ["none", "ram", "device", "auto"])
def test_pictures_are_the_same_wherever_they_are_kept(split: Split, cache: str) -> None:
    kept, expected = CachedPictures(split, CPU, cache), split.read(np.arange(len(split)))
    random = np.random.default_rng(0)
    for ids in (*(random.permutation(len(split))[:5] for _ in range(6)), np.array([3, 3, 0]), np.array([], int)):
        taken = kept.take(ids)
        assert taken.dtype == torch.uint8
        np.testing.assert_array_equal(taken.numpy(), expected[ids])


def test_a_taken_picture_may_be_written_to(split: Split) -> None:
    kept = CachedPictures(split, CPU, "ram")
    before = kept.take(np.array([1])).clone()
    kept.take(np.array([1])).zero_()
    assert torch.equal(kept.take(np.array([1])), before)


def test_in_memory_each_picture_is_read_once_and_only_when_it_is_asked_for() -> None:
    counted = Counted(50)
    kept = CachedPictures(counted, CPU, "ram")
    assert not counted.reads.any()
    kept.take(np.array([3, 4]))
    kept.take(np.array([4, 5]))
    assert counted.reads.tolist() == [0, 0, 0, 1, 1, 1] + [0] * 44


def test_no_thread_sees_half_a_picture() -> None:
    counted = Counted(200, side=64)
    kept = CachedPictures(counted, CPU, "ram")

    def wrong(seed: int) -> int:
        ids = np.random.default_rng(seed).integers(0, 200, 20)
        return int((kept.take(ids) != torch.from_numpy(ids % 251)[:, None, None, None]).sum())

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(wrong, range(200)))


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_a_damaged_picture_is_refused_each_time(split: Split, cache: str, tmp_path: Path) -> None:
    shard = tmp_path / "store/train/00000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    kept = CachedPictures(Store(tmp_path / "store")["train"], CPU, cache)
    for _ in range(2):
        with pytest.raises(InputError, match=r"00000\.bin.*at picture"):
            kept.take(np.arange(len(split)))


@pytest.mark.parametrize(
    ("cache", "form", "kept"),
    [("auto", "raw", "none"), ("auto", "jpeg", "ram"), ("device", "raw", "ram"), ("ram", "raw", "ram"),
     ("none", "jpeg", "none")],
)  # fmt: skip
def test_on_a_cpu_decoded_jpegs_are_kept_and_raw_pictures_are_not(cache: str, form: str, kept: str) -> None:
    assert choose_cache(Counted(50, form), CPU, cache) == kept


def test_pictures_larger_than_the_memory_are_read_from_the_store_or_refused_in_one_line() -> None:
    huge = Counted(10**9, "jpeg", side=256)
    assert choose_cache(huge, CPU, "auto") == "none"
    for cache in ("ram", "device"):
        with pytest.raises(InputError, match=rf"--cache {cache}: .* 196608\.0 GB.*use auto or none$") as caught:
            CachedPictures(huge, CPU, cache)
        assert len(str(caught.value).splitlines()) == 1


def test_another_word_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="--cache disk; it must be auto, device, ram, none"):
        CachedPictures(Counted(5), CPU, "disk")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("cache", ["none", "ram", "device", "auto"])
def test_pictures_on_a_gpu_are_those_of_the_store(split: Split, cache: str) -> None:
    kept = CachedPictures(split, torch.device("cuda"), cache)
    assert kept.kept == ("device" if cache == "auto" else cache)
    expected, random = split.read(np.arange(len(split))), np.random.default_rng(0)
    for _ in range(6):
        ids = random.permutation(len(split))[:5]
        assert kept.take(ids).is_cuda
        np.testing.assert_array_equal(kept.take(ids).cpu().numpy(), expected[ids])
        np.testing.assert_array_equal(kept.send(split.labels[ids]).cpu().numpy(), split.labels[ids])


@pytest.mark.parametrize("form", FORMS)
def test_a_system_that_says_nothing_of_its_memory_keeps_pictures_there_only_when_asked(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet.data.cache.available", lambda: None)
    assert choose_cache(Counted(10, form), CPU, "auto") == "none"
    assert choose_cache(Counted(10, form), CPU, "ram") == "ram"
