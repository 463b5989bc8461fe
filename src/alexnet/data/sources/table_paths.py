"""The files that the paths of a table of labels lead to, on disk or in a listing of a folder or an archive."""

import os
import posixpath
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from alexnet.core.errors import InputError
from alexnet.data.images.formats import SUFFIXES
from alexnet.data.sources.archives import NOWHERE, FilePart, Listing, Slice
from alexnet.data.sources.class_folders import PICTURES, SPLITS
from alexnet.data.sources.label_values import quote


class Pictures:
    """The files that a table may name.

    Paths start from the top. If the first one is not there, all start from the folder of pictures beside the table that
    has it (`images/`, a folder named like the table, or train/). A path may lack the suffix, as in Kaggle's tables of
    ids.

    Args:
        stem: the table's name without suffix, in lower case.
        where: the place that the paths start from, for messages.
        advice: what to do if a picture is not there.
    """

    def __init__(self, stem: str, where: str, advice: str) -> None:
        self.stem, self.where, self.advice = stem, where, advice
        self.base: str | None = None
        self.stems: dict[str, dict[str, list[str]]] = {}  # a folder -> a stem -> the files with it

    def file(self, name: str) -> FilePart | None:
        """Return where the bytes of a file are; None unless it is a plain file that exists."""
        raise NotImplementedError

    def names(self, folder: str) -> Iterable[str]:
        """Return the names of the files in a folder."""
        raise NotImplementedError

    def tops(self) -> list[str]:
        """Return the names of the top folders."""
        raise NotImplementedError

    def relative(self, path: str) -> str | None:
        """Return an absolute path relative to the top; None if it is outside."""
        raise NotImplementedError

    def has(self, path: str) -> bool:
        """Return whether a path as written in the table leads to a file."""
        base = self.base
        try:
            self.locate(path, "")
        except InputError:
            return False
        finally:
            self.base = base
        return True

    def locate(self, path: str, at: str) -> tuple[str, FilePart]:
        """Return the name and place of the file that a path leads to.

        Raises InputError, with `at` in front, if it is missing, outside, or could be one of several.
        """
        name = self._inside(path, at)
        if self.base is None:
            self.base = self._base(name, at)
        if found := self._found(self.base + name, at):
            return found
        why = "is an address; fetch the pictures first" if "://" in path else f"is not in {self.where}; {self.advice}"
        raise InputError(f"{at}: the picture {quote(path)} {why}")

    def _inside(self, path: str, at: str) -> str:
        """Return a path as a name relative to the top, without "." and ".."."""
        if not path or "\0" in path:
            raise InputError(f"{at}: the path of the picture is {quote(path) if path else 'empty'}; give its path")
        name: str | None = path
        if "\\" in path and not self.file(path):
            name = path.replace("\\", "/")  # written on Windows
        if name and name.startswith("/"):
            name = self.relative(name)
        if name and ("//" in name or name.startswith(".") or "/." in name):
            name = posixpath.normpath(name)
        if not name or name == ".." or name.startswith("../"):
            raise InputError(f"{at}: the picture {quote(path)} is outside {self.where}; {self.advice}")
        return name

    def _base(self, name: str, at: str) -> str:
        """Choose the folder that all paths start from by the first one."""
        if self._found(name, at):
            return ""
        tops = self.tops()
        own = {self.stem, *PICTURES}
        bases = [
            top + "/"
            for top in tops
            if top.lower() in own or SPLITS.get(top.lower()) == SPLITS.get(self.stem, "train") or len(tops) == 1
        ]
        found = [base for base in bases if self._found(base + name, at)]
        if len(found) > 1:
            raise InputError(
                f"{at}: the picture {quote(name)} is in {found[0]} and in {found[1]}; write the folder too"
            )
        return found[0] if found else ""

    def _found(self, name: str, at: str) -> tuple[str, FilePart] | None:
        for form in (name, *(() if name.isascii() else (unicodedata.normalize(f, name) for f in ("NFC", "NFD")))):
            if place := self.file(form):
                return form, place
        folder, _, last = name.rpartition("/")
        if folder not in self.stems:
            stems = self.stems[folder] = {}
            for there in self.names(folder):
                stem, end = posixpath.splitext(there)
                if end.lower() in SUFFIXES:
                    stems.setdefault(stem, []).append(there)
        several = self.stems[folder].get(last, [])
        if len(several) > 1:
            raise InputError(
                f"{at}: the picture {quote(name)} may be {quote(several[0])} or {quote(several[1])}; "
                "write the suffix too"
            )
        for there in several:
            full = f"{folder}/{there}" if folder else there
            if place := self.file(full):
                return full, place
        return None


class OnDisk(Pictures):
    """The files below a folder on disk; links are followed."""

    def __init__(self, root: Path, stem: str) -> None:
        advice = "check the path, or give the folder that the paths start from as --root"
        super().__init__(stem, str(root), advice)
        self.root = str(root)
        self.roots = {self.root, os.path.abspath(root), os.path.realpath(root)}

    def file(self, name: str) -> FilePart | None:
        path = os.path.join(self.root, name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        return Slice(path, 0, status.st_size) if stat.S_ISREG(status.st_mode) else None

    def names(self, folder: str) -> Iterable[str]:
        return self._entries(folder, folders=False)

    def tops(self) -> list[str]:
        return self._entries("", folders=True)

    def _entries(self, folder: str, folders: bool) -> list[str]:
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir() == folders)
        except (OSError, ValueError):
            return []

    def relative(self, path: str) -> str | None:
        path = posixpath.normpath(path)
        return next((path[len(r.rstrip("/")) + 1 :] for r in self.roots if path.startswith(r.rstrip("/") + "/")), None)


class Listed(Pictures):
    """The files of a listing."""

    def __init__(self, files: Listing, stem: str) -> None:
        super().__init__(stem, files.above.rstrip("/") or "the source", "correct the path, or add the picture")
        self.files = files
        self.within: dict[str, list[str]] | None = None  # a folder -> the names of the files in it

    def file(self, name: str) -> FilePart | None:
        place = self.files.places.get(name)
        return None if isinstance(place, Slice) and place.offset == NOWHERE else place

    def names(self, folder: str) -> Iterable[str]:
        if self.within is None:
            self.within = {}
            for name in self.files.places:
                above, _, last = name.rpartition("/")
                self.within.setdefault(above, []).append(last)
        return self.within.get(folder, [])

    def tops(self) -> list[str]:
        return self.files.tops()

    def relative(self, path: str) -> str | None:
        return None
