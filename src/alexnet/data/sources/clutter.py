"""Files that a listing leaves out: hidden ones, those that operating systems create, and those the caller ignores."""

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable

from alexnet.core.errors import InputError

CLUTTER = {  # folders and files, in lower case
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    "thevolumesettingsfolder",  # macOS
    "$recycle.bin",
    "recycler",
    "system volume information",
    "found.000",  # Windows
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "lost+found",  # ext4
    "@eadir",
    "#recycle",
    "@recycle",
    "#snapshot",
    "~snapshot",
    "@recently-snapshot",
    "@tmp",  # network drives
    "__pycache__",
    "_gsdata_",
}


class Sieve:
    """A filter for the names in a listing, which counts what it leaves out.

    Args:
        ignore: names of folders and files to leave out at any depth, or paths from the top of the source. A `*` matches
            any characters within one name. Names match in either Unicode form.
    """

    def __init__(self, ignore: Iterable[str] = ()) -> None:
        self.ignore = {wanted: _pattern(wanted) for wanted in ignore}
        self.unmatched = dict(self.ignore)
        self.counted: Counter[str] = Counter()
        self.folders: dict[str, bool] = {"": False}  # a folder's name -> whether it is left out

    def drops(self, name: str, folder: bool = False) -> bool:
        """Return whether a posix name is left out, or a folder above it is; call this once for each file."""
        if name in self.folders:
            return self.folders[name]
        dropped = self.drops(name.rpartition("/")[0], folder=True)
        if self.unmatched:  # a match inside a folder that is left out counts as found
            self.unmatched = {w: p for w, p in self.unmatched.items() if not _matches(p, name)}
        if not dropped and (reason := self.reason(name)):
            self.counted[reason] += 1
            dropped = True
        if folder:
            self.folders[name] = dropped
        return dropped

    def reason(self, path: str) -> str:
        """Return why the last part of a path is left out, or "" if it is not."""
        last = path.rpartition("/")[2]
        if is_clutter(last):
            return "hidden" if last.startswith(".") else last
        return next((wanted for wanted, pattern in self.ignore.items() if _matches(pattern, path)), "")

    def counts(self) -> dict[str, int]:
        """Count the files and folders left out for each reason; a folder counts once, whatever it contains.

        Raises InputError for an ignored name that matched nothing: it may be misspelt.
        """
        for wanted in self.unmatched:
            raise InputError(f"--ignore {wanted} matches no file or folder of the source; check the name")
        return dict(sorted(self.counted.items()))


def is_clutter(name: str) -> bool:
    """Return whether a file or folder of that name is hidden, or created by an operating system."""
    return name.startswith(".") or name.lower() in CLUTTER


def option(path: str) -> str:
    """Write the --ignore option that leaves out only this path, quoted for a shell."""
    shown = re.sub(r"[^\w./ @#%+,:=~{}()\[\]&!^$;'-]", "*", path.encode("utf-8", "replace").decode())
    return f"--ignore{'=' if shown.startswith('-') else ' '}{shlex.quote(shown)}"


def _pattern(wanted: str) -> re.Pattern[str]:
    clean = _composed(wanted).strip("/").removeprefix("./")
    return re.compile("[^/]*".join(map(re.escape, clean.split("*"))), re.DOTALL)


def _matches(pattern: re.Pattern[str], path: str) -> bool:
    whole = _composed(path)
    return bool(pattern.fullmatch(whole) or pattern.fullmatch(whole.rpartition("/")[2]))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
