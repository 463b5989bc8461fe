"""Compare the classes and the size of a store with those of a net, by name and never by position."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from alexnet.core.errors import InputError
from alexnet.core.text import listed, shorten
from alexnet.data.store import Class, Store, labels
from alexnet.models.network import Network


def check_side(store: Store, title: str, net: Network) -> None:
    """Raise InputError unless the net takes pictures of the store's size; `title` names the net in the message."""
    if net.transform.side != store.side:
        raise InputError(f"{title} takes {net.transform.side}-pixel pictures, but store {store.path} has {store.side}")


def check_classes(store: Store, title: str, net: Network) -> None:
    """Raise InputError unless the net takes pictures of the store's size and has the store's classes."""
    names = labels(store.classes)
    check_side(store, title, net)
    if list(net.classes) != names:
        one = next((f"{a} / {b}" for a, b in zip(net.classes, names, strict=False) if a != b), None)
        counts = f"{len(net.classes)} and {len(names)} classes" + (f", first difference {one}" if one else "")
        raise InputError(
            f"{title} and store {store.path} differ in their classes: {counts}; use a store with the same classes"
        )


def find_classes(store: Store, title: str, classes: Sequence[Class]) -> np.ndarray:
    """Find the output of a net for each class of a store.

    Two classes are the same if both are shown by the same words, or if they have the same name or WordNet id. So a
    store may have a part of the net's classes, in any order.

    Args:
        store: The store.
        title: Name of the net, for messages.
        classes: The net's classes, in the order of its outputs.

    Returns:
        The number of the output for each of the store's classes, int (store classes,).

    Raises:
        InputError: The net lacks a class of the store, or two of the store's classes are the same one of the net's.
    """
    own, theirs = labels(classes), labels(store.classes)
    if own == theirs:
        return np.arange(len(own))
    places = [_unique([c.wnid for c in classes]), _unique([c.name for c in classes]), _unique(own)]
    found: list[int | None] = []
    for record, shown in zip(store.classes, theirs, strict=True):
        keys = (record.wnid, record.name, shown)
        found.append(next((of[key] for of, key in zip(places, keys, strict=True) if key in of), None))
        outputs = [i for i, c in enumerate(classes) if {record.name, shown} & {c.name, c.words}]
        if found[-1] is None and outputs:
            several = " and ".join(map(str, outputs))
            raise InputError(
                f"{title} has class {shorten(shown)} of store {store.path} as outputs {several}, and names "
                "cannot tell them apart; give each class a name of its own (alexnet import --classes)"
            )
    if lacking := [name for name, place in zip(theirs, found, strict=True) if place is None]:
        raise InputError(
            f"{title} has no class {_listed(lacking)}, which store {store.path} has; the run knows {_listed(own)}. "
            "Prepare the pictures again without that class (prepare --ignore NAME), or train a run on this store"
        )
    twice = [own[i] for i, times in Counter(i for i in found if i is not None).items() if times > 1]
    if twice:
        raise InputError(f"store {store.path} has {twice[0]} of {title} as two classes; make one of them")
    return np.array(found)


def _unique(keys: Sequence[str | None]) -> dict[str | None, int]:
    """Map each key that stands for one class alone to the class's number."""
    times = Counter(keys)
    return {key: i for i, key in enumerate(keys) if key is not None and times[key] == 1}


def _listed(names: Sequence[str]) -> str:
    return listed([*map(shorten, names)])
