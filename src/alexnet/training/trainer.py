"""The state of a training, with the methods that log, validate and save it."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial
from typing import Any

import torch

from alexnet.config.recipe import Plateau
from alexnet.core.device import Compute
from alexnet.core.errors import WorkFailed
from alexnet.core.text import percent
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import Batch, Batches, steps, training_batches
from alexnet.data.store import Store, labels
from alexnet.distributed.sharding import Sharding
from alexnet.inference.evaluate import Evaluation, evaluate_on_mesh, validate
from alexnet.models.build import build
from alexnet.models.network import Network
from alexnet.ops import dispatch
from alexnet.runs import checkpoint
from alexnet.runs.checkpoint import Best, State
from alexnet.runs.environment import environment
from alexnet.runs.log import RunLog, Tally
from alexnet.runs.run import Run
from alexnet.training import optimizer, schedule
from alexnet.training.average import judged_weights
from alexnet.training.diagnostics import LossMonitor, describe_not_finite, not_a_number, one_answer
from alexnet.training.finetune import TUNED, describe_tuning, load_layers
from alexnet.training.forecast import Forecast, Work, disk_of_checkpoints
from alexnet.training.options import TrainOptions
from alexnet.training.step import Step, StepResult, forward, maybe_capture
from alexnet.training.weighting import class_shares, picture_weights


class Trainer:
    """The state of a training: weights, velocities, the step, and the validation errors so far."""

    def __init__(
        self, run: Run, store: Store, net: Network, sharding: Sharding, compute: Compute, options: TrainOptions
    ) -> None:
        self.run, self.recipe, self.store, self.options = run, run.recipe, store, options
        self.net, self.sharding, self.compute = net, sharding, compute
        recipe = run.recipe
        self.step, self.errors, self.seconds, self.tally = 0, list[float](), 0.0, Tally()
        self.best: Best | None = None  # with the weights of this process, where several share them
        self.begun = time.monotonic()
        compute.hold(self.net).train()
        with torch.device("meta"):  # layers without weights, for validation with `compute_weights`
            self.meta_net = build(recipe.net, recipe.seed).eval()
        checkpoints = run.checkpoints
        state = checkpoint.read_state(checkpoints[-1], run.identity) if checkpoints else None
        if state:
            weights, velocity = (checkpoint.read_tensors(checkpoints[-1], f, self.meta_net) for f in checkpoint.FILES)
            trained = weights
            if recipe.sgd.average:
                trained = checkpoint.read_tensors(checkpoints[-1], checkpoint.UNAVERAGED, self.meta_net)
            self.net.load_state_dict(sharding.shard(trained))
            self.step, self.errors, self.seconds = state.step, list(state.errors), state.seconds
            self.tally = Tally(*state.tally)
            self.load_best(state)
        elif recipe.start:
            taken = load_layers(Run(run.environment["start"]), recipe.start)
            self.net.load_state_dict(sharding.shard(taken), strict=False)
        self.momentum = optimizer.Momentum(self.net, recipe.sgd, compute.dtype, sharding.sum_over_parts)
        if state:
            self.momentum.load(sharding.shard(velocity))
        self.transform = run.transform.to(compute.device)
        classes, held_out = recipe.net.classes, store[store.held_out]
        factors = picture_weights(recipe, store["train"], classes)
        on_device = None if factors is None else torch.from_numpy(factors).to(compute.device)
        step = Step(
            self.net,
            self.transform,
            self.momentum,
            compute,
            recipe.seed,
            sharding,
            options.accumulate,
            on_device,
            recipe.sgd.label_smoothing,
        )
        self.take, self.unread = maybe_capture(step), deque[tuple[StepResult, float]]()
        self.monitor = LossMonitor(recipe, class_shares(store["train"], classes, factors))
        self.held_out_shares = class_shares(held_out, classes)
        self.lost: tuple[int, list[str]] | None = None  # (step, names) of the first parameters that are not finite
        self.pictures = CachedPictures(store["train"], compute.device, options.cache)
        self.held_out = CachedPictures(held_out, compute.device, options.cache)
        self.per_epoch = steps(len(self.pictures), recipe.sgd.batch)
        self.total = self.per_epoch * recipe.epochs
        self.judged = judged_weights(self.momentum.parameters, recipe.sgd.average, self.total)
        if state:
            self.judged.load(sharding.shard(weights))
        self.until = -math.inf if options.until is None else options.until
        self.patience = math.inf if options.patience is None else options.patience
        epochs = (line for line in run.log if line["kind"] == "epoch" and line["epoch"] <= len(self.errors))
        self.lowest = min((line["train_error"] for line in epochs), default=math.inf)  # lowest of all epochs so far

    @property
    def title(self) -> str:
        """The line that is printed as training starts: recipe, data, device and steps."""
        words = f"recipe {self.run.name} {self.recipe.digest}, {len(self.pictures)} pictures of "
        words += f"{len(self.store.classes)} classes, {self.compute.device} in {self.compute.precision} "
        words += f"({dispatch.name(self.compute.device)} kernels), {self.sharding.description}, "
        if self.recipe.sgd.class_weights != "none":
            words += f"class weights {self.recipe.sgd.class_weights}, "
        if self.recipe.start and not self.step:
            words += f"{', '.join(self.recipe.start.layers)} from {self.run.environment['start']}, "
            first = Run(self.run.environment["start"]).recipe
            if self.run.name.endswith(TUNED):
                words += f"by that run's recipe with {describe_tuning(self.recipe, first)}, "
            elif (now := self.recipe.views.scale) != (
                then := first.views.scale
            ):  # the layers are made for other inputs
                words += f"which had views.scale={then:g} where this recipe has {now:g}, "
        if isinstance(self.recipe.schedule, Plateau):
            waits = schedule.patience(self.recipe.schedule, self.recipe.epochs)
            if self.patience <= waits:
                words += (
                    f"--patience {self.patience} ends it before the rate drops, for which {waits} epochs are to pass, "
                )
        return words + (f"on from step {self.step} of {self.total}" if self.step else f"{self.total} steps")

    @property
    def progress(self) -> float:
        """The part of the run that is done, 0 to 1."""
        return self.step / self.total

    @property
    def unvalidated(self) -> bool:
        """True if an epoch has ended and is not validated yet."""
        return len(self.errors) < self.step // self.per_epoch

    @property
    def since_best(self) -> int:
        """The number of epochs since the one with the lowest validation error."""
        return len(self.errors) - schedule.best_epoch(self.errors)

    @property
    def ended(self) -> str:
        """The name of the option or field of the recipe that ends the training here; "" while it goes on."""
        ends = {
            "epochs": self.step >= self.total,
            "schedule": schedule.finished(self.recipe, self.errors),
            "until": self.lowest <= self.until,
            "patience": self.since_best >= self.patience,
        }
        return next((name for name, here in ends.items() if here), "")

    @property
    def finished(self) -> bool:
        """True if the recipe, `until` or `patience` ends the training here."""
        return self.ended != ""

    def ending(self) -> str:
        """Say in words what ended the training, which epoch was the best, and what is evaluated."""
        why = {
            "epochs": "",
            "schedule": ": no lower validation error after the last drop of the rate",
            "until": f": training error {percent(self.lowest)} reached --until {self.until:g}",
            "patience": f": no lower validation error for {self.since_best} epochs (--patience {self.patience})",
        }[self.ended]
        best = schedule.best_epoch(self.errors)
        words = f"training ended after epoch {len(self.errors)} of {self.recipe.epochs}{why}; the lowest validation "
        words += f"error, {percent(self.errors[best - 1])}, is that of epoch {best}"
        if self.since_best:
            kept = self.best is not None and self.best.state.step == best * self.per_epoch
            words += " (--checkpoint best)" if kept else ", whose weights were not kept"
        return f"{words}; the evaluation is of the last checkpoint, {self.run.resolve()}"

    def batches(self) -> Batches:
        """Load the batches from here to the end of the run."""
        epochs = 0 if self.finished else self.recipe.epochs
        return training_batches(
            self.pictures,
            self.recipe.sgd.batch,
            epochs=epochs,
            seed=self.recipe.seed,
            reshuffle=self.recipe.sgd.shuffle == "each epoch",
            first_step=self.step,
            device=self.compute.device,
            workers=self.options.workers,
            share=self.sharding.mesh.replicas.share,
        )

    def rates(self) -> schedule.LearningRates:
        """Compute the learning rates of the next step."""
        return schedule.learning_rates(self.recipe, self.progress, self.errors)

    def drops(self) -> int:
        """Count the drops of the learning rate before the next step."""
        return schedule.drops(self.recipe, self.progress, self.errors)

    def advance(self, batch: Batch, waited: float) -> None:
        """Make one step, which `read` logs later. `waited` is the time in seconds spent waiting for its batch."""
        outcome = self.take(batch, self.rates(), schedule.colour_noise_on(self.recipe, self.progress))
        self.unread.append((outcome.kept() if self.monitor.asks else outcome, waited))
        self.step += 1
        self.judged.update(self.step)

    def read(self, log: RunLog, keep: int = 0) -> None:
        """Log the steps that are not logged yet, except the last `keep`: on a GPU, reading waits for the step."""
        while len(self.unread) > keep:
            seen, waited = self.unread.popleft()
            loss, wrong, *finite = seen.read().tolist()
            with self.sharding.mesh.raise_once():
                if not math.isfinite(loss):  # lost weights came first: report them
                    raise self.failure(*self.lost) if self.lost else self.not_finite(f"the loss is {loss}", seen.step)
                self.monitor.update(loss)
                # A graph's next replay may have overwritten the views of this step: `advance` then keeps those of one
                # that is still to come.
                for line in self.monitor.explain(seen.views, seen.logits) if seen.lasting else ():
                    log.say(line)
            if not all(finite):
                lost = [name for name, flag in zip(self.momentum.parameters, finite, strict=True) if not flag]
                self.lost = self.lost or (seen.step + 1, lost)
            self.tally.add(loss, int(wrong), seen.pictures)
            log.step(seen.step + 1, loss=loss, wrong=int(wrong), pictures=seen.pictures, rate=seen.rate, waited=waited)

    def check(self) -> None:
        """Raise WorkFailed if weights of any process became NaN or infinite; all processes call it."""
        if found := [lost for lost in self.sharding.mesh.all_gather_json(self.lost) if lost]:
            names = dict.fromkeys(name for _, names in found for name in names)
            with self.sharding.mesh.raise_once():
                raise self.failure(min(step for step, _ in found), list(names))

    def failure(self, step: int, names: Sequence[str]) -> WorkFailed:
        """Make the exception for parameters that are NaN or infinite after a step."""
        return self.not_finite(describe_not_finite(names), step)

    def not_finite(self, what: str, step: int) -> WorkFailed:
        """Make the exception for a NaN or infinite number. It names the last checkpoint that was validated."""
        validated = range(self.per_epoch, len(self.errors) * self.per_epoch + 1, self.per_epoch)
        good = [p.name for p in self.run.checkpoints if checkpoint.step_and_attempt(p)[0] in validated]
        return WorkFailed(not_a_number(what, step, self.recipe, good[-1] if good else ""))

    def validate(self, poll: Callable[..., None]) -> dict[str, float]:
        """Validate with one view at the end of an epoch, for the log and the schedule.

        Raises WorkFailed if the loss of the epoch or of the validation is NaN or infinite. Checkpoints of this step,
        which a signal may have saved before the validation, are then removed.
        """
        weights = self.momentum.compute_weights
        if self.recipe.sgd.average:
            weights = {name: w.to(weights[name].dtype) for name, w in self.judged.tensors.items()}
        net = partial(forward, self.meta_net, self.sharding.gather(weights), self.compute)
        found = validate(
            net,
            self.transform,
            self.held_out,
            self.recipe.net.classes,
            self.compute,
            self.options.workers,
            self.sharding.mesh,
            poll,
        )
        loss, error = self.tally.means()
        for what, number in (("training", loss), ("validation", found.nats)):
            if not math.isfinite(number):
                if self.sharding.mesh.is_main:
                    for path in self.run.checkpoints:
                        if checkpoint.step_and_attempt(path)[0] == self.step:
                            checkpoint.remove(path)
                with self.sharding.mesh.raise_once():
                    raise self.not_finite(f"the {what} loss of epoch {len(self.errors) + 1} is {number}", self.step)
        self.errors.append(found.top1)
        self.keep_best()
        self.tally, self.lowest = Tally(), min(self.lowest, error)
        measured = {"rate": self.rates().weights, "train_loss": loss, "train_error": error}
        return measured | {"top1": found.top1, "top5": found.top5, "nats": found.nats}

    def remarks(self) -> list[str]:
        """List what there is to say about the validation errors so far."""
        return one_answer(self.errors, self.held_out_shares, labels(self.store.classes))

    def keep_best(self) -> None:
        """Keep a copy of the weights if the epoch that was just validated has the lowest error, and none before it."""
        if not self.since_best:
            state = State(self.step, tuple(self.errors), self.spent())
            self.best = Best({name: t.detach().clone() for name, t in self.judged.tensors.items()}, state)

    def load_best(self, state: State) -> None:
        """Load the best weights that a checkpoint names. If their folder is gone, training goes on without them."""
        folder = self.run.folder / "checkpoints" / str(state.best)
        if state.best is not None and folder.is_dir():
            then = checkpoint.read_state(folder, self.run.identity)
            weights = checkpoint.read_tensors(folder, checkpoint.FILES[0], self.meta_net)
            weights = {name: t.to(self.compute.device) for name, t in self.sharding.shard(weights).items()}
            self.best = Best(weights, then)

    def end(self) -> dict[str, Any]:
        """Describe the end of the training for the log: what ended it, the last checkpoint, and the best epoch."""
        best = schedule.best_epoch(self.errors)
        return {
            "ended_by": self.ended,
            "checkpoint": self.run.resolve(),
            "epoch": len(self.errors),
            "best_epoch": best,
            "best_top1": self.errors[best - 1],
        }

    def forecast(self, say: Callable[[str], None]) -> Forecast:
        """Make the forecast of how long the rest of the training takes."""
        early = isinstance(self.recipe.schedule, Plateau) or max(self.until, -self.patience) > -math.inf
        pictures = len(self.held_out) / self.recipe.sgd.batch
        decodes = self.pictures.kept == "ram" and self.pictures.split.format == "jpeg" and not self.step
        weights = sum(t.numel() for t in self.meta_net.state_dict().values())
        weights *= next(iter(self.momentum.parameters.values())).itemsize
        copies = 3 if self.recipe.sgd.average else 2
        disk = disk_of_checkpoints(self.run.folder, weights, self.options.keep, copies)
        return Forecast(say, Work(self.step, self.total, self.per_epoch, pictures, early, decodes), disk)

    def spent(self) -> float:
        """Return the seconds of training so far, over all sessions."""
        return round(self.seconds + time.monotonic() - self.begun, 1)

    def evaluate(self, poll: Callable[..., None]) -> Evaluation:
        """Evaluate the trained net with ten views (section 4.1)."""
        found = evaluate_on_mesh(
            self.sharding.mesh,
            self.store,
            [self.run.folder],
            split=self.store.held_out,
            compute=self.compute,
            workers=self.options.workers,
            progress=poll,
        )
        # The log says that the training has ended only after this.
        return replace(found, progress=tuple(replace(each, finished=True) for each in found.progress))

    def save(self) -> None:
        """Save a checkpoint; raise WorkFailed instead if a weight or velocity is NaN or infinite."""
        weights, velocity = (self.sharding.gather(t) for t in (self.judged.tensors, self.momentum.velocity))
        averaged = self.recipe.sgd.average > 0
        trained = self.sharding.gather(self.net.state_dict()) if averaged else None
        best = self.best and replace(self.best, weights=self.sharding.gather(dict(self.best.weights)))

        def write() -> None:
            for what, tensors in (("", weights), ("", trained or {}), ("the velocity of ", velocity)):
                if lost := [what + name for name, t in tensors.items() if not t.isfinite().all()]:
                    raise self.failure(self.step, lost)
            state = State(self.step, tuple(self.errors), self.spent(), astuple(self.tally))
            if self.sharding.mesh.is_main:
                checkpoint.save(
                    self.run.folder, weights, velocity, state, self.run.identity, self.options.keep, best, trained
                )

        self.sharding.mesh.run_on_all(write)

    def log(self, quiet: bool) -> RunLog:
        """Open the run's log from this step on; only the first process writes one."""
        log = RunLog(
            self.run.folder,
            self.step,
            self.total,
            self.per_epoch,
            len(self.errors),
            self.seconds,
            quiet,
            writes=self.sharding.mesh.is_main,
        )
        if self.step:
            now, then = environment(self.store, self.compute, self.sharding.description), self.run.environment
            log.resumed(self.step, now)
            if self.errors and self.best is None:
                log.say(
                    f"best: the weights of epoch {schedule.best_epoch(self.errors)}, which has the lowest validation "
                    "error so far, were not kept; those of a later epoch will be if its error is lower"
                )
            for what in ("device", "kernels", "processes", "threads", "versions", "commit"):
                if now[what] != then.get(what, now[what]):
                    log.say(f"{what}: the run began with {then.get(what)}, now {now[what]}; the bits may differ")
        return log
