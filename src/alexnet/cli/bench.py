"""Verbs that say how fast it is, or would be."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.cli.choices import BENCHES_IN_WORDS, BenchName
from alexnet.cli.console import show_json, table
from alexnet.cli.options import Device, Json, Positive, Precision, Rate, Settings, chosen, number
from alexnet.core.errors import InputError
from alexnet.core.text import percent


def bench(
    what: Annotated[BenchName, Parameter(help=BENCHES_IN_WORDS)] = "all",
    /,
    *,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Annotated[int, number(1, 1_000_000)] = 128,
    rounds: Annotated[int, number(1, 1_000_000)] = 5,
    pictures: Path | None = None,
    json_: Json = False,
) -> None:
    """Measure how fast this is here, beside a named peer in the same run and the bound that the machine sets.

    On a CPU each is measured on one thread by CPU time, which other programs hardly disturb, then on all by wall time.

    Example: alexnet bench lrn --json

    Parameters
    ----------
    batch
        Pictures a step.
    rounds
        Times that each is measured; the medians count.
    pictures
        Folder of JPEGs for prepare, loader and end-to-end; drawn by program unless given.
    """
    from alexnet.bench.suite import bench

    lines = bench(what, device=device, precision=precision, batch=batch, rounds=rounds, pictures=pictures)
    if json_:
        for line in lines:
            print(line.plain(), flush=True)
    else:
        show_lines(lines)


def plan(
    recipe: str = "paper",
    /,
    *,
    replicas: Annotated[int, number(1, 100_000)] = 8,
    gpu: str | None = None,
    network: str = "400Gb",
    latency: Annotated[float, Parameter(validator=Number(gte=0, lt=1e9))] = 10.0,
    precision: Annotated[Literal["bf16", "tf32", "fp32"], Parameter(help="Of products, and of what is sent.")] = "bf16",
    batch: Positive | None = None,
    per_replica: Positive | None = None,
    rate: Rate | None = None,
    at_batch: Positive | None = None,
    input: Rate | None = None,
    pictures: Annotated[int, number(1, 10**15)] = 1_281_167,
    epochs: Positive | None = None,
    set_: Settings = (),
    json_: Json = False,
) -> None:
    """Predict step time, bytes sent, efficiency and hours of training on many devices, and where more stop paying.

    Three ways beside each other: data (replicas of the whole net), towers (each replica's towers in processes of their
    own, as in the paper) and hybrid (convolutions in replicas, fully connected layers shared out).

    Example: alexnet plan --replicas 8 --gpu H200 --network 400Gb --rate 20000 --at-batch 128

    Parameters
    ----------
    recipe
        {recipes}, or a JSON file.
    replicas
        Processes, each with its share of the batch; for towers, twice as many.
    gpu
        H200, H100, A100 or GTX580; H200 unless --rate is given alone.
    network
        What a process sends: 400Gb, 6GB/s or NVLink.
    latency
        Microseconds a hop.
    batch
        Pictures a step, of all replicas together; the recipe's unless given.
    per_replica
        Pictures a step of each replica, so that the batch grows with them: another recipe.
    rate
        Pictures/s that one device was measured to train, by `alexnet bench step`,
    at_batch
        and at what batch.
    input
        Pictures/s that a process can be fed.
    pictures
        In an epoch; ILSVRC-2012's unless given.
    epochs
        The recipe's unless given.
    """
    from dataclasses import asdict

    from alexnet.distributed import estimate

    if batch and per_replica:
        raise InputError(f"--batch is {batch} and --per-replica is {per_replica}; give one of them")
    value = chosen(recipe, set_, epochs=epochs)
    if size := batch or per_replica:
        value = value.replace(sgd={"batch": size})
    device, link = (
        estimate.find_device(gpu, value.net, precision, rate, at_batch),
        estimate.parse_link(network, latency),
    )
    found = estimate.forecast(
        value, replicas, device, link, precision, weak=bool(per_replica), input=input, pictures=pictures
    )
    if json_:
        given = {"recipe": recipe, "epochs": value.epochs, "pictures": pictures, "precision": precision}
        given |= {"device": device.name, "origin": device.origin, "network": asdict(link), "error": estimate.ERROR}
        plain = asdict(found)
        fastest = [stop["fastest"] for stop in plain["stops"] if stop["fastest"]]
        for row in (*plain["plans"], *plain["stops"], *fastest):
            row["way"] = row["strategy"]  # as JSON had it before 0.2.0
        show_json(given | plain)
    else:
        show_plan(f"{recipe}, batch {found.plans[0].batch:,}, {device.name}, {network}, {precision}", found)


def show_lines(lines: Iterable[Any]) -> None:
    """Print each thing that was measured, as it comes: ours, the peers', and the machine's bound."""
    what = machine = ""
    for line in lines:
        if line.machine != machine:
            print(machine := line.machine)
        if line.what != what:
            print(f"\n{(what := line.what)}: {line.ours:.4g} {line.unit}", end="")
            print(f", {line.fraction_of_bound:.2f} of the bound, {line.bound:.4g}" if line.bound is not None else "")
        print(f"  {line.ratio:5.2f} times as fast as {line.peer_name}: {line.peer:.4g} {line.unit}", flush=True)


def show_plan(title: str, found: Any) -> None:
    """Print what training on many devices is predicted to take each way, where more stop paying, and the notes."""
    rows = []
    for p in found.plans:
        rows.append(
            [
                p.strategy,
                f"{p.processes:,}",
                f"{1e3 * p.step:.3g}",
                f"{1e3 * p.network:.3g}",
                f"{p.sent_each / 1e6:,.1f}",
                f"{p.rate:,.0f}",
                percent(p.efficiency),
                f"{p.hours:.3g}",
                p.limit,
            ]
        )
    heads = [
        "strategy",
        "processes",
        "ms a step",
        "waiting for the network",
        "MB each sends",
        "pictures/s",
        "efficiency",
    ]
    table(title, [*heads, "hours", "most goes to"], rows)
    for line in (*found.refused.values(), *found.stops, *found.notes):
        print(line)
