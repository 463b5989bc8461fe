"""What a trained net says of pictures: files, folders or arrays."""

import math
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alexnet.core.device import Place, place
from alexnet.core.errors import UnusableError
from alexnet.data.images.decode import decode
from alexnet.data.images.formats import TAKEN
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.images.resize import square
from alexnet.data.sources.archives import Slice, list_files, read
from alexnet.data.sources.class_folders import first_taken
from alexnet.distributed.mesh import joined
from alexnet.inference.evaluate import check_views, probabilities
from alexnet.models.build import Network
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
    UnusableError if the run cannot be used, a path does not exist, or a folder holds no picture.
    """
    if top < 1:
        raise UnusableError(f"--top {top}; it must be 1 or more")
    check_views(views)
    where = place(device, precision)
    with joined(where.device) as mesh:
        name, _ = mesh.settled(f"newest checkpoint of {run}", lambda: checkpoint.newest(Path(run)))
        net = mesh.together(lambda: serving(run, where, name))
        paths = mesh.together(lambda: files(images))
        mesh.alike({"pictures": [str(path) for path in paths]})
        number, of = mesh.everyone.share
        answers: dict[int, list[dict[str, Any]]] = {}
        for first in range(number * BATCH, len(paths), of * BATCH):
            answers[first] = list(answer(net, paths[first : first + BATCH], top, views, where))
            progress(min(first + BATCH, len(paths)), len(paths))
        everyones = {int(first): found for told in mesh.tell(answers) for first, found in told.items()}
        return [found for first in sorted(everyones) for found in everyones[first]]


def serving(run: str | Path, where: Place, name: str | None = None) -> Network:
    """The trained net of a run, from its newest checkpoint or the one of that name, with its viewer, on a device."""
    net = where.serve(checkpoint.load(run, name))
    net.viewer = net.viewer.to(where.device)
    return net


def pictures_of(paths: Iterable[Path], side: int) -> Iterator[tuple[Path, np.ndarray | str]]:
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


def answer(net: Network, paths: Sequence[Path], top: int, views: int, where: Place) -> Iterator[dict[str, Any]]:
    """The answers for some files, in their order."""
    taken: dict[Path, np.ndarray] = {}
    errors: dict[Path, str] = {}
    for path, picture in pictures_of(paths, net.viewer.side):
        if isinstance(picture, str):
            errors[path] = picture
        else:
            taken[path] = picture
    ranked = rank(net, np.stack(list(taken.values())), top, views, where) if taken else []
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
    net: Network, pictures: np.ndarray, top: int = 5, views: int = 10, where: Place | None = None
) -> list[list[tuple[str, float]]]:
    """(class, probability) of the `top` likeliest classes of pictures uint8 (N, side, side, 3)."""
    return [[(net.classes[i], p) for i, p in one] for one in rank(net, pictures, top, views, where or place())]


def rank(net: Network, pictures: np.ndarray, top: int, views: int, where: Place) -> list[list[tuple[int, float]]]:
    """(index, probability) of the likeliest classes, best first."""
    images = torch.from_numpy(pictures).to(where.device)
    _, mean = probabilities(net, net.viewer.to(where.device), images, where, views)
    best = mean.topk(min(top, mean.shape[1]))
    return [list(zip(i, p, strict=True)) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def files(images: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the files meant: those named, and in the folders named all that preparing would look at.

    Links are followed, and what is hidden or a system's own is left out, whatever the suffixes are. Raises
    UnusableError for a path that does not exist, and for a folder without a picture.
    """
    found: list[Path] = []
    for path in map(Path, [images] if isinstance(images, (str, Path)) else images):
        if path.is_dir():
            inside = list_files(path, path).places.values()
            if first_taken(inside)[0] is None:
                raise UnusableError(f"folder {path} holds no picture ({', '.join(TAKEN)})")
            found += [Path(place.path) for place in inside]
        elif path.exists():
            found.append(path)
        else:
            raise UnusableError(f"picture {path} does not exist")
    return found
