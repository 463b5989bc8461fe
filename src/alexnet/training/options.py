"""How a training is done: the options that `alexnet.train` and `alexnet train` share under one name."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from alexnet.core.errors import InputError

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp64"]
Cache = Literal["auto", "device", "ram", "none"]
Strategy = Literal["data", "towers", "hybrid"]
CHOICES = {"precision": Precision, "cache": Cache, "strategy": Strategy}
WEEK, MOST = 604_800, 1_000_000_000


@dataclass(frozen=True)
class TrainOptions:
    """How a training is done. What changes a result is in the recipe; of these only `until` and `from_run` do too.

    ADD YOURS here: the command line takes each field as an option of the same name, and this text as its help.

    Parameters
    ----------
    resume
        Go on with the run where it stopped, mid-epoch too.
    from_run
        Run whose newest weights a new run starts from. The recipe is its own unless another is given.
    layers
        Which of its layers; all of the same shape unless given, but for the last where the classes differ.
    until
        End after the first epoch whose training error, 0 to 1, is no higher.
    device
        auto, cpu, cuda or cuda:N.
    precision
        auto: bf16 where the hardware has it. tf32: on CUDA, products of 10-bit mantissas. fp64: for proofs.
    workers
        Threads that read pictures ahead.
    cache
        Where decoded pictures are kept while training: on the device, in memory, or nowhere; auto takes what fits.
    save_every
        Seconds between checkpoints at most. An epoch's end is one too, unless saving takes over 0.5 % of the time.
    keep
        Checkpoints that stay; 0 keeps all.
    strategy
        How several processes share the net: data, each a replica; towers, each one tower, as in 2012; hybrid,
        convolutions in replicas and fully connected layers shared out, so that their gradients never travel.
    accumulate
        Parts that a process takes its share of a batch in, where its memory is small; the numbers stay the same.
    timeout
        Seconds after which a process that does not answer the others is lost.
    """

    resume: bool = False
    from_run: Path | None = None
    layers: tuple[str, ...] = ()
    until: float | None = None
    device: str = "auto"
    precision: Precision = "auto"
    workers: int = 2
    cache: Cache = "auto"
    save_every: float = 600.0
    keep: int = 2
    strategy: Strategy = "data"
    accumulate: int = 1
    timeout: float = 300.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "from_run", Path(self.from_run) if self.from_run else None)
        object.__setattr__(self, "layers", tuple(self.layers))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"--{name} {getattr(self, name)}; it must be {', '.join(get_args(choices))}")
        self._check("workers", 1, 256)
        self._check("save_every", 0, MOST)
        self._check("keep", 0, MOST)
        self._check("accumulate", 1, 100_000)
        self._check("timeout", 1e-3, WEEK)
        if self.until is not None:
            self._check("until", 0, 1)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """These options with some changed; raises InputError for a name that is no option, and a value it cannot be."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                from alexnet.config.overrides import unknown_name  # the help of the command line needs none of it

                raise InputError(unknown_name(name, name, known, "", what="option of train"))
        return dataclasses.replace(self, **changes)

    def _check(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise InputError(f"--{name.replace('_', '-')} {value!r}; it must be {least} to {most:,}")
