"""Verbs that make runs and use them."""

import csv
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.cli.console import bar, complain_of, percent, show_evaluation, show_json, table
from alexnet.cli.options import (
    Device,
    Json,
    Layers,
    NotNegative,
    Positive,
    Precision,
    Settings,
    Top,
    Whole,
    Workers,
    chosen,
    number,
    way_of,
)
from alexnet.core.errors import UnusableError


def demo(out: Path = Path("demo"), /, *, json_: Json = False) -> None:
    """Draw pictures, prepare them, train, evaluate, predict, and write a page: two minutes on two cores.

    Stopped, it goes on where it was.

    Example: alexnet demo /tmp/demo

    Parameters
    ----------
    out
        Folder for the store, the run, the figures and report.html.
    """
    from alexnet.cli.demo import demo

    answer = demo(out, quiet=json_, leave=True)
    if json_:
        show_json(answer)
    else:
        print(
            f"ten-view top-1 error {percent(answer['top1'])} (chance {percent(0.9)}) in {answer['seconds']:.0f} s; "
            f"look at {answer['report']}"
        )


def train(
    store: Path,
    run: Path,
    /,
    *,
    recipe: str | None = None,
    set_: Settings = (),
    epochs: Whole | None = None,
    seed: Whole | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    layers: Layers = (),
    freeze: Layers = (),
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    cache: Literal["auto", "device", "ram", "none"] = "auto",
    save_every: NotNegative = 600,
    keep: NotNegative = 2,
    towers_apart: Annotated[bool, Parameter(negative=())] = False,
    hybrid: Annotated[bool, Parameter(negative=())] = False,
    accumulate: Annotated[int, number(1, 100_000)] = 1,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lte=604800))] = 300,
    json_: Json = False,
) -> None:
    """Train a net by a recipe; one checkpoint an epoch, ten views at the end.

    Ctrl-C or SIGTERM saves and stops; --resume goes on at that very step. Started by torchrun, its processes share
    the work and the result is the same but for rounding (docs/parallel.md).

    Example: alexnet train store run --recipe source --epochs 30 --set sgd.batch=64

    Example: torchrun --nproc-per-node 2 -m alexnet train store run --towers-apart

    Example: alexnet train birds run2 --from run --freeze conv1 conv2 --set sgd.rate=0.001 --set sgd.layer_rate.fc8=10

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made.
    run
        Folder to make.
    recipe
        paper, source, source-145, batch-256, large, one-gpu, cifar-13, cifar-11, cifar-18, tiny, demo, or a JSON file;
        source unless given, or the one that the run to be resumed was begun with.
    epochs
        Length of the run; the schedule keeps its proportions.
    seed
        Of everything random.
    resume
        Go on with the run where it stopped.
    from_
        Run whose newest weights to start from. The recipe is its own unless another is given.
    layers
        Which of its layers; all of the same shape unless given, but for the last where the classes differ.
    freeze
        Layers that stay as they start: sgd.layer_rate of 0. Other factors: --set sgd.layer_rate.conv1=0.1.
    cache
        Where the pictures are kept decoded while training: on the device, in memory, or nowhere; auto takes what
        fits.
    save_every
        Seconds between checkpoints within an epoch.
    keep
        Checkpoints that stay; 0 keeps all.
    towers_apart
        Each process holds one tower, as in 2012; four processes are two replicas of two.
    hybrid
        Convolutions in replicas, and fully connected layers shared out to them, so that their gradients never travel.
    accumulate
        Parts that a process takes its share of a batch in, where its memory is small; the numbers stay the same.
    timeout
        Seconds after which a process that does not answer the others is lost.
    """
    from alexnet.runs.folder import is_run
    from alexnet.training.trainer import train

    value, begun = None, run if resume and is_run(run) else from_
    if begun is from_ and from_ and not is_run(from_):
        raise UnusableError(f"--from {from_}: there is no run; name a folder that alexnet train made")
    if recipe or set_ or epochs is not None or seed is not None or freeze:
        value = chosen(recipe or (str(begun / "recipe.json") if begun else "source"), set_, epochs=epochs, seed=seed)
        value = value.but(sgd={"layer_rate": dict.fromkeys(freeze, 0.0)})
        if begun is from_ and not recipe:
            value = value.but(start=None)
    final = train(
        store, run, value, name=recipe or ("" if from_ else "source"), start=from_, layers=layers,
        resume=resume, device=device, precision=precision, workers=workers,
        cache=cache, save_every=save_every, keep=keep, way=way_of(towers_apart, hybrid), accumulate=accumulate,
        timeout=timeout, quiet=json_, leave=True,
    )  # fmt: skip
    show_evaluation(final, json_)


def evaluate(
    store: Path,
    run: tuple[Path, ...],
    /,
    *,
    views: Literal[1, 10] = 10,
    split: str = "val",
    weights: Annotated[tuple[float, ...], Parameter(negative=(), consume_multiple=1)] = (),
    save: Path | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    json_: Json = False,
) -> None:
    """Error rates of a run on a store, or of several runs whose probabilities are averaged.

    Example: alexnet evaluate store run1 run2 run3 --views 10

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made.
    run
        Run folders: several are an ensemble.
    views
        1: the central view. 10: corners and centre and their mirrors, averaged.
    split
        train, val or test.
    weights
        Of the runs in the average, one each; equal unless given.
    save
        Keep the probabilities in this .npz file.
    """
    from alexnet.inference.evaluate import evaluate

    with bar("evaluate", "pictures", quiet=json_) as progress:
        found = evaluate(
            store, run, views=views, split=split, weights=weights or None, save=save, device=device,
            precision=precision, workers=workers, progress=progress,
        )  # fmt: skip
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
    csv_: Annotated[bool, Parameter(name="--csv", negative=(), help="Print CSV: image, rank, class, ...")] = False,
) -> int:
    """The likeliest classes of pictures.

    A picture that cannot be read gets its own line, the others go on, and the exit status is 1.

    Example: alexnet predict run holiday.jpg photographs/ --top 3

    Parameters
    ----------
    run
        Run folder.
    image
        Pictures, or folders of them.
    top
        Classes a picture.
    views
        1: the central view. 10: the average of ten.
    """
    from alexnet.inference.predict import predict

    if json_ and csv_:
        raise UnusableError("--json and --csv exclude each other; give one")
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


def study(
    name: str = "all",
    store: Path | None = None,
    out: Path | None = None,
    /,
    *,
    recipe: str | None = None,
    seeds: Annotated[int, number(1, 1000)] = 3,
    epochs: Positive | None = None,
    pretrain_on: Path | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Workers = 2,
    json_: Json = False,
) -> int:
    """Decide a claim of the paper: train its arms over several seeds, and say whether it holds, with a 95 % interval.

    What OUT holds already is not trained again. Stopped, it goes on where it was when run again. Exit status 1: a run
    failed, and its claim is not shown.

    Example: alexnet study relu-tanh store-cifar studies --seeds 3

    Example: alexnet study table-2 store studies --pretrain-on store-of-more-classes

    Example: alexnet study --list; and what it costs here: alexnet study all store --list

    Parameters
    ----------
    name
        A claim of --list, or all that the store can decide.
    store
        Folder that `alexnet prepare` made.
    out
        Folder for the runs, which all claims share, and for NAME.json of each claim.
    recipe
        What the arms differ from; by the store's pictures unless given: source for 256 pixels, tiny for 64, cifar-13 or
        tiny at 28 pixels for 32.
    seeds
        Runs of each arm; an interval needs 2.
    epochs
        Length of each run; the schedule keeps its proportions.
    pretrain_on
        Store of more classes, for pretrain and the CNN* of table-2, which are trained on it first.
    list_
        Show every claim, the paper's number, 2012's, the arms, and what deciding it costs; on STORE, and at the rate
        of the runs in OUT, where they are given.
    """
    from alexnet.cli.console import show_claims, show_studies

    if list_:
        from alexnet.core.device import place
        from alexnet.studies.cost import listing

        place(device, precision)
        if pretrain_on and store is None:
            raise UnusableError(f"--pretrain-on {pretrain_on}: name the STORE that its nets go on with")
        show_claims(listing([name], store, out, recipe, seeds=seeds, epochs=epochs, pretrain_on=pretrain_on), json_)
        return 0
    if store is None or out is None:
        raise UnusableError("study needs STORE and OUT; or give --list")
    from alexnet.runs.log import console
    from alexnet.studies.run import study

    speak = console()
    found = study(
        [name], store, out, recipe, seeds=seeds, epochs=epochs, device=device, precision=precision, workers=workers,
        pretrain_on=pretrain_on, quiet=json_, say=lambda words: None if json_ else speak.print(words, markup=False),
        leave=True,
    )  # fmt: skip
    show_studies(found, json_)
    return 1 if any(result["failed"] for result in found) else 0
