"""`alexnet.train`: from a store to a trained run."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import Stopped
from alexnet.core.signals import Signals
from alexnet.data.store import Store
from alexnet.distributed.mesh import open_mesh
from alexnet.inference.evaluate import Evaluation
from alexnet.runs.folder import is_run
from alexnet.runs.log import RunLog
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.trainer import Trainer

LAUNCHER = 3.0  # seconds within which a launcher hands a signal on
SAVING = 0.005  # the largest share of the time between two ends of epochs that checkpoints there may take
GO, SAVE, END = range(3)  # what a process asks for after a step; all processes do the largest that any asks for


def train(
    store: str | Path | Store,
    run: str | Path,
    recipe: str | Recipe | None = None,
    options: TrainOptions | None = None,
    *,
    name: str | None = None,
    quiet: bool = False,
    leave: bool = False,
    **changes: Any,
) -> Evaluation:
    """Train a recipe's net on a store, into a run folder; evaluate it with ten views at the end.

    Started by torchrun, all its processes train one net. On a CPU with as many threads, a run that was stopped and
    resumed ends with the same bits.

    Args:
        store: The store, or its folder. Its number of classes goes into the recipe.
        run: The run's folder: a new one, or with `resume` the run's own.
        recipe: A recipe, the name of one, or a JSON file. "source" unless given, or the one that a resumed run was
            begun with.
        options: How it is done.
        name: What a recipe that is given as a value is called.
        quiet: Print nothing.
        leave: Let a second signal end the process, as the command line does.
        **changes: Fields of `TrainOptions` that differ from `options`: ``train("store", "run", workers=4)``.

    Returns:
        The errors with ten views and with one, on val, or test where there is no val.

    Raises:
        InputError: Something given does not fit; the line says what would.
        WorkFailed: The loss or a weight became NaN or infinite, or a process was lost.
        Stopped: SIGINT, SIGTERM or SIGHUP came. All is saved, and `resume` goes on at that step.
        KeyboardInterrupt: A second signal came. `resume` goes on from the last checkpoint.
    """
    options = (options or TrainOptions()).replace(changes)
    request = Request(store, Path(run), recipe, options, name)
    compute = choose_compute(options.device, options.precision)
    with open_mesh(compute.device, 2 if options.strategy == "towers" else 1, options.timeout) as mesh:
        begun = begin(mesh, request, compute)
        signals = Signals(mesh.max_async(), same=0 if mesh.everyone.size == 1 else LAUNCHER, leave=leave)
        there = is_run(request.folder)
        with begun as trainer, signals, trainer.log(quiet) as log:
            signals.say = log.say
            if options.resume and not trainer.step:
                why = "has no checkpoint, since it ended before its first" if there else "holds no run yet"
                log.say(f"{run} {why}: nothing is resumed, and training begins anew")
            try:
                loop(trainer, log, signals.poll)
                final = trainer.evaluate(signals.poll)
            except Stopped as stop:
                trainer.read(log)
                trainer.save()
                words = f"saved at step {trainer.step} of {trainer.total} in {run}; --resume goes on from there"
                raise Stopped(f"{stop}: {words}", stop.signal) from None
            log.final(trainer.step, final.plain())
    return final


def loop(trainer: Trainer, log: RunLog, poll: Callable[..., None]) -> None:
    """Train from the step where `trainer` stands to the end of its recipe.

    The end of an epoch is saved where that costs little: epochs can be shorter than a save takes.
    """
    mesh, every = trainer.sharding.mesh, trainer.options.save_every
    saved, cost, largest = time.monotonic(), 0.0, mesh.max_async()
    log.say(trainer.title)
    if trainer.unvalidated:  # stopped between an epoch's last step and its validation
        log.epoch(trainer.step, **trainer.validate(poll))
        trainer.save()
    waited = 0.0
    with closing(trainer.batches()) as batches:  # an exception that is kept would keep its readers
        for batch in batches:
            trainer.advance(batch, batches.waited - waited)
            waited = batches.waited
            trainer.read(log, keep=trainer.compute.ahead)
            poll()
            since = time.monotonic() - saved
            asked = largest(END if trainer.lost else SAVE if since > every else GO)
            if asked == END:
                trainer.check()
            save = asked == SAVE
            if trainer.unvalidated:
                trainer.read(log)
                trainer.check()
                log.epoch(trainer.step, **trainer.validate(poll))
                pays = time.monotonic() - saved >= min(every, cost / SAVING)
                save = save or trainer.finished or mesh.all_gather_json(pays)[0]
            if save:
                trainer.read(log)
                begun = time.monotonic()
                trainer.save()
                # Ask anew: what was asked for while the answer was on its way is done.
                saved, largest = time.monotonic(), mesh.max_async()
                cost = saved - begun
            if trainer.finished:
                return
