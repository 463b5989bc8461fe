"""What a listing of pictures leaves out: hidden files, what systems put beside them, and what the caller names."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase

from alexnet.errors import UnusableError

CLUTTER = {  # folders and files, in lower case
    "__macosx", "icon\r",  # macOS
    "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini",  # Windows
    "lost+found",  # ext4
    "@eadir", "#recycle", "@recycle", "#snapshot", "@tmp",  # network drives
    "__pycache__",
}  # fmt: skip


class Sieve:
    """Tell which names a listing leaves out, and count them.

    Args:
        ignore: names of folders and files to leave out wherever they lie, patterns of names (`*.xml`), or paths from
            the top of the source. A name matches in either Unicode form.
    """

    def __init__(self, ignore: Iterable[str] = ()) -> None:
        self.ignore = {pattern: _composed(pattern.strip("/")) for pattern in ignore}
        self.counted: Counter[str] = Counter()
        self.folders: dict[str, bool] = {"": False}  # whether each is left out

    def drops(self, name: str, folder: bool = False) -> bool:
        """Whether a posix name is left out, itself or by a folder that holds it; asked once for each file."""
        if name in self.folders:
            return self.folders[name]
        dropped = self.drops(name.rpartition("/")[0], folder=True)
        if not dropped and (reason := self.reason(name)):
            self.counted[reason] += 1
            dropped = True
        if folder:
            self.folders[name] = dropped
        return dropped

    def reason(self, path: str) -> str:
        """Why the last part of a path is left out; empty where it is not."""
        last = path.rpartition("/")[2]
        for pattern, wanted in self.ignore.items():
            for name in (_composed(last), _composed(path)):
                if name == wanted or fnmatchcase(name, wanted):
                    return pattern
        return "hidden" if last.startswith(".") else last if last.lower() in CLUTTER else ""

    def counts(self) -> dict[str, int]:
        """How many files and folders were left out for each reason; what lies in such a folder is not counted.

        Raises UnusableError for an ignored name that no folder and no file has: it may be misspelt.
        """
        for pattern in self.ignore:
            if not self.counted[pattern]:
                raise UnusableError(f"--ignore {pattern}: the source has no folder or file of that name; check it")
        return dict(sorted(self.counted.items()))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
