"""Commands that measure or predict speed: bench, plan."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.cli.choices import BENCHES_IN_WORDS, BenchName
from alexnet.cli.console import show_json, table
from alexnet.cli.options import (
    Device,
    Json,
    Positive,
    Precision,
    Rate,
    Settings,
    Threads,
    begin_threads,
    chosen,
    number,
)
from alexnet.core.errors import InputError
from alexnet.core.text import escape_control, percent


def bench(
    what: Annotated[BenchName, Parameter(help=BENCHES_IN_WORDS)] = "all",
    /,
    *,
    device: Device = "auto",
    precision: Precision = "auto",
    batch: Annotated[int, number(1, 1_000_000)] = 128,
    rounds: Annotated[int, number(1, 1_000_000)] = 5,
    pictures: Path | None = None,
    cache: Literal["auto", "device", "ram", "none"] | None = None,
    workers: Annotated[int | None, number(1, 256)] = None,
    out: Path | None = None,
    compare: Annotated[tuple[Path, Path] | None, Parameter(negative=())] = None,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Measure speed on this machine, compared with named peers.

    Each line gives ours, the peer's, and the limit that the machine sets, all from this run. On a CPU, one thread is
    timed by CPU time, which other programs hardly disturb, then all threads by wall time. step takes about ten minutes
    on two cores.

    Example: alexnet bench step

    Example: alexnet bench step --json --out before.jsonl

    Example: alexnet bench --compare before.jsonl after.jsonl

    Parameters
    ----------
    batch
        Number of pictures in a step.
    rounds
        Number of times to measure each; the median is reported.
    pictures
        Folder of JPEGs for prepare, loader and end-to-end. By default pictures drawn by program.
    cache
        Where end-to-end keeps decoded pictures. By default none on a CPU, and auto on a CUDA device.
    workers
        Number of threads that read pictures ahead in end-to-end. By default 2 on a CPU, and the number of cores beside
        a CUDA device.
    out
        File to write too, a JSON object a line. It must not exist.
    compare
        Two files of --out, of two commits or machines. Nothing is measured; the change of each figure is printed, with
        its 95 % interval.
    """
    if compare:
        given = [what != "all", device != "auto", precision != "auto", batch != 128, rounds != 5]
        if any(given) or any(option is not None for option in (pictures, cache, workers, out, threads)):
            raise InputError("--compare measures nothing; give it two files, and no other option but --json")
        show_changes(*compare, json_)
        return
    from alexnet.bench.suite import bench

    begin_threads(threads, look=False)  # a measurement has no use for fewer threads
    lines = bench(
        what,
        device=device,
        precision=precision,
        batch=batch,
        rounds=rounds,
        pictures=pictures,
        cache=cache,
        workers=workers,
        out=out,
    )
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
    precision: Annotated[
        Literal["bf16", "tf32", "fp32"], Parameter(help="Format of products and of traffic.")
    ] = "bf16",
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
    """Predict time, traffic and efficiency of training on many devices.

    It compares three strategies, and says where more devices stop paying off. data: a replica of the whole net in each
    process. towers: a tower of a replica in each process, as in the paper. hybrid: replicas of the convolutions, and a
    part of the fully connected layers in each process.

    Example: alexnet plan --replicas 8 --gpu H200 --network 400Gb --rate 20000 --at-batch 128

    Parameters
    ----------
    recipe
        Recipe: {recipes}, or a JSON file.
    replicas
        Number of replicas, each with a part of the batch. towers needs two processes for each.
    gpu
        Device: H200, H100, A100 or GTX580. By default H200, or the measured device if only --rate is given.
    network
        Bandwidth of a process: 400Gb, 6GB/s or NVLink.
    latency
        Latency of a hop, in microseconds.
    batch
        Number of pictures in a step, over all replicas. By default the recipe's.
    per_replica
        Number of pictures in a step of each replica. The batch grows with the replicas, which is another recipe.
    rate
        Measured training rate of one device, in pictures/s, from `alexnet bench step`.
    at_batch
        Batch at which --rate was measured.
    input
        Most pictures/s that a process can be fed. By default no limit.
    pictures
        Number of pictures in an epoch. ILSVRC-2012 has 1,281,167.
    epochs
        Number of epochs. By default the recipe's.
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
    """Print each comparison as it is measured: our speed, the peers', and the machine's limit."""
    what = machine = ""
    for line in lines:
        if line.machine != machine:
            print(machine := line.machine)
        if line.what != what:
            print(f"\n{(what := line.what)}: {line.ours:.4g} {line.unit}", end="")
            print(f", {line.fraction_of_bound:.2f} of the bound, {line.bound:.4g}" if line.bound is not None else "")
        print(f"  {line.ratio:5.2f} times as fast as {line.peer_name}: {line.peer:.4g} {line.unit}", flush=True)


def show_changes(a: Path, b: Path, as_json: bool) -> None:
    """Print how two files of benchmarks differ, and what each was measured on."""
    from alexnet.bench.compare import Measured, changes, only_in

    one, other = Measured(a), Measured(b)
    found = list(changes(one, other))
    if as_json:
        for change in found:
            print(change.plain())
        return
    print(escape_control(f"A  {one.named}"))
    print(escape_control(f"B  {other.named}"))
    rows = []
    for change in found:
        name = f"  ours against {change.peer_name}" if change.peer_name else f"{change.what}, {change.unit}"
        ends = "" if change.low is None else f" ({change.low:.3f} to {change.high:.3f})"
        rows.append([name, f"{change.a:.4g}", f"{change.b:.4g}", f"{change.ratio:.3f}{ends}", change.verdict])
    table("", ["", "A", "B", "B's speed over A's (95 % interval)", "B is"], rows)
    for letter, lacking in (("A", only_in(one, other)), ("B", only_in(other, one))):
        for what in lacking:
            print(escape_control(f"only in {letter}: {what}"))
    if min(change.runs for change in found) < 2:
        print(
            "One run of each: the intervals cover the noise within a run. Equal code differed by up to 10 % between a"
        )
        print("busy hour and a quiet one. Measure each twice, in turns, and append the files of each (cat a1 a2 > a).")
    if one.machines == other.machines:
        print("Between commits, trust the lines with a peer: a slower machine slows both, which cancels.")
    else:
        print("The machines differ. The lines with a peer compare the code; the others compare the machines too.")


def show_plan(title: str, found: Any) -> None:
    """Print the prediction for each strategy, where more devices stop paying off, and the notes."""
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
