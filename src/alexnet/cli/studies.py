"""Commands that run studies and present results: study, figures, report."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from alexnet.cli.choices import FigureName
from alexnet.cli.console import bar, complain_of, show_json, table
from alexnet.cli.options import Device, Json, Positive, Precision, Threads, Workers, begin_threads, number
from alexnet.core.errors import InputError


def show_claims(rows: Sequence[Any], as_json: bool) -> None:
    """Print a line for each claim: the paper's number and the cost of deciding it. Of one claim, print everything."""
    if as_json:
        show_json(rows)
        return
    first = rows[0]
    rate = f"{first['rate']:.2g} multiply-adds a second and core, {first['rate_is']}"
    if len(rows) == 1:
        names = {"if it holds": "plain", "section": "section", "paper": "paper"}
        names |= {"2012 log": "log", "recipe": "recipe", "cost": "cost"}
        shown = [[head, first[name] or ""] for head, name in names.items()]
        shown += [["arms" if n == 0 else "", arm] for n, arm in enumerate(first["arms"])]
        table(f"{first['claim']}: {first['seeds']} seeds; {rate}", ["", ""], shown)
        return
    lines = []
    for row in rows:
        minutes = row["core_minutes"]
        words = "" if minutes is None else f"{'to ' * row['cost'].startswith('at most')}{minutes:,.0f}"
        lines.append([row["claim"], row["section"], row["paper"].partition(" (")[0], f"{row['seeds']}", words])
    table(f"{rate}", ["claim", "section", "paper", "seeds", "core-minutes"], lines)
    for row in rows:
        if row["core_minutes"] is None:
            print(f"{row['claim']}: {row['cost']}")
    print("alexnet study CLAIM --list adds its arms and what the log of 2012 says")


def show_studies(found: Sequence[Any], as_json: bool) -> None:
    """Print the result of each claim: the difference, its interval, and the verdict."""
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


def show_judged(rows: Sequence[Any], looks: int) -> None:
    """Print one line for each claim, with its verdict. `looks` comparisons were judged together."""
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
    table(f"{len(rows)} claims; p is adjusted for the {looks} comparisons judged together", heads, shown)


def show_ladder(ladder: Any) -> None:
    """Print one line for each rung of a ladder: its error, and what the step to it gains."""
    from alexnet.studies.ladder import steps_of
    from alexnet.studies.wording import amount, between

    shown = []
    for rung, step in zip(ladder["rungs"], [None, *steps_of(ladder)], strict=True):
        error = "" if rung["top1"] is None else f"{100 * rung['top1']:.2f} %"
        row = [rung["rung"] if step is None else f"+ {rung['rung']}", error, f"{len(rung['seeds'])}"]
        if step is not None:
            p = "" if step["p_holm"] is None else f"{step['p_holm']:.2g}"
            row += [amount(step["difference"], step, "+"), between(step, "+"), p, step["verdict"]]
        shown.append([*row, *[""] * (7 - len(row))])
    heads = ["net", "error", "seeds", "gain", "95 % interval", "p (Holm)", "verdict"]
    table(f"{ladder['claim']}: not about a claim of the paper; {ladder['scale']}", heads, shown)


def study(
    name: str = "all",
    store: Path | None = None,
    out: Path | None = None,
    /,
    *,
    recipe: str | None = None,
    seeds: Annotated[int | None, number(1, 1000)] = None,
    first_seed: Annotated[int, number(0, 999)] = 0,
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
    workers: Workers = None,
    threads: Threads = None,
    json_: Json = False,
) -> int:
    """Test a claim of the paper: train its arms with several seeds.

    It prints the difference, its 95 % interval and the verdict. Runs already in OUT or among the records are not
    trained again, so if you stop this command, run it again to continue. The exit status is 1 if a run failed; its
    claim is then not shown.

    Example: alexnet study --list

    Example: alexnet study ten-views store-cifar studies

    Parameters
    ----------
    name
        Claim from --list, or all for every claim of the paper that the store can decide.
    store
        Folder that `alexnet prepare` made.
    out
        Folder for the runs, which all claims share, and for the result of each claim, NAME.json.
    recipe
        Recipe that the arms change. By default source for pictures of 256 pixels, tiny for 64, small for 32.
    seeds
        Number of runs of each arm. By default the claim's design. A verdict needs 3.
    first_seed
        Seed of each arm's first run. A repetition of a study takes seeds that no run had before.
    epochs
        Number of epochs of each run; the learning-rate schedule is scaled to fit. By default the claim's design.
    pictures
        Number of pictures to train on, drawn at random, the same number of each class. By default the claim's design.
    held_out
        Number of held-out pictures to measure on, drawn the same way. By default all.
    records
        Folder for a small file about each run. By default OUT/records. A run with a record there is not trained again,
        even if another machine made it.
    missing
        Print a command for each run that is still missing, one a line, for xargs or a queue.
    run
        Digest of the one recipe to train, as in the commands that --missing prints.
    judge
        Folder of records. Print the verdict on every claim from these records alone, and train nothing.
    pretrain_on
        Store with more classes. The nets of pretrain and the CNN* of table-2 are trained on it first.
    list_
        Print every claim, the paper's number and the cost; with a claim, also the arms and what the log of 2012 says.
        STORE and OUT, if given, make the cost that of your store, at the rate of the runs in OUT.
    precision
        Arithmetic of all runs. Only records of the same precision are combined.
    """
    if judge:
        from alexnet.studies.claims import claims_named
        from alexnet.studies.judge import comparisons, judge_folder
        from alexnet.studies.ladder import judge_ladders
        from alexnet.studies.record import read_records

        given = [store, out, recipe, seeds, epochs, pictures, held_out, records, run, pretrain_on, threads, workers]
        if any(value is not None for value in given) or missing or list_ or (first_seed, device) != (0, "auto"):
            raise InputError(f"--judge {judge} reads records only; give it a claim and --json, and nothing else")
        asked = {claim.name for claim in claims_named([name])}
        judged, left = judge_folder(judge)
        for line in left:
            print(line, file=sys.stderr)
        rows = [row for row in judged if row["claim"] in asked]
        ladders = [row for row in judge_ladders(read_records(judge)) if name == "all" or row["claim"] in asked]
        if json_:
            show_json([*rows, *ladders])
            return 0
        if rows or not ladders:
            show_judged(rows, comparisons(judged))
        for ladder in ladders:
            show_ladder(ladder)
        return 0
    if list_:
        from alexnet.core.device import choose_compute
        from alexnet.studies.cost import listing

        choose_compute(device, precision)
        if missing or run is not None or records is not None:
            raise InputError("--list trains nothing and reads no records; leave out --missing, --run and --records")
        if pretrain_on and store is None:
            raise InputError(f"--pretrain-on {pretrain_on} needs STORE, which the nets are trained on afterwards")
        design: dict[str, Any] = {"seeds": seeds, "epochs": epochs, "pictures": pictures, "held_out": held_out}
        show_claims(listing([name], store, out, recipe, pretrain_on=pretrain_on, **design), json_)
        return 0
    if store is None or out is None:
        raise InputError("study needs STORE and OUT; give both, or --list, or --judge DIR")
    if missing:
        if run is not None:
            raise InputError("--missing lists every run; leave out --run")
        from alexnet.data.store import Store
        from alexnet.studies import missing as queue
        from alexnet.studies.plan import Request

        more = Store(pretrain_on) if pretrain_on else None
        request = Request(recipe, seeds, epochs, pictures, held_out, more, first_seed)
        words = ["--device", device] * (device != "auto") + ["--workers", f"{workers}"] * (workers is not None)
        words += ["--threads", f"{threads}"] * (threads is not None)
        rows = queue.missing([name], store, out, request, records, precision=precision, options=words)
        show_json(rows) if json_ else print("".join(row["command"] + "\n" for row in rows), end="")
        return 0
    begin_threads(threads, speak=not json_)
    from alexnet.runs.log import console
    from alexnet.studies.run import study

    speak = console()
    found = study(
        [name],
        store,
        out,
        recipe,
        seeds=seeds,
        first_seed=first_seed,
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
    split: str | None = None,
    threads: Threads = None,
) -> int:
    """Draw figures of a run, a study or records, as PNG and SVG.

    A run gives figures 2 to 4 of the paper and more. A study of relu-tanh gives figure 1. Records give one figure of
    all claims. The figure neighbours takes one pass over the training pictures.

    Example: alexnet figures run slides/

    Example: alexnet figures run slides/ --only confusion top5 --split test

    Parameters
    ----------
    run
        Folder of a run, of studies with relu-tanh finished, or of records. A run's pictures come from its store, if
        that is still in its place.
    out
        Folder for the figures.
    only
        Figures of a run to draw. By default all.
    split
        Split whose pictures are drawn: train, val or test. By default the held-out one.
    """
    from alexnet.figures.catalogue import draw

    begin_threads(threads)
    with bar("compare", "pictures") as progress:
        paths, missing = draw(run, out, only or None, progress, split)
    for path in paths:
        print(path)
    return complain_of(missing.items())


def report(out: Path, /, *, threads: Threads = None) -> None:
    """Write a page about all runs and studies in a folder: OUT/report.html.

    Your own runs come first, then the paper's claims, from studies and records. The page needs no other file.
    OUT/report.md holds the same without the runs' figures.

    Example: alexnet report runs/

    Parameters
    ----------
    out
        Folder that holds runs, studies or records, at any depth.
    """
    from alexnet.reporting.report import report

    begin_threads(threads)
    print(report(out))
