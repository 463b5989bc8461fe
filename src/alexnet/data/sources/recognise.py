"""Which kind of source lies at a path. To add a kind, write one file here and put one line into SOURCES.

A source is a module of this package with two plain functions:

    recognises(files: Listing) -> bool             whether these files are of its kind; looks at names, reads nothing
    read(files: Listing, work: Path) -> Source     their pictures, labels and splits (base.py has the types)

`Listing` (archives.py) has the names of all files, in a folder or inside an archive, without hidden files, and where
their bytes lie. `work` is a folder for what has to be unpacked; make it before you write there. `read` checks the
files before any picture is decoded, and raises InputError with one line: what is wrong, and what would do.
tests/data/sources/test_recognise.py has a whole one in fifteen lines (`archives.read` gives the bytes of a file), and
tiny_imagenet.py is a real one; synthetic.py has no files, and users call it by a name. A folder that wraps all others
is looked into unless a kind recognises it from outside. Then name the kind in docs/data.md and in the help of
`alexnet prepare` (cli/data.py), and write tests/data/sources/test_YOURS.py.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources import cifar10, class_folders, ilsvrc, synthetic, tiny_imagenet
from alexnet.data.sources.archives import Listing, list_files
from alexnet.data.sources.base import Source


class SourceModule(Protocol):
    """What a module of this package offers."""

    def recognises(self, files: Listing, /) -> bool: ...

    def read(self, files: Listing, work: Path, /) -> Source: ...


# ADD YOURS above class_folders, which recognises any folders: the first that recognises the files reads them.
SOURCES: tuple[SourceModule, ...] = (
    synthetic,
    ilsvrc,
    cifar10,
    tiny_imagenet,
    class_folders,
)


def read_source(source: str | Path, work: Path, ignore: Iterable[str] = ()) -> Source:
    """Read the pictures, labels and splits of a source of any kind.

    Args:
        source: a folder, a .tar, a .tar.gz or a .zip, or the name of a source that is drawn, such as "builtin:1000".
        work: a folder for what has to be unpacked.
        ignore: names, patterns or paths of folders and files to leave out.

    Raises:
        InputError: the source is missing or damaged, can be read in two ways, or has no pictures of at least two
            classes.
    """
    given = Listing({}, frozenset(), given=source)
    if module := _recognised(given):
        found = module.read(given, work)
        if ignored := [*ignore]:
            raise InputError(f"--ignore {ignored[0]}: {source} is drawn and has no files; leave the option out")
        return found
    path = Path(source)
    if not path.exists():
        raise InputError(f"source {str(path)!r} is not there; give a folder, a .tar, a .tar.gz, a .zip or 'builtin'")
    try:
        files = list_files(path, work, ignore)
        inner = _unwrapped(files)
        # class_folders says what is missing where nothing is recognised.
        found = (_recognised(inner) or class_folders).read(inner, work)
    except UnreadablePicture as error:
        raise InputError(f"{path} has a file that cannot be read ({error}); fetch it again") from None
    if len(found.classes) < 2:
        raise InputError(f"{path} has {len(found.classes)} classes, and at least two are needed; see docs/data.md")
    beside = len(files.places) - len(inner.places)
    return replace(found, ignored=found.ignored + beside, left_out=files.left_out)


def _recognised(files: Listing) -> SourceModule | None:
    return next((module for module in SOURCES if module.recognises(files)), None)


def _unwrapped(files: Listing) -> Listing:
    """The listing inside a top folder that wraps all others, as archives tend to have one; files may lie beside it."""
    tops = files.tops()
    if _recognised(files) not in (None, class_folders):
        return files
    if len(tops) == 1 and tops[0].lower() not in class_folders.SPLITS:
        within = files.below(tops[0])
        if _recognised(within):
            return _unwrapped(within)
    return files
