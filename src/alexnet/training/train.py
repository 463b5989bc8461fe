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

LAUNCHER = 3.0  # seconds within which a launcher such as torchrun passes a signal on
SAVING = 0.005  # largest share of the time that checkpoints at ends of epochs may take
GO, SAVE, END = range(3)  # requests of a process after a step; all processes follow the largest


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
    """Train a net on a store, write a run folder, and evaluate the net with ten views at the end.

    Under torchrun, all processes train one net together. On a CPU with the same number of threads, a run that was
    stopped and resumed ends with the same bits as one that was not.

    Args:
        store: A store, or its folder. The net gets an output for each of its classes.
        run: Folder of the run: a new one, or with `resume` an existing one.
        recipe: A recipe, its name, or a JSON file. By default "source", or the recipe of the run that is resumed.
        options: Options such as device, precision and number of workers.
        name: Name of the recipe, if it is given as a value.
        quiet: Print nothing.
        leave: Let a second signal end the process, as the command line does.
        **changes: Fields of `TrainOptions`, which override `options`: ``train("store", "run", workers=4)``.

    Returns:
        The errors, 0 to 1, with ten views and with one, on the val split, or on test if there is no val.

    Raises:
        InputError: The arguments do not fit each other, the store or the run.
        WorkFailed: The loss or a weight became NaN or infinite, or a process was lost.
        Stopped: SIGINT, SIGTERM or SIGHUP arrived. The run is saved, and `resume` goes on at that step.
        KeyboardInterrupt: A second signal arrived. `resume` goes on from the last checkpoint.
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
    """Train from the trainer's step to the end of its recipe: step, log, validate each epoch, save.

    Not every epoch's end is saved, since an epoch can be shorter than a save.
    """
    mesh, every = trainer.sharding.mesh, trainer.options.save_every
    saved, cost, largest = time.monotonic(), 0.0, mesh.max_async()
    log.say(trainer.title)
    if trainer.unvalidated:  # stopped between an epoch's last step and its validation
        log.epoch(trainer.step, **trainer.validate(poll))
        trainer.save()
    waited = 0.0
    with closing(trainer.batches()) as batches:  # an exception that someone keeps would keep the reading threads alive
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
                # A new LaggedMax: requests that were on their way are fulfilled by this save.
                saved, largest = time.monotonic(), mesh.max_async()
                cost = saved - begun
            if trainer.finished:
                return
