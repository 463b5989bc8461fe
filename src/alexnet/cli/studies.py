"""Verbs that run studies and show what was found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from alexnet.cli.choices import FigureName
from alexnet.cli.console import bar, complain_of, show_json, table
from alexnet.cli.options import Device, Json, Positive, Precision, Workers, number
from alexnet.core.errors import InputError


def show_claims(rows: Sequence[Any], as_json: bool) -> None:
    """Print every claim, the paper's number and 2012's, and what deciding it costs."""
    if as_json:
        show_json(rows)
        return
    heads = ["claim", "section", "paper", "2012 log", "arms", "recipe", "cost"]
    names = ("claim", "section", "paper", "log", "arms", "recipe", "cost")
    shown = [[", ".join(v) if isinstance(v := row[n], list) else v or "" for n in names] for row in rows]
    first = rows[0]
    title = f"{first['seeds']} seeds; {first['rate']:.2g} multiply-adds a second and core, {first['rate_is']}"
    table(title, heads, shown)


def show_studies(found: Sequence[Any], as_json: bool) -> None:
    """Print what was found of each claim: by how much, in what interval, and the verdict."""
    if as_json:
        show_json(found)
        return
    for result in found:
        rows = []
        for e in result["expects"]:
            low, high = e["low"], e["high"]
            few = e["needed"]
            rows.append(
                [
                    f"{e['measure']}: {e['more']} against {e['than'] or e['less']}{'' if e['judged'] else ' (beside)'}",
                    amount(e["mean"], e),
                    "" if low is None else f"{amount(low, e)} to {amount(high, e)}",
                    amount(e["paper"], e),
                    e["verdict"],
                    "" if few is None or e["verdict"] != "not shown" else f"{few}",
                ]
            )
        heads = ["larger", "by", "95 % interval", "paper", "verdict", "seeds needed"]
        table(f"{result['claim']}: {result['verdict']}; {result['scale']}, {result['seeds']} seeds", heads, rows)
        for note in result["notes"]:
            print(note)


def amount(value: float | None, e: Any) -> str:
    """Write a difference of errors in points, or a ratio."""
    if value is None:
        return ""
    return f"{value:.2f} times" if e["ratio"] else f"{100 * value:.2f} points"


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
    if list_:
        from alexnet.core.device import choose_compute
        from alexnet.studies.cost import listing

        choose_compute(device, precision)
        if pretrain_on and store is None:
            raise InputError(f"--pretrain-on {pretrain_on}: name the STORE that its nets go on with")
        show_claims(listing([name], store, out, recipe, seeds=seeds, epochs=epochs, pretrain_on=pretrain_on), json_)
        return 0
    if store is None or out is None:
        raise InputError("study needs STORE and OUT; or give --list")
    from alexnet.runs.log import console
    from alexnet.studies.run import study

    speak = console()
    found = study(
        [name],
        store,
        out,
        recipe,
        seeds=seeds,
        epochs=epochs,
        device=device,
        precision=precision,
        workers=workers,
        pretrain_on=pretrain_on,
        quiet=json_,
        say=lambda words: None if json_ else speak.print(words, markup=False),
        leave=True,
    )
    show_studies(found, json_)
    return 1 if any(result["failed"] for result in found) else 0


def figures(
    run: Path,
    out: Path,
    /,
    *,
    only: Annotated[tuple[FigureName, ...], Parameter(negative=(), consume_multiple=1, show_default=False)] = (),
) -> int:
    """Draw figures for slides, as PNG and SVG: of a run figures 2 to 4 of the paper and others, of a study 1.

    The neighbours are sought among all training pictures, which takes as long as one pass over them.

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
        Figures to draw of a run; all unless given.
    """
    from alexnet.figures.catalogue import draw

    with bar("compare", "pictures") as progress:
        paths, missing = draw(run, out, only or None, progress)
    for path in paths:
        print(path)
    return complain_of(missing.items())


def report(out: Path, /) -> None:
    """Write one self-contained HTML page, OUT/report.html, about every study and run in a folder; also as report.md.

    Example: alexnet report runs/

    Parameters
    ----------
    out
        Folder that holds study or run folders, at any depth.
    """
    from alexnet.reporting.report import report

    print(report(out))
