"""The parts of a run and its store that figures need, or the reason why one is missing."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet.core.errors import InputError

if TYPE_CHECKING:
    from alexnet.config.recipe import Recipe
    from alexnet.core.device import Compute
    from alexnet.data.store import Split, Store
    from alexnet.models.network import Network

PANEL = 8  # pictures in a top-5 panel
BATCH = 50
Progress = Callable[[int, int], None]


class RunData:
    """A run to draw. Each property is read once, at its first use, and raises InputError if it is not available."""

    def __init__(self, run: Path, progress: Progress, split: str | None = None) -> None:
        from alexnet.runs.run import Run

        self.run, self.progress, self.split = run, progress, split
        self.opened = Run(run)
        self.recipe: Recipe = self.opened.recipe

    @cached_property
    def compute(self) -> "Compute":
        """The best device of this machine."""
        from alexnet.core.device import choose_compute

        return choose_compute()

    @cached_property
    def net(self) -> "Network":
        """The trained net, on the device."""
        from alexnet.inference.trained import load_for_inference

        return load_for_inference(self.run, self.compute)

    @property
    def classes(self) -> list[str]:
        """The classes, in words for the reader."""
        return self.opened.classes

    @property
    def towers(self) -> int:
        """Number of towers, 1 or 2."""
        return int(getattr(self.recipe.net, "towers", 1))

    def check_convolutional(self) -> None:
        """Raise InputError if the net has no convolutions."""
        if "conv1" not in self.recipe.net.layers:
            raise InputError("a net of fully connected layers alone has neither kernels nor maps to show")

    @cached_property
    def store(self) -> "Store":
        """The store that the run was trained on, if it is still in its place."""
        from alexnet.data.store import Store

        known = self.opened.environment
        if "imported" in known:
            raise InputError("the run was imported, without the pictures that it was trained on")
        store = Store(known["store"]).subset(**(known.get("subset") or {}))
        if store.digest != known["store_digest"]:
            raise InputError(f"{store.path} is not the store that the run was trained on; its digest differs")
        return store

    @cached_property
    def held_out(self) -> "Split":
        """The split that was asked for, or else the one that the run was validated on."""
        return self.store[self.split or self.store.held_out]

    @property
    def pictures_words(self) -> str:
        """The words for the pictures of `held_out` in a heading."""
        return f"pictures of {self.split}" if self.split else "held-out pictures"

    @cached_property
    def names(self) -> list[str]:
        """The name to show for each class."""
        from alexnet.data.store import labels

        return labels(self.store.classes)

    def predicted(self, split: "Split", ids: np.ndarray) -> np.ndarray:
        """Predict the likeliest class of some pictures, int (n,), from one view."""
        import torch

        from alexnet.inference.evaluate import probabilities

        said = []
        for first in range(0, len(ids), BATCH):
            images = torch.from_numpy(split.read(ids[first : first + BATCH])).to(self.compute.device)
            said.append(probabilities(self.net, self.net.transform, images, self.compute, 1)[0].argmax(1).cpu().numpy())
        return np.concatenate(said)


def evenly_spaced(count: int, of: int) -> np.ndarray:
    """Choose pictures evenly over a split, and so over its classes; nothing is picked by result."""
    count = min(count, of)
    return (2 * np.arange(count) + 1) * of // (2 * count)
