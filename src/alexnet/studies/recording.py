"""Functions that make records: of a finished run, and of finished runs whose probabilities are averaged."""

import base64
import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.core.device import Compute
from alexnet.core.files import digest
from alexnet.data.store import Store
from alexnet.inference.evaluate import Evaluation, evaluate
from alexnet.inference.evaluation import credit
from alexnet.runs.checkpoint import FILES
from alexnet.runs.run import Run
from alexnet.studies.record import CURVE, MOST_CHOICES, Average, Record, pack

Evaluate = Callable[[Path, str, int], Evaluation]  # (run, split, number of views) -> its evaluation


def evaluator(store: Store, compute: Compute, workers: int | None, poll: Callable[..., None]) -> Evaluate:
    """Return what evaluates runs on a store."""

    def one(folder: Path, split: str, views: int) -> Evaluation:
        return evaluate(
            store,
            folder,
            views=views,
            split=split,
            device=str(compute.device),
            precision=compute.precision,
            workers=workers,
            progress=poll,
        )

    return one


def record_of(folder: Path, store: Store, until: float | None, evaluate_run: Evaluate) -> Record:
    """Make the record of a finished run; `until` is the training error at which it had to end, if any."""
    run = Run(folder)
    ten, train = evaluate_run(folder, store.held_out, 10), evaluate_run(folder, "train", 1)
    then = run.environment
    plain = {
        "record": "run",
        "recipe": run.recipe.plain(),
        "digest": run.recipe.digest,
        "seed": run.recipe.seed,
        "store": about_store(store),
        "precision": then["precision"],
        "start": start_digest(Path(then["start"])) if then.get("start") else None,
        "until": until,
        "validated": then["images"][store.held_out],
        "curve": [[six_digits(line[name]) for name in CURVE] for line in run.log if line["kind"] == "epoch"],
        "errors": {
            "one_view": short(ten.one_view.top1, ten.one_view.top5, ten.one_view.nats),
            "ten_views": short(ten.errors.top1, ten.errors.top5, ten.errors.nats),
            "train": short(train.errors.top1, train.errors.top5, train.errors.nats),
        },
        "right": {
            "one": pack(credit(ten.center, ten.labels, 1)),
            "ten": pack(credit(ten.probabilities, ten.labels, 1)),
            "five": pack(credit(ten.probabilities, ten.labels, 5)),
        },
        "processor": then["device"],
        "kernels": then["kernels"],
        "threads": then["threads"],
        "versions": then["versions"],
        "commit": then.get("commit"),
        "seconds": max((line["seconds"] for line in run.log if "seconds" in line), default=0.0),
    }
    return Record(folder, plain)


def six_digits(number: float) -> float:
    """Round a number of a curve: with all digits, the curve would fill half of a record."""
    return float(f"{number:.6g}")


def about_store(store: Store) -> dict[str, Any]:
    """Describe the pictures, for a record."""
    return {
        "digest": store.digest,
        "kind": store.kind,
        "side": store.side,
        "classes": len(store.classes),
        "pictures": len(store["train"]),
        "held_out": len(store[store.held_out]),
        "subset": store.drawn or None,
    }


def short(top1: float, top5: float, nats: float) -> dict[str, float]:
    """Name the errors and the loss."""
    return {"top1": top1, "top5": top5, "nats": nats}


def start_digest(folder: Path) -> str | None:
    """Compute the digest of the weights that a run started from: the newest checkpoint of the run at `folder`."""
    saved = Run(folder).checkpoints
    found = digest(saved[-1] / FILES[0]) if saved else None
    return found and found[:16]


def average_of(members: Mapping[str, Path], size: int, store: Store, precision: str, evaluate_run: Evaluate) -> Average:
    """Make the record of nets averaged `size` at a time, for every choice of nets.

    The record also holds the errors without each net, from which the jackknife estimates the spread.

    Args:
        members: Two to ten run folders by the keys of their records, in the order of their seeds.
        size: Number of nets to average at a time, from 2 to all.
        store: Store to evaluate the nets on.
        precision: Precision of the runs.
        evaluate_run: Function that evaluates a run, from `evaluator`.
    """
    found = [evaluate_run(folder, store.held_out, 10) for folder in members.values()]
    labels = found[0].labels
    probabilities = [one.probabilities for one in found]
    rights = {
        choice: average_right([probabilities[i] for i in choice], labels)
        for choice in itertools.combinations(range(len(found)), size)
    }
    assert len(rights) <= MOST_CHOICES
    counts = {m: np.sum([right[m] >= 0.5 for right in rights.values()], axis=0) for m in ("top1", "top5")}
    without = [absent(i, rights, probabilities, labels) for i in range(len(found))]
    plain = {
        "record": "average",
        "members": list(members),
        "size": size,
        "choices": len(rights),
        "store": about_store(store),
        "precision": precision,
        "errors": {m: 1 - float(counts[m].mean()) / len(rights) for m in counts},
        "without": {m: [one[m] for one in without] for m in counts},
        "right": {m: base64.b64encode(zlib.compress(counts[m].astype(np.uint8).tobytes(), 9)).decode() for m in counts},
    }
    return Average(next(iter(members.values())), plain)


def average_right(probabilities: Sequence[np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Compute for each picture whether the nets' average is right, and whether the class is in its top five."""
    mean: np.ndarray = np.mean(np.stack(probabilities), axis=0)
    return {"top1": credit(mean, labels, 1), "top5": credit(mean, labels, 5)}


def absent(
    i: int,
    rights: Mapping[tuple[int, ...], Mapping[str, np.ndarray]],
    probabilities: Sequence[np.ndarray],
    labels: np.ndarray,
) -> dict[str, float]:
    """Compute the errors of the choices without net `i`, or of all other nets averaged if every choice has it."""
    others = [right for choice, right in rights.items() if i not in choice]
    others = others or [average_right([p for j, p in enumerate(probabilities) if j != i], labels)]
    return {m: 1 - float(np.mean([(o[m] >= 0.5).mean() for o in others])) for m in ("top1", "top5")}
