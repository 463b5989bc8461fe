"""Evaluate a run, or an ensemble of runs, with one view and with ten views (section 4.1)."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import write
from alexnet.data.cache import CachedPictures
from alexnet.data.loader import batches_in_order, steps
from alexnet.data.store import Split, Store, labels
from alexnet.data.transforms import Transform
from alexnet.distributed.mesh import Mesh, open_mesh
from alexnet.models.network import Network
from alexnet.runs.run import Run, load

Forward = Callable[[Tensor], Tensor]  # views to logits
BATCH = 64  # pictures in a batch; ten views make ten inputs of each


@dataclass(frozen=True)
class Errors:
    """Error rates, 0 to 1, over `images` pictures. `nats` is the mean cross-entropy loss."""

    images: int
    views: int
    top1: float
    top5: float
    nats: float

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of top1."""
        return wilson(self.top1, self.images)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of top5."""
        return wilson(self.top5, self.images)

    def plain(self) -> dict[str, Any]:
        """Return the errors and their intervals as JSON types."""
        return asdict(self) | {"top1_interval": self.top1_interval, "top5_interval": self.top5_interval}


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation on a split.

    Attributes:
        errors: The errors with all views.
        one_view: The errors with the central view alone.
        probabilities: Probabilities averaged over views and runs, float32 (images, classes).
        labels: The true class of each picture, (images,).
        runs: The run folders.
        center: Probabilities of the central view averaged over runs, float32 (images, classes).
    """

    errors: Errors
    one_view: Errors
    probabilities: np.ndarray
    labels: np.ndarray
    runs: tuple[str, ...]
    center: np.ndarray

    def plain(self) -> dict[str, Any]:
        """Return the errors and the run folders as JSON types."""
        return self.errors.plain() | {"runs": list(self.runs), "one_view": self.one_view.plain()}


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
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Evaluation:
    """Measure the top-1 and top-5 errors of a run on a split, or of several runs as an ensemble (sections 4.1 and 6).

    An ensemble averages the probabilities of its runs. Every picture of the split counts once. Under torchrun, each
    process takes a share of the pictures, and all return the whole result.

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
        progress: Function called with the numbers of pictures done and in all.

    Returns:
        The `Evaluation`. Its `errors` has `top1` and `top5`, 0 to 1, and the mean loss `nats`; `one_view` has the same
        for the central view. `probabilities` is float32 (images, classes), and `labels` is (images,).

    Raises:
        InputError: The store or a run cannot be used, or a run was trained on other classes.
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
) -> Evaluation:
    """Evaluate as `evaluate` does, on an open mesh. Each process takes a share of the batches and gets all results."""

    # A run may still be training, and a network disk may lag: agree on the checkpoints first.
    named = mesh.wait_until_equal(
        f"newest checkpoint of {', '.join(map(str, folders))}", lambda: [Run(f).newest() for f in folders]
    )

    def ready() -> tuple[Store, list[float], list[Network], Split]:
        check_views(views)
        if not folders:
            raise InputError("no run to evaluate; give one or more run folders")
        if save and (Path(save).suffix != ".npz" or not Path(save).parent.is_dir() or Path(save).is_dir()):
            raise InputError(f"--save {save}; give a file name that ends in .npz, in a folder that exists")
        opened = store if isinstance(store, Store) else Store(store)
        shares = shares_of(weights, len(folders))
        nets = [compute.serve(load(f, name)) for f, (name, _) in zip(folders, named, strict=True)]
        for folder, net in zip(folders, nets, strict=True):
            check_classes(opened, f"run {folder}", net)
        return opened, shares, nets, opened[split]

    store, shares, nets, pictures = mesh.run_on_all(ready)
    mesh.check_equal({"store digest": store.digest, "pictures": len(pictures), "views": views, "runs": shares})
    one = np.zeros((len(pictures), len(store.classes)), np.float32)
    many = np.zeros_like(one)
    taken = [net.transform for net in nets]
    for first, images in in_order(pictures, compute, workers, BATCH if views == 1 else BATCH // 4, mesh, progress):
        rows = slice(first, first + len(images))
        for net, transform, share in zip(nets, taken, shares, strict=True):
            centre, mean = probabilities(net, transform, images, compute, views)
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
        errors(many, pictures.labels, count),
        errors(one, pictures.labels, 1),
        many,
        pictures.labels,
        tuple(str(f) for f in folders),
        one,
    )
    if save and mesh.is_main:
        file = io.BytesIO()
        np.savez(file, probabilities=many, labels=pictures.labels, names=np.array(list(pictures.names)))
        write(Path(save), [file.getvalue()])
    return result


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
    forward: Forward, transform: Transform, images: Tensor, compute: Compute, views: int
) -> tuple[Tensor, Tensor]:
    """Compute class probabilities of the central view and averaged over all views: (N, classes) float32 each.

    The mean is taken after the softmax, as in section 4.1.
    """
    inputs = (
        transform.center_crop(images, compute.dtype)[None] if views == 1 else transform.ten_crop(images, compute.dtype)
    )
    with compute.arithmetic():
        logits = forward(inputs.flatten(0, 1))
    each = torch.softmax(logits.float(), 1).view(*inputs.shape[:2], -1)
    middle = 0 if len(each) < 10 else 2  # `Transform.places`: the third of ten views is the centre
    return each[middle], each.mean(0)


def errors(probability: np.ndarray, labels: np.ndarray, views: int) -> Errors:
    """Compute error rates from probabilities (N, classes). Tied classes share the credit, as in the 2012 code.

    A picture with NaN as a probability counts as wrong.
    """
    top1, top5 = (1 - credit(probability, labels, k).mean() for k in (1, 5))
    true = np.take_along_axis(probability, labels[:, None], 1)
    nats = -np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean()
    return Errors(len(labels), views, float(top1), float(top5), float(nats))


def credit(probability: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Return 1 for each picture whose true class is among the first `k`, 0 for others, and a fraction at a tie."""
    true = np.take_along_axis(probability, labels[:, None], 1)
    better, tied = (probability > true).sum(1), (probability == true).sum(1)
    return np.where(tied, np.clip((k - better) / np.maximum(tied, 1), 0, 1), 0)


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of a rate measured on n pictures (Wilson 1927)."""
    z = 1.959964
    middle, half = rate + z * z / (2 * n), z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def shares_of(weights: Sequence[float] | None, runs: int) -> list[float]:
    """Scale the runs' weights to a sum of 1."""
    if weights is None:
        return [1 / runs] * runs
    if len(weights) != runs or not all(w >= 0 for w in weights) or not 0 < sum(weights) < math.inf:
        raise InputError(f"--weights {list(weights)}; give one number, 0 or more, for each of the {runs} runs")
    return [w / sum(weights) for w in weights]


def check_side(store: Store, title: str, net: Network) -> None:
    """Raise InputError unless the net takes pictures of the store's size; `title` names the net in the message."""
    if net.transform.side != store.side:
        raise InputError(f"{title} takes {net.transform.side}-pixel pictures, but store {store.path} has {store.side}")


def check_classes(store: Store, title: str, net: Network) -> None:
    """Raise InputError unless the net takes pictures of the store's size and has the store's classes."""
    names = labels(store.classes)
    check_side(store, title, net)
    if list(net.classes) != names:
        one = next((f"{a} / {b}" for a, b in zip(net.classes, names, strict=False) if a != b), None)
        counts = f"{len(net.classes)} and {len(names)} classes" + (f", first difference {one}" if one else "")
        raise InputError(
            f"{title} and store {store.path} differ in their classes: {counts}; use a store with the same classes"
        )
