"""Time and traffic of a training step under each strategy, compared with the predictions of `alexnet plan`.

torchrun --nproc-per-node 2 benchmarks/ways.py
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from alexnet.cli.console import table
from alexnet.config.recipe import Recipe
from alexnet.config.recipes import named
from alexnet.core.device import Compute, choose_compute, keep_pages
from alexnet.core.launch import bounds
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.distributed import estimate
from alexnet.distributed.mesh import Mesh, build_mesh, open_mesh
from alexnet.distributed.shard import shard
from alexnet.distributed.sharding import Sharding, sharding
from alexnet.distributed.strategy import STRATEGIES
from alexnet.models.build import build
from alexnet.training import optimizer, schedule
from alexnet.training.step import Step

LOOPBACK = Path("/sys/class/net/lo/statistics/tx_bytes")  # bytes that the kernel has sent between processes
SIDE = 256
BYTES = 64 << 20  # size of the transfer that times the link


def stepper(recipe: Recipe, compute: Compute, over: Sharding, pictures: int) -> Callable[[], object]:
    """Make a training step on this process's share of one ready batch."""
    net = compute.hold(shard(build(recipe.net, recipe.seed), over.model_shard)).train()
    momentum = optimizer.Momentum(net, recipe.sgd, compute.dtype, over.sum_over_parts)
    transform = Transform(recipe.views, recipe.net.image_size, torch.full((SIDE, SIDE, 3), 120.0), 20 * torch.eye(3))
    step = Step(net, transform.to(compute.device), momentum, compute, recipe.seed, over)
    replicas = over.mesh.replicas
    begin, end = bounds(pictures, replicas.size)[replicas.index]
    images = torch.randint(0, 256, (end - begin, SIDE, SIDE, 3), dtype=torch.uint8, device=compute.device)
    ids = torch.arange(begin, end, device=compute.device)
    batch = Batch(0, 0, begin, ids, images, ids % recipe.net.classes, begin, pictures)
    rates = schedule.learning_rates(recipe, 0.0, ())
    return lambda: step(batch, rates, True).loss.item()


def seconds(mesh: Mesh, work: Callable[[], object], rounds: int) -> float:
    """Measure the median time until all processes have finished the work."""
    work()
    taken = []
    for _ in range(rounds):
        mesh.all_gather_json(None)
        start = time.perf_counter()
        work()
        mesh.all_gather_json(None)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def link(mesh: Mesh, compute: Compute, rounds: int) -> estimate.Link:
    """Measure latency per hop and bytes per second of a process, from short and long sums (Hockney's model)."""
    axis, hops = mesh.replicas, 2 * (mesh.replicas.size - 1)

    def total(numbers: int) -> Callable[[], None]:
        x = torch.zeros(numbers, dtype=torch.float32, device=compute.device)

        def work() -> None:
            if summed := axis.all_reduce(x, "link"):
                summed.wait()
            x[:1].item()

        return work

    little, much = (seconds(mesh, total(n), 4 * rounds) for n in (1, BYTES // 4))
    idle = seconds(mesh, lambda: None, 4 * rounds)
    sent = hops / axis.size * BYTES
    return estimate.Link("this machine", sent / (much - little), max(little - idle, 1e-6) / hops)


def copied(rounds: int, compute: Compute) -> float:
    """Measure bytes read and written per second while the other processes copy too."""
    a = torch.ones(BYTES // 4, device=compute.device)
    b = torch.empty_like(a)
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        b.copy_(a)
        b[:1].item()
        taken.append(time.perf_counter() - start)
    return 2 * BYTES / min(taken)


def measured(recipe: Recipe, compute: Compute, mesh: Mesh, rounds: int) -> list[dict[str, Any]]:
    """Measure each strategy that these processes allow; return a row for each."""
    batch, size = recipe.sgd.batch, mesh.everyone.size
    share = max(1, batch // size)
    # Each process works alone but at the same time, because they share cores, caches and memory in training too.
    one = seconds(mesh, stepper(recipe, compute, Sharding(), share), rounds)
    known = estimate.DeviceModel("this machine", dict.fromkeys(estimate.BYTES, 1e12), memory=copied(rounds, compute))
    device = estimate.calibrated(recipe.net, compute.precision, share / one, share, known)
    network = link(mesh, compute, rounds)
    rows = []
    for strategy in STRATEGIES:
        if strategy == "towers" and size % 2:
            continue
        laid = build_mesh(compute.device, 2) if strategy == "towers" else mesh
        work = stepper(recipe, compute, sharding(laid, strategy, recipe.net), batch)
        work()
        for axis in (laid.replicas, laid.towers):
            axis.sent.clear()
        mesh.all_gather_json(None)
        before = int(LOOPBACK.read_text()) if LOOPBACK.exists() else None
        work()
        mesh.all_gather_json(None)
        kernel = int(LOOPBACK.read_text()) - before if before is not None else None
        sent = sum((Counter(told) for told in mesh.all_gather_json(laid.sent())), Counter[str]())
        del sent["shown"]
        plan = estimate.estimate_step(recipe, strategy, laid.replicas.size, device, network, compute.precision)
        taken = seconds(mesh, work, rounds)
        rows.append({
            "way": strategy, "processes": size, "batch": batch, "precision": compute.precision, "seconds": taken,
            "predicted": plan.step, "ratio": taken / plan.step, "sent": sum(sent.values()),
            "formula": sum(plan.sent.values()), "kernel": kernel, "pictures_per_second": batch / taken,
            "alone": share / one, "bandwidth": network.bandwidth, "latency": network.latency, "by": dict(sent),
        })  # fmt: skip
    return rows


def main() -> None:
    """Print a table, or with --json an object for each strategy."""
    given = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    given.add_argument("--recipe", default="source")
    given.add_argument(
        "--batch", type=int, default=32, help="pictures in the batch of all processes together (default 32)"
    )
    given.add_argument("--rounds", type=int, default=5)
    given.add_argument("--device", default="auto")
    given.add_argument("--precision", default="auto")
    given.add_argument("--json", action="store_true")
    options = given.parse_args()
    compute = choose_compute(options.device, options.precision)
    keep_pages()
    recipe = named(options.recipe).replace(sgd={"batch": options.batch})
    with open_mesh(compute.device) as mesh:
        rows = measured(recipe, compute, mesh, options.rounds)
    if mesh.is_main and options.json:
        for row in rows:
            print(json.dumps(row))
    elif mesh.is_main:
        heads = ["way", "s a step", "predicted", "ratio", "MB sent", "formula", "by the kernel", "pictures/s"]
        shown = []
        for r in rows:
            megabytes = [f"{(r[who] or 0) / 1e6:.3f}" for who in ("sent", "formula", "kernel")]
            times = f"{r['seconds']:.3f}", f"{r['predicted']:.3f}", f"{r['ratio']:.2f}"
            shown.append([r["way"], *times, *megabytes, f"{r['pictures_per_second']:.1f}"])
        table(
            f"{options.recipe}, batch {options.batch}, {mesh.everyone.size} processes, {compute.precision}",
            heads,
            shown,
        )
    sys.stdout.flush()
    os._exit(0)  # in a normal exit, gloo's threads abort some of the processes


if __name__ == "__main__":
    main()
