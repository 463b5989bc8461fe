"""The command that goes from a folder of pictures to a trained net in some minutes: fit."""

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from alexnet.cli.console import show_json
from alexnet.cli.evaluation import show_evaluation
from alexnet.cli.options import Device, Json, NotNegative, Threads, begin_threads
from alexnet.cli.train import threads_of
from alexnet.core.text import escape_control, percent

Minutes = Annotated[float, Parameter(validator=Number(gt=0, lte=100_000))]


def fit(
    photos: str,
    out: Path,
    /,
    *,
    minutes: Minutes = 10.0,
    device: Device = "auto",
    ignore: Annotated[list[str] | None, Parameter(negative=())] = None,
    root: Path | None = None,
    seed: NotNegative = 0,
    threads: Threads = None,
    json_: Json = False,
) -> None:
    """Train on a folder of pictures in the given minutes, and measure the error: the whole way, with one command.

    It measures this machine for some seconds, then says which recipe, side and number of epochs it chooses, why, how
    long it takes, and what error such folders reached. It prepares, trains, evaluates on held-out pictures and writes a
    report. Ctrl-C saves and stops; the same command goes on. If other programs keep the machine busy, it ends later and
    says so.

    Example: alexnet fit photographs/ out --minutes 10

    Parameters
    ----------
    photos
        A folder with a folder of pictures for each class, or another source that alexnet prepare takes. Without val/ or
        test/, a fifth of each class is held out.
    out
        Folder for the store, the run and report.html.
    minutes
        Time for everything, in minutes.
    ignore
        Files or folders to leave out: a name, a pattern ('*.xml') or a path from the top. May be repeated.
    root
        For a table of labels: the folder that its paths start from. By default the table's own folder.
    seed
        Seed of everything random.
    """
    begun = time.monotonic()
    # A fit that goes on keeps its threads, and so its bits, whatever other programs do now.
    begin_threads(threads, not json_, threads_of(out / "run"))
    from alexnet.reporting.fit import fit

    found = fit(
        photos,
        out,
        minutes,
        ignore=ignore or (),
        root=root,
        device=device,
        seed=seed,
        quiet=json_,
        leave=True,
        since=begun,
    )
    if json_:
        show_json(found.plain())
        return
    show_evaluation(found.evaluation, False)
    such = "" if found.expected is None else f"; such folders reached {percent(found.expected)}"
    print(
        escape_control(
            f"error {percent(found.evaluation.errors.top1)}{such}. {found.took:.1f} minutes, promised "
            f"{found.promised:.1f}. Open {found.report}; alexnet predict {found.run} PICTURE names a class"
        )
    )
