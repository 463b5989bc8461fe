"""Times one piece of a training step at a time, and prints each figure as a JSON object on one line.

PYTHONPATH=src python3 benchmarks/probe.py convolutions --batch 128

On a CUDA device, a piece is captured as a graph and replayed many times between two events, so that neither the host
nor a launch counts. All inputs are random, because products of zeros take less power and are faster.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import PRECISIONS, Compute, choose_compute
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import Batch, Batches, training_batches
from alexnet.data.transforms import Transform
from alexnet.distributed.mesh import open_mesh
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.ops import dispatch
from alexnet.runs import log
from alexnet.studies.judge import judge_records
from alexnet.studies.record import read_records
from alexnet.training import optimizer, schedule
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.step import EAGER, Step, maybe_capture

READINGS, READING, QUEUED = 7, 0.02, 0.3  # number of readings; seconds of one of a piece, and of one of whole steps
KERNELS = 40  # of a step, that are shown
NARROW = torch.bfloat16
RATES = schedule.LearningRates(1e-5, 2e-5)  # so low that weights stay finite over thousands of steps on one batch


def show(name: str, value: float, unit: str, **more: Any) -> None:
    """Print a figure."""
    print(json.dumps({"name": name, "value": float(f"{value:.5g}"), "unit": unit, **more}), flush=True)


def seconds(work: Callable[[], object], compute: Compute) -> float:
    """Measure the median time of a call, in readings of about READING seconds."""
    if compute.device.type == "cpu":
        work()
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(EAGER):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def reading(calls: int) -> float:
        begun_at, ended_at = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun_at.record()
        for _ in range(calls):
            graph.replay()
        ended_at.record()
        ended_at.synchronize()
        return begun_at.elapsed_time(ended_at) / 1e3 / calls

    reading(1)  # the first replay also sends the graph to the device
    calls = within(reading(3), READING, 3, 1000)
    return statistics.median(reading(calls) for _ in range(READINGS))


def within(each: float, total: float, least: int, most: int) -> int:
    """Return how many calls of `each` seconds take `total` seconds, between `least` and `most`."""
    return max(least, min(most, round(total / max(each, 1e-9))))


def machine(compute: str) -> None:
    """Print the parts of the machine as one object, even if a GPU does not answer."""
    parts: dict[str, Any] = {
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
    }
    versions: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    versions["cuda"], versions["triton"] = torch.version.cuda, None
    if triton := dispatch.gpu():
        versions["triton"] = triton.triton.__version__
    if compute != "cpu" and torch.cuda.is_available():
        of = torch.cuda.get_device_properties(0)
        parts |= {"device": of.name, "device_memory": of.total_memory, "multiprocessors": of.multi_processor_count}
        versions["cudnn"] = torch.backends.cudnn.version()
        if asked := shutil.which("nvidia-smi"):
            query = [asked, "--query-gpu=driver_version", "--format=csv,noheader"]
            versions["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    else:
        parts["device"] = "cpu" if compute == "cpu" else "no CUDA device"
    print(json.dumps({"machine": parts, "versions": versions}))


def places(device: str) -> None:
    """Check that the device has the right type and multiplies, by each of its names and in each precision."""
    names = ["cpu"] if device == "cpu" else ["auto", "cuda", "cuda:0"]
    for name in names:
        for precision in PRECISIONS:
            if name == "cpu" and precision == "tf32":
                continue
            compute = choose_compute(name, precision)
            if device != "cpu" and compute.device != torch.device("cuda", 0):
                raise SystemExit(f"{name} is {compute.device}; it must be cuda:0")
            x = torch.eye(64, device=compute.device, dtype=compute.dtype)
            show(f"place {name} {precision}: {compute.precision}", float((x @ x).sum()) / 64, "of the sum")


def ceilings(compute: Compute) -> None:
    """Measure the limits of the device: copying, products, and dependent small operations in a graph."""
    small = compute.device.type == "cpu"
    size = 1 << (20 if small else 30)
    a, b = (torch.empty(size, dtype=torch.uint8, device=compute.device).random_() for _ in range(2))
    show("copy, read and written", 2 * size / seconds(lambda: b.copy_(a), compute) / 1e12, "TB/s")
    for side in (256,) if small else (2048, 8192):
        x, y = (torch.randn(side, side, device=compute.device, dtype=NARROW) for _ in range(2))
        taken = seconds(partial(torch.mm, x, y), compute)
        show(f"product of {side} x {side}, bf16", 2 * side**3 / taken / 1e12, "TFLOP/s")
    count, numbers = 10 if small else 500, torch.zeros(128, 1024, dtype=torch.int64, device=compute.device)

    def chain() -> Tensor:
        made = numbers
        for _ in range(count):
            made = made ^ 12345
        return made

    show("operation of 1 MB in a chain", 1e6 * seconds(chain, compute) / count, "us")


Passes = dict[str, Callable[[], object]]


def passes(x: Tensor, w: Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> Passes:
    """Return a convolution's three passes: forward, gradient of its input and of its weights."""

    def forward() -> Tensor:
        return F.conv2d(x, w, None, stride, padding, 1, groups)

    g = torch.randn_like(forward())

    def backward(*wanted: bool) -> object:
        return torch.ops.aten.convolution_backward(
            g, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [*wanted, False]
        )

    return {
        "forward": forward,
        "gradient of the input": lambda: backward(True, False),
        "gradient of the weights": lambda: backward(False, True),
    }


def in_turn(works: list[Callable[[], object]]) -> None:
    """Do each work."""
    for work in works:
        work()


def beside(works: list[Callable[[], object]], streams: list[torch.cuda.Stream]) -> None:
    """Queue each work on a stream of its own; the current stream waits for all."""
    here = torch.cuda.current_stream()
    for work, stream in zip(works, streams, strict=True):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            work()
    for stream in streams:
        here.wait_stream(stream)


def convolutions(compute: Compute, batch: int) -> None:
    """Time each convolution of `source` in every form that a step could take.

    The rate counts the products that the net needs, whatever else a form multiplies. The largest batch is spared the
    forms of conv1 that the smallest rules out: there, cuDNN needs most of a minute to try its plans for them.
    """
    last, rows = torch.channels_last, torch.contiguous_format

    def make(*shape: int, layout: torch.memory_format = last) -> Tensor:
        return torch.randn(*shape, device=compute.device, dtype=NARROW).to(memory_format=layout)

    def told(name: str, work: Callable[[], object], products: int) -> None:
        try:
            taken = seconds(work, compute)
        except RuntimeError as error:  # cuDNN has no plan for it
            print(f"{name}: {str(error).splitlines()[0]}", flush=True)
            return
        rate = float(f"{2 * products * batch / taken / 1e12:.5g}")
        show(f"{name}, batch {batch}", 1e6 * taken, "us", tflops=rate)

    def each(name: str, works: Passes, products: int, first: bool = False) -> None:
        for which, work in works.items():
            if not (first and which == "gradient of the input"):  # nothing needs that of conv1
                told(f"{name}, {which}", work, products)

    def activated(name: str, x: Tensor, w: Tensor, products: int, stride: int, padding: int, groups: int) -> None:
        bias = torch.randn(len(w), device=compute.device, dtype=NARROW)
        told(f"{name}, then bias and ReLU", lambda: F.conv2d(x, w, bias, stride, padding, 1, groups).relu_(), products)
        if compute.device.type == "cuda":
            how = [stride] * 2, [padding] * 2, [1, 1], groups
            told(f"{name}, bias and ReLU in cuDNN", lambda: torch.cudnn_convolution_relu(x, w, bias, *how), products)

    net = RECIPES["source"].net
    assert isinstance(net, Net)
    count = {layer.name: layer.multiply_adds for layer in layers_of(net) if layer.name.startswith("conv")}
    k, small = net.channels, batch <= 128
    x, w = make(batch, 48, 57, 57), make(k[0], 48, 3, 3)
    each("conv1 as 3 x 3 of 48 channels", passes(x, w), count["conv1"], first=True)
    activated("conv1 as 3 x 3 of 48 channels", x, w, count["conv1"], 1, 0, 1)
    streams = [torch.cuda.Stream() for _ in range(net.towers)] if compute.device.type == "cuda" else []
    for i, side, size in ((1, 27, 5), (3, 13, 3), (4, 13, 3), (2, 13, 3)):
        name, groups, pad = f"conv{i + 1}", 1 if i == 2 else net.towers, size // 2
        x, w = make(batch, k[i - 1], side, side), make(k[i], k[i - 1] // groups, size, size)
        each(f"{name} in {groups}", passes(x, w, 1, pad, groups), count[name])
        activated(f"{name} in {groups}", x, w, count[name], 1, pad, groups)
        if groups > 1:
            parts = [(make(batch, k[i - 1] // groups, side, side), make(k[i] // groups, *w.shape[1:])) for _ in "ab"]
            towers = [passes(*part, 1, pad) for part in parts]
            for which in towers[0]:
                works = [tower[which] for tower in towers]
                told(f"{name}, towers in turn, {which}", partial(in_turn, works), count[name])
                if streams:
                    told(f"{name}, towers on two streams, {which}", partial(beside, works, streams), count[name])
            activated(f"{name}, one tower", *parts[0], count[name] // groups, 1, pad, 1)
            dense = passes(x, make(k[i], k[i - 1], size, size), 1, pad)  # of a real one, half the weights are zeros
            each(f"{name}, dense with zeros", dense, count[name])
        if small:
            x, w = (t.contiguous(memory_format=rows) for t in (x, w))
            each(f"{name} in {groups}, channels first", passes(x, w, 1, pad, groups), count[name])
    for channels in (8, 4, 3) if small else ():  # zeros could be added for a layout that the tensor cores take
        for words, layout in (("", last), (", channels first", rows)) if channels == 3 else (("", last),):
            x, w = make(batch, channels, 227, 227, layout=layout), make(k[0], channels, 11, 11, layout=layout)
            each(f"conv1 of {channels} channels{words}", passes(x, w, 4), count["conv1"], first=True)


def kernels(compute: Compute, batch: int) -> None:
    """Time Triton's kernels, against the bytes that each has to read and write at least."""
    from alexnet.ops import triton as gpu

    def told(name: str, work: Callable[[], object], least: int) -> None:
        taken = seconds(work, compute)
        show(name, 1e6 * taken, "us", terabytes_per_second=float(f"{least / taken / 1e12:.5g}"))

    norm, within = (2, 5, 2.0, 1e-4, 0.75, "before"), (5, 1.0, 4e-5, 0.75)
    for layer, maps, side in (("conv1", 96, 55), ("conv2", 256, 27)):
        x = (60 * torch.randn(batch, side, side, maps, device=compute.device)).to(NARROW).permute(0, 3, 1, 2)
        g = torch.randn_like(x)
        p, index = gpu.norm_pool_forward(x, *norm)
        d, size, pooled = torch.randn_like(p), 2 * x.numel(), 3 * p.numel()
        works: dict[str, tuple[Callable[[], object], int]] = {
            "norm": (partial(gpu.norm_forward, x, *norm), 2 * size),
            "norm, gradient": (partial(gpu.norm_backward, g, x, *norm), 3 * size),
            "norm and pool": (partial(gpu.norm_pool_forward, x, *norm), size + pooled),
            "norm and pool, gradient": (partial(gpu.norm_pool_backward, d, index, x, *norm), 2 * size + pooled),
            "norm within a map": (partial(gpu.within_forward, x, *within), 2 * size),
            "norm within a map, gradient": (partial(gpu.within_backward, g, x, *within), 3 * size),
        }
        for name, (work, least) in works.items():
            told(f"{name} after {layer}, batch {batch}", work, least)
    w = 0.01 * torch.randn(4096, 9216, device=compute.device)
    v, shadow, g = torch.zeros_like(w), w.to(NARROW), torch.randn_like(w).to(NARROW)
    finite = torch.ones((), dtype=torch.bool, device=compute.device)
    told("update of fc6", lambda: gpu.momentum(w, v, g, shadow, finite, 1e-6, 0.9, 5e-4), 20 * w.numel())


def step(compute: Compute, recipe: str, batch: int) -> None:
    """Time a whole step, first alone, then queued as in a run, and list where its time goes."""
    of, cpu = RECIPES[recipe], compute.device.type == "cpu"
    side = 256 if of.net.image_size > 64 else 64 if of.net.image_size > 32 else 32
    net = compute.hold(build(of.net, 0)).train()
    transform = Transform(of.views, of.net.image_size, torch.full((side, side, 3), 120.0), 20 * torch.eye(3)).to(
        compute.device
    )
    momentum = optimizer.Momentum(net, of.sgd, compute.dtype)
    take = maybe_capture(Step(net, transform, momentum, compute, 0))
    images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=compute.device)
    ids = torch.arange(batch, device=compute.device)

    def steps(count: int, first: int) -> None:
        for number in range(first, first + count):
            take(Batch(number, 0, 0, ids, images, ids % of.net.classes), RATES, True)
        if not bool(momentum.finite.all()):  # this waits for the device
            raise SystemExit("a weight is not finite")

    def reading(count: int) -> float:
        begun = time.perf_counter()
        steps(count, 1000)
        return (time.perf_counter() - begun) / count

    steps(1 if cpu else 3 * EAGER, 0)
    form = " ".join(filter(None, (dispatch.name(compute.device), os.environ.get("ALEXNET_GPU", ""))))
    for count in (1,) if cpu else (1, within(reading(5), QUEUED, 5, 200)):
        each = statistics.median(reading(count) for _ in range(1 if cpu else READINGS))
        name = f"step of {recipe}, batch {batch}, {compute.precision}, {form}, {count} between two readings"
        show(name, 1e3 * each, "ms", pictures_per_second=float(f"{batch / each:.5g}"))
    if cpu:
        return
    begun, count = time.perf_counter(), 3
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        steps(count, 10**6)
    events = sorted(seen.key_averages(), key=lambda event: -event.device_time_total)
    name = f"step of {recipe}, batch {batch}, {form}"
    show(f"{name}, all kernels", sum(event.device_time_total for event in events) / count, "us")
    show(f"{name}, launches", sum(event.count for event in events if event.device_time_total) / count, "a step")
    for event in events[:KERNELS]:
        show(f"{name}: {event.key[:120]}", event.device_time_total / count, "us a step", launches=event.count / count)
    show(f"{name}, profiling", time.perf_counter() - begun, "s")


def feeding(compute: Compute, recipe: str, folder: Path, caches: list[str], workers: list[int]) -> None:
    """Time training from a store, read and logged as `alexnet train` does it, without validations and checkpoints.

    A reading is whole epochs. Before the first, the graph of each size of batch is captured, and a cache is full.
    """
    cpu = compute.device.type == "cpu"
    value = RECIPES[recipe].replace(epochs=10**5)
    with tempfile.TemporaryDirectory() as out, open_mesh(compute.device) as mesh:
        options = TrainOptions(cache="none").replace({"device": str(compute.device), "precision": compute.precision})
        request = Request(folder, Path(out) / "run", value, options, recipe)
        with begin(mesh, request, compute) as trainer, trainer.log(quiet=True) as lines:
            split, size = trainer.store["train"], trainer.recipe.sgd.batch
            for cache in caches:
                pictures = CachedPictures(split, compute.device, cache)
                for count in workers if cache != "device" else workers[:1]:  # there, threads read nothing
                    batches = training_batches(
                        pictures, size, epochs=value.epochs, seed=0, reshuffle=True, first_step=trainer.step,
                        device=compute.device, workers=count,
                    )  # fmt: skip
                    with closing(batches):

                        def epochs(number: int, batches: Batches = batches) -> float:
                            begun = time.perf_counter()
                            for _ in range(number * trainer.per_epoch):
                                trainer.advance(next(batches), 0.0)
                                trainer.read(lines, keep=compute.ahead)
                            trainer.read(lines)
                            return time.perf_counter() - begun

                        epochs(1 if cpu else EAGER + 2)
                        number = 1 if cpu else within(epochs(1), 1.0, 1, 10**4)
                        before = batches.waited
                        taken = [epochs(number) for _ in range(1 if cpu else 5)]
                        rate, waited = number * len(split) / statistics.median(taken), batches.waited - before
                    name = f"end to end, {recipe}, batch {size}, {compute.precision}, cache {cache}, {count} workers"
                    show(name, rate, "pictures/s", data_wait=round(waited / sum(taken), 4), pictures=len(split))
                del pictures


def run(folder: Path) -> None:
    """Summarise a run: its speed, its wait for pictures, and its errors."""
    lines = log.read(folder)
    steps = [line for line in lines if line["kind"] == "step"]
    for name, unit in (("pictures_per_second", "pictures/s"), ("data_wait", "of the time")):
        found = [line[name] for line in steps[len(steps) // 2 :] if name in line]  # the first steps compile and capture
        if found:
            show(f"{folder.name}: {name}", statistics.median(found), unit)
    units = {"top1": "error rate", "top5": "error rate", "nats": "nats", "images": "pictures", "seconds": "s"}
    for line in lines:
        for name, unit in units.items() if line["kind"] == "final" else ():
            more = {"interval": line[f"{name}_interval"]} if f"{name}_interval" in line else {}
            show(f"{folder.name}: {name}", line[name], unit, **more)


def precisions(folder: Path) -> None:
    """Compare the errors of the runs in each precision, over their seeds: the mean, and its 95 % interval (Student)."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for run in sorted(folder.glob("precision-*-*")):
        final = [line for line in log.read(run) if line["kind"] == "final"]
        if final:
            _, precision, seed = run.name.split("-")
            found.setdefault(precision, {})[seed] = {name: final[-1][name] for name in ("top1", "top5", "nats")}
    for precision, runs in found.items():
        for name, unit in (("top1", "error rate"), ("top5", "error rate"), ("nats", "nats")):
            each = [errors[name] for errors in runs.values()]
            more: dict[str, Any] = {"interval": interval(each)} if len(each) > 1 else {}
            show(f"{precision}, {name} of ten views", statistics.mean(each), unit, seeds=len(each), each=each, **more)


def interval(each: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of several runs."""
    from scipy.stats import t

    mean, error = statistics.mean(each), statistics.stdev(each) / len(each) ** 0.5
    reach = float(t.ppf(0.975, len(each) - 1)) * error
    return round(mean - reach, 5), round(mean + reach, 5)


def studies(records: Path) -> None:
    """Judge every claim by the records there are, however far the studies came."""
    records.mkdir(parents=True, exist_ok=True)
    read = read_records(records)
    show("study records", len(read.runs), "runs")
    for row in judge_records(read) if read.runs else ():
        show(f"study {row['claim']}", row["seeds"], "seeds", found=dict(row))


def main() -> None:
    """Print the figures of one piece."""
    pieces = ["machine", "place", "ceilings", "convolutions", "kernels", "step", "feeding", "run", "precisions"]
    given = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    given.add_argument("what", choices=[*pieces, "studies"])
    given.add_argument("--device", default="cuda")
    given.add_argument("--batch", type=int, default=128)
    given.add_argument("--recipe", default="source", choices=sorted(RECIPES))
    given.add_argument(
        "--run", type=Path, help="a run's folder; of precisions, the folder of runs; of studies, records"
    )
    given.add_argument("--store", type=Path, help="for feeding")
    given.add_argument("--caches", nargs="+", default=["auto"], help="for feeding")
    given.add_argument("--workers", nargs="+", type=int, default=[2], help="for feeding")
    options = given.parse_args()
    torch.manual_seed(0)
    match options.what:
        case "machine":
            machine(options.device)
        case "place":
            places(options.device)
        case "run":
            run(options.run)
        case "precisions":
            precisions(options.run)
        case "studies":
            studies(options.run)
        case "ceilings":
            ceilings(choose_compute(options.device, "auto"))
        case "convolutions":
            convolutions(choose_compute(options.device, "auto"), options.batch)
        case "kernels":
            kernels(choose_compute(options.device, "bf16"), options.batch)
        case "step":
            step(choose_compute(options.device, "auto"), options.recipe, options.batch)
        case "feeding":
            compute = choose_compute(options.device, "auto")
            feeding(compute, options.recipe, options.store, options.caches, options.workers)


if __name__ == "__main__":
    main()
