"""Launch facts: which of how many processes this is, as torchrun and its like leave them in the environment."""

import os
from dataclasses import dataclass

from alexnet.core.errors import InputError

Share = tuple[int, int]  # (number, of how many)


@dataclass(frozen=True)
class Launch:
    """One process among `world`; `local` is its number on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0
    restarts: int = 0  # how often the launcher has started the job again
    beside: int = 1  # how many of them are on its machine
    store_stays: bool = False  # whether the processes meet in a store that the launcher keeps from start to start

    @property
    def is_main(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0


def launch() -> Launch:
    """The facts of this process; alone unless RANK and WORLD_SIZE are set."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "LOCAL_WORLD_SIZE")
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return Launch()
    given = {name: os.environ.get(name, "0") for name in names}
    for name, value in given.items():
        if not value.isdecimal() or len(value) > 9:
            said = f"{name} is {value[:80]!r} in the environment"
            raise InputError(f"{said}; a launcher such as torchrun sets a number")
    rank, world, local, restarts, beside = (int(given[name]) for name in names)
    if rank >= world:
        raise InputError(f"RANK is {rank} and WORLD_SIZE {world} in the environment; ranks are 0 to WORLD_SIZE - 1")
    return Launch(
        rank, world, local, restarts, max(beside, 1), os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    )


def rank_that_speaks() -> int:
    """The rank of this process as one that speaks: 0, who does, also where the environment makes no sense."""
    try:
        return launch().rank
    except InputError:
        return 0


def bounds(n: int, parts: int) -> list[tuple[int, int]]:
    """Where each of `parts` shares of n things begins and ends: in order, and as equal as can be."""
    return [(i * n // parts, (i + 1) * n // parts) for i in range(parts)]
