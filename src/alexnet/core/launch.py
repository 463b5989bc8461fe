"""Rank and number of processes, read from the environment that torchrun and other launchers set."""

import os
from dataclasses import dataclass

from alexnet.core.errors import InputError

Share = tuple[int, int]  # (index, number of shares)


@dataclass(frozen=True)
class Launch:
    """One process of a job: rank `rank` of `world`, and rank `local` on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0
    restarts: int = 0  # how often the launcher has restarted the job
    beside: int = 1  # number of processes on its machine
    store_stays: bool = False  # whether the launcher keeps the rendezvous store over restarts

    @property
    def is_main(self) -> bool:
        """True for rank 0, the process that prints and writes."""
        return self.rank == 0


def launch() -> Launch:
    """Read the rank of this process from the environment; without RANK and WORLD_SIZE it is the only process."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "LOCAL_WORLD_SIZE")
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return Launch()
    given = {name: os.environ.get(name, "0") for name in names}
    for name, value in given.items():
        if not value.isdecimal() or len(value) > 9:
            said = f"{name} is {value[:80]!r} in the environment"
            raise InputError(f"{said}; it must be a number, as torchrun sets it")
    rank, world, local, restarts, beside = (int(given[name]) for name in names)
    if rank >= world:
        raise InputError(f"RANK is {rank} and WORLD_SIZE {world} in the environment; RANK must be 0 to WORLD_SIZE - 1")
    return Launch(
        rank, world, local, restarts, max(beside, 1), os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    )


def rank_that_speaks() -> int:
    """Return the rank for deciding who prints; 0, the rank that prints, if the environment makes no sense."""
    try:
        return launch().rank
    except InputError:
        return 0


def bounds(n: int, parts: int) -> list[tuple[int, int]]:
    """Split n things into `parts` consecutive shares, as equal as possible; return (begin, end) of each."""
    return [(i * n // parts, (i + 1) * n // parts) for i in range(parts)]
