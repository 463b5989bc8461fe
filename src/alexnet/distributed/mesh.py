"""The mesh of processes that train one net, replicas x towers, and its collectives. One process is a 1 x 1 mesh.

Collectives go through an `Axis`, which counts the bytes. All processes make the same calls in the same order.
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
TIMEOUT = 300.0  # seconds that a process waits for a peer before it gives up
STORES: dict[tuple[str | None, str | None], tuple[Store, Iterator[int]]] = {}  # rendezvous stores opened so far
SHARED_DISK = 10.0  # seconds to wait until a file written on one machine is visible on the others
LOOKS = 20  # number of attempts within SHARED_DISK


class Axis:
    """One dimension of the mesh: `size` processes, with this one at `index`.

    `sent` counts the bytes that this process sends, by purpose.
    """

    def __init__(self, index: int = 0, size: int = 1, group: dist.ProcessGroup | None = None) -> None:
        self.index, self.size, self.group = index, size, group
        self.sent = Counter[str]()

    @property
    def share(self) -> Share:
        """The share of the work that this process takes: (index, size)."""
        return self.index, self.size

    def all_reduce(self, x: Tensor, what: str) -> dist.Work | None:
        """Start to replace x by its sum over the processes; wait for the returned work before using x.

        Returns None if there is nothing to wait for. x needs the same memory format in every process.
        """
        if self.size == 1:
            return None
        begin, end = bounds(x.numel(), self.size)[self.index]
        # Ring: a reduce-scatter, then an all-gather. In each, a process sends all shares except one.
        self.sent[what] += 2 * x.element_size() * (x.numel() - (end - begin))
        dense = x if x.is_contiguous() else x.permute(0, 2, 3, 1)
        return dist.all_reduce(dense, group=self.group, async_op=True)

    def all_gather(self, x: Tensor, dim: int, what: str, sizes: Sequence[int] = ()) -> Tensor:
        """Concatenate the processes' x along `dim`; `sizes` gives their sizes there if they differ."""
        if self.size == 1:
            return x
        x, dim, back = _channels_last(x, dim)
        most = max(sizes, default=x.shape[dim])
        if x.shape[dim] < most:  # all_gather needs equal shapes: pad with zeros, and cut them off below
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
        """Sum the processes' x, and return this process's part along `dim`: the backward of `all_gather`."""
        if self.size == 1:
            return x
        x, dim, back = _channels_last(x, dim)
        pieces = x.split(list(sizes) or x.shape[dim] // self.size, dim)
        own = pieces[self.index].shape
        # Sum in the order of the ranks, so that the bits do not depend on which process holds the part.
        return back(torch.stack(self.all_to_all(pieces, [own] * self.size, what)).sum(0))

    def all_to_all(self, pieces: Sequence[Tensor], shapes: Sequence[Sequence[int]], what: str) -> list[Tensor]:
        """Send each process its piece, and receive a piece of the given shape from each."""
        sent = torch.cat([piece.reshape(-1) for piece in pieces])
        counts = [math.prod(shape) for shape in shapes]
        got = sent.new_empty(sum(counts))
        dist.all_to_all_single(got, sent, counts, [piece.numel() for piece in pieces], group=self.group)
        self.sent[what] += sent.element_size() * (sent.numel() - pieces[self.index].numel())
        return [part.view(*shape) for part, shape in zip(got.split(counts), shapes, strict=True)]


class Mesh:
    """The processes as replicas x towers. `everyone` holds all of them, for small values on the CPU."""

    def __init__(self, replicas: Axis | None = None, towers: Axis | None = None, everyone: Axis | None = None) -> None:
        self.replicas, self.towers, self.everyone = replicas or Axis(), towers or Axis(), everyone or Axis()

    @property
    def is_main(self) -> bool:
        """True in rank 0, the process that prints and writes files."""
        return self.everyone.index == 0

    def sent(self) -> Counter[str]:
        """Count the bytes that this process has sent for the net, by purpose."""
        return self.replicas.sent + self.towers.sent

    def all_gather_json(self, value: Any) -> list[Any]:
        """Gather a JSON value from each process, in the order of the ranks."""
        if self.everyone.size == 1:
            return [value]
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [int(n) for n in self.everyone.all_gather(torch.tensor([len(said)]), 0, "words")]
        words = self.everyone.all_gather(said, 0, "words", sizes).split(sizes)
        return [json.loads(bytes(w.tolist())) for w in words]

    def run_on_all(self, act: Callable[[], T]) -> T:
        """Call `act` in every process; return its result, or raise in all of them if it fails in any.

        The message names the ranks that failed, and only rank 0 prints it. Raises InputError if any rank raised
        InputError, else WorkFailed.
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
        """Mark an error that all processes raise at the same point, so that only rank 0 prints it."""
        try:
            yield
        except (InputError, WorkFailed) as error:
            error.elsewhere = not self.is_main
            raise

    def refuse(self, failures: dict[int, list[Any]]) -> None:
        """Raise one error in every process for the failures of some: {rank: [is an InputError, message]}."""
        reasons = {text for _, text in failures.values()}
        if len(failures) == self.everyone.size and len(reasons) == 1:
            words = reasons.pop()
        else:
            words = "; ".join(f"rank {rank}: {text}" for rank, (_, text) in failures.items())
        error = (InputError if any(usage for usage, _ in failures.values()) else WorkFailed)(words)
        error.elsewhere = not self.is_main
        raise error

    def check_equal(self, facts: dict[str, Any]) -> None:
        """Raise InputError unless all processes have the same facts; the message names a rank and the difference."""
        first, *others = self.all_gather_json(facts)
        different = {
            rank: [True, f"{name} is {told.get(name)!r}, but {first.get(name)!r} on rank 0; all ranks must agree"]
            for rank, told in enumerate(others, 1)
            for name in overrides.differing_names(first, told)[:1]
        }
        if different:
            self.refuse(different)

    def wait_until_equal(self, what: str, see: Callable[[], Any]) -> Any:
        """Wait until all ranks read the same value from shared storage, and return it.

        A network disk may show a new file to one machine later than to another. Raises InputError if the ranks still
        differ after `SHARED_DISK` seconds, and the errors of `see` in all of them.
        """
        for _ in range(LOOKS):
            seen, *others = self.all_gather_json(self.run_on_all(see))
            if all(other == seen for other in others):
                return seen
            time.sleep(SHARED_DISK / LOOKS)
        seen = self.run_on_all(see)
        self.check_equal({f"{what} on shared storage": seen})
        return seen

    def max_async(self) -> "LaggedMax":
        """Create a `LaggedMax` over all processes."""
        return LaggedMax(self.everyone)


class LaggedMax:
    """A maximum over all processes that is one call late, so that no process waits for another.

    A single process gets its number back at once.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.pending: tuple[dist.Work, Tensor] | None = None

    def __call__(self, number: int) -> int:
        """Pass in a number; return the largest of those that the processes passed in the previous call."""
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
    """Join all processes of the launcher in a mesh of world / towers x towers; without a launcher it is 1 x 1.

    Raises WorkFailed if a peer ends, or does not answer for `timeout` seconds.
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
            mesh.all_gather_json("done")  # a peer may still be receiving from this process
        except BaseException:
            if device.type == "cpu":  # NCCL would wait here for peers that may have ended
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
    """Open the rendezvous store under a prefix for this start of the job and this mesh."""
    found, meetings = rendezvous_once(os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT"), wait)
    found.set_timeout(wait)
    # The store outlives a mesh, and a launcher's store outlives a restart: without a prefix, a new mesh would find the
    # addresses of processes that have ended.
    facts = launch()
    start = f"start {facts.restarts}, " if facts.store_stays else ""
    return PrefixStore(f"{start}meeting {next(meetings)}", found)


def rendezvous_once(address: str | None, port: str | None, wait: timedelta) -> tuple[Store, Iterator[int]]:
    """Open the store at an address, once per process, with a counter of the meshes made there. Rank 0 hosts it."""
    if (address, port) not in STORES:
        try:
            found, *_ = next(rendezvous("env://", timeout=wait))
        except ValueError as error:
            raise InputError(f"{error}; start the processes with torchrun") from None
        STORES[address, port] = found, itertools.count()
    return STORES[address, port]


def build_mesh(device: torch.device, towers: int, timeout: float = TIMEOUT) -> Mesh:
    """Build the mesh of world / towers x towers from the processes of the default group."""
    everyone = Axis(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
    everyones = Mesh(everyone=everyone)
    everyones.check_equal({"number of processes per replica": towers})
    with everyones.raise_once():
        check_towers(towers, everyone.size)
        if device.type == "cuda":
            check_devices(everyones.all_gather_json([socket.gethostname(), str(device)]))
    ranks = torch.arange(everyone.size).view(-1, towers)
    names = ("replicas", "towers")
    # DeviceMesh would create the groups with a timeout of half an hour; create them here with ours.
    rows = {"replicas": ranks.T.tolist(), "towers": ranks.tolist()}
    wait = timedelta(seconds=timeout)
    groups = [dist.new_subgroups_by_enumeration(rows[name], timeout=wait)[0] for name in names]
    mesh = DeviceMesh.from_group(groups, device.type, mesh=ranks, mesh_dim_names=names)
    replicas, apart = (Axis(mesh.get_local_rank(n), mesh.size(i), mesh.get_group(n)) for i, n in enumerate(names))
    return Mesh(replicas, apart, everyone)


def check_towers(towers: int, world: int) -> None:
    """Raise InputError unless `world` processes make whole replicas of `towers` processes each."""
    if world % towers:
        there = "there is one process" if world == 1 else f"there are {world} processes"
        advice = f"start it with torchrun --nproc-per-node {towers}, or a multiple of that"
        raise InputError(f"--towers-apart: {there}, but each replica needs {towers}; {advice}")


def check_devices(places: list[list[str]]) -> None:
    """Raise InputError if two processes would share a device, which NCCL does not support."""
    for rank, (host, device) in enumerate(places):
        if (first := places.index([host, device])) < rank:
            raise InputError(f"ranks {first} and {rank} both use {device} on {host}; leave --device out, or give cuda")


def lost_peer(error: RuntimeError) -> str:
    """Explain an error of torch.distributed about a peer that is gone or silent; return "" for other errors."""
    text = str(error)
    advice = "the last checkpoint is intact: read the messages of the other ranks, and continue with --resume"
    if "imed out" in text or "timeout" in text.lower():
        return f"a peer did not answer within --timeout; {advice}"
    if isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text or "onnection" in text:
        gone = "closed by peer" in text or "reset by peer" in text or "refused" in text
        return f"a peer is gone{'' if gone else f' ({text.splitlines()[0][:200]})'}; {advice}"
    return ""


def _channels_last(x: Tensor, dim: int) -> tuple[Tensor, int, Callable[[Tensor], Tensor]]:
    """Permute maps to channels last; return the tensor, the place of `dim` in it, and the inverse permutation."""
    if x.dim() != 4:
        return x.contiguous(), dim, lambda y: y
    return x.permute(0, 2, 3, 1).contiguous(), {0: 0, 1: 3}[dim], lambda y: y.permute(0, 3, 1, 2)
