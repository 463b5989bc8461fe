"""Verbs that make and check stores."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from alexnet.cli.console import bar, show_json, table
from alexnet.cli.options import Json, number
from alexnet.core.errors import InputError


def prepare(
    source: str,
    store: Path,
    /,
    *,
    side: Annotated[int | None, number(1, 65_536)] = None,
    format: Literal["raw", "jpeg"] | None = None,
    val_fraction: float | None = None,
    jobs: Annotated[int | None, number(1, 4096)] = None,
    ignore: Annotated[list[str] | None, Parameter(negative=())] = None,
    json_: Json = False,
) -> None:
    """Make a store of square pictures, with their mean and colour components, from a source of pictures.

    Stopped, it goes on where it was when run again; the same source gives the same bytes whatever --jobs.

    Example: alexnet prepare photographs/ store --val-fraction 0.2

    Parameters
    ----------
    source
        Class folders (with or without train/ and val/, by any usual name), a .tar, .tar.gz or .zip of them; a folder
        with the ILSVRC-2012 or ILSVRC-2010 archives; CIFAR-10 (binary or python); Tiny ImageNet; or builtin, or
        builtin:N.
    store
        Folder to make.
    side
        Pixels a side: 256, or 32 for CIFAR-10 and 64 for Tiny ImageNet, unless given.
    format
        raw bytes, or jpeg of quality 90 (the default for ILSVRC, which would take 252 GB raw).
    val_fraction
        Part of each class that is held out where the source has no val/: 0.1 unless given, or 0 where it has test/.
    jobs
        Worker processes; as many as there are cores unless given. With 1 the work is done in this process, where no
        picture has a limit of time.
    ignore
        Name, pattern ('*.xml') or path from the top of a folder or file to leave out; may be given again.
    """
    from alexnet.data.prepare.prepare import prepare

    with bar("prepare", "pictures") as progress:
        summary = prepare(
            source,
            store,
            side=side,
            format=format,
            val_fraction=val_fraction,
            jobs=jobs,
            ignore=ignore or (),
            progress=progress,
        )
    if json_:
        show_json(vars(summary) | {"form": summary.format})
    else:
        show_summary(summary)


def verify(store: Path, /) -> None:
    """Read every byte of a store and compare it with the checksums that were taken when it was made.

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


MOST_CLASSES = 20  # that are shown one by one


def show_summary(made: Any) -> None:
    """Print what preparing did: pictures by split and class, and how many were not taken as they are."""
    rows = [[f"{split} pictures", f"{n:,}"] for split, n in made.pictures.items()]
    rows += [["classes", f"{made.classes:,}"], ["pixels a side, format", f"{made.side}, {made.format}"]]
    rows += [[f"converted: {reason}", f"{n:,}"] for reason, n in made.converted.items()]
    rows += [[f"refused: {reason}", f"{n:,}"] for reason, n in made.refused.items()]
    rows += [["files in no class", f"{made.ignored:,}"]] if made.ignored else []
    rows += [[f"left out: {reason}", f"{n:,}"] for reason, n in made.left_out.items()]
    rows += [["megabytes", f"{made.bytes / 1e6:,.1f}"], ["seconds", f"{made.seconds:.1f}"], ["digest", made.digest]]
    table(f"store {made.store} from {made.kind}", ["", ""], rows)
    splits = list(made.pictures)
    if len(made.per_class) <= MOST_CLASSES:
        counts = [[name, *(f"{each[split]:,}" for split in splits)] for name, each in made.per_class.items()]
    else:
        extremes: list[tuple[str, Callable[[Iterable[int]], int]]] = [("fewest", min), ("most", max)]
        counts = [[what, *(f"{of(c[s] for c in made.per_class.values()):,}" for s in splits)] for what, of in extremes]
    table("", ["pictures of a class", *splits], counts)
    if made.converted or made.refused:
        print(f"each of them by name: {made.store / 'prepare.jsonl'}")
