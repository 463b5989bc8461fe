"""The figures of a run: what each needs of the run and of its store, and why one cannot be drawn."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet.core.errors import UnusableError
from alexnet.figures.architecture import architecture
from alexnet.figures.confusion import confusion
from alexnet.figures.conv1_kernels import kernels
from alexnet.figures.learning_curves import curves
from alexnet.figures.pictures import chances, maps, neighbours, top5

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet.config.recipe import Recipe
    from alexnet.core.device import Place
    from alexnet.data.store import Split, Store
    from alexnet.models.build import Network

PANEL = 8  # pictures in a top-5 panel
QUERIES, NEAREST = 6, 6
TRAINING = 500  # training pictures seen as validation sees them, for the curves
HELD_OUT = 1000  # held-out pictures in the confusion, at least; ten a class where there are many
MASKS = 50  # of dropout
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


def draw_architecture(subject: Subject) -> "Figure":
    """Figure 2, of the run's recipe."""
    import torch

    from alexnet.models import build

    with torch.device("meta"):
        return architecture(build.build(subject.recipe.net, 0))


def draw_curves(subject: Subject) -> "Figure":
    """The log, with the training error as validation would see it where net and store are at hand."""
    from alexnet.runs import log
    from alexnet.runs.folder import classes_of

    try:
        split = subject.store["train"]
        ids = evenly(TRAINING, len(split))
        error = float(np.mean(subject.guesses(split, ids) != split.labels[ids]))
    except UnusableError:
        error = None
    return curves(log.read(subject.run), len(classes_of(subject.run)), error)


def draw_kernels(subject: Subject) -> "Figure":
    """Figure 3."""
    subject.convolves()
    return kernels(subject.net.state_dict()["conv1.weight"].float().cpu().numpy(), subject.towers)


def draw_top5(subject: Subject) -> "Figure":
    """Figure 4, left."""
    from alexnet.inference.predict import predict_arrays

    split = subject.held_out
    ids = evenly(PANEL, len(split))
    pictures = split.read(ids)
    ranked = predict_arrays(subject.net, pictures, top=5, where=subject.where)
    return top5(pictures, [subject.names[label] for label in split.labels[ids]], ranked)


def draw_neighbours(subject: Subject) -> "Figure":
    """Figure 4, right: held-out pictures and the nearest of all training pictures."""
    import torch

    from alexnet.inference.features import last_hidden, nearest, put_out

    net, where, train = subject.net, subject.where, subject.store["train"]
    ids = evenly(QUERIES, len(subject.held_out))
    pictures, layer = subject.held_out.read(ids), last_hidden(subject.net)
    queries = put_out(net, layer, torch.from_numpy(pictures).to(where.device), where)
    near, apart = nearest(net, layer, train, queries, NEAREST, where, progress=subject.progress)
    found = train.read(near.ravel()).reshape(*near.shape, *pictures.shape[1:])
    names = [[subject.names[label] for label in row] for row in train.labels[near]]
    return neighbours(pictures, [subject.names[label] for label in subject.held_out.labels[ids]], found, names, apart)


def draw_maps(subject: Subject) -> "Figure":
    """What each layer's maps make of the picture in the middle of the held-out split."""
    import torch

    subject.convolves()
    net, where = subject.net, subject.where
    (picture,) = subject.held_out.read(evenly(1, len(subject.held_out)))
    with torch.inference_mode(), where.arithmetic():
        images = torch.from_numpy(picture[None]).to(where.device)
        walk = list(net.walk(net.viewer.centre(images, where.dtype)))
    active = [(name, x[0].float().cpu().numpy()) for name, x in walk if name.startswith("relu") and x.ndim == 4]
    layers = [(f"conv{name[4:]}" if f"conv{name[4:]}" in dict(walk) else f"local{name[4:]}", x) for name, x in active]
    return maps(picture, layers, subject.towers)


def draw_confusion(subject: Subject) -> "Figure":
    """The held-out split's worst classes."""
    split = subject.held_out
    ids = evenly(max(HELD_OUT, 10 * len(subject.names)), len(split))
    return confusion(split.labels[ids], subject.guesses(split, ids), subject.names, len(split))


def draw_chances(subject: Subject) -> "Figure":
    """Views and dropout masks, for the picture of the top-5 panel that the net is least sure of."""
    import torch

    net, where, split = subject.net, subject.where, subject.held_out
    ids = evenly(PANEL, len(split))
    labels = torch.from_numpy(split.labels[ids])
    with torch.inference_mode(), where.arithmetic():
        images = torch.from_numpy(split.read(ids)).to(where.device)
        views = net.viewer.ten(images, where.dtype)
        each = torch.softmax(net(views.flatten(0, 1)).float(), 1).view(*views.shape[:2], -1).cpu()
        true = each[:, torch.arange(len(ids)), labels]  # views, pictures
        one = int((true.mean(0) - 0.5).abs().argmin())
        whole = net.viewer.centre(images[one : one + 1], where.dtype)
        masks: list[float] = []
        if getattr(net.net, "dropout", 0):
            try:
                many = net.train().at(0)(whole.expand(MASKS, -1, -1, -1))
            finally:
                net.eval()
            masks = torch.softmax(many.float(), 1)[:, labels[one]].tolist()
        unhidden = float(torch.softmax(net(whole).float(), 1)[0, labels[one]])
    names = [place_in_words(top, left, mirrored, net.viewer.margin) for top, left, mirrored in net.viewer.places()]
    seen = list(zip(names, true[:, one].tolist(), strict=True))
    return chances(split.read(ids[one : one + 1])[0], subject.names[labels[one]], seen, masks, unhidden)


def place_in_words(top: int, left: int, mirrored: bool, margin: int) -> str:
    """A view's place in words."""
    corner = f"{'bottom' if top else 'top'} {'right' if left else 'left'}"
    where = "whole" if not margin else "centre" if 0 < top < margin or (top, left) == (0, 0) == (margin, 0) else corner
    return f"{where}, mirrored" if mirrored else where


DRAWN: Mapping[str, Callable[[Subject], "Figure"]] = {
    "architecture": draw_architecture,
    "curves": draw_curves,
    "kernels": draw_kernels,
    "top5": draw_top5,
    "neighbours": draw_neighbours,
    "maps": draw_maps,
    "confusion": draw_confusion,
    "chances": draw_chances,
}
NAMES = tuple(DRAWN)
QUICK = ("curves", "kernels", "top5")  # what a page about many runs shows

CAPTIONS = {
    "architecture": (
        "Architecture",
        "As figure 2 of the paper, drawn from the run's own net: maps × side² of every layer, the kernels' side, what "
        "follows the layer (norm; pool's side/stride), and its weights, biases included.",
    ),
    "curves": (
        "Learning curves",
        "Training is measured in passing, with dropout and random views; validation with one central view. The diamond "
        f"is the error at the end on up to {TRAINING} training pictures seen as validation sees them. A dotted line "
        "marks where the rate falls.",
    ),
    "kernels": (
        "Kernels of conv1",
        "As figure 3 of the paper. Each tile is scaled on its own, so brightness cannot be compared between tiles. "
        "Beneath, each kernel's colour (share of its energy off the grey axis) and orientation (how far its Fourier "
        "energy gathers about one axis); p: how often chance alone parts the towers as far (permutation test).",
    ),
    "top5": (
        "Held-out pictures and the five likeliest classes",
        "As in figure 4 of the paper, left, from ten views. The true label stands beneath each picture; its bar is "
        "hatched and bold. The pictures lie evenly across the split and were not picked by result.",
    ),
    "neighbours": (
        "Held-out pictures and their nearest training pictures",
        "As in figure 4 of the paper, right: nearest by Euclidean distance (the number) of the last hidden layer's "
        "activations, of all training pictures, without exception. A dashed frame and italics mark another class. The "
        "queries lie evenly across the split and were not picked by result.",
    ),
    "maps": (
        "What the layers make of one picture",
        "After the activation, the maps with the most energy of each layer and tower, with their numbers. Each map is "
        "scaled on its own; white is the strongest.",
    ),
    "confusion": (
        "The worst classes",
        f"What they were taken for, from one view. Of a split with more than {HELD_OUT:,} pictures (or ten a class) "
        "it is a sample that lies evenly across it, as the heading says.",
    ),
    "chances": (
        "What each view and each dropout mask does to one picture",
        "The probability of the true class for the picture of the top-5 panel that the net is least sure of: for each "
        "of the ten views that are averaged in testing, and for the central view under random dropout masks as in "
        "training, beside that of all units at once.",
    ),
}


def of_run(
    run: Path, names: Sequence[str] = QUICK, progress: Progress = lambda done, of: None
) -> dict[str, "Figure | str"]:
    """Figures of a run by name, of NAMES; where one cannot be drawn, the reason.

    `progress` follows the pass over all training pictures that "neighbours" makes. Raises UnusableError if the folder
    is not a run, or there is no such figure.
    """
    subject = Subject(run, progress)
    for name in names:
        if name not in DRAWN:
            raise UnusableError(f"no figure {name}; there are {', '.join(NAMES)}")
    return {name: _or_reason(DRAWN[name], subject) for name in names}


def _or_reason(drawn: Callable[[Subject], "Figure"], subject: Subject) -> "Figure | str":
    try:
        return drawn(subject)
    except UnusableError as reason:
        return str(reason)
