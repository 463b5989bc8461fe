"""Evaluate a run, or an ensemble of runs, with one view and with ten views (section 4.1)."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import write
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import batches_in_order, steps
from alexnet.data.store import Split, Store
from alexnet.data.transforms import Transform
from alexnet.distributed.mesh import Mesh, open_mesh
from alexnet.inference.classes import check_side, find_classes
from alexnet.inference.evaluation import Among, errors, kept, training_counts
from alexnet.inference.evaluation import Errors as Errors
from alexnet.inference.evaluation import Evaluation as Evaluation
from alexnet.inference.measures import csv_rows, measures
from alexnet.models.network import Network
from alexnet.runs.progress import progress as describe
from alexnet.runs.run import Run, load

Forward = Callable[[Tensor], Tensor]  # views to logits
BATCH = 64  # pictures in a batch; ten views make ten inputs of each


def evaluate(
    store: str | Path | Store,
    runs: str | Path | Sequence[str | Path],
    *,
    views: int = 10,
    split: str = "val",
    weights: Sequence[float] | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    save: str | Path | None = None,
    confusion: str | Path | None = None,
    checkpoint: str | int | None = None,
    among: Among = "run",
    keep: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Evaluation:
    """Measure the top-1 and top-5 errors of a run on a split, or of several runs as an ensemble (sections 4.1 and 6).

    An ensemble averages the probabilities of its runs. Every picture of the split counts once. Under torchrun, each
    process takes a share of the pictures, and all return the whole result.

    The store may have a part of the run's classes, in any order: classes are found by name.

    Args:
        store: A store, or its folder.
        runs: A run folder, or several.
        views: 10 averages the probabilities of four corners, the centre and their mirror images; 1 takes the centre.
        split: "train", "val" or "test".
        weights: Weight of each run in the average, 0 or more; by default all are equal.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32", "tf32", "bf16" or "fp64".
        workers: Number of threads that read the store ahead, 1 or more; None means 2, or on CUDA all cores.
        save: A .npz file to write, with arrays `probabilities`, `labels` and `names`.
        confusion: A .csv file to write: a row for each true class, a column for each predicted class, and the number
            of pictures of each pair. Tied classes share a picture.
        checkpoint: "last", "best", or a number of steps; None means "last".
        among: "run" lets the net choose from all of the run's classes, "store" from those that the store has.
        keep: Whether to keep the result in the run, for the report. An average of several runs is not kept. A run that
            cannot be written to does no harm: `not_kept` says why.
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        The `Evaluation`. Its `errors` has `top1` and `top5`, 0 to 1, and the mean loss `nats`; `one_view` has the same
        for the central view. `measures` has those of each class, the balanced error and the calibration.
        `probabilities` is float32 (images, classes), and `labels` is (images,).

    Raises:
        InputError: The store or a run cannot be used, a run lacks a class of the store, or a checkpoint does not exist.
        WorkFailed: A run gives NaN or infinite probabilities.
    """
    folders = [Path(r) for r in ([runs] if isinstance(runs, (str, Path)) else runs)]
    compute = choose_compute(device, precision)
    with open_mesh(compute.device) as mesh:
        return evaluate_on_mesh(
            mesh,
            store,
            folders,
            views=views,
            split=split,
            weights=weights,
            compute=compute,
            workers=workers,
            save=save,
            confusion=confusion,
            checkpoint=checkpoint,
            among=among,
            keep=keep,
            progress=progress,
        )


def evaluate_on_mesh(
    mesh: Mesh,
    store: str | Path | Store,
    folders: Sequence[Path],
    *,
    compute: Compute,
    workers: int | None,
    progress: Callable[[int, int], None],
    split: str,
    views: int = 10,
    weights: Sequence[float] | None = None,
    save: str | Path | None = None,
    confusion: str | Path | None = None,
    checkpoint: str | int | None = None,
    among: Among = "run",
    keep: bool = False,
) -> Evaluation:
    """Evaluate as `evaluate` does, on an open mesh. Each process takes a share of the batches and gets all results."""

    # A run may still be training, and a network disk may lag: agree on the checkpoints first.
    what = (
        f"{'newest checkpoint' if checkpoint is None else f'checkpoint {checkpoint}'} of {', '.join(map(str, folders))}"
    )
    named = mesh.wait_until_equal(what, lambda: [Run(f).chosen(checkpoint) for f in folders])

    def ready() -> tuple[Store, list[float], list[Network], Split, list[Run], np.ndarray]:
        check_views(views)
        if among not in get_args(Among):
            raise InputError(f"--among {among}; it must be run or store")
        if not folders:
            raise InputError("no run to evaluate; give one or more run folders")
        _check_file("--save", save, ".npz")
        _check_file("--confusion", confusion, ".csv")
        opened = store if isinstance(store, Store) else Store(store)
        shares = shares_of(weights, len(folders))
        opened_runs = [Run(f) for f in folders]
        nets = [compute.serve(load(f, name)) for f, (name, _) in zip(folders, named, strict=True)]
        outputs = find_classes(opened, f"run {folders[0]}", opened_runs[0].class_records)
        for folder, net in zip(folders, nets, strict=True):
            check_side(opened, f"run {folder}", net)
            if list(net.classes) != list(nets[0].classes):
                raise InputError(f"runs {folders[0]} and {folder} have other classes; average runs of the same classes")
        if not len(opened[split]):
            raise InputError(f"split {split} of {opened.path} has no pictures to measure on")
        return opened, shares, nets, opened[split], opened_runs, outputs

    store, shares, nets, pictures, opened_runs, outputs = mesh.run_on_all(ready)
    mesh.check_equal({"store digest": store.digest, "pictures": len(pictures), "views": views, "runs": shares})
    truth, classes = outputs[pictures.labels], list(nets[0].classes)
    allowed = None if among == "run" else np.sort(outputs)
    one = np.zeros((len(pictures), len(classes)), np.float32)
    many = np.zeros_like(one)
    taken = [net.transform for net in nets]
    for first, images in in_order(pictures, compute, workers, BATCH if views == 1 else BATCH // 4, mesh, progress):
        rows = slice(first, first + len(images))
        for net, transform, share in zip(nets, taken, shares, strict=True):
            centre, mean = probabilities(net, transform, images, compute, views, allowed)
            one[rows] += share * centre.cpu().numpy()
            many[rows] += share * mean.cpu().numpy()
    one, many = sum_rows(one, mesh), sum_rows(many, mesh)
    if lost := int((~np.isfinite(many)).any(1).sum()):
        with mesh.raise_once():
            raise WorkFailed(
                f"{' or '.join(map(str, folders))} gives NaN or infinity for {lost} of {len(pictures)} pictures: its "
                "training diverged before this checkpoint; train again with a smaller --set sgd.lr"
            )
    count = views if views == 1 else max(len(v.places()) for v in taken)
    result = Evaluation(
        errors(many, truth, count),
        errors(one, truth, 1),
        many,
        truth,
        tuple(str(f) for f in folders),
        one,
        measures(many, truth, classes, training_counts(opened_runs, store, outputs), allowed),
        split,
        store.digest,
        tuple(describe(run, name) for run, (name, _) in zip(opened_runs, named, strict=True)),
        among,
        compute.precision,
    )
    if save and mesh.is_main:
        file = io.BytesIO()
        np.savez(file, probabilities=many, labels=truth, names=np.array(list(pictures.names)))
        write(Path(save), [file.getvalue()])
    if confusion and mesh.is_main:
        write(Path(confusion), csv_rows(result.measures))
    if keep and len(opened_runs) == 1 and mesh.is_main:
        result = kept(opened_runs[0], result, store)
    return result


def _check_file(option: str, path: str | Path | None, suffix: str) -> None:
    """Raise InputError unless the file of an option can be written."""
    if path and (Path(path).suffix != suffix or not Path(path).parent.is_dir() or Path(path).is_dir()):
        raise InputError(f"{option} {path}; give a file name that ends in {suffix}, in a folder that exists")


def check_views(views: int) -> None:
    """Raise InputError unless the number of views is 1 or 10."""
    if views not in (1, 10):
        raise InputError(f"--views {views}; it must be 1 or 10")


def validate(
    forward: Forward,
    transform: Transform,
    pictures: CachedPictures,
    classes: int,
    compute: Compute,
    workers: int | None,
    mesh: Mesh,
    progress: Callable[[int, int], None],
) -> Errors:
    """Measure the errors of a net in training, with the central view."""
    rows = np.zeros((len(pictures), classes), np.float32)
    for first, images in in_order(pictures, compute, workers, BATCH, mesh, progress):
        rows[first : first + len(images)] = probabilities(forward, transform, images, compute, 1)[0].cpu().numpy()
    return errors(sum_rows(rows, mesh), pictures.split.labels, 1)


def in_order(
    pictures: Split | CachedPictures,
    compute: Compute,
    workers: int | None,
    batch: int,
    mesh: Mesh,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, Tensor]]:
    """Yield this process's share of a split's batches: (index of the first picture, uint8 pictures).

    The batches are those of a single process, so the number of processes does not change a bit of the result. Every
    process calls `progress` equally often.
    """
    share = mesh.everyone.share
    with closing(batches_in_order(pictures, batch, device=compute.device, workers=workers, share=share)) as batches:
        for turn in range(steps(steps(len(pictures), batch), share[1])):
            if found := next(batches, None):
                yield found.first, found.images
            progress(min((turn + 1) * batch * share[1], len(pictures)), len(pictures))


def sum_rows(rows: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Sum an array over the processes, each of which filled some rows and left the others 0."""
    if work := mesh.everyone.all_reduce(torch.from_numpy(rows), "rows"):
        work.wait()
    return rows


@torch.inference_mode()
def probabilities(
    forward: Forward,
    transform: Transform,
    images: Tensor,
    compute: Compute,
    views: int,
    allowed: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute class probabilities of the central view and averaged over all views: (N, classes) float32 each.

    The mean is taken after the softmax, as in section 4.1. With `allowed`, numbers of outputs, the softmax is over
    those alone, and the probability of the others is 0.
    """
    inputs = (
        transform.center_crop(images, compute.dtype)[None] if views == 1 else transform.ten_crop(images, compute.dtype)
    )
    with compute.arithmetic():
        logits = forward(inputs.flatten(0, 1))
    if allowed is not None:
        kept = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        kept[torch.from_numpy(allowed).to(logits.device)] = True
        logits = logits.float().masked_fill(~kept, -math.inf)
    each = torch.softmax(logits.float(), 1).view(*inputs.shape[:2], -1)
    middle = 0 if len(each) < 10 else 2  # `Transform.places`: the third of ten views is the centre
    return each[middle], each.mean(0)


def shares_of(weights: Sequence[float] | None, runs: int) -> list[float]:
    """Scale the runs' weights to a sum of 1."""
    if weights is None:
        return [1 / runs] * runs
    if len(weights) != runs or not all(w >= 0 for w in weights) or not 0 < sum(weights) < math.inf:
        raise InputError(f"--weights {list(weights)}; give one number, 0 or more, for each of the {runs} runs")
    return [w / sum(weights) for w in weights]
