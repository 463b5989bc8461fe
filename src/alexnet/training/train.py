"""Train a net on a store: `alexnet.train` and its loop."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from alexnet.config.recipe import Recipe
from alexnet.core.device import choose_compute
from alexnet.core.errors import Stopped
from alexnet.core.signals import Signals
from alexnet.core.threads import LONG, Crowd
from alexnet.data.store import Store
from alexnet.distributed.mesh import open_mesh
from alexnet.inference.evaluate import Evaluation
from alexnet.runs.folder import is_run
from alexnet.runs.log import RunLog
from alexnet.training.options import TrainOptions
from alexnet.training.setup import Request, begin
from alexnet.training.trainer import Trainer

LAUNCHER = 3.0  # seconds in which torchrun may repeat a signal that the terminal already sent
SAVING = 0.005  # largest share of the time for checkpoints at ends of epochs
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
    progress: Callable[[int, int], None] = lambda done, of: None,
    **changes: Any,
) -> Evaluation:
    """Train a net on a store by the recipe (section 5), and evaluate it with ten views at the end (section 4.1).

    The run folder receives the recipe, environment, log and checkpoints. Under torchrun, all processes train one net
    together. On a CPU with the same number of threads, a run that was stopped and resumed ends with the same bits as
    one that was not.

    Args:
        store: A store, or its folder. The net gets one output for each of the store's classes.
        run: Folder of the run. It must be new, except with `resume`.
        recipe: A `Recipe`, the name of one, or a JSON file. The default is the recipe of the run that is resumed or
            started from, else "source".
        options: Options such as device, precision and number of workers.
        name: Name to record for a recipe that is given as a `Recipe`.
        quiet: Print nothing.
        leave: End the process at a second signal, as the command line does.
        progress: Function to call after each step, with the number of steps done and in all.
        **changes: Fields of `TrainOptions`, which override `options`: ``train("store", "run", workers=4)``.

    Returns:
        The `Evaluation` of the last checkpoint on the val split, or on test if there is no val. It has the errors, 0 to
        1, of ten views and of one. It is of the last one also with `patience`; `load(run, "best")` loads the best.

    Raises:
        InputError: The arguments do not fit each other, the store or the run.
        WorkFailed: The loss or a weight became NaN or infinite, the disk failed, or another process was lost.
        Stopped: SIGINT, SIGTERM or SIGHUP arrived. The run is saved, and `resume` continues at that step.
        KeyboardInterrupt: A second signal arrived. `resume` continues from the last checkpoint.
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
                why = "ended before its first checkpoint" if there else "holds no run yet"
                log.say(f"{run} {why}, so there is nothing to resume; training starts at step 0")
            try:
                loop(trainer, log, signals.poll, progress)
                log.say(trainer.ending())
                final = trainer.evaluate(signals.poll)
            except Stopped as stop:
                trainer.read(log)
                trainer.save()
                words = f"saved at step {trainer.step} of {trainer.total} in {run}; --resume goes on from there"
                raise Stopped(f"{stop}: {words}", stop.signal) from None
            log.final(trainer.step, final.plain() | trainer.end())
    return final


def loop(
    trainer: Trainer,
    log: RunLog,
    poll: Callable[..., None],
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Train from the trainer's step to the end of its recipe: step, log, validate each epoch, save.

    The end of an epoch is saved only if that is cheap: an epoch on a small store can be shorter than a save. A drop of
    the learning rate is always saved: there are few, and runs that differ afterwards can start there.
    """
    mesh, every = trainer.sharding.mesh, trainer.options.save_every
    saved, cost, largest = time.monotonic(), 0.0, mesh.max_async()
    log.say(trainer.title)
    if trainer.unvalidated:  # the run was stopped between an epoch's last step and its validation
        end_epoch(trainer, log, poll)
        trainer.save()
    waited, drops = 0.0, trainer.drops()
    forecast = trainer.forecast(log.say)
    crowd = Crowd(log.say, torch.get_num_threads() if trainer.compute.device.type == "cpu" else 0)
    with crowd, closing(trainer.batches()) as batches:  # stop the loader's threads even if a caller keeps the exception
        for batch in batches:
            trainer.advance(batch, batches.waited - waited)
            waited = batches.waited
            trainer.read(log, keep=trainer.compute.ahead)  # some steps late, so that the GPU never waits for Python
            forecast.look(trainer.step)
            progress(trainer.step, trainer.total)
            poll()
            since = time.monotonic() - saved
            # With several processes, this is the answer of the previous step, so that none waits for another.
            asked = largest(END if trainer.lost else SAVE if since > every else GO)
            if asked == END:
                trainer.check()
            save = asked == SAVE
            if trainer.unvalidated:
                trainer.read(log)
                trainer.check()
                end_epoch(trainer, log, poll)
                pays = time.monotonic() - saved >= min(every, cost / SAVING)  # clocks differ: rank 0 decides
                save = save or trainer.finished or mesh.all_gather_json(pays)[0]
            drops, before = trainer.drops(), drops  # a plateau's rate drops with a validation
            if save or drops > before:
                trainer.read(log)
                begun = time.monotonic()
                trainer.save()
                # A new LaggedMax drops requests that are under way: this save has fulfilled them.
                saved, largest = time.monotonic(), mesh.max_async()
                cost = saved - begun
            if trainer.finished:
                crowd.look(0.0, LONG)
                return
            crowd.look()


def end_epoch(trainer: Trainer, log: RunLog, poll: Callable[..., None]) -> None:
    """Validate at the end of an epoch, log it, and say what is to be said about it."""
    log.epoch(trainer.step, **trainer.validate(poll))
    for line in trainer.remarks():
        log.say(line)
