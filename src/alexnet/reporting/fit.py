"""`alexnet.fit`: fit a net to a folder of pictures in some minutes, and write the report."""

from collections.abc import Sequence
from pathlib import Path

from alexnet.fitting.fit import Fit
from alexnet.fitting.fit import fit as fit_without_report
from alexnet.reporting.report import report


def fit(
    photos: str | Path,
    out: str | Path,
    minutes: float = 10.0,
    *,
    ignore: str | Sequence[str] = (),
    root: str | Path | None = None,
    device: str = "auto",
    seed: int = 0,
    quiet: bool = False,
    leave: bool = False,
    since: float | None = None,
) -> Fit:
    """Fit a net to a folder of pictures in the given minutes: choose a recipe, prepare, train, evaluate and report.

    It first measures this machine for some seconds. Then it says what it chose, why, how long it takes, and the error
    that such folders reached. The number of epochs follows from the time that is left after preparing, so that the
    whole ends with the minutes and the schedule of the learning rate ends whole. If the machine becomes busy, it ends
    later, and says so; the schedule is never cut short.

    Call it again with the same arguments to go on where it was stopped.

    Args:
        photos: A folder with a folder of pictures for each class, or another source of `prepare`, but no iterable.
        out: Folder for the store, the run, fit.json and report.html; made if missing.
        minutes: Time for everything, in minutes of this machine; more than 0, and at most 100,000.
        ignore: A name, pattern ("*.xml") or path from the top of the source to leave out, or several of them.
        root: For a table of labels, the folder that its paths start from; None means the table's own folder.
        device: "auto", "cpu", "cuda" or "cuda:N".
        seed: Seed of everything random, 0 or more.
        quiet: Print nothing.
        leave: End the process at a second signal, as the command line does.
        since: Value of time.monotonic() from which the minutes count; None means now.

    Returns:
        A `Fit` with what was chosen, promised and reached. `.run` is the run for `predict`, `.evaluation` the errors on
        the held-out pictures.

    Raises:
        InputError: The pictures cannot be used or are too few, the minutes are too few for one epoch, or `out` was
            begun with other pictures or arguments.
        WorkFailed: The disk or the training failed.
        Stopped: A signal arrived in training. The run is saved, and the same call goes on.
        KeyboardInterrupt: Ctrl-C while it prepared, or a second one. The same call goes on.
    """
    return fit_without_report(
        photos,
        out,
        minutes,
        ignore=ignore,
        root=root,
        device=device,
        seed=seed,
        quiet=quiet,
        leave=leave,
        since=since,
        report=report,
    )
