"""Shared parts of the comparisons: flags, clocks, and the import of peers that may be missing."""

import argparse
import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from alexnet.bench.timing import Clock, Line
from alexnet.cli.bench import show_lines
from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, WorkFailed

INSTALL = "pip install --no-deps -r benchmarks/requirements.txt"


class MissingError(Exception):
    """A peer that cannot be measured here; the message says why and what to install."""


def parser(words: str | None, batch: int, meaning: str) -> argparse.ArgumentParser:
    """Make a parser with the flags of every script."""
    made = argparse.ArgumentParser(description=words)
    made.add_argument("--json", action="store_true", help="print one JSON object per line")
    made.add_argument(
        "--rounds", type=positive, default=5, help="number of times to measure each; the medians count (default 5)"
    )
    made.add_argument("--batch", type=positive, default=batch, help=f"{meaning} (default {batch})")
    made.add_argument(
        "--threads", type=positive, help="number of threads; 1 is timed by CPU time (default: 1, then all)"
    )
    return made


def positive(word: str) -> int:
    """Parse a number of 1 or more; argparse reports a bad one."""
    if (number := int(word)) < 1:
        raise ValueError
    return number


def clocks(threads: int | None) -> list[Clock]:
    """List the clocks of a CPU: with the given threads, or with one and with all, as in `alexnet bench`."""
    compute = choose_compute("cpu")
    return [Clock(compute, n) for n in ([threads] if threads else sorted({1, torch.get_num_threads()}))]


def show(lines: Iterable[Line], as_json: bool) -> int:
    """Print each line as soon as it is measured; return the exit status, 1 if there is no line."""
    count = 0

    def counted() -> Iterator[Line]:
        nonlocal count
        for line in lines:
            count += 1
            yield line

    try:
        if as_json:
            for line in counted():
                print(line.plain(), flush=True)
        else:
            show_lines(counted())
    except (InputError, WorkFailed) as error:
        say(str(error))
        return 2 if isinstance(error, InputError) else 1
    return 0 if count else 1


def say(words: object) -> None:
    """Print one line on standard error."""
    print(" ".join(str(words).split()), file=sys.stderr, flush=True)


def needed(name: str) -> Any:
    """Import a module; raise MissingError with what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"{name} cannot be imported ({error}): {INSTALL}") from None


STUBS: list[torch.library.Library] = []  # kept, because their definitions vanish with them


def torchvision(part: str = "") -> Any:
    """Import torchvision, or a `part` of it; raise MissingError if it cannot be imported."""
    try:
        try:
            needed("torchvision")
        except RuntimeError:
            # The compiled operators load only with the torch that they were built for, and the wheel on PyPI is built
            # for CUDA. Without them, the import still registers two of them. They only have to exist: no net, folder
            # or transform calls them.
            if not STUBS:
                STUBS.append(torch.library.Library("torchvision", "FRAGMENT"))
                for name in ("nms", "qnms"):
                    STUBS[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return needed(f"torchvision.{part}" if part else "torchvision")
    except RuntimeError as error:
        raise MissingError(f"torchvision does not fit torch {torch.__version__} ({error}): {INSTALL}") from None
