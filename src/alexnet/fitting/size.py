"""The numbers of pictures of a source or a store, by their use."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from alexnet.core.errors import InputError
from alexnet.data.prepare.plan import held_out
from alexnet.data.sources.base import Source
from alexnet.data.store import Store

FEWEST = 10  # training pictures; fewer tell nothing of a recipe
HELD_OUT = 0.2  # of each class, where the source holds none out
UNEQUAL = 3  # the largest class over the smallest, from which on counts are called unequal


@dataclass(frozen=True)
class Size:
    """The pictures of a source.

    Attributes:
        train: Number of pictures to train on.
        held_out: Number of pictures to measure the error on.
        classes: Number of classes.
        unequal: Whether the largest class has over UNEQUAL times as many training pictures as the smallest.
    """

    train: int
    held_out: int
    classes: int
    unequal: bool = False

    @property
    def each(self) -> float:
        """The mean number of training pictures a class."""
        return self.train / self.classes


def size_of_source(found: Source, name: str, seed: int) -> Size:
    """Count the pictures of a source, as `prepare` will split them.

    Args:
        found: The source.
        name: What the user called it, for messages.
        seed: Seed for the choice of held-out pictures.

    Raises:
        InputError: There are too few pictures to train on, or none to measure the error on.
    """
    splits = found.splits
    if not {"val", "test"} & splits.keys():
        splits = splits | held_out(splits["train"], HELD_OUT, seed)
    held = splits["val" if "val" in splits else "test"]
    if not held:
        raise InputError(f"{name} has one picture of each class; add a second one, to measure the error on")
    made = _size([picture.label for picture in splits["train"]], len(held), len(found.classes))
    if made.train < FEWEST:
        raise InputError(
            f"{name} has {made.train} picture{'s' * (made.train != 1)} to train on, and {len(held)} held out to "
            f"measure the error on; {FEWEST} to train on are the least, and hundreds are better"
        )
    return made


def size_of_store(store: Store) -> Size:
    """Count the pictures of a store."""
    return _size(store["train"].labels.tolist(), len(store[store.held_out]), len(store.classes))


def _size(labels: Sequence[int], held: int, classes: int) -> Size:
    counts = Counter(labels).values()
    return Size(len(labels), held, classes, max(counts) > UNEQUAL * min(counts))
