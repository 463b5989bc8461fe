"""Caching of a split's pictures: in memory, on the device, or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import enter
from alexnet.core.errors import InputError
from alexnet.core.launch import launch
from alexnet.core.threads import available_cores
from alexnet.data.split import Split

CACHES = ("auto", "device", "ram", "none")
CHUNK_BYTES = 64 << 20  # bytes per read when loading pictures onto a device


class CachedPictures:
    """A split's pictures, cached for a device. `take` returns pictures on the device.

    `kept` is the place that was chosen: "device", "ram" or "none". The pictures are the same in each. `images` is a
    tensor of all of them if they are on the device, else None.

    Args:
        split: The pictures.
        device: The device that uses them.
        cache: "device" loads all decoded pictures onto the device now (a CPU uses "ram"). "ram" keeps each picture in
            memory from its first use. "none" reads the store each time. "auto" means "device" if the pictures take
            less than half of its free memory. Otherwise it means "none" for raw pictures, which the operating system
            caches anyway, and "ram" for JPEGs if they take less than a third of the available memory.

    Raises:
        InputError: `cache` is another word, or the pictures do not fit.
    """

    def __init__(self, split: Split, device: torch.device, cache: str = "none") -> None:
        self.split, self.device = split, device
        self.shape = (len(split), split.side, split.side, 3)
        self.kept = choose_cache(split, device, cache)
        self.images = self._loaded() if self.kept == "device" else None
        # PyTorch hands the same few streams out again and again, but of this priority to nothing that captures a graph.
        self._uploads = torch.cuda.Stream(device, priority=-1) if device.type == "cuda" else None
        if self.kept == "ram":
            self.ram, self.there = np.empty(self.shape, np.uint8), np.zeros(len(split), bool)

    def __len__(self) -> int:
        return len(self.split)

    def take(self, ids: np.ndarray) -> Tensor:
        """Return the pictures `ids` on the device: uint8 (len(ids), side, side, 3); raise what Split.read raises.

        Several threads may call this at once.
        """
        if self.images is not None:
            return self.images.index_select(0, self.send(ids))
        images = torch.empty((len(ids), *self.shape[1:]), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        if self.kept == "none":
            self.split.read(ids, images.numpy())
        else:
            missing = ids[~self.there[ids]]
            if len(missing):
                self.ram[missing] = self.split.read(missing)
                self.there[missing] = True  # after the pixels; if two threads write them, they write the same
            np.take(self.ram, ids, axis=0, out=images.numpy(), mode="clip")  # mode "raise" would buffer the output
        return images.to(self.device, non_blocking=True)

    def send(self, ids: np.ndarray) -> Tensor:
        """Copy numbers (int64) to the device."""
        numbers = torch.from_numpy(ids)
        return numbers.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else numbers

    def uploading(self) -> AbstractContextManager[Any]:
        """Return a context in which a CUDA device copies what it is sent on a stream of its own, beside its arithmetic.

        A thread that reads ahead works in it, and passes `uploaded` on to the thread that uses the copies.
        """
        return nullcontext() if self._uploads is None else torch.cuda.stream(self._uploads)

    def uploaded(self) -> torch.cuda.Event | None:
        """Return the event at the end of all copies so far, or None on a CPU, where nothing is copied."""
        return None if self._uploads is None else self._uploads.record_event()

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
    """Choose where to keep a split's pictures: "device" (never a CPU), "ram" or "none".

    Raises InputError as CachedPictures does.
    """
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
    """Return the bytes of memory that this process can use without swapping, or None if the system does not tell.

    A container's limit counts too. If a launcher started several processes on this machine, each gets an equal share.
    Windows does not tell.
    """
    found = []
    with suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) << 10)
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups version 2 and version 1
        with suppress(OSError, ValueError):  # "max"
            found.append(int((Path("/sys/fs/cgroup") / limit).read_text()))
    return min(found) // launch().beside if found else None


def _too_large(cache: str, need: int, where: str, free: int, instead: str) -> InputError:
    return InputError(
        f"--cache {cache}: the pictures need {need / 1e9:.1f} GB, but {where} {free / 1e9:.1f} GB free; use {instead}"
    )
