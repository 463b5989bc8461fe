"""The figures of a run: figures 2, 3 and 4 of the paper, learning curves, what the net makes of pictures; figure 1."""

from collections.abc import Sequence
from pathlib import Path

from alexnet.figures.architecture import architecture
from alexnet.figures.catalogue import CAPTIONS, NAMES, QUICK, of_run
from alexnet.figures.confusion import confusion
from alexnet.figures.conv1_kernels import kernels
from alexnet.figures.feature_maps import maps
from alexnet.figures.learning_curves import curves, reading
from alexnet.figures.neighbours import neighbours
from alexnet.figures.relu_tanh import figure_1, of_study, reached, training_errors
from alexnet.figures.run_data import Progress
from alexnet.figures.style import rendered, save
from alexnet.figures.top5 import top5
from alexnet.figures.views_and_dropout import chances

__all__ = [
    "CAPTIONS",
    "NAMES",
    "QUICK",
    "architecture",
    "chances",
    "confusion",
    "curves",
    "draw",
    "figure_1",
    "kernels",
    "maps",
    "neighbours",
    "of_run",
    "of_study",
    "reached",
    "reading",
    "rendered",
    "save",
    "top5",
    "training_errors",
]


def draw(
    run: Path, out: Path, names: Sequence[str] = NAMES, progress: Progress = lambda done, of: None
) -> tuple[list[Path], dict[str, str]]:
    """Write the figures of a run to the folder `out`; returns the files, a PNG and an SVG each, and why any is missing.

    `names` chooses among NAMES; `progress` is of_run's. Of a study it is figure 1. Raises InputError as of_run and
    of_study do.
    """
    from alexnet.runs.folder import is_run

    if not is_run(run):
        drawn = of_study(run)
        out.mkdir(parents=True, exist_ok=True)
        return save(drawn, out / "figure-1"), {}
    figures = of_run(run, names, progress)
    out.mkdir(parents=True, exist_ok=True)
    paths = [p for name, figure in figures.items() if not isinstance(figure, str) for p in save(figure, out / name)]
    return paths, {name: reason for name, reason in figures.items() if isinstance(reason, str)}
