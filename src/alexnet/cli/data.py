"""Commands that make and check stores: prepare, verify."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, show_json, table
from alexnet.cli.options import Json, Whole, number
from alexnet.core.errors import InputError


def prepare(
    source: str,
    store: Path,
    /,
    *,
    side: Whole | None = None,
    format: Literal["raw", "jpeg"] | None = None,
    fit: Literal["crop", "pad", "warp"] = "crop",
    val_fraction: float | None = None,
    jobs: Annotated[int | None, number(1, 4096)] = None,
    duplicates: Literal["off", "exact", "near"] = "exact",
    ignore: Annotated[list[str] | None, Parameter(negative=())] = None,
    root: Path | None = None,
    seed: Annotated[int, number(0, 2**63 - 1)] = 0,
    json_: Json = False,
) -> None:
    """Make a store, the dataset that nets train on, from pictures.

    A store holds square pictures, their mean and their colour components. If you stop this command, run it again to
    continue. The same source always gives the same bytes, with any --jobs.

    Example: alexnet prepare photographs/ store --val-fraction 0.2

    Example: alexnet prepare pictures.csv store --root photographs/

    Example: alexnet prepare builtin:1500 store

    Parameters
    ----------
    source
        A folder with a folder of pictures for each class, inside train/ and val/ or not, or with pictures and a table
        of their labels; a .tar, .tar.gz or .zip of one; a table of labels (.csv, .tsv, .jsonl, a list of Caffe); a
        folder with the archives of ILSVRC-2012 or ILSVRC-2010, or Kaggle's tree of it; CIFAR-10 or CIFAR-100 (binary
        or python); Tiny ImageNet; Hugging Face's Parquet files; WebDataset shards, also as a pattern
        ('train-{000..009}.tar'); or builtin or builtin:N, pictures drawn by program.
    store
        Folder to make.
    side
        Side of the stored pictures, in pixels. By default 256; 32 for CIFAR, 64 for Tiny ImageNet.
    format
        Format of the stored pictures: raw bytes, or jpeg of quality 90. By default raw; jpeg for ILSVRC, which would
        take 252 GB raw.
    fit
        How a picture becomes square: crop takes the central square; pad puts the whole picture on gray; warp squeezes
        the whole picture into the square, as BVLC's nets (recipes bvlc, caffenet) were trained. A trained net takes new
        pictures the same way.
    val_fraction
        Part of each class to hold out, 0 to 1, if the source has no val/. By default 0.1; 0 if it has test/.
    jobs
        Number of worker processes. By default one for each core. With 1 this process does the work, and no picture
        has a time limit.
    duplicates
        Pictures to count and list that the source has more than once: exact for identical ones; near for near-identical
        ones too, which needs the extra near (docs/data.md) and more time; off for none.
    ignore
        Files or folders to leave out: a name, a pattern ('*.xml') or a path from the top. May be repeated.
    root
        For a table of labels: the folder that its paths start from. By default the table's own folder.
    seed
        Seed for the choice of held-out pictures.
    """
    from alexnet.data.prepare.prepare import prepare

    with bar("prepare", "pictures") as progress:
        summary = prepare(
            source,
            store,
            side=side,
            format=format,
            fit=fit,
            val_fraction=val_fraction,
            jobs=jobs,
            duplicates=duplicates,
            ignore=ignore or (),
            root=root,
            seed=seed,
            progress=progress,
        )
    if json_:
        show_json(vars(summary) | {"form": summary.format})
    else:
        show_summary(summary)


def verify(store: Path, /) -> None:
    """Check every byte of a store against its checksums.

    Example: alexnet verify store

    Parameters
    ----------
    store
        Folder that `alexnet prepare` made.
    """
    from alexnet.data.store import Store, verify

    damaged = verify(store)
    if damaged:
        raise InputError(f"store {store} is damaged: {', '.join(damaged)}; prepare it again")
    print(f"{store} is intact, digest {Store(store).digest}")


MOST_CLASSES = 20  # with more, only the smallest and largest class are shown


def show_summary(made: Any) -> None:
    """Print what preparing did: pictures by split and class, and how many were converted, refused or left out."""
    rows = [[f"{split} pictures", f"{n:,}"] for split, n in made.pictures.items()]
    rows += [["classes", f"{made.classes:,}"], ["pixels a side, format", f"{made.side}, {made.format}"]]
    rows += [[f"converted: {reason}", f"{n:,}"] for reason, n in made.converted.items()]
    rows += [[f"refused: {reason}", f"{n:,}"] for reason, n in made.refused.items()]
    rows += [["files in no class", f"{made.ignored:,}"]] if made.ignored else []
    rows += [[f"left out: {reason}", f"{n:,}"] for reason, n in made.left_out.items()]
    rows += _found(made)
    rows += [["megabytes", f"{made.bytes / 1e6:,.1f}"], ["seconds", f"{made.seconds:.1f}"], ["digest", made.digest]]
    table(f"store {made.store} from {made.kind}", ["", ""], rows)
    splits = list(made.pictures)
    if len(made.per_class) <= MOST_CLASSES:
        counts = [[name, *(f"{each[split]:,}" for split in splits)] for name, each in made.per_class.items()]
    else:
        extremes: list[tuple[str, Callable[[Iterable[int]], int]]] = [("fewest", min), ("most", max)]
        counts = [[what, *(f"{of(c[s] for c in made.per_class.values()):,}" for s in splits)] for what, of in extremes]
    table("", ["pictures of a class", *splits], counts)
    for line in _hints(made):
        print(line)
    if made.converted or made.refused:
        print(f"every converted or refused picture by name: {made.store / 'prepare.jsonl'}")


LARGE_CUT = 0.15  # of the median picture's area; from here on, point to the other fits


def _found(made: Any) -> list[list[str]]:
    """Make the rows on what the central square cuts away, and on pictures that the source has twice."""
    rows, cut, twins = [], made.cut_away, made.duplicates
    if cut and cut["p90"] > 0:
        rows.append(
            ["cut away: median, 90 % of pictures", f"{100 * cut['median']:.1f} %, up to {100 * cut['p90']:.1f} %"]
        )
        rows.append(["pictures that lose over a quarter", f"{cut['over_quarter']:,}"])
    for kind, words in (("identical", "identical pictures"), ("near", "near-identical pictures")):
        found = twins[kind] if twins else None
        if not found or not found["groups"]:
            continue
        least = "" if found["complete"] else "at least "
        unit = "groups" if kind == "identical" else "pairs"
        rows.append([words, f"{least}{found['pictures']:,}"])
        rows.append([f"{words}: {unit}", f"{least}{found['groups']:,}"])
        rows.append([f"{words}: {unit} across splits", f"{found['across_splits']:,}"])
        rows.append([f"{words}: held out, with one in train", f"{found['held_out']:,}"])
        rows.append([f"{words}: {unit} with two labels", f"{found['two_labels']:,}"])
    return rows


def _hints(made: Any) -> list[str]:
    """Say what would do about a large cut and about duplicates."""
    lines, twins = [], made.duplicates
    if made.cut_away and made.cut_away["median"] > LARGE_CUT:
        lines.append("--fit pad keeps whole pictures, on gray; --fit warp keeps them, squeezed")
    if twins and twins["near"] is None and twins["identical"]["groups"]:  # then copies that differ a little are likely
        lines.append("--duplicates near finds near-identical ones too (pip install 'alexnet[near]')")
    if twins and twins["listed"]:
        lines.append(f"pictures that lie in two splits or have two labels: {made.store / 'duplicates.jsonl'}")
    return lines
