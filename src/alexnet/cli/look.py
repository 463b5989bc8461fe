"""Verbs that look into a net."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from alexnet.cli.console import bar, complain_of, show_json, table
from alexnet.cli.options import Device, Json, Precision, Top, Workers


def figures(
    run: Path,
    out: Path,
    /,
    *,
    only: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=1, show_default=False)] = (),
) -> int:
    """Draw figures for slides, as PNG and SVG: of a run figures 2, 3 and 4 of the paper and five more, of a study 1.

    architecture, curves (with underfitting or overfitting in words), kernels, top5, neighbours, maps, confusion,
    chances. The neighbours are sought among all training pictures, which takes as long as one pass over them.

    Example: alexnet figures run figures/

    Example: alexnet figures run figures/ --only architecture kernels

    Example: alexnet figures study figures/

    Parameters
    ----------
    run
        Run folder; pictures come from the store that it was trained on, where that still lies. Or a folder of studies
        in which relu-tanh is finished.
    out
        Folder for the figures.
    only
        Names of the figures to draw; all unless given.
    """
    from alexnet.figures import NAMES, draw

    with bar("compare", "pictures") as progress:
        paths, missing = draw(run, out, only or NAMES, progress)
    for path in paths:
        print(path)
    return complain_of(missing.items())


def features(
    run: Path,
    source: Path,
    out: Path,
    /,
    *,
    layer: str = "fc7",
    split: str | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    json_: Json = False,
) -> int:
    """Write what a layer puts out for pictures: OUT.npy, float32, a row each, and OUT.json with their names.

    A picture is seen by its central view. One that cannot be read gets its own line and no row, the others go on, and
    the exit status is 1.

    Example: alexnet features run photographs/ out --layer conv5

    Example: alexnet features run store out --layer relu7 --split train --precision fp32

    Parameters
    ----------
    run
        Run folder.
    source
        A picture, a folder of pictures, or a store.
    out
        The files' name, without .npy.
    layer
        conv1, relu1, norm1, pool1 ... fc7 (before the activation), relu7 (after it), fc8.
    split
        Of a store: train, val or test; the held-out one unless given.
    """
    from alexnet.inference.features import write_features

    with bar("features", "pictures", quiet=json_) as progress:
        found = write_features(
            run, source, out, layer, split=split, device=device, precision=precision, workers=workers, progress=progress
        )
    shape = list(found.values.shape) if found.names else [0]
    if json_:
        show_json({"out": str(out), "layer": layer, "shape": shape, "errors": found.errors})
    elif found.names:
        base = str(out).removesuffix(".npy")
        print(f"{base}.npy: {' x '.join(map(str, shape))} float32, names in {base}.json")
    return complain_of(found.errors.items())


def similar(
    run: Path,
    store: Path,
    image: tuple[Path, ...],
    /,
    *,
    top: Top = 6,
    split: str = "train",
    layer: str | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    json_: Json = False,
) -> int:
    """The stored pictures that are nearest to a picture in the last hidden layer, as in figure 4, right.

    All pictures of the split are compared. A picture that cannot be read gets its own line, the others go on, and the
    exit status is 1.

    Example: alexnet similar run store holiday.jpg --top 6

    Parameters
    ----------
    run
        Run folder.
    store
        Folder that `alexnet prepare` made; its classes need not be the run's.
    image
        Pictures, or folders of them.
    top
        Neighbours a picture.
    split
        train, val or test.
    layer
        To compare by; relu7, 4096 units, unless given (in the nets for CIFAR-10, the layer before the last).
    """
    from alexnet.inference.features import similar

    with bar("compare", "pictures", quiet=json_) as progress:
        answers = similar(
            run, store, image, top, split=split, layer=layer, device=device, precision=precision, workers=workers,
            progress=progress,
        )  # fmt: skip
    if json_:
        show_json(answers)
    else:
        rows = [
            [a["image"] if i == 0 else "", n["name"], n["class"], f"{n['distance']:.4g}"]
            for a in answers
            for i, n in enumerate(a.get("neighbours", []))
        ]
        table("", ["picture", "nearest first", "class", "distance"], rows)
    return complain_of((a["image"], a["error"]) for a in answers if "error" in a)
