"""Studies: train the arms of a claim over several seeds, pair them by seed, and say whether the claim holds.

OUT/study.json says which store the folder is for, OUT/runs/DIGEST-PRECISION are the runs, which all claims share, and
OUT/NAME.json is what was found of each claim. Beside them, OUT/evaluations keeps what was measured after training.
"""

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alexnet.config import overrides
from alexnet.config.recipe import Recipe
from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError, Stopped, WorkFailed
from alexnet.core.files import write_json
from alexnet.core.launch import launch
from alexnet.core.signals import Signals
from alexnet.data.store import Store
from alexnet.inference.evaluate import evaluate
from alexnet.runs import log as runlog
from alexnet.runs.checkpoint import list_checkpoints
from alexnet.runs.environment import commit
from alexnet.runs.folder import is_run, read_json
from alexnet.runs.run import Run
from alexnet.studies.claim import MEASURES, Expect
from alexnet.studies.measures import complete, logged
from alexnet.studies.plan import StudyPlan, plan_all
from alexnet.studies.statistics import judge, overall
from alexnet.training.options import TrainOptions
from alexnet.training.setup import check_same
from alexnet.training.train import train


def study(
    names: str | Sequence[str],
    store: str | Path,
    out: str | Path,
    recipe: str | Recipe | None = None,
    *,
    seeds: int = 3,
    epochs: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 2,
    pretrain_on: str | Path | None = None,
    quiet: bool = False,
    say: Callable[[str], None] = lambda words: None,
    leave: bool = False,
) -> list[dict[str, Any]]:
    """Decide claims on a store, each into OUT/NAME.json; returns what these files hold.

    `names`: of claims, or "all" for those that can be decided here. `recipe`: what their arms differ from, where the
    claim has none of its own; the store decides if None. `epochs`: of each run, instead of the recipe's. `pretrain_on`:
    a store of more classes, for arms that are trained on it first.

    What OUT holds already is not trained again, and what was interrupted goes on. Raises InputError before anything
    is trained for a claim that the store cannot decide, and Stopped, after saving, on SIGINT or SIGTERM; what a
    second signal does, and `leave`, are as in train. A run that fails, such as one whose loss is no number, leaves its
    claim not shown; the others go on.
    """
    if launch().world > 1:
        raise InputError(f"study runs in one process, and {launch().world} were started; leave out the launcher")
    opened, compute = Store(store), choose_compute(device, precision)
    more = Store(pretrain_on) if pretrain_on else None
    plans, left = plan_all([names] if isinstance(names, str) else names, opened, recipe, seeds, epochs, more)
    for words in left:
        say(f"left out: {words}")
    folder = home(Path(out), opened)
    found = []
    with Signals(leave=leave, doing="stopping after this batch") as signals:
        signals.say = say
        try:
            for plan in plans:
                work = StudyWork(plan, opened, folder, compute, workers, quiet, leave, signals.poll, say)
                result = work.result(work.train())
                write_json(folder / f"{plan.claim.name}.json", result)
                say(f"{plan.claim.name}: {result['verdict']}")
                found.append(result)
        except Stopped as stop:
            words = str(stop).removesuffix("; --resume goes on from there")
            raise Stopped(f"{words}; the same command goes on with the study", stop.signal) from None
    return found


def home(out: Path, store: Store) -> Path:
    """The folder for studies of this store; raises InputError where it is another's, or holds other things."""
    record = out / "study.json"
    if record.is_file():
        then = read_json(record)
        if then.get("store_digest") != store.digest:
            raise InputError(
                f"folder {out} holds studies of store {then.get('store')}, and {store.path} has other pictures; name "
                "another folder"
            )
    elif out.exists() and (not out.is_dir() or any(p.name != "runs" for p in out.iterdir())):
        raise InputError(f"folder {out} exists and holds no studies; name another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(record, {"store": str(store.path.resolve()), "store_digest": store.digest})
    return out


@dataclass(frozen=True)
class StudyWork:
    """A plan being carried out in the folder `out`."""

    plan: StudyPlan
    store: Store
    out: Path
    compute: Compute
    workers: int
    quiet: bool
    leave: bool
    poll: Callable[..., None]
    say: Callable[[str], None]

    def folder(self, recipe: Recipe) -> Path:
        """Where the run of a recipe lies."""
        names = (f"{digest}-{self.compute.precision}" for digest in (recipe.digest, recipe.digest_before))
        today, before = (self.out / "runs" / name for name in names)
        return before if is_run(before) and not is_run(today) else today

    @property
    def folders(self) -> list[Path]:
        """Every run of the plan, those trained first included."""
        recipes = self.plan.recipes.values()
        return [self.folder(r) for r in recipes] + [at[2] for r in recipes if (at := self.before(r))]

    def before(self, recipe: Recipe) -> tuple[Store, Recipe, Path] | None:
        """What a recipe starts from: on which store it is trained, as what, and where."""
        if not recipe.start:
            return None
        first, more = self.plan.first[recipe.digest], self.plan.more
        assert more
        folder = self.folder(first)
        return more, first, folder.with_name(f"{folder.name}-{more.digest[:8]}")

    def train(self) -> dict[str, str]:
        """Train what is missing; returns why runs failed, by the digests of their recipes."""
        failed, number = dict[str, str](), len(self.plan.recipes)
        arm_of = {r.digest: arm for arm, recipes in self.plan.arms.items() for r in recipes}
        for i, (digest, recipe) in enumerate(self.plan.recipes.items(), 1):
            self.poll()
            folder, arm = self.folder(recipe), f"{self.plan.claim.name}, {arm_of[digest]}"
            if is_run(folder):
                check_same(Run(folder), recipe, self.store)
            if complete(folder, recipe, self.plan.claim.until):
                continue
            self.say(f"{arm}, seed {recipe.seed}: run {i} of {number}, {folder}")
            try:
                start = None
                if before := self.before(recipe):
                    more, first, start = before
                    if not complete(start, first, None):
                        self.say(f"{arm}, seed {recipe.seed}: first on {more.path}, {start}")
                        self.one(more, start, first, f"{arm}, first")
                self.one(self.store, folder, recipe, arm, start)
            except WorkFailed as error:
                self.say(f"{arm}, seed {recipe.seed}: {error}")
                failed[digest] = str(error)
        return failed

    def one(self, store: Store, folder: Path, recipe: Recipe, name: str, start: Path | None = None) -> None:
        """Train one run, or on with it."""
        how = {"device": str(self.compute.device), "precision": self.compute.precision, "workers": self.workers}
        options = TrainOptions(is_run(folder), start, until=self.plan.claim.until).replace(how)
        train(
            store,
            folder,
            recipe,
            options,
            name=name,
            quiet=self.quiet,
            leave=self.leave,
        )

    def result(self, failed: Mapping[str, str]) -> dict[str, Any]:
        """What OUT/NAME.json holds."""
        claim, recipes = self.plan.claim, self.plan.recipes
        asked = {m for e in claim.expects for m in (e.measure, e.smaller_measure or e.measure)}
        asked |= {"top1", "top5", "one_top1", "one_top5"}
        arms = {}
        for name, of_seeds in self.plan.arms.items():
            runs = {r.digest: {} if r.digest in failed else self.measured(r, asked) for r in of_seeds}
            seen = {m: [runs[r.digest].get(m) for r in of_seeds] for m in MEASURES if m in asked}
            if any(m.startswith("ensemble") for m in asked):
                seen |= self.together(of_seeds, failed)
            arms[name] = {
                "differs": differs(self.plan, name),
                "digests": [r.digest for r in of_seeds],
                "runs": [self.folder(r).relative_to(self.out).as_posix() for r in of_seeds],
                "measures": seen,
            }
        expects = [expected(e, arms) for e in claim.expects]
        first = next(iter(recipes.values()))
        seeds = len(next(iter(self.plan.arms.values())))
        return {
            "claim": claim.name,
            "section": claim.section,
            "words": claim.words,
            "paper": claim.paper,
            "log": claim.log,
            "verdict": overall([e["verdict"] for e in expects if e["judged"]]),
            "scale": f"{len(self.store['train']):,} pictures of {len(self.store.classes):,} classes, "
            f"{self.store.side} pixels a side, recipe {self.plan.base}, {first.epochs} epoch{'s' * (first.epochs > 1)}"
            + (f" at most, to a training error of {claim.until:.0%}" if claim.until else "")
            + self.earlier,
            "seeds": seeds,
            "expects": expects,
            "rows": self.rows(arms, failed),
            "arms": arms,
            "measures": {m: MEASURES[m] for m in MEASURES if m in asked},
            "notes": [*claim.notes, "An interval is of seeds: other nets on these pictures."],
            "failed": [{"digest": d, "seed": recipes[d].seed, "why": words} for d, words in failed.items()],
            "seconds": round(sum(runlog.total_seconds(runlog.read(f)) for f in self.folders), 1),
            "recipe": {"name": self.plan.base, "epochs": first.epochs},
            "store": {"path": str(self.store.path.resolve()), "kind": self.store.kind, "digest": self.store.digest},
            "precision": self.compute.precision,
            "commit": commit(),
        }

    def rows(self, arms: Mapping[str, Any], failed: Mapping[str, str]) -> list[dict[str, Any]]:
        """The rows of a claim's table whose nets there are: of one net the mean of all that its arm has."""
        rows = []
        for row in self.plan.claim.rows:
            nets = [r for arm, n in row.nets.items() for r in self.plan.arms.get(arm, ())[:n]]
            if len(nets) < sum(row.nets.values()) or any(r.digest in failed for r in nets):
                continue
            each = {m: [v for arm in row.nets for v in arms[arm]["measures"][m]] for m in ("top1", "top5")}
            if any(v is None for values in each.values() for v in values):
                continue
            found = {m: statistics.fmean(values) for m, values in each.items()}
            if len(nets) > 1:
                found = self.evaluated([self.folder(r) for r in nets], self.store.held_out, 10)
            made = {"model": row.model, "nets": dict(row.nets), "top1": found["top1"], "top5": found["top5"]}
            rows.append(made | {f"each_{m}": values for m, values in each.items()})
        return rows

    @property
    def earlier(self) -> str:
        """What some arms were trained on first, in words."""
        if not (self.plan.first and self.plan.more):
            return ""
        pictures, classes = len(self.plan.more["train"]), len(self.plan.more.classes)
        return f"; {', '.join(self.plan.claim.first)} first as long on {pictures:,} of {classes:,} classes"

    def measured(self, recipe: Recipe, asked: set[str]) -> dict[str, float | None]:
        """What a run shows, by its log, and by another look at the training pictures where that is asked for."""
        folder = self.folder(recipe)
        seen = logged(runlog.read(folder), recipe)
        if asked & {"train", "gap"}:
            error = self.evaluated([folder], "train", 1)["top1"]
            one = seen["one_top1"]
            seen |= {"train": error, "gap": None if one is None else one - error}
        return seen

    def together(self, of_seeds: Sequence[Recipe], failed: Mapping[str, str]) -> dict[str, list[float | None]]:
        """The errors of all seeds' nets averaged, which stand beside each of them."""
        if any(r.digest in failed for r in of_seeds):
            return {m: [None] * len(of_seeds) for m in ("ensemble_top1", "ensemble_top5")}
        found = self.evaluated([self.folder(r) for r in of_seeds], self.store.held_out, 10)
        return {f"ensemble_{m}": [found[m]] * len(of_seeds) for m in ("top1", "top5")}

    def evaluated(self, folders: Sequence[Path], split: str, views: int) -> dict[str, Any]:
        """An evaluation, kept for the next study that asks for it."""
        key = [f"{f.name} {list_checkpoints(f)[-1].name}" for f in folders]
        key_digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:12]
        kept = self.out / "evaluations" / f"{split}-{views}-{key_digest}.json"
        if not kept.is_file():
            found = evaluate(
                self.store,
                folders,
                views=views,
                split=split,
                device=str(self.compute.device),
                precision=self.compute.precision,
                workers=self.workers,
                progress=self.poll,
            )
            kept.parent.mkdir(exist_ok=True)
            write_json(kept, found.errors.plain() | {"runs": key})
        return dict(read_json(kept))


def expected(e: Expect, arms: Mapping[str, Any]) -> dict[str, Any]:
    """An expectation with what was found of it."""
    larger = arms[e.larger]["measures"][e.measure]
    smaller = arms[e.smaller]["measures"][e.smaller_measure or e.measure]
    before = {"more": e.larger, "less": e.smaller, "than": e.smaller_measure}  # the keys that JSON had before 0.2.0
    return before | asdict(e) | judge(larger, smaller, e.paper, e.ratio).plain()


def differs(plan: StudyPlan, arm: str) -> dict[str, list[str]]:
    """The recipe's fields in which an arm differs from the first one: the value there, and here."""
    first, own = (
        {n: v for n, v, _ in overrides.describe_fields(plan.arms[a][0])} for a in (next(iter(plan.arms)), arm)
    )
    return {n: [first.get(n, "none"), own.get(n, "none")] for n in overrides.differing_names(first, own)}
