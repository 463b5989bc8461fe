"""Training: start or resume, and the loop."""

import math
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from alexnet.config import overrides
from alexnet.config.recipe import Recipe, Start, named
from alexnet.core.device import Place, keep_pages, place
from alexnet.core.errors import FailedError, StoppedError, UnusableError
from alexnet.core.signals import Signals
from alexnet.data.cache import Pictures
from alexnet.data.loader import Batch, Batches, steps, training_batches
from alexnet.data.store import Store
from alexnet.distributed.mesh import TIMEOUT, Mesh, joined
from alexnet.distributed.sharding import Spread, spread
from alexnet.inference.evaluate import Evaluation, evaluated, validate
from alexnet.models.build import Network, build
from alexnet.ops import dispatch
from alexnet.runs import checkpoint
from alexnet.runs import folder as run
from alexnet.runs import log as runlog
from alexnet.runs.checkpoint import State
from alexnet.training import finetune as starting
from alexnet.training import optimizer
from alexnet.training.diagnostics import Watch, holding, not_a_number
from alexnet.training.step import Outcome, Step, fastest, forward

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
    way: str = "data",
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

    Started by torchrun, all its processes train one net, in one of launch.WAYS: replicas of it ("data"), its towers
    apart ("towers"), or convolutions in replicas and the other layers shared out ("hybrid"). `accumulate`: parts that
    a process takes its share of a batch in. `timeout`: seconds after which a peer that says nothing is lost. None of
    them changes the result but for rounding.

    `until`: end after the first epoch whose training error is no higher, ten views included.

    `start`: a run whose newest weights a new run begins with (section 6): its `layers`, or all of the same name and
    shape, but for the last where the classes differ. The recipe says which, in `start`; `sgd.layer_rate` scales the
    rates of single layers, and 0 freezes them.

    Raises UnusableError for what does not fit, FailedError if the loss is no number or a peer is lost, and
    StoppedError, after saving, on SIGINT, SIGTERM or SIGHUP. A second signal raises KeyboardInterrupt without waiting
    for that, and `resume` goes on from the last checkpoint; with `leave` it ends the process, as the command line does.
    """
    where = place(device, precision)
    with joined(where.device, 2 if way == "towers" else 1, timeout) as mesh:
        alone = mesh.everyone.size == 1
        given = Given(store, recipe, name, resume, until, Path(start) if start else None, tuple(layers))
        begun = begin(mesh, given, Path(folder), where, precision, way, accumulate, workers, cache)
        signals = Signals(mesh.hear(), same=0 if alone else LAUNCHER, leave=leave)
        there = run.is_run(Path(folder))
        with begun as training, signals, training.log(quiet) as log:
            signals.say = log.say
            if resume and not training.step:
                why = "has no checkpoint, since it ended before its first" if there else "holds no run yet"
                log.say(f"{folder} {why}: nothing is resumed, and training begins anew")
            try:
                loop(training, log, signals.poll, save_every, keep)
                final = training.evaluate(signals.poll)
            except StoppedError as stop:
                training.read(log)
                training.save(keep)
                words = f"saved at step {training.step} of {training.total} in {folder}; --resume goes on from there"
                raise StoppedError(f"{stop}: {words}", stop.signal) from None
            log.final(training.step, final.plain())
    return final


def loop(training: "Training", log: runlog.RunLog, poll: Callable[..., None], save_every: float, keep: int) -> None:
    """From the step where `training` stands to the end of its recipe."""
    saved, due = time.monotonic(), training.spread.mesh.hear()
    log.say(training.title)
    if training.unvalidated:  # stopped between an epoch's last step and its validation
        log.epoch(training.step, **training.validate(poll))
        training.save(keep)
    waited = 0.0
    with closing(training.batches()) as batches:  # an exception that is kept would keep its readers
        for batch in batches:
            training.advance(batch, batches.waited - waited)
            waited = batches.waited
            training.read(log, but=training.where.ahead)
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
                saved, due = time.monotonic(), training.spread.mesh.hear()
            if training.finished:
                return


@dataclass(frozen=True)
class Given:
    """What a training is asked for; `name` is that of a recipe which is given as a value, `until` as `train` has it."""

    store: str | Path | Store
    recipe: str | Recipe | None
    name: str | None
    resume: bool
    until: float | None = None
    start: Path | None = None
    layers: tuple[str, ...] = ()


class Training:
    """All that moves while a net is trained, and how far it has come."""

    def __init__(
        self, folder: Path, recipe: Recipe, net: Network, spread: Spread, store: Store, where: Place, parts: int,
        workers: int, cache: str, until: float | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.recipe, self.store, self.where, self.workers = folder, recipe, store, where, workers
        self.net, self.spread = net, spread
        self.step, self.errors, self.seconds, self.tally = 0, list[float](), 0.0, runlog.Tally()
        self.begun = time.monotonic()
        where.hold(self.net).train()
        with torch.device("meta"):  # the form alone, in testing
            self.form = build(recipe.net, recipe.seed).eval()
        self.owner, checkpoints = run.identity(folder), checkpoint.found(folder)
        state = checkpoint.read_state(checkpoints[-1], self.owner) if checkpoints else None
        if state:
            weights, velocity = (checkpoint.read_tensors(checkpoints[-1], f, self.form) for f in checkpoint.FILES)
            self.net.load_state_dict(spread.part(weights))
            self.step, self.errors, self.seconds = state.step, list(state.errors), state.seconds
            self.tally = runlog.Tally(*state.tally)
        elif recipe.start:
            taken = starting.tensors(Path(run.environment_of(folder)["start"]), recipe.start)
            self.net.load_state_dict(spread.part(taken), strict=False)
        self.momentum = optimizer.Momentum(self.net, recipe.sgd, where.dtype, spread.total)
        if state:
            self.momentum.load(spread.part(velocity))
        self.viewer = run.viewer_of(folder, recipe).to(where.device)
        self.take = fastest(Step(self.net, self.viewer, self.momentum, where, recipe.seed, spread, parts))
        self.watch, self.unread = Watch(recipe), deque[tuple[Outcome, float]]()
        self.lost: tuple[int, list[str]] | None = None  # step that left these weights of this process no numbers
        self.pictures = Pictures(store["train"], where.device, cache)
        self.held_out = Pictures(store[store.held_out], where.device, cache)
        self.per_epoch = steps(len(self.pictures), recipe.sgd.batch)
        self.total = self.per_epoch * recipe.epochs
        self.until = -math.inf if until is None else until
        epochs = (line for line in runlog.read(folder) if line["kind"] == "epoch" and line["epoch"] <= len(self.errors))
        self.lowest = min((line["train_error"] for line in epochs), default=math.inf)  # training error of an epoch

    @property
    def title(self) -> str:
        """What is about to be done."""
        words = f"recipe {run.recipe_of(self.folder)[0]} {self.recipe.digest}, {len(self.pictures)} pictures of "
        words += f"{len(self.store.classes)} classes, {self.where.device} in {self.where.precision} "
        words += f"({dispatch.name(self.where.device)} kernels), {self.spread.words}, "
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
        return self.step >= self.total or optimizer.finished(self.recipe, self.errors) or self.lowest <= self.until

    def batches(self) -> Batches:
        """The batches that are left."""
        epochs = 0 if self.finished else self.recipe.epochs
        return training_batches(
            self.pictures, self.recipe.sgd.batch, epochs=epochs, seed=self.recipe.seed,
            reshuffle=self.recipe.sgd.shuffle == "each epoch", first_step=self.step,
            device=self.where.device, workers=self.workers, share=self.spread.mesh.replicas.share,
        )  # fmt: skip

    def rates(self) -> optimizer.Rates:
        """The rates of the step that comes."""
        return optimizer.rates(self.recipe, self.progress, self.errors)

    def advance(self, batch: Batch, waited: float) -> None:
        """Make one step, for whose batch it `waited` so many seconds; what it showed is still to be read."""
        outcome = self.take(batch, self.rates(), optimizer.colour_on(self.recipe, self.progress))
        self.unread.append((outcome, waited))
        self.step += 1

    def read(self, log: runlog.RunLog, but: int = 0) -> None:
        """Log what the steps showed, but for the last so many: on a GPU each reading waits for its step."""
        while len(self.unread) > but:
            seen, waited = self.unread.popleft()
            loss, wrong = seen.loss.item(), int(seen.wrong)
            with self.spread.mesh.same():
                if not math.isfinite(loss):  # lost weights say more, and when
                    raise self.failure(*self.lost) if self.lost else self.lost_number(f"the loss is {loss}", seen.step)
                for line in self.watch.see(loss, seen.views, seen.logits):
                    log.say(line)
            if lost := [name for name, finite in zip(self.momentum.parameters, seen.finite.tolist(), strict=True)
                        if not finite]:  # fmt: skip
                self.lost = self.lost or (seen.step + 1, lost)
            self.tally.add(loss, wrong, seen.pictures)
            log.step(
                seen.step + 1, loss=loss, wrong=wrong, pictures=seen.pictures, rate=seen.rate, waited=waited
            )  # fmt: skip

    def check(self) -> None:
        """Raise FailedError if a step has shown weights that are no numbers in any of the processes, which all ask."""
        if found := [lost for lost in self.spread.mesh.tell(self.lost) if lost]:
            names = dict.fromkeys(name for _, names in found for name in names)
            with self.spread.mesh.same():
                raise self.failure(min(step for step, _ in found), list(names))

    def failure(self, step: int, names: Sequence[str]) -> FailedError:
        """What is said where these tensors are no numbers after a step."""
        return self.lost_number(holding(names), step)

    def lost_number(self, what: str, step: int) -> FailedError:
        """What is said of a number that is none, with the last checkpoint that a validation has found good."""
        validated = range(self.per_epoch, len(self.errors) * self.per_epoch + 1, self.per_epoch)
        good = [path.name for path in checkpoint.found(self.folder) if checkpoint.place(path)[0] in validated]
        return FailedError(not_a_number(what, step, self.recipe, good[-1] if good else ""))

    def validate(self, poll: Callable[..., None]) -> dict[str, float]:
        """The errors with one view at the end of an epoch; the schedule sees top1.

        Raises FailedError where the epoch's loss or that of the validation is NaN or infinite: then no checkpoint of
        this step stays, such as one that a signal has made before the validation.
        """
        net = partial(forward, self.form, self.spread.whole(self.momentum.seen), self.where)
        found = validate(
            net, self.viewer, self.held_out, self.recipe.net.classes, self.where, self.workers,
            self.spread.mesh, poll,
        )  # fmt: skip
        loss, error = self.tally.means()
        for what, number in (("training", loss), ("validation", found.nats)):
            if not math.isfinite(number):
                if self.spread.mesh.leads:
                    for path in checkpoint.found(self.folder):
                        if checkpoint.place(path)[0] == self.step:
                            checkpoint.drop(path)
                with self.spread.mesh.same():
                    raise self.lost_number(f"the {what} loss of epoch {len(self.errors) + 1} is {number}", self.step)
        self.errors.append(found.top1)
        self.tally, self.lowest = runlog.Tally(), min(self.lowest, error)
        measured = {"rate": self.rates().weights, "train_loss": loss, "train_error": error}
        return measured | {"top1": found.top1, "top5": found.top5, "nats": found.nats}

    def evaluate(self, poll: Callable[..., None]) -> Evaluation:
        """The last word: ten views."""
        return evaluated(
            self.spread.mesh, self.store, [self.folder], split=self.store.held_out, where=self.where,
            workers=self.workers, progress=poll,
        )  # fmt: skip

    def save(self, keep: int) -> None:
        """A checkpoint of where all this stands; raises FailedError rather than keep what is no number."""
        weights, velocity = (self.spread.whole(t) for t in (self.net.state_dict(), self.momentum.velocity))

        def write() -> None:
            for what, tensors in (("", weights), ("the velocity of ", velocity)):
                if lost := [what + name for name, t in tensors.items() if not t.isfinite().all()]:
                    raise self.failure(self.step, lost)
            seconds = round(self.seconds + time.monotonic() - self.begun, 1)
            state = State(self.step, tuple(self.errors), seconds, astuple(self.tally))
            if self.spread.mesh.leads:
                checkpoint.save(self.folder, weights, velocity, state, self.owner, keep)

        self.spread.mesh.together(write)

    def log(self, quiet: bool) -> runlog.RunLog:
        """The run's log, from here on; that of another process than the first goes nowhere."""
        log = runlog.RunLog(
            self.folder, self.step, self.total, self.per_epoch, len(self.errors), self.seconds, quiet,
            writes=self.spread.mesh.leads,
        )  # fmt: skip
        if self.step:
            now, then = run.environment(self.store, self.where, self.spread.words), run.environment_of(self.folder)
            log.resumed(self.step, now)
            for what in ("device", "kernels", "processes", "threads", "versions", "commit"):
                if now[what] != then.get(what, now[what]):
                    log.say(f"{what}: the run was begun with {then.get(what)}, now {now[what]}; the bits may differ")
        return log


@contextmanager
def begin(
    mesh: Mesh, given: Given, folder: Path, where: Place, precision: str, way: str, parts: int, workers: int, cache: str
) -> Iterator["Training"]:
    """A new run's training, or an interrupted one's where it stopped; its folder is this training's alone.

    Raises UnusableError for what does not fit.
    """
    begun = mesh.settled(f"run folder {folder}", lambda: "there" if run.is_run(folder) else "missing") == "there"
    store, name, recipe, where = mesh.together(lambda: fitting(given, folder, begun, where, precision))
    mesh.alike({f"recipe's {field}": value for field, value, _ in overrides.described(recipe)} | {
        "recipe": name, "store digest": store.digest, "precision": where.precision, "way": way, "--accumulate": parts,
        "code of alexnet": run.code(), "version of torch": torch.__version__,
    })  # fmt: skip
    over = mesh.together(lambda: spread(mesh, way, recipe.net))
    net = build(recipe.net, recipe.seed, over.layout)  # before the folder is made: it may be too large for the memory

    def create() -> None:
        if mesh.leads and not begun:
            check_free(folder)  # once more: another may have begun it meanwhile
            run.create(folder, name, recipe, store, where, over.words, given.start)

    with mesh.together(lambda: run.locked(folder, mesh.leads)):
        mesh.together(create)
        mesh.settled(f"run folder {folder}", lambda: began(folder))
        mesh.settled(f"checkpoints in {folder}", lambda: [path.name for path in checkpoint.found(folder)])
        keep_pages()
        yield mesh.together(lambda: Training(
            folder, recipe, net, over, store, where, parts, workers, cache, given.until
        ))  # fmt: skip


def began(folder: Path) -> Any:
    """When a run was begun, as its folder says."""
    return run.environment_of(folder)["started"] if run.is_run(folder) else "missing"


def fitting(
    given: Given, folder: Path, begun: bool, where: Place, precision: str
) -> tuple[Store, str, Recipe, Place]:  # fmt: skip
    """The store, the recipe with its name, and the place of a training, which fit each other and the run."""
    if not (given.resume and begun):
        check_free(folder)
    store = given.store if isinstance(given.store, Store) else Store(given.store)
    if given.recipe is None and begun:
        name, recipe = run.recipe_of(folder)
    elif isinstance(given.recipe, Recipe):
        name, recipe = given.name or "own", given.recipe
    elif given.recipe is None and given.start:
        name, recipe = run.recipe_of(given.start)
        recipe = recipe.but(start=None)
    else:
        name, recipe = given.recipe or "source", named(given.recipe or "source")
    recipe = recipe.but(net={"classes": len(store.classes)})
    check_fit(name, recipe, store)
    if given.start:
        recipe = recipe.but(start=begun_from(given, folder, recipe) if begun else fresh(given, recipe, store))
    elif given.layers:
        raise UnusableError(f"--layers {' '.join(given.layers)}: layers of which run? Add --from RUN")
    elif recipe.start and not begun:
        raise UnusableError(f"recipe {name} starts from a run of recipe {recipe.start.recipe}; say where with --from")
    if begun:
        check_same(folder, recipe, store)
        where = place(str(where.device), kept_precision(folder, precision))
    return store, name, recipe, where


def check_free(folder: Path) -> None:
    """Raise UnusableError where a new run's folder is taken."""
    if run.in_use(folder):
        advice = "add --resume to go on with it, or " if run.is_run(folder) else ""
        raise UnusableError(f"run folder {folder} exists; {advice}name another folder")


def fresh(given: Given, recipe: Recipe, store: Store) -> Start:
    """What a new run starts from; raises UnusableError unless it is what the recipe says, if it says anything."""
    assert given.start
    found = starting.start(given.start, recipe, store, given.layers or (recipe.start.layers if recipe.start else ()))
    if recipe.start and recipe.start != found:
        raise UnusableError(f"run {given.start} is not what the recipe starts from: {overrides.show(recipe.start)}")
    return found


def begun_from(given: Given, folder: Path, recipe: Recipe) -> Start | None:
    """What a run that goes on was begun from; raises UnusableError if that was another run or other layers."""
    then, before = run.environment_of(folder).get("start"), run.recipe_of(folder)[1].start
    assert given.start
    if then != str(given.start.resolve()):
        raise UnusableError(f"--from {given.start}: run {folder} was begun from {then or 'nothing'}; leave it out")
    if given.layers and before and set(given.layers) != set(before.layers):
        raise UnusableError(f"--layers {' '.join(given.layers)}: run {folder} began with {' '.join(before.layers)}")
    return before


def check_fit(name: str, recipe: Recipe, store: Store) -> None:
    """Raise UnusableError where the store lacks pictures to validate on, or they do not suit the views."""
    if not {"val", "test"} & store.splits.keys():
        raise UnusableError(f"store {store.path} has no val split to watch training on; prepare it with --val-fraction")
    view, side = recipe.net.input, store.side
    if view > side or 2 * view <= side:
        raise UnusableError(
            f"recipe {name} takes views of {view} pixels, and store {store.path} holds pictures of {side}: take "
            "another recipe (source for 256, tiny for 64, cifar-18 for 32), or prepare again with another --side"
        )


def check_same(folder: Path, recipe: Recipe, store: Store) -> None:
    """Raise UnusableError unless the run was begun with this recipe, on this store."""
    _, before = run.recipe_of(folder)
    if before != recipe:
        old, new = ({n: v for n, v, _ in overrides.described(r)} for r in (before, recipe))
        name = overrides.differing(old, new)[0]
        raise UnusableError(
            f"run {folder} was begun with another recipe: {name} was {old.get(name)}, now {new.get(name)}; "
            f"resume it without {options(name)}, or {otherwise(folder, before, recipe, store)}"
        )
    then = run.environment_of(folder)
    if then["store_digest"] != store.digest:
        raise UnusableError(
            f"run {folder} was begun on store {then['store']}, digest {then['store_digest']}; "
            f"{store.path} has {store.digest}: give the store it was begun on"
        )


def options(field: str) -> str:
    """What on the command line may have changed a field of the recipe."""
    if field in ("epochs", "seed"):
        return f"--{field}"
    return f"--set {field}, or the --recipe {'or --freeze ' * (field == 'sgd.layer_rate')}that changes it"


def otherwise(folder: Path, before: Recipe, recipe: Recipe, store: Store) -> str:
    """What serves instead of going on with another recipe.

    A run's rates follow from the part of its epochs that is done, so that one of more epochs has other rates from the
    first step on: what it has learned can be gone on from, in a run of its own.
    """
    if recipe.epochs <= before.epochs or recipe.but(epochs=before.epochs) != before:
        return "name another run folder"
    command = ["alexnet", "train", str(store.path), "NEW", "--from", str(folder)]
    more = shlex.join([*command, "--epochs", str(recipe.epochs - before.epochs)])
    return f"go on from its weights in another folder, at rates for the epochs that are added: {more}"


def kept_precision(folder: Path, precision: str) -> str:
    """The precision that a run was begun in; raises UnusableError if another is asked for."""
    then = str(run.environment_of(folder)["precision"])
    if precision not in ("auto", then):
        raise UnusableError(f"--precision {precision}: run {folder} was begun in {then} and goes on in it")
    return then
