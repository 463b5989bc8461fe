"""Times one piece of a training step at a time, and prints each figure as a JSON object, a line each.

PYTHONPATH=src python3 benchmarks/probe.py convolutions --batch 128

On a CUDA device a piece is captured as a graph and replayed many times between two events, so that neither the host nor
a launch is counted. All inputs are random: products of zeros take less power, and are faster.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import PRECISIONS, Compute, choose_compute
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.models.build import build
from alexnet.models.layer_table import layers_of
from alexnet.ops import dispatch
from alexnet.runs import log
from alexnet.training import optimizer, schedule
from alexnet.training.step import EAGER, Step, maybe_capture

READINGS = 7
NARROW = torch.bfloat16
RATES = schedule.LearningRates(1e-5, 2e-5)  # so low that the weights of thousands of steps on one batch stay finite


def show(name: str, value: float, unit: str, **more: Any) -> None:
    """Print a figure."""
    print(json.dumps({"name": name, "value": float(f"{value:.5g}"), "unit": unit, **more}), flush=True)


def seconds(work: Callable[[], object], compute: Compute, calls: int = 20) -> float:
    """Measure the median time of a call."""
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
    taken = []
    for _ in range(READINGS):
        begun_at, ended_at = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun_at.record()
        for _ in range(calls):
            graph.replay()
        ended_at.record()
        ended_at.synchronize()
        taken.append(begun_at.elapsed_time(ended_at) / 1e3 / calls)
    return statistics.median(taken)


def machine(compute: str) -> None:
    """Print the machine's parts as one object, also where a GPU does not answer."""
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
    """Check the device by each of its names and in each precision: what it is, and that it multiplies."""
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
    """Measure the device's best: copying, products, and small operations that wait for each other in a graph."""
    small = compute.device.type == "cpu"
    size = 1 << (20 if small else 30)
    a, b = (torch.empty(size, dtype=torch.uint8, device=compute.device).random_() for _ in range(2))
    show("copy, read and written", 2 * size / seconds(lambda: b.copy_(a), compute, 5) / 1e12, "TB/s")
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

    show("operation of 1 MB in a chain", 1e6 * seconds(chain, compute, 3) / count, "us")


def convolution(name: str, x: Tensor, w: Tensor, compute: Compute, products: int, **how: int) -> None:
    """Time a convolution's three passes: forward, gradient of its input and of its weights."""
    groups, stride, padding = how.get("groups", 1), how.get("stride", 1), how.get("padding", 0)

    def forward() -> Tensor:
        return F.conv2d(x, w, None, stride, padding, 1, groups)

    g = torch.randn_like(forward())

    def backward(*wanted: bool) -> object:
        return torch.ops.aten.convolution_backward(
            g, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, [*wanted, False]
        )

    passes: dict[str, Callable[[], object]] = {
        "forward": forward,
        "gradient of the input": lambda: backward(True, False),
        "gradient of the weights": lambda: backward(False, True),
    }
    for which, work in passes.items():
        taken = seconds(work, compute)
        rate = float(f"{2 * products * len(x) / taken / 1e12:.5g}")
        show(f"{name}, {which}, batch {len(x)}", 1e6 * taken, "us", tflops=rate)


def convolutions(compute: Compute, batch: int) -> None:
    """Each convolution of `source` in the layouts and groups that it could be computed in."""
    last, rows = torch.channels_last, torch.contiguous_format
    layouts = {"channels last": last, "channels first": rows}

    def make(*shape: int, layout: torch.memory_format = last) -> Tensor:
        return torch.randn(*shape, device=compute.device, dtype=NARROW).to(memory_format=layout)

    net = RECIPES["source"].net
    assert isinstance(net, Net)
    layers = {layer.name: layer for layer in layers_of(net) if layer.name.startswith("conv")}
    k, products = net.channels, {name: layer.multiply_adds for name, layer in layers.items()}
    for channels in (3, 4, 8):  # zeros could be added for a layout that the tensor cores take
        for words, layout in layouts.items() if channels == 3 else [("channels last", last)]:
            x, w = make(batch, channels, 227, 227, layout=layout), make(k[0], channels, 11, 11, layout=layout)
            convolution(f"conv1 of {channels} channels, {words}", x, w, compute, products["conv1"], stride=4)
    x, w = make(batch, 48, 57, 57), make(k[0], 48, 3, 3)
    convolution("conv1 as 3 x 3 of 48 channels, channels last", x, w, compute, products["conv1"])
    for i, side, size in ((1, 27, 5), (2, 13, 3), (3, 13, 3), (4, 13, 3)):
        name, groups, pad = f"conv{i + 1}", 1 if i == 2 else net.towers, size // 2
        for words, layout in layouts.items():
            x = make(batch, k[i - 1], side, side, layout=layout)
            w = make(k[i], k[i - 1] // groups, size, size, layout=layout)
            convolution(f"{name} in {groups}, {words}", x, w, compute, products[name], padding=pad, groups=groups)
        if groups > 1:
            x, w = make(batch, k[i - 1] // groups, side, side), make(k[i] // groups, k[i - 1] // groups, size, size)
            convolution(f"{name}, one tower alone", x, w, compute, products[name] // groups, padding=pad)


def kernels(compute: Compute, batch: int) -> None:
    """Triton's forms, against the bytes that each must at least read and write."""
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
    """Time a whole step: waited for each time, then as a run queues them; and where its time goes."""
    of, cpu = RECIPES[recipe], compute.device.type == "cpu"
    side = 256 if of.net.image_size > 64 else 64 if of.net.image_size > 32 else 32
    net = compute.hold(build(of.net, 0)).train()
    transform = Transform(of.views, of.net.image_size, torch.full((side, side, 3), 120.0), 20 * torch.eye(3)).to(
        compute.device
    )
    take = maybe_capture(Step(net, transform, optimizer.Momentum(net, of.sgd, compute.dtype), compute, 0))
    images = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, device=compute.device)
    ids = torch.arange(batch, device=compute.device)

    def steps(count: int, first: int) -> None:
        for number in range(first, first + count):
            outcome = take(Batch(number, 0, 0, ids, images, ids % of.net.classes), RATES, True)
        if not bool(outcome.finite.all()):
            raise SystemExit("a weight is not finite")

    steps(1 if cpu else 3 * EAGER, 0)
    form = dispatch.name(compute.device)
    for count in (1,) if cpu else (1, 50, 200):
        taken = []
        for reading in range(1 if cpu else READINGS):
            begun = time.perf_counter()
            steps(count, 1000 * (reading + 1))
            taken.append((time.perf_counter() - begun) / count)
        each = statistics.median(taken)
        name = f"step of {recipe}, batch {batch}, {compute.precision}, {form}, {count} between two readings"
        show(name, 1e3 * each, "ms", pictures_per_second=float(f"{batch / each:.5g}"))
    if cpu:
        return
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        steps(5, 10**6)
    events = sorted(seen.key_averages(), key=lambda event: -event.device_time_total)
    for event in events[:45]:
        name = f"step of {recipe}, batch {batch}, {form}: {event.key[:120]}"
        show(name, event.device_time_total / 5, "us a step", launches=event.count / 5)


def run(folder: Path) -> None:
    """Summarise a run: its speed, how long it waited for pictures, and its errors."""
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


def studies(folder: Path) -> None:
    """Collect the result of each claim, and how long its runs trained."""
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text())
        if "verdict" in found:
            show(f"study {path.stem}", found["seconds"], "s", found=found)


def main() -> None:
    """Print the figures of one piece."""
    pieces = ["machine", "place", "ceilings", "convolutions", "kernels", "step", "run", "studies"]
    given = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    given.add_argument("what", choices=pieces)
    given.add_argument("--device", default="cuda")
    given.add_argument("--batch", type=int, default=128)
    given.add_argument("--recipe", default="source", choices=sorted(RECIPES))
    given.add_argument("--run", type=Path, help="a run's folder, or that of studies")
    options = given.parse_args()
    torch.manual_seed(0)
    match options.what:
        case "machine":
            machine(options.device)
        case "place":
            places(options.device)
        case "run":
            run(options.run)
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


if __name__ == "__main__":
    main()
