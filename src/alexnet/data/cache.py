"""Where a split's pictures lie while they are used: in the store, in memory, or on the device."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import enter
from alexnet.core.errors import InputError
from alexnet.core.launch import launch
from alexnet.core.process_pool import available_cores
from alexnet.data.split import Split

CACHES = ("auto", "device", "ram", "none")
CHUNK_BYTES = 64 << 20  # read at once, in loading a device


class CachedPictures:
    """Keep a split's pictures for a device: `take` brings some there, and `labels` (int64) lie there.

    `kept` says where they are kept, of the three that `cache` may name. The pictures are the same in each.

    Args:
        split: the pictures.
        device: where they are used.
        cache: "device" keeps all decoded on the device, loaded here ("ram" for a CPU). "ram" keeps each in memory
            from when it is first taken. "none" reads them from the store each time. "auto" is the device if that
            leaves more than half of its free memory, else "none" for raw pictures, which the system keeps in memory
            anyway, and "ram" for JPEGs if they take less than a third of it.

    Raises:
        InputError: `cache` is another word, or the pictures do not fit where it says.
    """

    def __init__(self, split: Split, device: torch.device, cache: str = "none") -> None:
        self.split, self.device = split, device
        self.shape = (len(split), split.side, split.side, 3)
        self.kept = choose_cache(split, device, cache)
        self.labels = torch.from_numpy(split.labels).to(device)
        if self.kept == "device":
            self.images = self._loaded()
        if self.kept == "ram":
            self.ram, self.there = np.empty(self.shape, np.uint8), np.zeros(len(split), bool)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, ids: np.ndarray) -> Tensor:
        """Return the pictures numbered `ids`: uint8 (len(ids), side, side, 3) on the device; raises as Split.read does.

        Threads may take at once.
        """
        if self.kept == "device":
            return self.images.index_select(0, self.send(ids))
        images = torch.empty((len(ids), *self.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        if self.kept == "none":
            self.split.read(ids, images.numpy())
        else:
            missing = ids[~self.there[ids]]
            if len(missing):
                self.ram[missing] = self.split.read(missing)
                self.there[missing] = True  # after the pixels: two threads may both write them, and write the same
            np.take(self.ram, ids, axis=0, out=images.numpy(), mode="clip")  # "raise" would buffer the output
        return images.to(self.device, non_blocking=True)

    def send(self, ids: np.ndarray) -> Tensor:
        """Send numbers (int64) to the device."""
        numbers = torch.from_numpy(ids)
        return numbers.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else numbers

    def _loaded(self) -> Tensor:
        images = torch.empty(self.shape, dtype=torch.uint8, device=self.device)
        each = max(1, CHUNK_BYTES // max(1, images[:1].numel()))

        def load(first: int) -> None:
            ids = np.arange(first, min(first + each, len(self)))
            pinned = torch.empty((len(ids), *self.shape[1:]), dtype=torch.uint8, pin_memory=True)
            self.split.read(ids, pinned.numpy())
            images[first : first + each].copy_(pinned, non_blocking=True)

        with ThreadPoolExecutor(available_cores(), "cache", enter, (self.device,)) as pool:
            list(pool.map(load, range(0, len(self), each)))
        return images


def choose_cache(split: Split, device: torch.device, cache: str) -> str:
    """Decide where to keep a split's pictures: "device" (never a CPU), "ram" or "none"; raises as Pictures does."""
    if cache not in CACHES:
        raise InputError(f"--cache {cache}; it must be {', '.join(CACHES)}")
    need, free = len(split) * split.side**2 * 3, available()
    if device.type == "cuda" and cache in ("auto", "device"):
        there = torch.cuda.mem_get_info(device)[0]
        if cache == "device" and need > there:
            raise _too_large(cache, need, f"{device} has", there, "auto, ram or none")
        if cache == "device" or 2 * need < there:
            return "device"
    if cache == "auto":
        return "ram" if split.format == "jpeg" and free is not None and 3 * need < free else "none"
    if cache == "none":
        return "none"
    if free is not None and need > free:
        raise _too_large(cache, need, "the machine has", free, "auto or none")
    return "ram"


def available() -> int | None:
    """Return how many bytes can still be taken without swapping, at most the container's limit; else the machine's.

    Of what is there each process that a launcher has started on the machine has its share. None on a system that says
    nothing of its memory, such as Windows.
    """
    found = []
    with suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) << 10)
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups version 2, 1
        with suppress(OSError, ValueError):  # "max"
            found.append(int((Path("/sys/fs/cgroup") / limit).read_text()))
    return min(found) // launch().beside if found else None


def _too_large(cache: str, need: int, where: str, free: int, instead: str) -> InputError:
    return InputError(
        f"--cache {cache}: the pictures need {need / 1e9:.1f} GB, and {where} {free / 1e9:.1f} GB free; take {instead}"
    )
