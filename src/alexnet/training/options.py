"""The options that `alexnet.train` and the command `alexnet train` share, under the same names."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from alexnet.core.errors import InputError
from alexnet.core.text import split_names

Precision = Literal["auto", "fp32", "tf32", "bf16", "fp64"]
Cache = Literal["auto", "device", "ram", "none"]
Strategy = Literal["data", "towers", "hybrid"]
CHOICES = {"precision": Precision, "cache": Cache, "strategy": Strategy}
WEEK, MOST = 604_800, 1_000_000_000


@dataclass(frozen=True)
class TrainOptions:
    """The options of a training, which decide where and how fast it runs.

    Only `until`, `patience`, `from_run`, `layers` and `precision` change the result by more than rounding. All other
    numbers that change it are in the recipe.

    Parameters
    ----------
    resume
        Continue the run where it stopped, even in the middle of an epoch.
    from_run
        Run to take the first weights from. The new run also takes its recipe, with changes for fine-tuning that the
        first line names, unless one is given.
    layers
        Layers to take from that run. By default all of the same shape, except the last if the classes differ.
    until
        Training error, 0 to 1. Stop after the first epoch that reaches it.
    patience
        Number of epochs. Stop after this many in a row without a lower validation error.
    device
        auto, cpu, cuda or cuda:N.
    precision
        Number format of the matrix products. auto is bf16 if the hardware supports it. tf32 needs CUDA. fp64 is for
        checks of the numerics.
    workers
        Number of threads that read pictures ahead. The default is one for each usable core on CUDA, and 2 on a CPU.
    cache
        Where to keep decoded pictures during training: device, ram or none. auto takes the fastest that fits.
    save_every
        Longest time between checkpoints, in seconds. Drops of the learning rate and the end are saved too, and so are
        ends of epochs if that takes under 0.5 % of the time.
    keep
        Number of checkpoints to keep; 0 keeps all.
    strategy
        How several processes share the net. data: each has a replica. towers: each has a tower, as in 2012. hybrid:
        each has all convolutions and a part of the fully connected layers, whose gradients are then not sent.
    accumulate
        Number of parts into which a process splits its share of a batch, to save memory. Results change by rounding.
    timeout
        Seconds to wait for another process before training stops.
    """

    # ADD YOURS here: each field is also an option of the command line, with its words above as the help.
    resume: bool = False
    from_run: Path | None = None
    layers: tuple[str, ...] = ()
    until: float | None = None
    patience: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    workers: int | None = None
    cache: Cache = "auto"
    save_every: float = 600.0
    keep: int = 2
    strategy: Strategy = "data"
    accumulate: int = 1
    timeout: float = 300.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "from_run", Path(self.from_run) if self.from_run else None)
        object.__setattr__(self, "layers", split_names(self.layers))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise InputError(f"--{name} {getattr(self, name)}; it must be {', '.join(get_args(choices))}")
        if self.workers is not None:
            self._check("workers", 1, 256)
        self._check("save_every", 0, MOST)
        self._check("keep", 0, MOST)
        self._check("accumulate", 1, 100_000)
        self._check("timeout", 1e-3, WEEK)
        if self.until is not None:
            self._check("until", 0, 1)
        if self.patience is not None:
            self._check("patience", 1, MOST)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with some options changed; raise InputError for an unknown name or an impossible value."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                from alexnet.config.overrides import unknown_name  # imported late, to keep --help fast

                raise InputError(unknown_name(name, name, known, "", what="option of train"))
        return dataclasses.replace(self, **changes)

    def _check(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if isinstance(value, float) and name not in ("save_every", "timeout", "until"):
            raise InputError(f"--{name.replace('_', '-')} {value!r}; it must be a whole number")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise InputError(f"--{name.replace('_', '-')} {value!r}; it must be {least} to {most:,}")
