"""Recognition of a source's kind. To add a kind, write one file here and add one line to SOURCES.

A source is a module of this package with two functions:

    recognises(files: Listing) -> bool             tell from the names alone whether the files are of this kind
    read(files: Listing, work: Path) -> Source     return their pictures, labels and splits (base.py has the types)

`Listing` (archives.py) maps the name of each file, in a folder or an archive, to the place of its bytes; hidden files
are left out. `archives.read` returns the bytes at a place. `work` is a folder for anything you unpack; create it before
you write to it. Check the files in `read`, before any picture is decoded, and raise InputError with one line that says
what is wrong and what to do. If one folder wraps all others and no kind recognises it, the folder inside is tried.

Before any file is listed, each module is tried with an empty listing whose `given` is the source as the user wrote it.
A module recognises that one if its source is a single file but no archive (a table), or no file at all (synthetic.py).
A module that needs --root sets TAKES_ROOT = True and reads it as `files.root`.

tests/data/sources/test_recognise.py has a complete source in fifteen lines. tiny_imagenet.py is a real one.
synthetic.py has no files; users give its name. When yours works, add it to docs/data.md and to the help of
`alexnet prepare` (cli/data.py), and write tests/data/sources/test_YOURS.py.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources import (
    cifar10,
    cifar100,
    class_folders,
    ilsvrc,
    ilsvrc_folders,
    label_table,
    parquet,
    synthetic,
    tiny_imagenet,
    webdataset,
)
from alexnet.data.sources.archives import Listing, list_files
from alexnet.data.sources.base import Source
from alexnet.data.sources.items import read_items


class SourceModule(Protocol):
    """A module of this package that reads one kind of source."""

    def recognises(self, files: Listing, /) -> bool: ...

    def read(self, files: Listing, work: Path, /) -> Source: ...


# ADD YOURS above label_table, which recognises any text file, and class_folders, which recognises any folders: the
# first module that recognises the files reads them.
SOURCES: tuple[SourceModule, ...] = (
    synthetic,
    ilsvrc_folders,
    ilsvrc,
    cifar10,
    cifar100,
    tiny_imagenet,
    parquet,
    webdataset,
    label_table,
    class_folders,
)


def read_source(
    source: str | Path | Iterable[Any], work: Path, ignore: Iterable[str] = (), root: str | Path | None = None
) -> Source:
    """Read the pictures, labels and splits of a source of any kind.

    Args:
        source: a folder, a .tar, a .tar.gz or a .zip; a table of labels; the name of a drawn source, such as
            "builtin:1000"; or from Python an iterable of (picture, label[, split[, weight]]).
        work: a folder for anything that must be unpacked.
        ignore: names, patterns or paths of folders and files to leave out.
        root: for a table of labels, the folder that its paths start from; None means the table's own folder. For an
            iterable, None means the current one.

    Raises:
        InputError: the source is missing or damaged, can be read in two ways, or has pictures of fewer than two
            classes; or `root` is given for a source that does not need it.
    """
    if not isinstance(source, str | os.PathLike):
        for ignored in ignore:
            raise InputError(f"ignore={ignored!r} has no use for an iterable; leave those items out of it")
        return read_items(source, work, root)
    given = Listing({}, frozenset(), given=source, root=None if root is None else Path(root))
    module, path = _recognised(given), Path(source)
    if not module and not path.exists():
        raise InputError(
            f"source {str(path)!r} does not exist; give a folder, a .tar, a .tar.gz, a .zip, a table of labels "
            "or 'builtin'"
        )
    if root is not None and not getattr(module, "TAKES_ROOT", False):
        raise InputError(f"--root {root}: {source} is not a table of labels; omit the option")
    if module:
        for ignored in ignore:
            what = "drawn and has no files" if module is synthetic else "not a folder or an archive"
            raise InputError(f"--ignore {ignored}: {source} is {what}; omit the option")
        try:
            found = module.read(given, work)
        except UnreadablePicture as error:
            raise InputError(f"{path} cannot be read ({error}); fetch it again") from None
        return _with_classes(found, path)
    if all((path / name).is_file() for name in ("meta.json", "statistics.safetensors")):
        raise InputError(f"{path} is a store already; train on it: alexnet train {path} RUN")
    try:
        files = list_files(path, work, ignore)
        inner = _unwrapped(files)
        # If no kind recognises the files, class_folders raises the message that says what is missing.
        module = _recognised(inner) or class_folders
        found = module.read(inner, work) if module is not class_folders else _of_folders(path, files, inner, work)
    except UnreadablePicture as error:
        raise InputError(f"{path} has a file that cannot be read ({error}); fetch it again") from None
    beside = len(files.places) - len(inner.places)
    left_out = {**files.left_out, **found.left_out}
    return replace(_with_classes(found, path), ignored=found.ignored + beside, left_out=left_out)


def _of_folders(path: Path, files: Listing, inner: Listing, work: Path) -> Source:
    """Read class folders; a table of labels beside them must not say otherwise."""
    try:
        found = class_folders.read(inner, work)
    except InputError as error:
        tables = label_table.tables_beside(files) if path.is_dir() else []
        if not tables:
            raise
        raise InputError(
            f"{error}; or give {path / tables[0]} as the source, if it is a table of all pictures and their labels"
        ) from None
    label_table.check_folders(files, inner, found)
    webdataset.check_folders(inner, found)
    return found


def _with_classes(found: Source, path: Path) -> Source:
    if len(found.classes) < 2:
        raise InputError(f"{path} has too few classes ({len(found.classes)}); give two or more, as in docs/data.md")
    return found


def _recognised(files: Listing) -> SourceModule | None:
    return next((module for module in SOURCES if module.recognises(files)), None)


def _unwrapped(files: Listing) -> Listing:
    """Enter a single top folder that wraps all others, as in many archives; there may be files beside it."""
    tops = files.tops()
    if _recognised(files) not in (None, class_folders):
        return files
    if len(tops) == 1 and tops[0].lower() not in class_folders.SPLITS:
        within = files.below(tops[0])
        if _recognised(within):
            return _unwrapped(within)
    return files
