"""The mesh's collectives, checked against the same operations on plain lists."""

from typing import Any

import pytest
import torch
from tests.ranks import PATIENCE, Ranks, worked
from tests.rounding import gamma
from torch import Tensor

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.launch import bounds
from alexnet.distributed.mesh import Axis, Mesh


def numbers(rank: int, *shape: int) -> Tensor:
    """Draw a tensor that differs in each process; 4-d tensors are channels last."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def exchanges(mesh: Mesh, shape: tuple[int, ...], dim: int, sizes: list[int]) -> tuple[list[Any], int]:
    """Run all_gather, reduce_scatter and all_reduce on this process's tensor; return results and bytes sent."""
    axis = mesh.replicas
    own = [*shape]
    if sizes:
        own[dim] = sizes[axis.index]
    gathered = axis.all_gather(numbers(axis.index, *own), dim, "gather", sizes)
    whole = [*shape]
    whole[dim] = sum(sizes) or axis.size * shape[dim]
    scattered = axis.reduce_scatter(numbers(axis.index, *whole), dim, "scatter", sizes)
    total = numbers(axis.index, *shape)
    if work := axis.all_reduce(total, "sum"):
        work.wait()
    return [gathered, scattered, total], sum(axis.sent.values())


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "dim", "sizes"),
    [
        ((4, 6), 1, []),
        ((2, 4, 3, 5), 1, []),
        ((3, 2, 2, 2), 0, []),
        ((3, 5), 0, [1, 2, 0]),
        ((2, 3, 2, 2), 0, [2, 0, 1]),
    ],
)
def test_exchanges_are_what_lists_would_make_of_them(
    ranks: Ranks, n: int, shape: tuple[int, ...], dim: int, sizes: list[int]
) -> None:
    found = ranks(n, worked, exchanges, shape, dim, sizes := sizes[:n])
    owns = [[*shape] for _ in range(n)]
    for own, size in zip(owns, sizes, strict=False):
        own[dim] = size
    gathered = torch.cat([numbers(r, *own) for r, own in enumerate(owns)], dim)
    whole = [*shape]
    whole[dim] = sum(sizes) or n * shape[dim]
    summed = sum((numbers(r, *whole) for r in range(n)), torch.zeros(whole, dtype=torch.float64))
    pieces = summed.split(sizes or shape[dim], dim)
    total = sum((numbers(r, *shape) for r in range(n)), torch.zeros(shape, dtype=torch.float64))
    for rank, ((everyones, part, all_of_it), _) in enumerate(found):
        assert torch.equal(everyones, gathered)
        # Sums of n numbers in any order, each with standard deviation 1; 8 exceeds the largest of a few hundred.
        torch.testing.assert_close(part, pieces[rank], rtol=0, atol=2 * gamma(n) * 8 * n)
        torch.testing.assert_close(all_of_it, total, rtol=0, atol=2 * gamma(n) * 8 * n)
    most = max(sizes, default=shape[dim])
    row = numbers(0, *shape).numel() // shape[dim]
    sent = n * (n - 1) * most * row + (n - 1) * summed.numel() + 2 * (n - 1) * total.numel()
    assert sum(bytes_ for _, bytes_ in found) == 8 * sent


def test_a_gathered_tensor_keeps_its_maps_last_in_memory(ranks: Ranks) -> None:
    for _, gathered in zip(range(2), ranks(2, worked, gathered_maps), strict=True):
        assert gathered


def gathered_maps(mesh: Mesh) -> bool:
    found = mesh.replicas.all_gather(numbers(0, 2, 4, 3, 3), 1, "gather")
    return found.is_contiguous(memory_format=torch.channels_last) and not found.is_contiguous()


def told(mesh: Mesh) -> list[Any]:
    return mesh.all_gather_json({"rank": mesh.everyone.index, "words": "ä" * mesh.everyone.index})


def test_everyone_is_told_what_everyone_says(ranks: Ranks) -> None:
    assert ranks(3, worked, told) == [[{"rank": r, "words": "ä" * r} for r in range(3)]] * 3


def arrangement(mesh: Mesh) -> tuple[tuple[int, int], tuple[int, int], bool]:
    return mesh.replicas.share, mesh.towers.share, mesh.is_main


def test_the_towers_of_a_replica_are_neighbours(ranks: Ranks) -> None:
    """Launchers fill one machine after another, so neighbours share a machine."""
    found = ranks(4, worked, arrangement, towers=2)
    assert found == [((0, 2), (0, 2), True), ((0, 2), (1, 2), False), ((1, 2), (0, 2), False), ((1, 2), (1, 2), False)]


def heard(mesh: Mesh, said: list[list[int]]) -> list[int]:
    hear = mesh.max_async()
    return [hear(number) for number in said[mesh.everyone.index]]


def test_all_hear_the_largest_number_at_the_same_call(ranks: Ranks) -> None:
    said = [[0, 0, 15, 15], [0, 2, 0, 0], [0, 0, 0, 0]]
    assert ranks(3, worked, heard, said) == [[0, 0, 2, 15]] * 3
    assert ranks(1, worked, heard, said) == [[0, 0, 15, 15]]


def failing(mesh: Mesh, failures: dict[int, Exception]) -> tuple[str, str, bool]:
    def act() -> int:
        if error := failures.get(mesh.everyone.index):
            raise error
        return 1

    try:
        return "done", str(mesh.run_on_all(act)), False
    except (InputError, WorkFailed) as error:
        return type(error).__name__, str(error), error.elsewhere


def test_what_one_process_cannot_do_none_does_and_the_first_says_why(ranks: Ranks) -> None:
    assert ranks(2, worked, failing, {}) == [("done", "1", False)] * 2
    one = {1: InputError("no such store")}
    words = "rank 1: no such store"
    assert ranks(2, worked, failing, one) == [("InputError", words, False), ("InputError", words, True)]
    both = {0: OSError(28, "No space left", "run/log"), 1: WorkFailed("a worse thing")}
    words = "rank 0: run/log: No space left; rank 1: a worse thing"
    assert ranks(2, worked, failing, both) == [("WorkFailed", words, False), ("WorkFailed", words, True)]
    same = {rank: InputError("recipe foo") for rank in range(2)}
    assert ranks(2, worked, failing, same)[0] == ("InputError", "recipe foo", False)


def compared(mesh: Mesh, facts: list[dict[str, Any]]) -> tuple[str, bool]:
    try:
        mesh.check_equal(facts[mesh.everyone.index])
    except InputError as error:
        return str(error), error.elsewhere
    return "alike", False


def test_processes_with_other_facts_are_refused_with_rank_and_difference(ranks: Ranks) -> None:
    alike = {"way": "data", "recipe's net.lrn.n": "5"}
    assert ranks(2, worked, compared, [alike, dict(alike)]) == [("alike", False)] * 2
    found = ranks(3, worked, compared, [alike, alike, alike | {"recipe's net.lrn.n": "3"}])
    words = "rank 2: recipe's net.lrn.n is '3', but '5' on rank 0; all ranks must agree"
    assert found == [(words, False), (words, True), (words, True)]


def test_a_process_alone_has_all_of_it_at_once() -> None:
    x, axis = torch.arange(6.0).view(2, 3), Axis()
    assert axis.all_reduce(x, "sum") is None
    assert axis.all_gather(x, 1, "gather") is x
    assert axis.reduce_scatter(x, 1, "scatter") is x
    assert not axis.sent
    assert Mesh().all_gather_json("words") == ["words"]
    assert bounds(7, 1) == [(0, 7)]


def patience(mesh: Mesh) -> list[float]:
    groups = [axis.group for axis in (mesh.replicas, mesh.towers, mesh.everyone) if axis.group]
    return [group._get_backend(torch.device("cpu")).options._timeout.total_seconds() for group in groups]


def test_every_row_of_processes_waits_for_its_peers_as_long_as_it_was_told(ranks: Ranks) -> None:
    assert ranks(4, worked, patience, towers=2) == [[PATIENCE] * 3] * 4
