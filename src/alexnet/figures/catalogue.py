"""The figures of a run, by name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from alexnet.figures.architecture import draw_architecture
from alexnet.figures.confusion import HELD_OUT, draw_confusion
from alexnet.figures.conv1_kernels import draw_kernels
from alexnet.figures.feature_maps import draw_maps
from alexnet.figures.learning_curves import TRAINING, draw_curves
from alexnet.figures.neighbours import draw_neighbours
from alexnet.figures.run_data import Progress, RunData
from alexnet.figures.top5 import draw_top5
from alexnet.figures.views_and_dropout import draw_chances

DRAWN: Mapping[str, Callable[[RunData], "Figure"]] = {
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

    `progress` follows the pass over all training pictures that "neighbours" makes. Raises InputError if the folder
    is not a run, or there is no such figure.
    """
    subject = RunData(run, progress)
    for name in names:
        if name not in DRAWN:
            raise InputError(f"no figure {name}; there are {', '.join(NAMES)}")
    return {name: _or_reason(DRAWN[name], subject) for name in names}


def _or_reason(drawn: Callable[[RunData], "Figure"], subject: RunData) -> "Figure | str":
    try:
        return drawn(subject)
    except InputError as reason:
        return str(reason)
