"""Studies: train the arms of claims over several seeds, write a record of each run, and judge by the records.

OUT/study.json names the store that the folder is for. The run folders OUT/runs/DIGEST-PRECISION are shared by all
claims. OUT/NAME.json is the result of a claim. Records go to OUT/records, or to the folder given with --records.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet.config.recipe import Recipe
from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.core.files import write_json
from alexnet.core.launch import launch
from alexnet.core.signals import Signals
from alexnet.data.store import Store
from alexnet.runs.folder import is_run, read_json
from alexnet.runs.run import Run
from alexnet.studies.averages import wanted
from alexnet.studies.judge import judge_together
from alexnet.studies.measures import complete
from alexnet.studies.plan import Request, StudyPlan, plan_all
from alexnet.studies.record import Record, Records, place_of, read_records, write_record
from alexnet.studies.recording import average_of, evaluator, record_of
from alexnet.studies.result import finding_of_plan, result
from alexnet.training.options import TrainOptions
from alexnet.training.setup import check_same
from alexnet.training.train import train

OURS = re.compile(r"runs|records|study\.json(\.\d+\.tmp)?")  # files that another process may have made by now
PRECISION = "bf16"  # "auto" would differ between machines, whose records must add up


def study(
    names: str | Sequence[str],
    store: str | Path,
    out: str | Path,
    recipe: str | Recipe | None = None,
    *,
    seeds: int | None = None,
    first_seed: int = 0,
    epochs: int | None = None,
    pictures: int | None = None,
    held_out: int | None = None,
    records: str | Path | None = None,
    device: str = "auto",
    precision: str = PRECISION,
    workers: int | None = None,
    pretrain_on: str | Path | None = None,
    only: str | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = lambda words: None,
    leave: bool = False,
) -> list[dict[str, Any]]:
    """Test claims of the paper by training and comparing nets on a store.

    Writes the result of each claim to OUT/NAME.json, and a record of every run. Runs that have a record are not trained
    again, and interrupted runs resume. If a run fails, for example because its loss becomes NaN, the verdict of its
    claim is "not shown" and the study continues.

    Args:
        names: Names of claims, such as "lrn", or "all" for those that this store can decide.
        store: Folder of the store.
        out: Folder for the runs and results: a new one, or one with earlier studies of this store.
        recipe: Base recipe, or its name, for the claims without their own; by default it follows from the store.
        seeds: Number of seeds of each arm, 1 or more, and 3 or more for a verdict; the claim's design if None.
        first_seed: First of these seeds, 0 to 999. A repetition takes seeds that no earlier run had.
        epochs: Number of epochs of each run; the recipe's if None.
        pictures: Number of pictures to train on, the same for each class; the claim's design if None.
        held_out: Number of pictures to judge on, the same for each class; all if None.
        records: Folder for records. Its runs count as trained. OUT/records if None.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: Precision of all runs; "auto" means "bf16", since records of one precision add up everywhere.
        workers: Number of threads that read pictures ahead; None means 2, or on CUDA all cores.
        pretrain_on: Store of more classes, for arms that train on it first.
        only: Digest of the one recipe to train; then nothing is judged.
        quiet: Print no progress.
        say: Function to call with each line about progress.
        leave: Let a second signal end the process, as in `train`.

    Returns:
        The contents of each OUT/NAME.json, in the order of `names`; an empty list with `only`.

    Raises:
        InputError: A claim cannot be decided on the store. Nothing is trained then.
        WorkFailed: The run of `only` failed.
        Stopped: SIGINT or SIGTERM arrived, and everything is saved. A second signal acts as in `train`.
    """

    if launch().world > 1:
        raise InputError(f"study runs in one process, but {launch().world} were started; leave out the launcher")
    opened, compute = Store(store), choose_compute(device, PRECISION if precision == "auto" else precision)
    more = Store(pretrain_on) if pretrain_on else None
    asked = Request(recipe, seeds, epochs, pictures, held_out, more, first_seed)
    names = [names] if isinstance(names, str) else list(names)
    kept = Path(records) if records else Path(out) / "records"
    plans, left = plan_all(names, opened, asked, read_kept(kept, say), compute.precision)
    for words in left:
        say(f"left out: {words}")
    folder = home(Path(out), opened)
    works, failed, found = list[StudyWork](), dict[str, str](), list[dict[str, Any]]()
    with Signals(leave=leave, doing="stopping after this batch") as signals:
        signals.say = say
        try:
            for plan in plans:
                work = StudyWork(plan, opened, folder, kept, compute, workers, quiet, leave, signals.poll, say)
                if only:
                    failed |= work.train(only)
                    continue
                failed |= work.train()
                if plan.claim.tune:  # only now is it known which arm is judged
                    (again,), _ = plan_all([plan.claim.name], opened, asked, work.known, compute.precision)
                    work = StudyWork(again, opened, folder, kept, compute, workers, quiet, leave, signals.poll, say)
                    failed |= work.train()
                work.average(failed)
                works.append(work)
                found = write_results(works, failed)
                say(f"{plan.claim.name}: {found[-1]['verdict']}")
        except Stopped as stop:
            words = str(stop).removesuffix("; --resume goes on from there")
            raise Stopped(f"{words}; the same command resumes the study", stop.signal) from None
    if only and not any(only in plan.recipes for plan in plans):
        raise InputError(
            f"--run {only}: no run of {' '.join(names)} has that recipe here; list the runs with --missing"
        )
    if only and failed:
        raise WorkFailed(f"run {only}: {next(iter(failed.values()))}")
    return found


def read_kept(folder: Path, say: Callable[[str], None] = lambda words: None) -> Records:
    """Read the records that exist, and report those that are left out; raise InputError if `folder` is a file."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--records {folder} is not a folder; name one, or one to make")
    records = read_records(folder) if folder.is_dir() else Records((), (), ())
    for one in records.left:
        say(f"left out: {one.path}: {one.why}")
    return records


def write_results(works: Sequence["StudyWork"], failed: dict[str, str]) -> list[dict[str, Any]]:
    """Judge the claims together, and write OUT/NAME.json for each."""
    judged = judge_together([finding_of_plan(work.plan, work.known, work.compute.precision) for work in works])
    results = []
    for work, (finding, judgements) in zip(works, judged, strict=True):
        made = result(work.plan, finding, judgements, failed, work.out, work.folder, work.compute.precision)
        write_json(work.out / f"{work.plan.claim.name}.json", made)
        results.append(made)
    return results


def home(out: Path, store: Store) -> Path:
    """Prepare the folder for studies of this store; raise InputError if it belongs to another or holds other things."""
    record = out / "study.json"
    if record.is_file():
        then = read_json(record)
        if not isinstance(then, dict) or "store_digest" not in then:
            raise InputError(f"{record} is not what alexnet study wrote; name another folder")
        if then["store_digest"] != store.digest:
            raise InputError(
                f"folder {out} holds studies of store {then.get('store')}, but {store.path} has other pictures; name "
                "another folder"
            )
    elif out.exists() and (not out.is_dir() or any(not OURS.fullmatch(p.name) for p in out.iterdir())):
        raise InputError(f"folder {out} exists but holds no studies; name another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(record, {"store": str(store.path.resolve()), "store_digest": store.digest})
    return out


@dataclass(frozen=True)
class StudyWork:
    """The work on a plan in the folder `out`, with records in `kept`; `store` is the whole store."""

    plan: StudyPlan
    store: Store
    out: Path
    kept: Path
    compute: Compute
    workers: int | None
    quiet: bool
    leave: bool
    poll: Callable[..., None]
    say: Callable[[str], None]

    @property
    def known(self) -> Records:
        """The records that exist by now."""
        return read_kept(self.kept)

    def folder(self, recipe: Recipe, of: Store | None = None) -> Path:
        """Find the folder of a recipe's run, or name it."""
        return self.place(recipe, of)[0]

    def place(self, recipe: Recipe, of: Store | None = None) -> tuple[Path, Store]:
        """Find the folder of a recipe's run, and the pictures that it is on: those with few to validate on, or all.

        The name of a folder ends in the digest of its pictures, if these are a subset of the store.
        """
        stores = [of] if of else [self.plan.watched, self.plan.store]
        places = list[tuple[Path, Store]]()
        for one in stores:
            other = "" if one.digest == self.store.digest else f"-{one.digest[:8]}"
            names = (f"{digest}-{self.compute.precision}{other}" for digest in (recipe.digest, recipe.digest_before))
            places += [(self.out / "runs" / name, one) for name in names]
        return next((place for place in places if is_run(place[0])), places[0])

    def before(self, recipe: Recipe) -> tuple[Store, Recipe, Path] | None:
        """Find the run that a recipe starts from: its store, recipe and folder; None for random weights."""
        if not recipe.start:
            return None
        first, more = self.plan.first[recipe.digest], self.plan.more
        assert more
        return more, first, self.folder(first, more)

    def train(self, only: str | None = None) -> dict[str, str]:
        """Train and record the runs without a record; return why runs failed, by the digests of their recipes."""
        failed, recipes = dict[str, str](), self.plan.recipes
        there = self.plan.recorded(self.known, self.compute.precision)
        for i, (digest, recipe) in enumerate(recipes.items(), 1):
            if (only and digest != only) or place_of(recipe) in there:
                continue
            self.poll()
            name = f"{self.plan.claim.name}, {self.plan.arm_of[digest]}"
            try:
                self.trained(recipe, name, f"run {i} of {len(recipes)}")
                self.record(recipe)
            except WorkFailed as error:
                self.say(f"{name}, seed {recipe.seed}: {error}")
                failed[digest] = str(error)
        return failed

    def trained(self, recipe: Recipe, name: str, which: str) -> Path:
        """Train a run to its end, unless it is complete, and return its folder."""
        (folder, pictures), until = self.place(recipe), self.plan.claim.until
        if is_run(folder):
            check_same(Run(folder), recipe, pictures)
        if complete(folder, recipe, until):
            return folder
        self.say(f"{name}, seed {recipe.seed}: {which}, {folder}")
        start = None
        if before := self.before(recipe):
            more, first, start = before
            if not complete(start, first, None):
                self.say(f"{name}, seed {recipe.seed}: first on {more.path}, {start}")
                self.one(more, start, first, f"{name}, first", None)
        self.one(pictures, folder, recipe, name, until, start)
        return folder

    def one(
        self, store: Store, folder: Path, recipe: Recipe, name: str, until: float | None, start: Path | None = None
    ) -> None:
        """Train one run, or resume it."""
        how = {"device": str(self.compute.device), "precision": self.compute.precision, "workers": self.workers}
        options = TrainOptions(is_run(folder), start, until=until).replace(how)
        train(store, folder, recipe, options, name=name, quiet=self.quiet, leave=self.leave)

    def record(self, recipe: Recipe) -> Record:
        """Write the record of a complete run."""
        evaluate_run = evaluator(self.plan.store, self.compute, self.workers, self.poll)
        record = record_of(self.folder(recipe), self.plan.store, self.plan.claim.until, evaluate_run)
        write_record(self.kept, record)
        return record

    def average(self, failed: Collection[str]) -> None:
        """Write the records of the averages that the claim asks for.

        An average needs the nets' weights, so a net that only has a record, from elsewhere, is trained again here.
        """
        for want in wanted(self.plan, self.known, self.compute.precision, failed):
            name = f"{self.plan.claim.name}, {want.arm}"
            folders = {key: self.trained(r, name, "its weights are needed") for key, r in want.members.items()}
            evaluate_run = evaluator(self.plan.store, self.compute, self.workers, self.poll)
            average = average_of(folders, want.size, self.plan.store, self.compute.precision, evaluate_run)
            write_record(self.kept, average)
