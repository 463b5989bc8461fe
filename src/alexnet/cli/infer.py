"""Commands that use a trained net: evaluate, predict, features, similar."""

import csv
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, complain, complain_of, show_json, table
from alexnet.cli.evaluation import show_evaluation
from alexnet.cli.options import Checkpoint, Device, Json, Layers, Precision, Threads, Top, Workers, begin_threads
from alexnet.core.errors import InputError
from alexnet.core.text import percent, shorten, split_names


def evaluate(
    store: Path,
    run: tuple[Path, ...],
    /,
    *,
    views: Literal[1, 10] = 10,
    split: str = "val",
    weights: Annotated[tuple[float, ...], Parameter(negative=(), consume_multiple=1, show_default=False)] = (),
    checkpoint: Checkpoint = None,
    among: Literal["run", "store"] = "run",
    per_class: Annotated[bool, Parameter(negative=())] = False,
    confusion: Path | None = None,
    save: Path | None = None,
    keep: bool = True,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Measure the error of a run on a store, or of the average of several runs.

    Beside the error stand the error of guessing, how well the probabilities are calibrated and, if the classes have
    different numbers of pictures, the balanced error. The result is kept in the run, and `alexnet report` shows it.
    --json has every class and the confusion matrix.

    Example: alexnet evaluate store run

    Example: alexnet evaluate store run --split test --per-class --confusion confusion.csv

    Example: alexnet evaluate store run1 run2 run3 --split test --json

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made. It may have a part of the run's classes; they are found by name.
    run
        Run folders. The probabilities of several runs are averaged.
    views
        Number of views of each picture: 1, the centre, or 10, the corners, the centre and their mirrors, averaged.
    split
        Split to measure on: train, val or test.
    weights
        Weight of each run in the average, 0 or more. By default equal.
    among
        Classes that the net chooses from: all of the run's, or only those that the store has.
    per_class
        Print a table of the classes too, the one that is found least first.
    confusion
        File (.csv) to write the confusion matrix to: a row for each true class, a column for each predicted class.
    save
        File (.npz) to save the probabilities to.
    keep
        Keep the result in the run, for the report. An average of several runs is not kept.
    """
    from alexnet.inference.evaluate import evaluate

    begin_threads(threads)
    with bar("evaluate", "pictures", quiet=json_) as progress:
        found = evaluate(
            store,
            run,
            views=views,
            split=split,
            weights=weights or None,
            save=save,
            confusion=confusion,
            checkpoint=checkpoint,
            among=among,
            keep=keep,
            device=device,
            precision=precision,
            workers=workers,
            progress=progress,
        )
    show_evaluation(found, json_, per_class, details=True)
    if found.not_kept:
        complain(f"the result is not kept in run {found.runs[0]}: {found.not_kept}")


def predict(
    run: Path,
    image: tuple[str, ...],
    /,
    *,
    top: Top = 5,
    views: Literal[1, 10] = 10,
    split: str | None = None,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    json_: Json = False,
    csv_: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV instead of a table.")] = False,
) -> int:
    """Print the most likely classes of pictures.

    A picture that cannot be read gets an error line and does not stop the others; the exit status is then 1.

    Example: alexnet predict run holiday.jpg

    Example: alexnet predict run photographs/ --top 3 --csv

    Example: alexnet predict run - < holiday.jpg

    Parameters
    ----------
    run
        Run folder.
    image
        Picture files, or folders of them. - reads a file from standard input. Or one store.
    top
        Number of classes to print for each picture.
    views
        Number of views of each picture: 1, the centre, or 10, averaged.
    split
        Split of a store: train, val or test. By default the held-out one.
    """
    from alexnet.inference.predict import predict

    if json_ and csv_:
        raise InputError("--json and --csv exclude each other; give one of them")
    begin_threads(threads)
    with bar("predict", "pictures", quiet=json_ or csv_) as progress:
        answers = predict(
            run,
            image[0] if len(image) == 1 else image,
            top=top,
            views=views,
            split=split,
            checkpoint=checkpoint,
            device=device,
            precision=precision,
            progress=progress,
        )
    stored = any("label" in a for a in answers)
    if json_:
        show_json(answers)
    elif csv_:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(["image", "rank", "class", "index", "probability", "error", *["label"] * stored])
        for a in answers:
            for rank, p in enumerate(a.get("predictions", []), 1):
                told = [a["image"], rank, p["class"], p["index"], f"{p['probability']:.6f}", ""]
                rows.writerow([*told, *([a["label"]] if stored else [])])
            if "error" in a:
                rows.writerow([a["image"], "", "", "", "", a["error"], *[""] * stored])
    else:
        shown = [
            [a["image"] if i == 0 else "", p["class"], percent(p["probability"]), a.get("label", "") if i == 0 else ""]
            for a in answers
            for i, p in enumerate(a.get("predictions", []))
        ]
        if shown:
            table("", ["picture", "class", "probability", *["label"] * stored], [row[: 3 + stored] for row in shown])
    return complain_of((a["image"], a["error"]) for a in answers if "error" in a)


def features(
    run: Path,
    source: str,
    out: Path,
    /,
    *,
    layer: str | None = None,
    layers: Layers = (),
    rdm: Literal["correlation", "euclidean", "cosine"] | None = None,
    format: Literal["npy", "h5"] = "npy",
    split: str | None = None,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    threads: Threads = None,
    json_: Json = False,
) -> int:
    """Save the activations of one or more layers for pictures, as float32 rows.

    One layer goes to OUT.npy, several to OUT.LAYER.npy each. OUT.json lists the pictures' names. The net sees the
    central view of each, once. A picture that cannot be read gets an error line and no row; the exit status is then 1.

    Example: alexnet features run photographs/ out --layer conv5

    Example: alexnet features run store out --layers conv1,relu5,fc7 --rdm correlation --format h5

    Parameters
    ----------
    run
        Run folder.
    source
        Picture file, folder of pictures, store, or - for a file on standard input.
    out
        Name of the files, without the suffix. Files of these names are replaced.
    layer
        Layer to save: conv1, relu1, norm1, pool1, ... fc7 (before the activation), relu7 (after it), fc8. By default
        fc7. torchvision's names, such as features.0, are understood too.
    layers
        Layers to save in one pass: --layers conv1,relu5,fc7.
    rdm
        Dissimilarity of each two pictures to save too, as a square matrix for each layer in OUT.rdm.npy or
        OUT.LAYER.rdm.npy: 1 - Pearson's r, Euclidean distance, or 1 - cosine.
    format
        Form of the files: npy, or h5 for one HDF5 file OUT.h5 with a dataset for each layer, names and labels.
    split
        Split of a store: train, val or test. By default the held-out one.
    """
    from alexnet.inference.feature_files import write_features

    if layer is not None and layers:
        raise InputError("--layer and --layers exclude each other; give one of them")
    several = split_names(layers)
    if not all(name.strip() for name in several):
        raise InputError(f"--layers {shorten(' '.join(layers))} has an empty name; write conv1,relu5,fc7")
    begin_threads(threads)
    with bar("features", "pictures", quiet=json_) as progress:
        found, files, arrays = write_features(
            run,
            source,
            out,
            several or layer or "fc7",
            metric=rdm,
            format=format,
            split=split,
            checkpoint=checkpoint,
            device=device,
            precision=precision,
            workers=workers,
            progress=progress,
        )
    shapes = {name: list(one.values.shape) if one.names else [0] for name, one in found.items()}
    name, first = next(iter(found.items()))
    if json_:
        told = {"layers": list(shapes), "shapes": shapes} if several else {"layer": name, "shape": shapes[name]}
        show_json({"out": str(out), **told, "files": list(map(str, files)), "errors": first.errors})
    else:
        beside = f", names in {files[-1]}" if format == "npy" and files else ""  # HDF5 has the names in the same file
        for array, shape, dtype in arrays:
            print(f"{array}: {' x '.join(map(str, shape))} {dtype}{beside}")
    return complain_of(first.errors.items())


def similar(
    run: Path,
    store: Path,
    image: tuple[str, ...],
    /,
    *,
    top: Top = 6,
    split: str = "train",
    layer: str | None = None,
    checkpoint: Checkpoint = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = None,
    threads: Threads = None,
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
        Picture files, or folders of them. - reads a file from standard input.
    top
        Number of neighbours to print for each picture.
    split
        Split to search: train, val or test.
    layer
        Layer to compare by. By default relu7, 4096 units; in nets for CIFAR-10, the layer before the last.
    """
    from alexnet.inference.similar import similar

    begin_threads(threads)
    with bar("compare", "pictures", quiet=json_) as progress:
        answers = similar(
            run,
            store,
            image,
            top,
            split=split,
            layer=layer,
            checkpoint=checkpoint,
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
        if rows:
            table("", ["picture", "nearest first", "class", "distance"], rows)
    return complain_of((a["image"], a["error"]) for a in answers if "error" in a)
