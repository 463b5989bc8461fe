"""The benchmarks of `alexnet bench`, by name; torch is imported only when one runs."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.core.errors import InputError
from alexnet.core.files import write

if TYPE_CHECKING:
    from alexnet.bench.timing import Line

# Name: the module with the function of that name, the measured work, and the options that only it and few others read.
# ADD YOURS as one line.
BENCHES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "lrn": ("computing", "the norms", ()),
    "step": ("computing", "a training step", ()),
    "infer": ("computing", "one picture, and 64", ()),
    "prepare": ("feeding", "decode and resize", ("pictures",)),
    "loader": ("feeding", "decode and views", ("pictures",)),
    "end-to-end": ("feeding", "training from a JPEG store", ("pictures", "cache", "workers")),
}


def bench(
    what: str = "all",
    *,
    device: str = "auto",
    precision: str = "auto",
    batch: int = 128,
    rounds: int = 5,
    pictures: Path | None = None,
    cache: str | None = None,
    workers: int | None = None,
    out: Path | None = None,
) -> Iterator["Line"]:
    """Run benchmarks; on a CPU once with one thread by CPU time, and once with all threads by wall time.

    Args:
        what: A key of BENCHES, or "all".
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, tf32, bf16 or fp64.
        batch: Pictures a step.
        rounds: Times that each is measured; the medians count.
        pictures: A folder of JPEGs for prepare, loader and end-to-end; without it such are drawn, of 500 x 375 pixels.
        cache: Where end-to-end keeps decoded pictures: auto, device, ram or none; by default none on a CPU, else auto.
        workers: Threads that read ahead for end-to-end; by default 2 on a CPU, else as many as there are cores.
        out: A file for the comparisons, a JSON object a line, whole after each of them; it must not exist.

    Yields:
        A comparison with a peer, as soon as it is measured.

    Raises:
        InputError: There is no such benchmark, device or precision, it does not read an option that is given, the
            folder holds no JPEG, or `out` exists.
    """
    if out is None:
        yield from _bench(what, device, precision, batch, rounds, pictures, cache, workers)
        return
    if os.path.lexists(out):
        raise InputError(f"{out} exists; choose another name, or delete it")
    if not out.name or not out.parent.is_dir():
        raise InputError(f"{out} cannot be written; name a file in a folder that exists")
    lines: list[bytes] = []
    for line in _bench(what, device, precision, batch, rounds, pictures, cache, workers):
        lines.append(f"{line.plain()}\n".encode())
        write(out, lines)
        yield line


def _bench(
    what: str,
    device: str,
    precision: str,
    batch: int,
    rounds: int,
    pictures: Path | None,
    cache: str | None,
    workers: int | None,
) -> Iterator["Line"]:
    import torch

    from alexnet.bench.job import Job
    from alexnet.bench.timing import Clock
    from alexnet.core.device import choose_compute

    if what != "all" and what not in BENCHES:
        raise InputError(f"there is no benchmark {what!r}; choose from {', '.join(BENCHES)} or all")
    for option, value in {"pictures": pictures, "cache": cache, "workers": workers}.items():
        if value is not None and what != "all" and option not in BENCHES[what][2]:
            those = " and ".join(name for name, (*_, options) in BENCHES.items() if option in options)
            raise InputError(f"--{option} {value} has no effect on bench {what}; it is for {those}")
    compute = choose_compute(device, precision)
    before = torch.get_num_threads()
    threads = [0] if compute.device.type == "cuda" else sorted({1, before})
    try:
        for name in BENCHES if what == "all" else [what]:
            measure = getattr(import_module(f"alexnet.bench.{BENCHES[name][0]}"), name.replace("-", "_"))
            for count in threads:
                yield from measure(Clock(compute, count or before), Job(batch, rounds, pictures, cache, workers))
    finally:
        torch.set_num_threads(before)
