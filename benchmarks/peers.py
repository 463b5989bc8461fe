"""What the comparisons share: their flags, their clocks, and peers that may not be installed."""

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
    """A peer that cannot be measured here; one line says why and what to install."""


def parser(words: str | None, batch: int, meaning: str) -> argparse.ArgumentParser:
    """Add the flags that every script has."""
    made = argparse.ArgumentParser(description=words)
    made.add_argument("--json", action="store_true", help="one JSON object a line")
    made.add_argument("--rounds", type=positive, default=5, help="times that each is measured; the medians count")
    made.add_argument("--batch", type=positive, default=batch, help=f"{meaning} (default {batch})")
    made.add_argument("--threads", type=positive, help="this many only; 1 is by CPU time (default: one, then all)")
    return made


def positive(word: str) -> int:
    """Parse the count of a flag; argparse reports a bad one."""
    if (number := int(word)) < 1:
        raise ValueError
    return number


def clocks(threads: int | None) -> list[Clock]:
    """Return the CPU's clocks: with the given threads, or with one and with all, as in `alexnet bench`."""
    compute = choose_compute("cpu")
    return [Clock(compute, n) for n in ([threads] if threads else sorted({1, torch.get_num_threads()}))]


def show(lines: Iterable[Line], as_json: bool) -> int:
    """Print each line as it is measured; return the exit status, 1 if there is no line."""
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
    """One line on standard error."""
    print(" ".join(str(words).split()), file=sys.stderr, flush=True)


def needed(name: str) -> Any:
    """Import the module of that name; raise MissingError with what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(f"{name} cannot be imported ({error}): {INSTALL}") from None


STUBS: list[torch.library.Library] = []  # what they define goes when they do


def torchvision(part: str = "") -> Any:
    """Torchvision, or a `part` of it; raises MissingError."""
    try:
        try:
            needed("torchvision")
        except RuntimeError:
            # Its compiled operators load only with the torch that they were built for, and the wheel on PyPI was built
            # for CUDA; without them it still describes two of them as it is imported. They need only exist: no net,
            # folder or transform calls them.
            if not STUBS:
                STUBS.append(torch.library.Library("torchvision", "FRAGMENT"))
                for name in ("nms", "qnms"):
                    STUBS[0].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return needed(f"torchvision.{part}" if part else "torchvision")
    except RuntimeError as error:
        raise MissingError(f"torchvision does not fit torch {torch.__version__} ({error}): {INSTALL}") from None
