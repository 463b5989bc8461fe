"""Verbs that run studies and show what was found."""

import sys
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
    from alexnet.studies.wording import amount, between

    for result in found:
        rows = [
            [
                f"{e['measure']}: {e['more']} against {e['than'] or e['less']}{'' if e['judged'] else ' (beside)'}",
                amount(e["difference"], e),
                between(e),
                amount(e["paper"], e),
                e["verdict"],
                f"{e['needed_paper']}" if e["needed_paper"] and e["verdict"] == "not shown" else "",
            ]
            for e in result["expects"]
        ]
        heads = ["larger", "by", "95 % interval", "paper", "verdict", "seeds for the paper's"]
        table(f"{result['claim']}: {result['verdict']}; {result['scale']}, {result['seeds']} seeds", heads, rows)
        for note in result["notes"]:
            print(note)


def show_judged(rows: Sequence[Any], as_json: bool) -> None:
    """Print the verdict on each claim, a line a claim."""
    if as_json:
        show_json(rows)
        return
    from alexnet.studies.wording import amount, between

    heads = ["claim", "verdict", "by", "95 % interval", "p (Holm)", "seeds", "paper"]
    shown = [
        [
            r["claim"],
            r["verdict"],
            amount(r["difference"], r),
            between(r),
            "" if r["p_holm"] is None else f"{r['p_holm']:.2g}",
            f"{r['seeds']}",
            amount(r["paper"], r),
        ]
        for r in rows
    ]
    table(f"{len(rows)} claims, judged together", heads, shown)


def study(
    name: str = "all",
    store: Path | None = None,
    out: Path | None = None,
    /,
    *,
    recipe: str | None = None,
    seeds: Annotated[int | None, number(1, 1000)] = None,
    epochs: Positive | None = None,
    pictures: Positive | None = None,
    held_out: Positive | None = None,
    records: Path | None = None,
    missing: Annotated[bool, Parameter(negative=())] = False,
    run: str | None = None,
    judge: Path | None = None,
    pretrain_on: Path | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    device: Device = "auto",
    precision: Precision = "bf16",
    workers: Workers = 2,
    json_: Json = False,
) -> int:
    """Decide a claim of the paper: train its arms over several seeds, and say whether it holds, with a 95 % interval.

    What OUT or the records hold already is not trained again. Stopped, it goes on where it was when run again. Exit
    status 1: a run failed, and its claim is not shown.

    Example: alexnet study ten-views store-cifar studies

    Example: alexnet study all store-cifar studies --records results --missing | xargs -P 2 -L 1 nice

    Example: alexnet study --judge results

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
        What the arms differ from; by the store's pictures unless given: source for 256 pixels, tiny for 64, small for
        32.
    seeds
        Runs of each arm; the claim's design unless given. A verdict needs 3.
    epochs
        Length of each run; the schedule keeps its proportions.
    pictures
        Pictures to train on, as many of each class, drawn by chance; the claim's design unless given.
    held_out
        Held-out pictures to judge on, likewise; all unless given.
    records
        Folder for a small file about each run, OUT/records unless given. Runs that have one there are not trained
        again, whoever made it.
    missing
        Print the runs still wanted, a command a line, for xargs or any queue.
    run
        Train the one run of this recipe digest, as the commands of --missing do.
    judge
        Judge every claim by the records in this folder, and nothing else.
    pretrain_on
        Store of more classes, for pretrain and the CNN* of table-2, which are trained on it first.
    list_
        Show every claim, the paper's number, 2012's, the arms, and what deciding it costs; on STORE, and at the rate
        of the runs in OUT, where they are given.
    precision
        Of all runs. Records of one precision add up.
    """
    if judge:
        from alexnet.studies.claims import claims_named
        from alexnet.studies.judge import judge_folder

        if store or out or records:
            raise InputError(f"--judge {judge} takes records alone; leave out STORE, OUT and --records")
        judged, left = judge_folder(judge)
        for line in left:
            print(line, file=sys.stderr)
        asked = {claim.name for claim in claims_named([name])}
        show_judged([row for row in judged if row["claim"] in asked], json_)
        return 0
    if list_:
        from alexnet.core.device import choose_compute
        from alexnet.studies.cost import listing

        choose_compute(device, precision)
        if pretrain_on and store is None:
            raise InputError(f"--pretrain-on {pretrain_on}: name the STORE that its nets go on with")
        show_claims(listing([name], store, out, recipe, seeds=seeds, epochs=epochs, pretrain_on=pretrain_on), json_)
        return 0
    if store is None or out is None:
        raise InputError("study needs STORE and OUT; or give --list, or --judge DIR")
    if missing:
        from alexnet.data.store import Store
        from alexnet.studies import missing as queue
        from alexnet.studies.plan import Request

        request = Request(recipe, seeds, epochs, pictures, held_out, Store(pretrain_on) if pretrain_on else None)
        words = ["--device", device] * (device != "auto") + ["--workers", f"{workers}"] * (workers != 2)
        rows = queue.missing([name], store, out, request, records, precision=precision, options=words)
        show_json(rows) if json_ else print("".join(row["command"] + "\n" for row in rows), end="")
        return 0
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
        pictures=pictures,
        held_out=held_out,
        records=records,
        device=device,
        precision=precision,
        workers=workers,
        pretrain_on=pretrain_on,
        only=run,
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
    """Draw figures for slides, as PNG and SVG: of a run, of a study, or of the claims that records decide.

    Of a run they are figures 2 to 4 of the paper and others, of a study figure 1.

    The neighbours are sought among all training pictures, which takes as long as one pass over them.

    Example: alexnet figures run figures/

    Example: alexnet figures run figures/ --only architecture kernels

    Example: alexnet figures study figures/

    Example: alexnet figures results figures/

    Parameters
    ----------
    run
        Run folder; pictures come from the store that it was trained on, where that still lies. Or a folder of studies
        in which relu-tanh is finished, or one that holds records.
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
    """Write one self-contained HTML page, OUT/report.html, about all in a folder; also as report.md.

    That is every study and run, and what the records there say of the paper's claims.

    Example: alexnet report runs/

    Parameters
    ----------
    out
        Folder that holds study or run folders, or records, at any depth.
    """
    from alexnet.reporting.report import report

    print(report(out))
