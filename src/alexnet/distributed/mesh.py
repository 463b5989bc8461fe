"""The processes of a training, replicas x towers, and what they say to each other; one process is the mesh 1 x 1.

Exchanges go through an `Axis`, which counts the bytes. All processes make the same calls in the same order.
"""

import itertools
import json
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from alexnet.config import overrides
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.core.launch import Share, bounds, launch

T = TypeVar("T")
TIMEOUT = 300.0  # seconds that a process waits for its peers before it calls them lost
STORES: dict[tuple[str | None, str | None], tuple[Store, Iterator[int]]] = {}  # where this process has met others
SHARED_DISK = 10.0  # seconds within which a shared disk shows one machine what another has written,
LOOKS = 20  # and how often one looks


class Axis:
    """Processes in a row, of which this is number `index`; `sent` counts the bytes it sends them, by what for."""

    def __init__(self, index: int = 0, size: int = 1, group: dist.ProcessGroup | None = None) -> None:
        self.index, self.size, self.group = index, size, group
        self.sent = Counter[str]()

    @property
    def share(self) -> Share:
        """Which share of what they divide is this process's."""
        return self.index, self.size

    def all_reduce(self, x: Tensor, what: str) -> dist.Work | None:
        """Begin to replace x by the sum of everyone's; done when what is returned has been waited for.

        x lies in memory in the same order everywhere, maps last or not.
        """
        if self.size == 1:
            return None
        begin, end = bounds(x.numel(), self.size)[self.index]
        # A ring: each share travels once round to be summed, and once more to be known, and is not sent by its last.
        self.sent[what] += 2 * x.element_size() * (x.numel() - (end - begin))
        dense = x if x.is_contiguous() else x.permute(0, 2, 3, 1)
        return dist.all_reduce(dense, group=self.group, async_op=True)

    def all_gather(self, x: Tensor, dim: int, what: str, sizes: Sequence[int] = ()) -> Tensor:
        """Everyone's x side by side along `dim`; where they differ in size there, `sizes` says how."""
        if self.size == 1:
            return x
        x, dim, back = _channels_last(x, dim)
        most = max(sizes, default=x.shape[dim])
        if x.shape[dim] < most:  # one size for all: sent as zeros, and left out at the end
            shape = [*x.shape]
            shape[dim] = most - x.shape[dim]
            x = torch.cat((x, x.new_zeros(shape)), dim)
        parts = [torch.empty_like(x) for _ in range(self.size)]
        dist.all_gather(parts, x, group=self.group)
        self.sent[what] += x.element_size() * x.numel() * (self.size - 1)
        if sizes:
            parts = [part.narrow(dim, 0, size) for part, size in zip(parts, sizes, strict=True)]
        return back(torch.cat(parts, dim))

    def reduce_scatter(self, x: Tensor, dim: int, what: str, sizes: Sequence[int] = ()) -> Tensor:
        """This process's part along `dim` of the sum of everyone's x: what `gather` is backwards."""
        if self.size == 1:
            return x
        x, dim, back = _channels_last(x, dim)
        pieces = x.split(list(sizes) or x.shape[dim] // self.size, dim)
        own = pieces[self.index].shape
        # Summed in the order of the processes, whoever holds the part.
        return back(torch.stack(self.all_to_all(pieces, [own] * self.size, what)).sum(0))

    def all_to_all(self, pieces: Sequence[Tensor], shapes: Sequence[Sequence[int]], what: str) -> list[Tensor]:
        """Give each process its piece, and get one of the given shape from each."""
        sent = torch.cat([piece.reshape(-1) for piece in pieces])
        counts = [math.prod(shape) for shape in shapes]
        got = sent.new_empty(sum(counts))
        dist.all_to_all_single(got, sent, counts, [piece.numel() for piece in pieces], group=self.group)
        self.sent[what] += sent.element_size() * (sent.numel() - pieces[self.index].numel())
        return [part.view(*shape) for part, shape in zip(got.split(counts), shapes, strict=True)]


class Mesh:
    """replicas x towers; `everyone` is all of them in one row, for numbers in the CPU's memory."""

    def __init__(self, replicas: Axis | None = None, towers: Axis | None = None, everyone: Axis | None = None) -> None:
        self.replicas, self.towers, self.everyone = replicas or Axis(), towers or Axis(), everyone or Axis()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.everyone.index == 0

    def sent(self) -> Counter[str]:
        """Bytes that this process has sent for the net's sake, by what for."""
        return self.replicas.sent + self.towers.sent

    def all_gather_json(self, value: Any) -> list[Any]:
        """Everyone's value, which is JSON."""
        if self.everyone.size == 1:
            return [value]
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [int(n) for n in self.everyone.all_gather(torch.tensor([len(said)]), 0, "words")]
        words = self.everyone.all_gather(said, 0, "words", sizes).split(sizes)
        return [json.loads(bytes(w.tolist())) for w in words]

    def run_on_all(self, act: Callable[[], T]) -> T:
        """What `act` gives here, once it has succeeded in every process; else all raise, and rank 0 says whose reasons.

        Raises InputError or WorkFailed as `act` did, the former where both happened.
        """
        if self.everyone.size == 1:
            return act()
        made, failure = None, None
        try:
            made = act()
        except (InputError, WorkFailed) as error:
            failure = [isinstance(error, InputError), str(error)]
        except OSError as error:
            failure = [False, f"{error.filename}: {error.strerror}" if error.filename else str(error)]
        failures = {rank: told for rank, told in enumerate(self.all_gather_json(failure)) if told}
        if failures:
            self.refuse(failures)
        return made  # type: ignore[return-value]

    @contextmanager
    def raise_once(self) -> Iterator[None]:
        """What fails in here fails in every process alike, which they need not tell each other: rank 0 says it."""
        try:
            yield
        except (InputError, WorkFailed) as error:
            error.elsewhere = not self.is_main
            raise

    def refuse(self, failures: dict[int, list[Any]]) -> None:
        """Raise what some processes have met, in all."""
        reasons = {text for _, text in failures.values()}
        if len(failures) == self.everyone.size and len(reasons) == 1:
            words = reasons.pop()
        else:
            words = "; ".join(f"rank {rank}: {text}" for rank, (_, text) in failures.items())
        error = (InputError if any(usage for usage, _ in failures.values()) else WorkFailed)(words)
        error.elsewhere = not self.is_main
        raise error

    def check_equal(self, facts: dict[str, Any]) -> None:
        """Raise InputError, naming rank and difference, unless all processes have the same facts."""
        first, *others = self.all_gather_json(facts)
        different = {
            rank: [True, f"{name} is {told.get(name)!r}, and {first.get(name)!r} on rank 0; start all alike"]
            for rank, told in enumerate(others, 1)
            for name in overrides.differing_names(first, told)[:1]
        }
        if different:
            self.refuse(different)

    def wait_until_equal(self, what: str, see: Callable[[], Any]) -> Any:
        """What all see alike on a disk that they share, which may show one machine later what another has written.

        Raises what `see` does, in all of them, and InputError, with rank and difference, where they do not within
        `SHARED_DISK` seconds.
        """
        for _ in range(LOOKS):
            seen, *others = self.all_gather_json(self.run_on_all(see))
            if all(other == seen for other in others):
                return seen
            time.sleep(SHARED_DISK / LOOKS)
        seen = self.run_on_all(see)
        self.check_equal({f"{what}, on a disk that all share,": seen})
        return seen

    def max_async(self) -> "LaggedMax":
        """Start asking for the largest of the processes' numbers, again and again."""
        return LaggedMax(self.everyone)


class LaggedMax:
    """The largest of the numbers that all processes give in one call.

    Each call returns the largest of the call before, so that no process waits for another. One process alone gets its
    own number back at once.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.pending: tuple[dist.Work, Tensor] | None = None

    def __call__(self, number: int) -> int:
        """Give a number; return the largest of those given in the call before."""
        if self.axis.size == 1:
            return number
        heard = 0
        if self.pending:
            work, largest = self.pending
            work.wait()
            heard = int(largest)
        largest = torch.tensor(number)
        work = dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.axis.group, async_op=True)
        assert work is not None
        self.pending = work, largest
        return heard


@contextmanager
def open_mesh(device: torch.device, towers: int = 1, timeout: float = TIMEOUT) -> Iterator[Mesh]:
    """The mesh of all processes that the launcher has started, world / towers x towers; one process is a mesh too.

    Raises WorkFailed where a peer is lost, or is not heard of for `timeout` seconds.
    """
    facts = launch()
    if facts.world == 1:
        check_towers(towers, 1)
        yield Mesh()
        return
    kind, wait = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timedelta(seconds=timeout)
    try:
        dist.init_process_group(
            kind, timeout=wait, store=rendezvous_store(wait), rank=facts.rank, world_size=facts.world
        )
        try:
            mesh = build_mesh(device, towers, timeout)
            yield mesh
            mesh.all_gather_json("done")  # nobody leaves before all have what they need of him
        except BaseException:
            if device.type == "cpu":  # NCCL would wait here for peers that may be no more
                dist.destroy_process_group()
            raise
        dist.destroy_process_group()
    except (InputError, WorkFailed, Stopped):
        raise
    except RuntimeError as error:
        if words := lost_peer(error):
            raise WorkFailed(f"rank {facts.rank} of {facts.world}: {words}") from None
        raise


def rendezvous_store(wait: timedelta) -> Store:
    """Where the processes of this start of the job find each other."""
    found, meetings = rendezvous_once(os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT"), wait)
    found.set_timeout(wait)
    # The store outlives a meeting, and a launcher's a start, and with it the addresses of processes that are no more.
    facts = launch()
    start = f"start {facts.restarts}, " if facts.store_stays else ""
    return PrefixStore(f"{start}meeting {next(meetings)}", found)


def rendezvous_once(address: str | None, port: str | None, wait: timedelta) -> tuple[Store, Iterator[int]]:
    """The store at an address, and the numbers of the meetings there: the first process serves it to all of them."""
    if (address, port) not in STORES:
        try:
            found, *_ = next(rendezvous("env://", timeout=wait))
        except ValueError as error:
            raise InputError(f"{error}; start the processes with torchrun") from None
        STORES[address, port] = found, itertools.count()
    return STORES[address, port]


def build_mesh(device: torch.device, towers: int, timeout: float = TIMEOUT) -> Mesh:
    """The processes that are there as world / towers x towers."""
    everyone = Axis(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
    everyones = Mesh(everyone=everyone)
    everyones.check_equal({"towers in processes of their own": towers})
    with everyones.raise_once():
        check_towers(towers, everyone.size)
        if device.type == "cuda":
            check_devices(everyones.all_gather_json([socket.gethostname(), str(device)]))
    ranks = torch.arange(everyone.size).view(-1, towers)
    names = ("replicas", "towers")
    # Made here, and not by the mesh, which would have each group wait for half an hour whatever the timeout.
    rows = {"replicas": ranks.T.tolist(), "towers": ranks.tolist()}
    wait = timedelta(seconds=timeout)
    groups = [dist.new_subgroups_by_enumeration(rows[name], timeout=wait)[0] for name in names]
    mesh = DeviceMesh.from_group(groups, device.type, mesh=ranks, mesh_dim_names=names)
    replicas, apart = (Axis(mesh.get_local_rank(n), mesh.size(i), mesh.get_group(n)) for i, n in enumerate(names))
    return Mesh(replicas, apart, everyone)


def check_towers(towers: int, world: int) -> None:
    """Raise InputError unless so many processes make whole replicas."""
    if world % towers:
        there = "there is one process" if world == 1 else f"there are {world} processes"
        advice = f"start it with torchrun --nproc-per-node {towers}, or a multiple of that"
        raise InputError(f"--towers-apart: {there}, and each replica takes {towers}; {advice}")


def check_devices(places: list[list[str]]) -> None:
    """Raise InputError where two processes are to share a device, which NCCL cannot."""
    for rank, (host, device) in enumerate(places):
        if (first := places.index([host, device])) < rank:
            raise InputError(f"ranks {first} and {rank} both take {device} of {host}; leave --device out, or say cuda")


def lost_peer(error: RuntimeError) -> str:
    """In words, if this is how torch.distributed says that a peer does not answer; else nothing."""
    text = str(error)
    advice = "the last checkpoint stands: see what the others said, and go on with --resume"
    if "imed out" in text or "timeout" in text.lower():
        return f"a peer has not answered within the time allowed (--timeout); {advice}"
    if isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text or "onnection" in text:
        gone = "closed by peer" in text or "reset by peer" in text or "refused" in text
        return f"a peer is gone{'' if gone else f' ({text.splitlines()[0][:200]})'}; {advice}"
    return ""


def _channels_last(x: Tensor, dim: int) -> tuple[Tensor, int, Callable[[Tensor], Tensor]]:
    """x as it lies in memory, maps last, the dimension there, and the way back."""
    if x.dim() != 4:
        return x.contiguous(), dim, lambda y: y
    return x.permute(0, 2, 3, 1).contiguous(), {0: 0, 1: 3}[dim], lambda y: y.permute(0, 3, 1, 2)
