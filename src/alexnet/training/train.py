"""`alexnet.train`: from a store to a trained run."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import Stopped
from alexnet.core.signals import Signals
from alexnet.data.store import Store
from alexnet.distributed.mesh import TIMEOUT, open_mesh
from alexnet.inference.evaluate import Evaluation
from alexnet.runs import folder as run
from alexnet.runs import log as runlog
from alexnet.training.setup import TrainOptions, begin
from alexnet.training.trainer import Trainer

LAUNCHER = 3.0  # seconds within which a launcher hands a signal on
GO, SAVE, END = range(3)  # what a process asks for after a step; all do the most that one asks for


def train(
    store: str | Path | Store,
    folder: str | Path,
    recipe: str | Recipe | None = None,
    *,
    name: str | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    cache: str = "auto",
    save_every: float = 600,
    keep: int = 2,
    strategy: str = "data",
    accumulate: int = 1,
    timeout: float = TIMEOUT,
    until: float | None = None,
    start: str | Path | None = None,
    layers: Sequence[str] = (),
    quiet: bool = False,
    leave: bool = False,
) -> Evaluation:
    """Train a recipe's net on a store, into a run folder; evaluate it with ten views at the end.

    `recipe`: a name, a JSON file or a value, which `name` then names ("source" if None, or the one the run was begun
    with); the number of classes comes from the store. `resume` goes on where the run stopped, mid-epoch too: bit for
    bit on a CPU with as many threads. `cache`: where pictures are kept (data.cache.Pictures). `save_every`: seconds
    between checkpoints, besides one an epoch; `keep`: how many of them stay (0: all).

    Started by torchrun, all its processes train one net by a `strategy`: replicas of it ("data"), its towers apart
    ("towers"), or convolutions in replicas and the other layers shared out ("hybrid"). `accumulate`: parts that
    a process takes its share of a batch in. `timeout`: seconds after which a peer that says nothing is lost. None of
    them changes the result but for rounding.

    `until`: end after the first epoch whose training error is no higher, ten views included.

    `start`: a run whose newest weights a new run begins with (section 6): its `layers`, or all of the same name and
    shape, but for the last where the classes differ. The recipe says which, in `start`; `sgd.layer_lr` scales the
    rates of single layers, and 0 freezes them.

    Raises InputError for what does not fit, WorkFailed if the loss is no number or a peer is lost, and
    Stopped, after saving, on SIGINT, SIGTERM or SIGHUP. A second signal raises KeyboardInterrupt without waiting
    for that, and `resume` goes on from the last checkpoint; with `leave` it ends the process, as the command line does.
    """
    compute = choose_compute(device, precision)
    with open_mesh(compute.device, 2 if strategy == "towers" else 1, timeout) as mesh:
        alone = mesh.everyone.size == 1
        given = TrainOptions(store, recipe, name, resume, until, Path(start) if start else None, tuple(layers))
        begun = begin(mesh, given, Path(folder), compute, precision, strategy, accumulate, workers, cache)
        signals = Signals(mesh.max_async(), same=0 if alone else LAUNCHER, leave=leave)
        there = run.is_run(Path(folder))
        with begun as training, signals, training.log(quiet) as log:
            signals.say = log.say
            if resume and not training.step:
                why = "has no checkpoint, since it ended before its first" if there else "holds no run yet"
                log.say(f"{folder} {why}: nothing is resumed, and training begins anew")
            try:
                loop(training, log, signals.poll, save_every, keep)
                final = training.evaluate(signals.poll)
            except Stopped as stop:
                training.read(log)
                training.save(keep)
                words = f"saved at step {training.step} of {training.total} in {folder}; --resume goes on from there"
                raise Stopped(f"{stop}: {words}", stop.signal) from None
            log.final(training.step, final.plain())
    return final


def loop(training: "Trainer", log: runlog.RunLog, poll: Callable[..., None], save_every: float, keep: int) -> None:
    """From the step where `training` stands to the end of its recipe."""
    saved, due = time.monotonic(), training.spread.mesh.max_async()
    log.say(training.title)
    if training.unvalidated:  # stopped between an epoch's last step and its validation
        log.epoch(training.step, **training.validate(poll))
        training.save(keep)
    waited = 0.0
    with closing(training.batches()) as batches:  # an exception that is kept would keep its readers
        for batch in batches:
            training.advance(batch, batches.waited - waited)
            waited = batches.waited
            training.read(log, but=training.compute.ahead)
            poll()
            asked = due(END if training.lost else SAVE if time.monotonic() - saved > save_every else GO)
            if asked == END:
                training.check()
            save = asked == SAVE
            if training.unvalidated:
                training.read(log)
                training.check()
                log.epoch(training.step, **training.validate(poll))
                save = True
            if save:
                training.read(log)
                training.save(keep)
                # Anew, since what was named while the answer was on its way is done.
                saved, due = time.monotonic(), training.spread.mesh.max_async()
            if training.finished:
                return
