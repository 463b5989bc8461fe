"""How long a step takes on how many devices, and what it sends: a stated model, worked out from the recipe alone.

Bytes are exact. Time is a model. A device takes, for each layer, its products at a share of the peak, its passes over
memory, and what a launch costs; a collective takes a latency for each hop, and its bytes at the link's rate (Hockney's
model of a ring). Forward waits for the joins between processes; a layer's gradient is summed over the replicas while
backward goes on; collectives follow each other on one link; the update comes last.
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

BYTES = {"bf16": 2, "tf32": 4, "fp32": 4}  # of a number on the wire and in activations
PICTURES = 1_281_167  # ILSVRC-2012's training set
ERROR = 1.5  # time is within this factor of what is measured, where the device's own rate was measured
SHARE, REACH = 0.4, 0.9  # of the vendor's products and bytes a second: assumed
FORWARD, BACKWARD = 3, 6  # times that a layer's outputs go through memory: product, activation with norm, pool
UPDATE = 20  # bytes a weight: weight and velocity read and written; the gradient read and, in bf16, the copy written
SUMS = 2  # all-reduces a layer: of its weights, and of its biases
PAYS = 1.1  # what a doubling must bring


@dataclass(frozen=True)
class Part:
    """What one process has of a layer in a step, and the bytes that all processes together send for it."""

    name: str
    products: float  # multiply-adds, forward
    outputs: float  # numbers
    weights: int
    gradients: int  # that it works out: for its weights, and for its inputs unless they are pictures
    hops: int = 0  # of a join
    before: int = 0  # to join its inputs
    after: int = 0  # to sum and share out their gradient
    across: int = 0  # to bring each process its own pictures' outputs, and as many again backwards
    reduced: int = 0  # to sum its weights' gradients over the replicas


def parts(net: AnyNet, strategy: str, replicas: int, batch: int, bytes_: int) -> list[Part]:
    """The layers that have weights, as they lie over the processes; raises InputError where they cannot."""
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
        owned = strategy == "hybrid" and full  # by units, and for the pictures of all
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
                # Pictures are gathered before fc6, and every replica's travel at the size of the largest share.
                before=p * (p - 1) * share * inputs * e if owned and layer.name == "fc6" else joined,
                # Towers that all hold fc8 all have the whole gradient of what goes in.
                after=joined if split > 1 else 0,
                across=logits_sent(layer.maps, p, n) * e if owned and layer.name == "fc8" else 0,
                reduced=0 if owned else 2 * (p - 1) * towers * weights * e,
            )
        )
    return found


def refused(net: AnyNet, strategy: str, replicas: int, batch: int) -> str:
    """Why a batch cannot be trained so on so many replicas; "" if it can."""
    if not 1 <= replicas <= batch:
        return f"replicas is {replicas}; it must be 1 to {batch}, a picture of the batch each"
    return refusal(net, strategy, replicas)


def logits_sent(classes: int, replicas: int, batch: int) -> int:
    """Numbers that travel where each replica has some classes of all pictures, and is to have all of its own."""
    pictures, own = ([end - first for first, end in bounds(n, replicas)] for n in (batch, classes))
    return sum((batch - n) * c for n, c in zip(pictures, own, strict=True))


def traffic(net: AnyNet, strategy: str, replicas: int, batch: int, bytes_: int) -> dict[str, int]:
    """Bytes that all processes together send in one training step, by what for."""
    held = parts(net, strategy, replicas, batch, bytes_)
    sent = {f"join {part.name}": part.before + part.after for part in held if part.before}
    if across := held[-1].across:
        sent["logits"] = 2 * across
    return sent | {"gradients": sum(part.reduced for part in held)}


@dataclass(frozen=True)
class DeviceModel:
    """What a device does in a second: `products` by precision in FLOP/s, of which it reaches a `share`, and bytes.

    `launch`: seconds that a layer takes forward, and for each gradient, however few pictures there are. `pace`:
    seconds that a picture takes over those that the rest would have it take; it comes from a measured rate.
    """

    name: str
    products: Mapping[str, float]
    memory: float = math.inf
    share: float = 1.0
    launch: float = 0.0
    origin: str = "measured"
    pace: float = 1.0

    def seconds(self, part: Part, precision: str) -> tuple[float, float]:
        """Of a layer, forward and backward. Products and passes over memory are added, as if none hid another."""
        products = 2 * part.products / (self.share * self.products[precision])
        read, passed = (n * BYTES[precision] / self.memory for n in (part.weights, part.outputs))
        forward = self.launch + read + self.pace * (products + FORWARD * passed)
        backward = 2 * read + self.pace * (part.gradients * products + BACKWARD * passed)
        return forward, part.gradients * self.launch + backward

    def update(self, held: list[Part]) -> float:
        """Seconds of the weights' update."""
        return sum(self.launch + UPDATE * part.weights / self.memory for part in held)


def vendors(name: str, memory: float, **products: float) -> DeviceModel:
    """A device that nobody measured, by what its maker says of it."""
    origin = (
        f"its maker's figures, products times {SHARE:g} and bytes times {REACH:g}, which is assumed and not measured: "
    )
    origin += "a factor of 3 is possible; --rate takes a measured rate"
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
    """The device that takes a step on `batch` pictures at `rate` pictures/s, alone, as `alexnet bench step` prints it.

    What does not grow with the batch stays as `device` has it; without one nothing is known to be so.
    """
    known = device or DeviceModel("the measured device", dict.fromkeys(BYTES, 1e12))
    fixed, grown = (seconds_alone(net, replace(known, pace=pace), precision, batch) for pace in (0.0, 1.0))
    if not (rate > 0 and batch / rate > fixed):
        least = f"less than {batch / fixed:,.0f}: weights and launches alone take the rest" if fixed else "more than 0"
        raise InputError(f"--rate of {known.name} at batch {batch} is {rate:g} pictures/s; it must be {least}")
    origin = f"measured, {rate:g} pictures/s at batch {batch}"
    return replace(known, pace=(batch / rate - fixed) / (grown - fixed), origin=origin)


def find_device(name: str | None, net: AnyNet, precision: str, rate: float | None, batch: int | None) -> DeviceModel:
    """The device of that name (H200 if there is neither name nor rate), at the rate that was measured, if it was."""
    if (rate is None) != (batch is None):
        raise InputError(f"--rate is {rate} and --at-batch is {batch}; give both or neither")
    name = name or ("H200" if rate is None else None)
    if name and name not in DEVICES:
        near = difflib.get_close_matches(name.upper(), DEVICES, 1, 0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"no GPU {name}; {hint}there are {', '.join(DEVICES)}, and --rate alone is for any other")
    known = DEVICES[name] if name else None
    if known and precision not in known.products:
        raise InputError(f"{name} has no products in {precision}; give --precision {' or '.join(known.products)}")
    return known if known and rate is None else calibrated(net, precision, rate or 0.0, batch or 1, known)


@dataclass(frozen=True)
class Link:
    """What a process sends: `bandwidth` bytes/s, after `latency` seconds for each hop."""

    name: str
    bandwidth: float
    latency: float

    def seconds(self, bytes_: float, hops: int) -> float:
        """Of a collective in which each process sends so much."""
        return hops * self.latency + bytes_ / self.bandwidth


def parse_link(text: str, microseconds: float = 10.0) -> Link:
    """The network that a text names: 400Gb in bits, 6GB/s in bytes, or NVLink (of H100 and H200, one direction)."""
    found = re.fullmatch(r"(\d+\.?\d*)(Gb|GB/s)", {"NVLink": "450GB/s"}.get(text, text))
    bandwidth = float(found[1]) * (1e9 if found[2] == "GB/s" else 1e9 / 8) if found else 0.0
    if not bandwidth:
        raise InputError(f"network {overrides.show(text)} is not known; write it as 400Gb, 6GB/s or NVLink")
    return Link(text, bandwidth, microseconds * 1e-6)


@dataclass(frozen=True)
class StepEstimate:
    """What a way of training comes to. `step` is the sum of the next four, in seconds."""

    strategy: str
    replicas: int
    processes: int
    batch: int
    step: float
    compute: float
    network: float  # that compute waits for it
    update: float
    input: float  # that all wait for pictures
    sent: dict[str, int]  # bytes a step by all processes, by what for
    sent_each: float  # bytes a step by one
    rate: float  # pictures/s
    efficiency: float  # beside as many devices that each trained alone on the recipe's batch
    hours: float  # for the recipe's epochs
    limit: str  # what takes most


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
    """One way of training. `batch` is of all replicas together; `input`: pictures/s that a process can be fed."""
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
    """Seconds of a step: compute, what compute waits for the network, and the update."""

    def cost(bytes_: int, hops: int) -> float:
        return network.seconds(bytes_ / processes, hops) if bytes_ else 0.0

    times = [device.seconds(part, precision) for part in held]
    waited = sum(cost(part.before, part.hops) + 2 * cost(part.across, part.hops) for part in held)
    now = free = 0.0  # since backward began; `free` is when the link is
    for part, (_, backward) in zip(reversed(held), reversed(times), strict=True):
        now += backward
        free = max(now, free) + cost(part.reduced, 2 * SUMS * (replicas - 1))
        if part.after:
            free += cost(part.after, part.hops)
            waited, now = waited + free - now, free
    return {"compute": sum(map(sum, times)), "network": waited + max(free - now, 0.0), "update": device.update(held)}


def seconds_alone(net: AnyNet, device: DeviceModel, precision: str, batch: int) -> float:
    """Seconds of a step of one device on its own."""
    whole = parts(net, "data", 1, batch, BYTES[precision])
    return sum(sum(device.seconds(part, precision)) for part in whole) + device.update(whole)


@dataclass(frozen=True)
class ScalingLimit:
    """Where a way stops paying: twice as many processes as `pays` are less than PAYS times as fast."""

    strategy: str
    pays: int
    tried: int
    fastest: StepEstimate

    def __str__(self) -> str:
        end = f"a doubling makes it less than {PAYS} times as fast" if self.pays < self.tried else "no more were tried"
        many, best = f"{self.pays} process{'es' * (self.pays > 1)}", self.fastest
        fastest = f"fastest with {best.processes}, {best.rate:,.0f} pictures/s and {best.hours:.3g} hours"
        return f"{self.strategy} pays up to {many} ({end}); {fastest}"


def scaling_limit(strategy: str, plan: Callable[[str, int], StepEstimate], most: int = 1024) -> ScalingLimit:
    """Doublings from one device alone up to `most` replicas; `plan` predicts a way with so many."""
    plans, replicas = [plan("data", 1)], 1 if strategy == "towers" else 2
    while replicas <= most:
        try:
            plans.append(plan(strategy, replicas))
        except InputError:  # no batch, or layer, to be split further
            break
        replicas *= 2
    last = next((few for few, many in pairwise(plans) if many.rate < PAYS * few.rate), plans[-1])
    return ScalingLimit(strategy, last.processes, plans[-1].processes, max(plans, key=lambda plan: plan.rate))


@dataclass(frozen=True)
class Forecast:
    """All ways beside each other; `refused` says why the net cannot be trained in the others."""

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
    """Every way that the recipe's net can be trained. `weak`: the recipe's batch is one replica's, not that of all.

    Raises InputError if there is none.
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
    """What the figures rest on, and what they leave out."""
    words = [
        "Bytes are exact: gradients and joins of a step, without the protocol's own and a few numbers of agreement.",
        f"Time is a model: within a factor of {ERROR} if the device's own rate was measured and no core is shared.",
        f"{device.name}: {device.origin}.",
        f"{network.name}: {network.bandwidth / 1e9:g} GB/s a process, {1e6 * network.latency:g} microseconds a hop "
        "of a ring; towers of one replica are no nearer than replicas.",
        "Left out: stragglers, congestion, kernels that do worse on few pictures (but for their launch), the size of "
        "memory, validation, saving.",
    ]
    if weak:
        words.append("The batch grows with the replicas: another recipe, whose error this one does not tell.")
    return words
