"""What a trained net says of pictures: files, folders or arrays."""

import math
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet.core.device import Compute, choose_compute
from alexnet.core.errors import InputError
from alexnet.data.images.decode import decode
from alexnet.data.images.formats import TAKEN
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import square
from alexnet.data.sources.archives import Slice, list_files, read
from alexnet.data.sources.class_folders import first_taken
from alexnet.distributed.mesh import open_mesh
from alexnet.inference.evaluate import check_views, probabilities
from alexnet.models.build import AnyModel
from alexnet.runs import checkpoint

BATCH = 16


def predict(
    run: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    top: int = 5,
    views: int = 10,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[dict[str, Any]]:
    """The `top` likeliest classes of each picture, from its ten views (or one).

    A folder stands for the files in it, at any depth, as `prepare` sees them. Each gives {"image", "predictions":
    [{"class", "index", "probability"}, ...]}, or {"image", "error"} if it cannot be read; the others go on. Raises
    InputError if the run cannot be used, a path does not exist, or a folder holds no picture.
    """
    if top < 1:
        raise InputError(f"--top {top}; it must be 1 or more")
    check_views(views)
    compute = choose_compute(device, precision)
    with open_mesh(compute.device) as mesh:
        name, _ = mesh.wait_until_equal(f"newest checkpoint of {run}", lambda: checkpoint.newest(Path(run)))
        net = mesh.run_on_all(lambda: load_for_inference(run, compute, name))
        paths = mesh.run_on_all(lambda: list_pictures(images))
        mesh.check_equal({"pictures": [str(path) for path in paths]})
        number, of = mesh.everyone.share
        answers: dict[int, list[dict[str, Any]]] = {}
        for first in range(number * BATCH, len(paths), of * BATCH):
            answers[first] = list(answer(net, paths[first : first + BATCH], top, views, compute))
            progress(min(first + BATCH, len(paths)), len(paths))
        everyones = {int(first): found for told in mesh.all_gather_json(answers) for first, found in told.items()}
        return [found for first in sorted(everyones) for found in everyones[first]]


def load_for_inference(run: str | Path, compute: Compute, name: str | None = None) -> AnyModel:
    """The trained net of a run, from its newest checkpoint or the one of that name, with its transform, on a device."""
    net = compute.serve(checkpoint.load(run, name))
    net.transform = net.transform.to(compute.device)
    return net


def decode_files(paths: Iterable[Path], side: int) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Each file's picture, uint8 (side, side, 3), or why it cannot be read."""
    for path in paths:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
                raise UnreadablePicture("not a plain file")
            yield path, square(decode(read(Slice(str(path), 0, status.st_size)))[0], side)
        except UnreadablePicture as error:
            yield path, str(error)
        except MemoryError:
            yield path, "there is not enough memory for it here"
        except OSError as error:
            yield path, error.strerror or str(error)


def answer(net: AnyModel, paths: Sequence[Path], top: int, views: int, compute: Compute) -> Iterator[dict[str, Any]]:
    """The answers for some files, in their order."""
    taken: dict[Path, np.ndarray] = {}
    errors: dict[Path, str] = {}
    for path, picture in decode_files(paths, net.transform.side):
        if isinstance(picture, str):
            errors[path] = picture
        else:
            taken[path] = picture
    ranked = top_classes(net, np.stack(list(taken.values())), top, views, compute) if taken else []
    said = dict(zip(taken, ranked, strict=True))
    for path in paths:
        if path in errors:
            yield {"image": str(path), "error": errors[path]}
        elif not math.isfinite(said[path][0][1]):  # NaN is ranked first
            yield {"image": str(path), "error": "the run's net gives NaN for it; its training went astray"}
        else:
            named = [{"class": net.classes[i], "index": i, "probability": p} for i, p in said[path]]
            yield {"image": str(path), "predictions": named}


def predict_arrays(
    net: AnyModel, pictures: np.ndarray, top: int = 5, views: int = 10, compute: Compute | None = None
) -> list[list[tuple[str, float]]]:
    """(class, probability) of the `top` likeliest classes of pictures uint8 (N, side, side, 3)."""
    return [
        [(net.classes[i], p) for i, p in one]
        for one in top_classes(net, pictures, top, views, compute or choose_compute())
    ]


def top_classes(
    net: AnyModel, pictures: np.ndarray, top: int, views: int, compute: Compute
) -> list[list[tuple[int, float]]]:
    """(index, probability) of the likeliest classes, best first."""
    images = torch.from_numpy(pictures).to(compute.device)
    _, mean = probabilities(net, net.transform.to(compute.device), images, compute, views)
    best = mean.topk(min(top, mean.shape[1]))
    return [list(zip(i, p, strict=True)) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def list_pictures(images: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the files meant: those named, and in the folders named all that preparing would look at.

    Links are followed, and what is hidden or a system's own is left out, whatever the suffixes are. Raises
    InputError for a path that does not exist, and for a folder without a picture.
    """
    found: list[Path] = []
    for path in map(Path, [images] if isinstance(images, (str, Path)) else images):
        if path.is_dir():
            inside = list_files(path, path).places.values()
            if first_taken(inside)[0] is None:
                raise InputError(f"folder {path} holds no picture ({', '.join(TAKEN)})")
            found += [Path(place.path) for place in inside]
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"picture {path} does not exist")
    return found
