"""The figures of a run: what each needs of the run and of its store, and why one cannot be drawn."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet.core.errors import UnusableError

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe
    from alexnet.core.device import Place
    from alexnet.data.store import Split, Store
    from alexnet.models.build import Network

PANEL = 8  # pictures in a top-5 panel
BATCH = 50
Progress = Callable[[int, int], None]


class Subject:
    """A run to be drawn; what is read or computed is so once, and raises UnusableError where it cannot be."""

    def __init__(self, run: Path, progress: Progress) -> None:
        from alexnet.runs.folder import recipe_of

        self.run, self.progress = run, progress
        self.recipe: Recipe = recipe_of(run)[1]

    @cached_property
    def where(self) -> "Place":
        """The best device there is."""
        from alexnet.core.device import place

        return place()

    @cached_property
    def net(self) -> "Network":
        """The trained net, on the device."""
        from alexnet.inference.predict import serving

        return serving(self.run, self.where)

    @property
    def towers(self) -> int:
        """Two, or one."""
        return int(getattr(self.recipe.net, "towers", 1))

    def convolves(self) -> None:
        """Raise UnusableError where the net has no convolutions."""
        if "conv1" not in self.recipe.net.layers:
            raise UnusableError("a net of fully connected layers alone has neither kernels nor maps to show")

    @cached_property
    def store(self) -> "Store":
        """The store that the run was trained on, if it is still where it was."""
        from alexnet.data.store import Store
        from alexnet.runs.folder import environment_of

        known = environment_of(self.run)
        store = Store(known["store"])
        if store.digest != known["store_digest"]:
            raise UnusableError(f"{store.path} is not the store that the run was trained on; its digest differs")
        return store

    @cached_property
    def held_out(self) -> "Split":
        """The split that the run was validated on."""
        return self.store[self.store.held_out]

    @cached_property
    def names(self) -> list[str]:
        """What a person is shown for each class."""
        from alexnet.data.store import labels

        return labels(self.store.classes)

    def guesses(self, split: "Split", ids: np.ndarray) -> np.ndarray:
        """The likeliest class of some pictures, from one view."""
        import torch

        from alexnet.inference.evaluate import probabilities

        said = []
        for first in range(0, len(ids), BATCH):
            images = torch.from_numpy(split.read(ids[first : first + BATCH])).to(self.where.device)
            said.append(probabilities(self.net, self.net.viewer, images, self.where, 1)[0].argmax(1).cpu().numpy())
        return np.concatenate(said)


def evenly(count: int, of: int) -> np.ndarray:
    """Numbers that lie evenly across a split, so across the classes too: none is picked by result."""
    count = min(count, of)
    return (2 * np.arange(count) + 1) * of // (2 * count)
