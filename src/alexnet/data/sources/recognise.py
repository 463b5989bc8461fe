"""Which kind of source lies at a path."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.images.limits import UnreadablePicture
from alexnet.data.sources import cifar10
from alexnet.data.sources.archives import Listing, list_files
from alexnet.data.sources.base import Source
from alexnet.data.sources.class_folders import SPLITS, class_folders
from alexnet.data.sources.ilsvrc import TRAIN_TARS, ilsvrc
from alexnet.data.sources.synthetic import drawn
from alexnet.data.sources.tiny_imagenet import tiny_imagenet


def read_source(source: str | Path, work: Path, ignore: Iterable[str] = ()) -> Source:
    """Recognise the source called `source` by its names; `work` is a folder for what has to be unpacked.

    `ignore`: names, patterns or paths of folders and files to leave out.

    Raises InputError for one that is missing, damaged, can be read in two ways, or has no pictures of at least two
    classes.
    """
    if isinstance(source, str) and (source == "builtin" or source.startswith("builtin:")):
        if ignored := [*ignore]:
            raise InputError(f"--ignore {ignored[0]}: {source} is drawn and has no files; leave the option out")
        count = source.removeprefix("builtin").removeprefix(":") or "1000"
        if not count.isdecimal():
            raise InputError(f"source {source!r} is no number of pictures; write builtin:N, such as builtin:1000")
        return drawn(int(count))
    path = Path(source)
    if not path.exists():
        raise InputError(f"source {str(path)!r} is not there; give a folder, a .tar, a .tar.gz, a .zip or 'builtin'")
    if path.name in TRAIN_TARS and path.is_file():
        raise InputError(f"{path} needs its labels; give the folder that holds it, the other tars and the devkit")
    try:
        files = list_files(path, work, ignore)
        found = _recognised(_unwrapped(files), work)
        if found.kind in ("folders", "tiny-imagenet"):  # the others count files of which each holds many pictures
            found = replace(found, ignored=len(files.places) - sum(map(len, found.splits.values())))
        found = replace(found, left_out=files.left_out)
    except UnreadablePicture as error:
        raise InputError(f"{path} has a file that cannot be read ({error}); fetch it again") from None
    if len(found.classes) < 2:
        raise InputError(f"{path} has {len(found.classes)} classes, and at least two are needed; see docs/data.md")
    return found


def _unwrapped(files: Listing) -> Listing:
    """The listing inside a top folder that wraps all others, as archives tend to have one; files may lie beside it."""
    tops = files.tops()
    if len(tops) == 1 and tops[0].lower() not in SPLITS:
        within = files.below(tops[0])
        if within.folders or _is_cifar(within):
            return _unwrapped(within)
    return files


def _is_cifar(files: Listing) -> bool:
    return "data_batch_1.bin" in files.places or "data_batch_1" in files.places


def _recognised(files: Listing, work: Path) -> Source:
    if any(name in files.places for name in TRAIN_TARS):
        return ilsvrc(files)
    if _is_cifar(files):
        work.mkdir(parents=True, exist_ok=True)
        return (cifar10.binary if "data_batch_1.bin" in files.places else cifar10.python)(files, work)
    if "val/val_annotations.txt" in files.places:
        return tiny_imagenet(files)
    return class_folders(files)
