"""Pictures that come one at a time, each with its label as text: their classes, their order, and what is refused."""

import os
import re
from dataclasses import replace

from alexnet.core.errors import InputError
from alexnet.data.sources.archives import FilePart
from alexnet.data.sources.base import Opener, Picture, Source
from alexnet.data.sources.class_folders import WNID, alike, apart
from alexnet.data.sources.label_values import FREE_CLASSES, quote
from alexnet.data.store import Class

OF_TABLE = 1 << 40
WHOLE = re.compile(r"-?\d+", re.ASCII)


class Labelled:
    """Collects pictures and makes a Source of them.

    Classes are sorted by name; if all names are whole numbers, by number.
    """

    def __init__(self) -> None:
        self.splits: dict[str, list[Picture]] = {"train": []}
        self.names: dict[str, int] = {}  # a class's name -> its number in the order of appearance
        self.places: dict[str, int] = {}  # a picture's name -> the number of its row, item or line
        self.first: list[str] = []  # where each class was first seen

    def add(
        self, name: str, label: str, place: FilePart, *, number: int, at: str, split: str | None, weight: float = 1.0
    ) -> None:
        """Add one picture.

        Args:
            name: the picture's name in the source.
            label: the name of its class.
            place: where its bytes are.
            number: the number of its row or item, unlike that of any other picture; OF_TABLE times the number of the
                table is added to a row's.
            at: where the picture was named, for messages, such as "pictures.csv row 7".
            split: its split; None means train.
            weight: its weight, a float32.

        Raises InputError if a picture of that name was added before.
        """
        if (before := self.places.setdefault(name, number)) != number:
            known = list(self.names)
            old = next(p for part in self.splits.values() for p in part if p.name == name)
            raise InputError(
                f"{at} names the picture {quote(name)} again, with the label {quote(label)}; "
                f"{at.split()[-2]} {before % OF_TABLE} has it with {quote(known[old.label])}: name each picture once"
            )
        index = self.names.setdefault(label, len(self.names))
        if index == len(self.first):
            self.first.append(at)
        self.splits.setdefault(split or "train", []).append(Picture(name, index, place, weight))

    def split_by(self, folders: dict[str, str]) -> None:
        """Move each picture of train to the split of the folder that its name starts with."""
        train = self.splits["train"] if folders else []
        for split in set(folders.values()) - {"train"}:
            own = tuple(folder for folder, of in folders.items() if of == split)
            self.splits[split] = [picture for picture in train if picture.name.startswith(own)]
        held = tuple(folder for folder, of in folders.items() if of != "train")
        self.splits["train"] = [p for p in self.splits["train"] if not (held and p.name.startswith(held))]

    def rename(self, start: str) -> None:
        """Take `start` off the pictures' names, and write them with slashes."""
        for part in self.splits.values():
            for n, picture in enumerate(part):
                part[n] = replace(picture, name=picture.name.removeprefix(start).replace(os.sep, "/"))

    def source(self, kind: str, open: Opener, shown: str, content: str = "") -> Source:
        """Make the source; raise InputError for fewer than two classes, twins, or a class that train lacks."""
        if not any(self.splits.values()):
            raise InputError(f"{shown} names no picture; give one at least, with its class")
        if not self.splits["train"]:
            held = " and ".join(split for split, part in self.splits.items() if part)
            raise InputError(f"{shown} has pictures of {held} only; name those of train too")
        if len(self.names) == 1:
            raise InputError(f"{shown} gives every picture the label {quote(*self.names)}; give two classes or more")
        whole = all(map(WHOLE.fullmatch, self.names))
        ordered = sorted(self.names, key=(lambda name: (int(name), name)) if whole else None)
        self._check_twins(ordered, whole)
        self._check_few(shown, whole)
        self._check_trained()
        if not any(picture.weight for picture in self.splits["train"]):
            raise InputError(f"{shown} gives every picture of train the weight 0; give some more")
        order = {self.names[name]: label for label, name in enumerate(ordered)}
        for part in self.splits.values():
            for n, picture in enumerate(part):
                part[n] = replace(picture, label=order[picture.label])
        splits = {split: part for split, part in self.splits.items() if part}
        classes = tuple(Class(name, wnid=name if WNID.fullmatch(name) else None) for name in ordered)
        return Source(kind, classes, splits, open, content=content)

    def _check_twins(self, names: list[str], whole: bool) -> None:
        """Raise InputError for two names that differ only in case, in Unicode form, or in leading zeros."""
        seen: dict[str | int, str] = {}
        for name in names:
            twin = seen.setdefault(int(name) if whole else alike(name), name)
            if twin != name:
                how = f"{twin!r} and {name!r}, which are one number" if whole else apart(twin, name)
                raise InputError(
                    f"{self.first[self.names[name]]}: there are the labels {how}; write both in the same way"
                )

    def _check_few(self, shown: str, whole: bool) -> None:
        """Raise InputError for labels that mark pictures without one, and for ones that are measures or captions."""
        if whole and "-1" in self.names and "0" in self.names:
            raise InputError(
                f"{self.first[self.names['-1']]}: the label is -1 where others are 0 and more, so it may mean that the "
                "picture has none; leave such pictures out, or write all labels as names if -1 is a class"
            )
        pictures = len(self.splits["train"])
        if len(self.names) > FREE_CLASSES and 2 * len(self.names) > pictures:
            raise InputError(
                f"{shown} has {len(self.names)} different labels for {pictures} pictures to train on, such as "
                f"{quote(next(iter(self.names)))}; these look like measures or captions: give classes"
            )

    def _check_trained(self) -> None:
        trained = {picture.label for picture in self.splits["train"]}
        for name, index in self.names.items():
            if index not in trained:
                raise InputError(
                    f"{self.first[index]}: the label {quote(name)} has no picture in train; "
                    "add some, or leave out the pictures of that label"
                )
