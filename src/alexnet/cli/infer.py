"""Commands that use a trained net: evaluate, predict, features, similar."""

import csv
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, complain_of, show_evaluation, show_json, table
from alexnet.cli.options import Device, Json, Precision, Top, Workers
from alexnet.core.errors import InputError
from alexnet.core.text import percent


def evaluate(
    store: Path,
    run: tuple[Path, ...],
    /,
    *,
    views: Literal[1, 10] = 10,
    split: str = "val",
    weights: Annotated[tuple[float, ...], Parameter(negative=(), consume_multiple=1, show_default=False)] = (),
    save: Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Measure the error of a run on a store, or of the average of several runs.

    Example: alexnet evaluate store run

    Example: alexnet evaluate store run1 run2 run3 --split test --json

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made.
    run
        Run folders. The probabilities of several runs are averaged.
    views
        Number of views of each picture: 1, the centre, or 10, the corners, the centre and their mirrors, averaged.
    split
        Split to measure on: train, val or test.
    weights
        Weight of each run in the average, 0 or more. By default equal.
    save
        File (.npz) to save the probabilities to.
    """
    from alexnet.inference.evaluate import evaluate

    with bar("evaluate", "pictures", quiet=json_) as progress:
        found = evaluate(
            store,
            run,
            views=views,
            split=split,
            weights=weights or None,
            save=save,
            device=device,
            precision=precision,
            workers=workers,
            progress=progress,
        )
    show_evaluation(found, json_)


def predict(
    run: Path,
    image: tuple[Path, ...],
    /,
    *,
    top: Top = 5,
    views: Literal[1, 10] = 10,
    device: Device = "auto",
    precision: Precision = "auto",
    json_: Json = False,
    csv_: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV instead of a table.")] = False,
) -> int:
    """Print the most likely classes of pictures.

    A picture that cannot be read gets an error line and does not stop the others; the exit status is then 1.

    Example: alexnet predict run holiday.jpg

    Example: alexnet predict run photographs/ --top 3 --csv

    Parameters
    ----------
    run
        Run folder.
    image
        Picture files, or folders of them.
    top
        Number of classes to print for each picture.
    views
        Number of views of each picture: 1, the centre, or 10, averaged.
    """
    from alexnet.inference.predict import predict

    if json_ and csv_:
        raise InputError("--json and --csv exclude each other; give one of them")
    with bar("predict", "pictures", quiet=json_ or csv_) as progress:
        answers = predict(run, image, top=top, views=views, device=device, precision=precision, progress=progress)
    if json_:
        show_json(answers)
    elif csv_:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(["image", "rank", "class", "index", "probability", "error"])
        for a in answers:
            for rank, p in enumerate(a.get("predictions", []), 1):
                rows.writerow([a["image"], rank, p["class"], p["index"], f"{p['probability']:.6f}", ""])
            if "error" in a:
                rows.writerow([a["image"], "", "", "", "", a["error"]])
    else:
        shown = [
            [a["image"] if i == 0 else "", p["class"], percent(p["probability"])]
            for a in answers
            for i, p in enumerate(a.get("predictions", []))
        ]
        table("", ["picture", "class", "probability"], shown)
    return complain_of((a["image"], a["error"]) for a in answers if "error" in a)


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
    workers: Workers = None,
    json_: Json = False,
) -> int:
    """Save a layer's activations for pictures, as float32 rows of OUT.npy.

    OUT.json lists the pictures' names. The net sees the central view of each. A picture that cannot be read gets an
    error line and no row; the exit status is then 1.

    Example: alexnet features run photographs/ out --layer conv5

    Example: alexnet features run store out --layer relu7 --split train --precision fp32

    Parameters
    ----------
    run
        Run folder.
    source
        Picture file, folder of pictures, or store.
    out
        Name of the two files, without .npy.
    layer
        Layer to save: conv1, relu1, norm1, pool1, ... fc7 (before the activation), relu7 (after it), fc8.
    split
        Split of a store: train, val or test. By default the held-out one.
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
    workers: Workers = None,
    json_: Json = False,
) -> int:
    """Find the pictures of a store that the net sees as most similar, as in figure 4 (right).

    Similar means near in the last hidden layer. All pictures of the split are compared. A picture that cannot be read
    gets an error line and does not stop the others; the exit status is then 1.

    Example: alexnet similar run store holiday.jpg --top 6

    Parameters
    ----------
    run
        Run folder.
    store
        Folder that `alexnet prepare` made. Its classes may differ from the run's.
    image
        Picture files, or folders of them.
    top
        Number of neighbours to print for each picture.
    split
        Split to search: train, val or test.
    layer
        Layer to compare by. By default relu7, 4096 units; in nets for CIFAR-10, the layer before the last.
    """
    from alexnet.inference.similar import similar

    with bar("compare", "pictures", quiet=json_) as progress:
        answers = similar(
            run,
            store,
            image,
            top,
            split=split,
            layer=layer,
            device=device,
            precision=precision,
            workers=workers,
            progress=progress,
        )
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
