"""The list of figures, by the names that the command line and the files use.

A figure is a module of this package with three names. TITLE and CAPTION are its text on a page. draw(run_data) returns
a matplotlib Figure, or raises InputError with the reason why it cannot be drawn. A figure of studies or records has
draw(folder) instead. The help of `alexnet figures`, its files and the report all follow the tables below. A module is
imported only when its figure is drawn, so that the names are available without numpy or torch.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from alexnet.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Name: module. ADD YOURS as one line.
FIGURES = {
    "architecture": "architecture",
    "curves": "learning_curves",
    "kernels": "conv1_kernels",
    "top5": "top5",
    "neighbours": "neighbours",
    "maps": "feature_maps",
    "confusion": "confusion",
    "chances": "views_and_dropout",
}
# Figures of folders other than runs: the kind of folder, and the module. ADD YOURS as one line.
OF_FOLDERS = {
    "figure-1": ("study", "relu_tanh"),
    "claims": ("records", "claims"),
    "since-2012": ("records", "ladder"),
}
MAYBE = ("figure-1", "since-2012")  # figures that a folder without their runs lacks, without a line about it
QUICK = ("curves", "kernels", "top5")  # the figures of each run on a page about many runs


def module_of(name: str) -> ModuleType:
    """Import the module of a figure; raise InputError if there is no such figure."""
    if name not in FIGURES:
        raise InputError(f"there is no figure {name}; choose from {', '.join(FIGURES)}")
    return import_module(f"alexnet.figures.{FIGURES[name]}")


def draw_run(
    run: Path,
    names: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, of: None,
    split: str | None = None,
) -> dict[str, "Figure | str"]:
    """Draw figures of a run.

    Args:
        run: Folder of the run.
        names: Keys of FIGURES.
        progress: Function to call with (done, of) while "neighbours" reads all training pictures.
        split: Split whose pictures are drawn; by default the held-out one.

    Returns:
        For each name, the figure or the reason why it cannot be drawn.

    Raises:
        InputError: The folder is not a run, a name is not a figure, or the run's store has no such split.
    """
    from alexnet.figures.run_data import RunData

    run_data = RunData(run, progress, split)
    if split:
        run_data.store[split]  # refuses a name that is not a split's
    modules = {name: module_of(name) for name in names}
    return {name: _figure_or_reason(module, run_data) for name, module in modules.items()}


def draw_folder(folder: Path) -> dict[str, "Figure | str"]:
    """Draw the figures of a folder of studies or of records.

    Args:
        folder: Folder of a study, which may contain records, or a folder with records at any depth.

    Returns:
        For each name, the figure or the reason why it cannot be drawn.

    Raises:
        InputError: The folder is neither, or every figure of it failed.
    """
    from alexnet.runs.folder import not_a_run

    if (folder / "meta.json").is_file():  # a store; judging would call meta.json a damaged record
        raise InputError(not_a_run(folder / "recipe.json"))
    study = (folder / "study.json").is_file()
    where = {"study": folder, "records": folder / "records" if study else folder}
    kinds = ["study"] * study + ["records"] * (where["records"].is_dir() or not study)
    wanted = {name: where[kind] for name, (kind, _) in OF_FOLDERS.items() if kind in kinds}
    drawn = {name: _figure_or_reason(_folder_module(name), of) for name, of in wanted.items()}
    if all(isinstance(each, str) for each in drawn.values()):
        reasons = "; ".join(str(each) for name, each in drawn.items() if study or name not in MAYBE)
        raise InputError(reasons if study else f"{folder} is neither a run nor a study, and {reasons}")
    return {name: each for name, each in drawn.items() if name not in MAYBE or not isinstance(each, str)}


def _folder_module(name: str) -> ModuleType:
    return import_module(f"alexnet.figures.{OF_FOLDERS[name][1]}")


def _figure_or_reason(module: ModuleType, drawn_from: object) -> "Figure | str":
    try:
        figure: Figure = module.draw(drawn_from)
        return figure
    except InputError as reason:
        return str(reason)


def draw(
    folder: Path,
    out: Path,
    names: Sequence[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    split: str | None = None,
) -> tuple[list[Path], dict[str, str]]:
    """Write the figures of a run, figure 1 of a study, or the figure of all claims from records.

    Args:
        folder: Folder of a run, of a study in which relu-tanh is finished, or of records.
        out: Folder for NAME.png and NAME.svg; it is created if it does not exist.
        names: Keys of FIGURES to draw of a run; all if None.
        progress: Function to call with (done, of) while "neighbours" reads all training pictures.
        split: Split of a run whose pictures are drawn; by default the held-out one.

    Returns:
        The files, and for each missing figure the reason by its name.

    Raises:
        InputError: The folder is not a run, a study or a folder of records, a name is not a figure, or the run's store
            has no such split.
    """
    from alexnet.figures.style import save
    from alexnet.runs.folder import is_run

    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the figures")
    if is_run(folder):
        drawn = draw_run(folder, names or tuple(FIGURES), progress, split)
    elif split or names:
        option = f"--split {split}" if split else f"--only {' '.join(names or ())}"
        raise InputError(f"{option} is for the figures of a run, and {folder} is not a run")
    else:
        drawn = draw_folder(folder)
    out.mkdir(parents=True, exist_ok=True)
    paths = [p for name, figure in drawn.items() if not isinstance(figure, str) for p in save(figure, out / name)]
    return paths, {name: reason for name, reason in drawn.items() if isinstance(reason, str)}
