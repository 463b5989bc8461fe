"""Estimate a step's time and the bytes that it sends on many devices, from the recipe and a model of the hardware.

Bytes are exact. Time is a model. A layer takes the time of its products at a share of the peak, its passes over memory,
and a kernel launch. A collective takes a latency for each hop, and its bytes at the link's rate (Hockney's model of a
ring). Forward waits for the joins between processes. The all-reduce of a layer's gradient overlaps with the rest of
backward. Collectives follow each other on one link. The update comes last.
"""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from alexnet.config import overrides
from alexnet.config.recipe import AnyNet, Net, Recipe
from alexnet.core.errors import InputError
from alexnet.core.launch import bounds
from alexnet.distributed.strategy import STRATEGIES, refusal
from alexnet.models import layer_table

BYTES = {"bf16": 2, "tf32": 4, "fp32": 4}  # of a number, as sent and in activations
PICTURES = 1_281_167  # ILSVRC-2012's training set
ERROR = 1.5  # largest factor between estimated and measured time, if the device's own rate was measured
SHARE, REACH = 0.4, 0.9  # assumed parts of the vendor's peak products and memory bandwidth
FORWARD, BACKWARD = 3, 6  # passes of a layer's outputs through memory: product, activation with norm, pool
UPDATE = 20  # bytes per weight: reads and writes weight and velocity, reads the gradient, writes the copy in bf16
SUMS = 2  # all-reduces per layer: of its weights, and of its biases
PAYS = 1.1  # speed-up that a doubling of the processes must bring to pay


@dataclass(frozen=True)
class Part:
    """One process's part of a layer in a step, and the bytes that all processes together send for the layer."""

    name: str
    products: float  # multiply-adds, forward
    outputs: float  # numbers
    weights: int
    gradients: int  # 2, for weights and inputs; 1 for the first layer, whose inputs are pictures
    hops: int = 0  # of a join
    before: int = 0  # bytes that join the layer's inputs
    after: int = 0  # bytes that sum and scatter the gradient of the inputs
    across: int = 0  # bytes that bring each process its own pictures' outputs; backward sends as many again
    reduced: int = 0  # bytes that sum the weights' gradients over the replicas


def parts(net: AnyNet, strategy: str, replicas: int, batch: int, bytes_: int) -> list[Part]:
    """List the layers with weights, as the strategy splits them; raise InputError if it cannot."""
    if words := refused(net, strategy, replicas, batch):
        raise InputError(words)
    p, n, e, share, layers = replicas, batch, bytes_, -(-batch // replicas), layer_table.layers_of(net)
    towers = net.towers if isinstance(net, Net) and strategy == "towers" else 1
    found = []
    for seen, layer in zip([None, *layers], layers, strict=False):
        if not layer.weights:
            continue
        inputs = seen.maps * seen.side**2 if seen else 0
        full = layer.name.startswith("fc")
        owned = strategy == "hybrid" and full  # split by units, each process for the pictures of all
        between = p if owned else towers if isinstance(net, Net) and layer.name in net.meet else 1
        split = p if owned else towers if layer.name != "fc8" else 1
        maps, pictures, joined = -(-layer.maps // split), n if owned else share, (between - 1) * n * inputs * e
        weights = layer.weights * maps // layer.maps
        found.append(
            Part(
                layer.name,
                layer.multiply_adds * maps / layer.maps * pictures,
                maps * layer.side**2 * pictures,
                weights,
                gradients=2 if seen else 1,
                hops=between - 1,
                # The pictures are gathered before fc6; each replica sends its share padded to the largest one.
                before=p * (p - 1) * share * inputs * e if owned and layer.name == "fc6" else joined,
                # Each tower holds all of fc8, so it computes the whole gradient of its input.
                after=joined if split > 1 else 0,
                across=logits_sent(layer.maps, p, n) * e if owned and layer.name == "fc8" else 0,
                reduced=0 if owned else 2 * (p - 1) * towers * weights * e,
            )
        )
    return found


def refused(net: AnyNet, strategy: str, replicas: int, batch: int) -> str:
    """Explain why a batch cannot be trained with this strategy and number of replicas; return "" if it can."""
    if not 1 <= replicas <= batch:
        return f"replicas is {replicas}; it must be 1 to {batch}, at least one picture of the batch for each"
    return refusal(net, strategy, replicas)


def logits_sent(classes: int, replicas: int, batch: int) -> int:
    """Count the numbers sent to turn (all pictures, own classes) into (own pictures, all classes)."""
    pictures, own = ([end - first for first, end in bounds(n, replicas)] for n in (batch, classes))
    return sum((batch - n) * c for n, c in zip(pictures, own, strict=True))


def traffic(net: AnyNet, strategy: str, replicas: int, batch: int, bytes_: int) -> dict[str, int]:
    """Compute the bytes that all processes together send in one training step, by purpose."""
    held = parts(net, strategy, replicas, batch, bytes_)
    sent = {f"join {part.name}": part.before + part.after for part in held if part.before}
    if across := held[-1].across:
        sent["logits"] = 2 * across
    return sent | {"gradients": sum(part.reduced for part in held)}


@dataclass(frozen=True)
class DeviceModel:
    """The speed of a device.

    `products` gives its peak in FLOP/s by precision, and `share` the part of it that a layer reaches. `memory` is its
    bandwidth in bytes/s. `launch` is the fixed cost in seconds of a layer's forward pass and of each of its gradients.
    `pace` is the ratio of a picture's measured time to the time that the other numbers predict.
    """

    name: str
    products: Mapping[str, float]
    memory: float = math.inf
    share: float = 1.0
    launch: float = 0.0
    origin: str = "measured"
    pace: float = 1.0

    def seconds(self, part: Part, precision: str) -> tuple[float, float]:
        """Compute a layer's seconds, forward and backward. Products and memory passes do not overlap in this model."""
        products = 2 * part.products / (self.share * self.products[precision])
        read, passed = (n * BYTES[precision] / self.memory for n in (part.weights, part.outputs))
        forward = self.launch + read + self.pace * (products + FORWARD * passed)
        backward = 2 * read + self.pace * (part.gradients * products + BACKWARD * passed)
        return forward, part.gradients * self.launch + backward

    def update(self, held: list[Part]) -> float:
        """Compute the seconds of the weights' update."""
        return sum(self.launch + UPDATE * part.weights / self.memory for part in held)


def vendors(name: str, memory: float, **products: float) -> DeviceModel:
    """Describe a device by its vendor's peak figures."""
    origin = f"vendor's peak figures, products times {SHARE:g} and bandwidth times {REACH:g}: assumed, not measured. "
    origin += "Times may be off by a factor of 3; give a measured --rate for better ones"
    return DeviceModel(name, products, REACH * memory, SHARE, 1e-5, origin)


DEVICES = {
    device.name: device
    for device in (
        vendors("H200", 4.8e12, bf16=989.4e12, tf32=494.7e12, fp32=66.9e12),  # SXM, dense
        vendors("H100", 3.35e12, bf16=989.4e12, tf32=494.7e12, fp32=66.9e12),  # SXM, dense
        vendors("A100", 2.039e12, bf16=312e12, tf32=156e12, fp32=19.5e12),  # SXM, 80 GB, dense
        vendors("GTX580", 192.4e9, fp32=1.581e12),  # the paper's
    )
}


def calibrated(net: AnyNet, precision: str, rate: float, batch: int, device: DeviceModel | None = None) -> DeviceModel:
    """Fit a device to a measured rate: `rate` pictures/s on one device at `batch`, as `alexnet bench step` prints it.

    The costs that do not grow with the batch, such as launches, stay those of `device`. Without `device` there are
    none.
    """
    known = device or DeviceModel("the measured device", dict.fromkeys(BYTES, 1e12))
    fixed, grown = (seconds_alone(net, replace(known, pace=pace), precision, batch) for pace in (0.0, 1.0))
    if not (rate > 0 and batch / rate > fixed):
        least = f"less than {batch / fixed:,.0f}, the limit of launches and weight reads" if fixed else "more than 0"
        raise InputError(f"--rate of {known.name} at batch {batch} is {rate:g} pictures/s; it must be {least}")
    origin = f"measured, {rate:g} pictures/s at batch {batch}"
    return replace(known, pace=(batch / rate - fixed) / (grown - fixed), origin=origin)


def find_device(name: str | None, net: AnyNet, precision: str, rate: float | None, batch: int | None) -> DeviceModel:
    """Find a device by name, and fit it to a measured rate if one is given; by default H200.

    Raises InputError if the name is unknown, or rate and batch do not fit each other.
    """
    if (rate is None) != (batch is None):
        raise InputError(f"--rate is {rate} and --at-batch is {batch}; give both or neither")
    name = name or ("H200" if rate is None else None)
    if name and name not in DEVICES:
        near = difflib.get_close_matches(name.upper(), DEVICES, 1, 0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"no GPU {name}; {hint}there are {', '.join(DEVICES)}; give --rate alone for any other")
    known = DEVICES[name] if name else None
    if known and precision not in known.products:
        raise InputError(f"{name} does not compute in {precision}; give --precision {' or '.join(known.products)}")
    return known if known and rate is None else calibrated(net, precision, rate or 0.0, batch or 1, known)


@dataclass(frozen=True)
class Link:
    """The network link of a process: `bandwidth` in bytes/s, and `latency` in seconds for each hop."""

    name: str
    bandwidth: float
    latency: float

    def seconds(self, bytes_: float, hops: int) -> float:
        """Compute the seconds of a collective in which each process sends `bytes_` in `hops` hops."""
        return hops * self.latency + bytes_ / self.bandwidth


def parse_link(text: str, microseconds: float = 10.0) -> Link:
    """Parse a network's name: 400Gb in bits, 6GB/s in bytes, or NVLink (of H100 and H200, one direction)."""
    found = re.fullmatch(r"(\d+\.?\d*)(Gb|GB/s)", {"NVLink": "450GB/s"}.get(text, text))
    bandwidth = float(found[1]) * (1e9 if found[2] == "GB/s" else 1e9 / 8) if found else 0.0
    if not bandwidth:
        raise InputError(f"network {overrides.show(text)} is unknown; write it as 400Gb, 6GB/s or NVLink")
    return Link(text, bandwidth, microseconds * 1e-6)


@dataclass(frozen=True)
class StepEstimate:
    """The estimate for one strategy. `step` is the sum of compute, network, update and input, in seconds."""

    strategy: str
    replicas: int
    processes: int
    batch: int
    step: float
    compute: float
    network: float  # seconds that compute waits for the network
    update: float
    input: float  # seconds that all processes wait for pictures
    sent: dict[str, int]  # bytes per step of all processes together, by purpose
    sent_each: float  # bytes per step of one process
    rate: float  # pictures/s
    efficiency: float  # rate relative to the same number of devices, each training alone on the recipe's batch
    hours: float  # for the recipe's epochs
    limit: str  # the largest of compute, network, update and input


def estimate_step(
    recipe: Recipe,
    strategy: str,
    replicas: int,
    device: DeviceModel,
    network: Link,
    precision: str,
    *,
    batch: int | None = None,
    input: float | None = None,
    pictures: int = PICTURES,
) -> StepEstimate:
    """Estimate a step of one strategy.

    `batch` counts the pictures of all replicas together. `input` is the most pictures/s that a process can load.
    """
    net, lone, batch = recipe.net, recipe.sgd.batch, batch or recipe.sgd.batch
    sent = traffic(net, strategy, replicas, batch, BYTES[precision])
    held = parts(net, strategy, replicas, batch, BYTES[precision])
    processes = replicas * (net.towers if strategy == "towers" and isinstance(net, Net) else 1)
    taken = timeline(held, device, network, precision, replicas, processes)
    step = max(sum(taken.values()), -(-batch // replicas) / input if input else 0.0)
    taken["input"] = step - sum(taken.values())
    rate, single = batch / step, lone / max(seconds_alone(net, device, precision, lone), lone / input if input else 0.0)
    return StepEstimate(
        strategy,
        replicas,
        processes,
        batch,
        step,
        **taken,
        sent=sent,
        sent_each=sum(sent.values()) / processes,
        rate=rate,
        efficiency=rate / processes / single,
        hours=recipe.epochs * math.ceil(pictures / batch) * step / 3600,
        limit=max(taken, key=lambda name: taken[name]),
    )


def timeline(
    held: list[Part], device: DeviceModel, network: Link, precision: str, replicas: int, processes: int
) -> dict[str, float]:
    """Compute the seconds of a step: compute, waits for the network, and update."""

    def cost(bytes_: int, hops: int) -> float:
        return network.seconds(bytes_ / processes, hops) if bytes_ else 0.0

    times = [device.seconds(part, precision) for part in held]
    waited = sum(cost(part.before, part.hops) + 2 * cost(part.across, part.hops) for part in held)
    now = free = 0.0  # seconds since backward began; the link is busy until `free`
    for part, (_, backward) in zip(reversed(held), reversed(times), strict=True):
        now += backward
        free = max(now, free) + cost(part.reduced, 2 * SUMS * (replicas - 1))
        if part.after:
            free += cost(part.after, part.hops)
            waited, now = waited + free - now, free
    return {"compute": sum(map(sum, times)), "network": waited + max(free - now, 0.0), "update": device.update(held)}


def seconds_alone(net: AnyNet, device: DeviceModel, precision: str, batch: int) -> float:
    """Compute the seconds of a step of one device that trains alone."""
    whole = parts(net, "data", 1, batch, BYTES[precision])
    return sum(sum(device.seconds(part, precision)) for part in whole) + device.update(whole)


@dataclass(frozen=True)
class ScalingLimit:
    """The largest number of processes that pays: twice as many as `pays` are less than PAYS times as fast."""

    strategy: str
    pays: int
    tried: int
    fastest: StepEstimate

    def __str__(self) -> str:
        end = f"twice as many are less than {PAYS} times as fast" if self.pays < self.tried else "no more were tried"
        many, best = f"{self.pays} process{'es' * (self.pays > 1)}", self.fastest
        fastest = f"fastest with {best.processes}, {best.rate:,.0f} pictures/s and {best.hours:.3g} hours"
        return f"{self.strategy} pays up to {many} ({end}); {fastest}"


def scaling_limit(strategy: str, plan: Callable[[str, int], StepEstimate], most: int = 1024) -> ScalingLimit:
    """Double the replicas from one device alone up to `most`, and find where that stops paying.

    `plan(strategy, replicas)` makes the estimates.
    """
    plans, replicas = [plan("data", 1)], 1 if strategy == "towers" else 2
    while replicas <= most:
        try:
            plans.append(plan(strategy, replicas))
        except InputError:  # the batch or a layer cannot be split further
            break
        replicas *= 2
    last = next((few for few, many in pairwise(plans) if many.rate < PAYS * few.rate), plans[-1])
    return ScalingLimit(strategy, last.processes, plans[-1].processes, max(plans, key=lambda plan: plan.rate))


@dataclass(frozen=True)
class Forecast:
    """The estimates of all strategies; `refused` gives the reason for each one that the net does not support."""

    plans: list[StepEstimate]
    stops: list[ScalingLimit]
    refused: dict[str, str]
    notes: list[str]


def forecast(
    recipe: Recipe,
    replicas: int,
    device: DeviceModel,
    network: Link,
    precision: str,
    *,
    weak: bool = False,
    input: float | None = None,
    pictures: int = PICTURES,
) -> Forecast:
    """Estimate every strategy that the recipe's net supports.

    With `weak`, each replica takes the recipe's whole batch, so that the global batch grows. Raises InputError if no
    strategy fits.
    """

    def batch(replicas: int) -> int:
        return recipe.sgd.batch * (replicas if weak else 1)

    def plan(strategy: str, replicas: int) -> StepEstimate:
        return estimate_step(
            recipe,
            strategy,
            replicas,
            device,
            network,
            precision,
            batch=batch(replicas),
            input=input,
            pictures=pictures,
        )

    excluded = {
        strategy: words
        for strategy in STRATEGIES
        if (words := refused(recipe.net, strategy, replicas, batch(replicas)))
    }
    able = [strategy for strategy in STRATEGIES if strategy not in excluded]
    if not able:
        raise InputError(excluded["data"])
    ends = [scaling_limit(strategy, plan) for strategy in able]
    return Forecast([plan(way, replicas) for way in able], ends, excluded, notes(device, network, weak))


def notes(device: DeviceModel, network: Link, weak: bool) -> list[str]:
    """List the assumptions behind the estimates."""
    words = [
        "Bytes are exact for a step's gradients and joins. They leave out protocol headers and a few control values.",
        f"Times are modelled: within a factor of {ERROR} if the device's rate was measured and no core is shared.",
        f"{device.name}: {device.origin}.",
        f"{network.name}: {network.bandwidth / 1e9:g} GB/s per process, {1e6 * network.latency:g} microseconds per hop "
        "of a ring, between towers as between replicas.",
        "Not modelled: stragglers, congestion, slower kernels at small batches (except launches), the size of memory, "
        "validation, saving.",
    ]
    if weak:
        words.append("The batch grows with the replicas. That is another recipe, and its error may differ.")
    return words
