"""Training: start or resume, and the loop."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path

import torch

from alexnet.config.recipe import Recipe
from alexnet.core.device import Compute
from alexnet.core.errors import WorkFailed
from alexnet.data.cache import Pictures
from alexnet.data.loader import Batch, Batches, steps, training_batches
from alexnet.data.store import Store
from alexnet.distributed.sharding import Sharding
from alexnet.inference.evaluate import Evaluation, evaluate_on_mesh, validate
from alexnet.models.build import AnyModel, build
from alexnet.ops import dispatch
from alexnet.runs import checkpoint, environment
from alexnet.runs import folder as run
from alexnet.runs import log as runlog
from alexnet.runs.checkpoint import State
from alexnet.training import finetune as starting
from alexnet.training import optimizer, schedule
from alexnet.training.diagnostics import LossMonitor, describe_not_finite, not_a_number
from alexnet.training.step import Step, StepResult, forward, maybe_capture


class Trainer:
    """All that moves while a net is trained, and how far it has come."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        net: AnyModel,
        spread: Sharding,
        store: Store,
        compute: Compute,
        parts: int,
        workers: int,
        cache: str,
        until: float | None = None,
    ) -> None:
        self.folder, self.recipe, self.store, self.compute, self.workers = folder, recipe, store, compute, workers
        self.net, self.spread = net, spread
        self.step, self.errors, self.seconds, self.tally = 0, list[float](), 0.0, runlog.Tally()
        self.begun = time.monotonic()
        compute.hold(self.net).train()
        with torch.device("meta"):  # the form alone, in testing
            self.meta_net = build(recipe.net, recipe.seed).eval()
        self.owner, checkpoints = run.identity(folder), checkpoint.list_checkpoints(folder)
        state = checkpoint.read_state(checkpoints[-1], self.owner) if checkpoints else None
        if state:
            weights, velocity = (checkpoint.read_tensors(checkpoints[-1], f, self.meta_net) for f in checkpoint.FILES)
            self.net.load_state_dict(spread.shard(weights))
            self.step, self.errors, self.seconds = state.step, list(state.errors), state.seconds
            self.tally = runlog.Tally(*state.tally)
        elif recipe.start:
            taken = starting.load_layers(Path(run.environment_of(folder)["start"]), recipe.start)
            self.net.load_state_dict(spread.shard(taken), strict=False)
        self.momentum = optimizer.Momentum(self.net, recipe.sgd, compute.dtype, spread.sum_over_parts)
        if state:
            self.momentum.load(spread.shard(velocity))
        self.transform = run.transform_of(folder, recipe).to(compute.device)
        self.take = maybe_capture(Step(self.net, self.transform, self.momentum, compute, recipe.seed, spread, parts))
        self.watch, self.unread = LossMonitor(recipe), deque[tuple[StepResult, float]]()
        self.lost: tuple[int, list[str]] | None = None  # step that left these weights of this process no numbers
        self.pictures = Pictures(store["train"], compute.device, cache)
        self.held_out = Pictures(store[store.held_out], compute.device, cache)
        self.per_epoch = steps(len(self.pictures), recipe.sgd.batch)
        self.total = self.per_epoch * recipe.epochs
        self.until = -math.inf if until is None else until
        epochs = (line for line in runlog.read(folder) if line["kind"] == "epoch" and line["epoch"] <= len(self.errors))
        self.lowest = min((line["train_error"] for line in epochs), default=math.inf)  # training error of an epoch

    @property
    def title(self) -> str:
        """What is about to be done."""
        words = f"recipe {run.recipe_of(self.folder)[0]} {self.recipe.digest}, {len(self.pictures)} pictures of "
        words += f"{len(self.store.classes)} classes, {self.compute.device} in {self.compute.precision} "
        words += f"({dispatch.name(self.compute.device)} kernels), {self.spread.description}, "
        if self.recipe.start and not self.step:
            words += f"{', '.join(self.recipe.start.layers)} from {run.environment_of(self.folder)['start']}, "
        return words + (f"on from step {self.step} of {self.total}" if self.step else f"{self.total} steps")

    @property
    def progress(self) -> float:
        """The part of the run that is done, 0 to 1."""
        return self.step / self.total

    @property
    def unvalidated(self) -> bool:
        """Whether an epoch has ended whose validation error is not known yet."""
        return len(self.errors) < self.step // self.per_epoch

    @property
    def finished(self) -> bool:
        """Whether no further step is asked for, by the recipe or by `until`."""
        return self.step >= self.total or schedule.finished(self.recipe, self.errors) or self.lowest <= self.until

    def batches(self) -> Batches:
        """The batches that are left."""
        epochs = 0 if self.finished else self.recipe.epochs
        return training_batches(
            self.pictures,
            self.recipe.sgd.batch,
            epochs=epochs,
            seed=self.recipe.seed,
            reshuffle=self.recipe.sgd.shuffle == "each epoch",
            first_step=self.step,
            device=self.compute.device,
            workers=self.workers,
            share=self.spread.mesh.replicas.share,
        )

    def rates(self) -> schedule.LearningRates:
        """The rates of the step that comes."""
        return schedule.learning_rates(self.recipe, self.progress, self.errors)

    def advance(self, batch: Batch, waited: float) -> None:
        """Make one step, for whose batch it `waited` so many seconds; what it showed is still to be read."""
        outcome = self.take(batch, self.rates(), schedule.colour_noise_on(self.recipe, self.progress))
        self.unread.append((outcome, waited))
        self.step += 1

    def read(self, log: runlog.RunLog, but: int = 0) -> None:
        """Log what the steps showed, but for the last so many: on a GPU each reading waits for its step."""
        while len(self.unread) > but:
            seen, waited = self.unread.popleft()
            loss, wrong = seen.loss.item(), int(seen.wrong)
            with self.spread.mesh.raise_once():
                if not math.isfinite(loss):  # lost weights say more, and when
                    raise self.failure(*self.lost) if self.lost else self.not_finite(f"the loss is {loss}", seen.step)
                for line in self.watch.update(loss, seen.views, seen.logits):
                    log.say(line)
            if lost := [
                name for name, finite in zip(self.momentum.parameters, seen.finite.tolist(), strict=True) if not finite
            ]:
                self.lost = self.lost or (seen.step + 1, lost)
            self.tally.add(loss, wrong, seen.pictures)
            log.step(seen.step + 1, loss=loss, wrong=wrong, pictures=seen.pictures, rate=seen.rate, waited=waited)

    def check(self) -> None:
        """Raise WorkFailed if a step has shown weights that are no numbers in any of the processes, which all ask."""
        if found := [lost for lost in self.spread.mesh.all_gather_json(self.lost) if lost]:
            names = dict.fromkeys(name for _, names in found for name in names)
            with self.spread.mesh.raise_once():
                raise self.failure(min(step for step, _ in found), list(names))

    def failure(self, step: int, names: Sequence[str]) -> WorkFailed:
        """What is said where these tensors are no numbers after a step."""
        return self.not_finite(describe_not_finite(names), step)

    def not_finite(self, what: str, step: int) -> WorkFailed:
        """What is said of a number that is none, with the last checkpoint that a validation has found good."""
        validated = range(self.per_epoch, len(self.errors) * self.per_epoch + 1, self.per_epoch)
        good = [
            path.name
            for path in checkpoint.list_checkpoints(self.folder)
            if checkpoint.step_and_attempt(path)[0] in validated
        ]
        return WorkFailed(not_a_number(what, step, self.recipe, good[-1] if good else ""))

    def validate(self, poll: Callable[..., None]) -> dict[str, float]:
        """The errors with one view at the end of an epoch; the schedule sees top1.

        Raises WorkFailed where the epoch's loss or that of the validation is NaN or infinite: then no checkpoint of
        this step stays, such as one that a signal has made before the validation.
        """
        net = partial(forward, self.meta_net, self.spread.gather(self.momentum.seen), self.compute)
        found = validate(
            net,
            self.transform,
            self.held_out,
            self.recipe.net.classes,
            self.compute,
            self.workers,
            self.spread.mesh,
            poll,
        )
        loss, error = self.tally.means()
        for what, number in (("training", loss), ("validation", found.nats)):
            if not math.isfinite(number):
                if self.spread.mesh.is_main:
                    for path in checkpoint.list_checkpoints(self.folder):
                        if checkpoint.step_and_attempt(path)[0] == self.step:
                            checkpoint.remove(path)
                with self.spread.mesh.raise_once():
                    raise self.not_finite(f"the {what} loss of epoch {len(self.errors) + 1} is {number}", self.step)
        self.errors.append(found.top1)
        self.tally, self.lowest = runlog.Tally(), min(self.lowest, error)
        measured = {"rate": self.rates().weights, "train_loss": loss, "train_error": error}
        return measured | {"top1": found.top1, "top5": found.top5, "nats": found.nats}

    def evaluate(self, poll: Callable[..., None]) -> Evaluation:
        """The last word: ten views."""
        return evaluate_on_mesh(
            self.spread.mesh,
            self.store,
            [self.folder],
            split=self.store.held_out,
            compute=self.compute,
            workers=self.workers,
            progress=poll,
        )

    def save(self, keep: int) -> None:
        """A checkpoint of where all this stands; raises WorkFailed rather than keep what is no number."""
        weights, velocity = (self.spread.gather(t) for t in (self.net.state_dict(), self.momentum.velocity))

        def write() -> None:
            for what, tensors in (("", weights), ("the velocity of ", velocity)):
                if lost := [what + name for name, t in tensors.items() if not t.isfinite().all()]:
                    raise self.failure(self.step, lost)
            seconds = round(self.seconds + time.monotonic() - self.begun, 1)
            state = State(self.step, tuple(self.errors), seconds, astuple(self.tally))
            if self.spread.mesh.is_main:
                checkpoint.save(self.folder, weights, velocity, state, self.owner, keep)

        self.spread.mesh.run_on_all(write)

    def log(self, quiet: bool) -> runlog.RunLog:
        """The run's log, from here on; that of another process than the first goes nowhere."""
        log = runlog.RunLog(
            self.folder,
            self.step,
            self.total,
            self.per_epoch,
            len(self.errors),
            self.seconds,
            quiet,
            writes=self.spread.mesh.is_main,
        )
        if self.step:
            now, then = (
                environment.environment(self.store, self.compute, self.spread.description),
                run.environment_of(self.folder),
            )
            log.resumed(self.step, now)
            for what in ("device", "kernels", "processes", "threads", "versions", "commit"):
                if now[what] != then.get(what, now[what]):
                    log.say(f"{what}: the run was begun with {then.get(what)}, now {now[what]}; the bits may differ")
        return log
