"""Pictures of a store for the page: some to pick, and those that the net sees as most similar to a picture."""

import io
from typing import Any

import numpy as np
from PIL import Image

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.data.store import Split, Store, labels
from alexnet.inference.classes import check_side
from alexnet.inference.features import Progress, of_split
from alexnet.inference.layer_names import last_hidden
from alexnet.models.network import Network

MOST = 10_000  # training pictures that are compared: 164 MB of features of AlexNet
SHOWN = 12  # pictures to pick that the page shows at once
NEAREST = 6  # as many as figure 4 of the paper shows


class Stored:
    """Held-out pictures of a store to pick, and training pictures to compare with by their features (section 6.1).

    Args:
        net: The net, in eval mode, on its device.
        store: The store; its pictures have the size that the net takes.
        compute: Device and precision of the net.
        title: Name of the net, for messages.
        most: Largest number of training pictures to compare with. They lie evenly in the split.
        progress: Function called with the numbers of pictures compared and in all.

    Raises:
        InputError: The store's pictures have another size.
    """

    def __init__(
        self,
        net: Network,
        store: Store,
        compute: Compute,
        title: str,
        most: int = MOST,
        progress: Progress = lambda done, of: None,
    ) -> None:
        check_side(store, title, net)
        train = store["train"]
        self.picks = store[store.held_out] if store.held_out in store.splits else train
        self.classes = labels(store.classes)
        self.numbers = evenly(len(train), most)
        self.near = train.take(self.numbers)
        self.layer = last_hidden(net)
        found = of_split(net, self.near, [self.layer], compute, progress=progress)[self.layer]
        self.features = found.reshape(len(found), -1)

    @property
    def facts(self) -> dict[str, Any]:
        """Facts about the store for the page, as JSON types."""
        return {
            "split": self.picks.name,
            "pages": max(1, len(self.picks) // SHOWN),
            "layer": self.layer,
            "compared": len(self.near),
        }

    def page(self, number: int) -> list[dict[str, Any]]:
        """List the pictures to pick on a page; each page has pictures from all over the split, so of many classes."""
        pages = self.facts["pages"]
        if not 0 <= number < pages:
            raise InputError(f"page {number}; it must be 0 to {pages - 1}")
        return [described(self.picks, i, i, self.classes) for i in range(number, len(self.picks), pages)[:SHOWN]]

    def picture(self, kind: str, number: int) -> bytes:
        """Return a square of the store as a PNG: a picture to "pick", or one of the "near" ones."""
        split = self.picks if kind == "pick" else self.near
        if not 0 <= number < len(split):
            raise InputError(f"picture {number}; it must be 0 to {len(split) - 1}")
        return encoded(Image.fromarray(split[number][0]), "PNG")

    def compared(self) -> list[dict[str, Any]]:
        """List the training pictures that are compared."""
        return [described(self.near, i, int(self.numbers[i]), self.classes) for i in range(len(self.near))]

    def nearest(self, given: bytes) -> list[dict[str, Any]]:
        """List the nearest training pictures, nearest first, with their Euclidean distances in the last hidden layer.

        Args:
            given: The features of a picture in that layer, float32.

        Raises:
            InputError: The number of features is not the layer's, or one of them is not finite.
        """
        units = self.features.shape[1]
        if len(given) != 4 * units:
            raise InputError(f"{len(given)} bytes; the features of {self.layer} are {units} float32 numbers")
        query = np.frombuffer(given, "<f4").astype(np.float64)
        if not np.isfinite(query).all():
            raise InputError(f"the features of {self.layer} hold infinity or NaN")
        apart = np.concatenate(
            [distances(part, query) for part in np.array_split(self.features, 1 + len(self.near) // 1000)]
        )
        order = np.argsort(apart, kind="stable")[:NEAREST]
        return [
            described(self.near, int(i), int(self.numbers[i]), self.classes) | {"distance": float(apart[i])}
            for i in order
        ]


def evenly(count: int, most: int) -> np.ndarray:
    """Choose at most `most` of `count` numbers, evenly apart."""
    return np.arange(min(count, most)) * count // min(count, most)


def distances(features: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Compute the Euclidean distances of rows to a query, in float64."""
    found: np.ndarray = np.sqrt(np.square(features.astype(np.float64) - query).sum(1))
    return found


def described(split: Split, place: int, number: int, classes: list[str]) -> dict[str, Any]:
    """Describe a picture for the page: its place in what is shown, its number in the split, its name and its class."""
    return {"place": place, "number": number, "name": split.names[place], "class": classes[split.labels[place]]}


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Write an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
