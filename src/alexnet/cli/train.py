"""Verbs that make runs and use them."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.cli.console import percent, show_evaluation, show_json
from alexnet.cli.options import (
    Device,
    Json,
    Layers,
    NotNegative,
    Precision,
    Settings,
    Whole,
    Workers,
    chosen,
    number,
    strategy_of,
)
from alexnet.core.errors import InputError


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

    Example: alexnet train birds run2 --from run --freeze conv1 conv2 --set sgd.lr=0.001 --set sgd.layer_lr.fc8=10

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
        Layers that stay as they start: sgd.layer_lr of 0. Other factors: --set sgd.layer_lr.conv1=0.1.
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
    from alexnet.training.train import train

    value, begun = None, run if resume and is_run(run) else from_
    if begun is from_ and from_ and not is_run(from_):
        raise InputError(f"--from {from_}: there is no run; name a folder that alexnet train made")
    if recipe or set_ or epochs is not None or seed is not None or freeze:
        value = chosen(recipe or (str(begun / "recipe.json") if begun else "source"), set_, epochs=epochs, seed=seed)
        value = value.replace(sgd={"layer_lr": dict.fromkeys(freeze, 0.0)})
        if begun is from_ and not recipe:
            value = value.replace(start=None)
    final = train(
        store,
        run,
        value,
        name=recipe or ("" if from_ else "source"),
        start=from_,
        layers=layers,
        resume=resume,
        device=device,
        precision=precision,
        workers=workers,
        cache=cache,
        save_every=save_every,
        keep=keep,
        strategy=strategy_of(towers_apart, hybrid),
        accumulate=accumulate,
        timeout=timeout,
        quiet=json_,
        leave=True,
    )
    show_evaluation(final, json_)
