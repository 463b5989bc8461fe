"""Figure 1 of the paper, from a study: training error against epochs, with ReLU and with tanh."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet.core.errors import InputError
from alexnet.figures.style import INK, PALE, SMALL, SOFT, TEXT, new_figure
from alexnet.studies.claim import UNTIL
from alexnet.studies.designs import TUNING_SEED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "relu-tanh"  # name of the claim in studies
STYLES: Mapping[str, Mapping[str, Any]] = {"relu": {"color": INK}, "tanh": {"color": SOFT, "dashes": (5, 2.5)}}
WORDS = {"relu": "ReLU", "tanh": "tanh"}
ErrorsByArm = Mapping[str, Mapping[int, Sequence[float]]]  # by arm and seed: at chance, in epoch 1, 2...

PAPER = "The paper: six times."
TITLE = "Figure 1"
CAPTION = (
    "Training error of each epoch, placed at the epoch's middle. ReLU is solid, tanh dashed. Thin lines are seeds, the "
    "thick line is their mean."
)


def draw(study: Path) -> "Figure":
    """Draw figure 1 from a study's folder; raise InputError if it is not a study, or relu-tanh is not finished."""
    if not (study / "study.json").is_file():
        raise InputError(
            f"{study} is neither a run nor a study: it has no recipe.json and no study.json; name a folder that "
            "alexnet train or alexnet study made"
        )
    if not (study / f"{CLAIM}.json").is_file():
        raise InputError(
            f"study {study} has no result for {CLAIM}, which figure 1 shows; run alexnet study {CLAIM} STORE {study}"
        )
    return figure_1(training_errors(study))


def training_errors(study: Path) -> dict[str, dict[int, list[float]]]:
    """Read the training errors of a study's relu-tanh runs, each after the error of chance.

    The study may be unfinished. Once it has a result, only the runs named there count. Runs that choose a learning rate
    never count. Raises InputError if no run is left.

    Returns:
        For each activation and seed, the error rates: chance, then the mean over each epoch.
    """
    from alexnet.runs import log
    from alexnet.runs.folder import is_run, read_json

    result = study / f"{CLAIM}.json"
    if result.is_file():
        named = [study / run for arm in read_json(result)["arms"].values() for run in arm["runs"]]
        runs = [run for run in named if is_run(run)]
    else:
        runs = [path.parent for path in sorted(study.glob("runs/*/recipe.json"))]
    found: dict[str, dict[int, list[float]]] = {arm: {} for arm in STYLES}
    for run in runs:
        record = read_json(run / "recipe.json")
        net = record["recipe"]["net"]
        epochs = [line["train_error"] for line in log.read(run) if line["kind"] == "epoch"]
        judged = record["recipe"]["seed"] < TUNING_SEED
        if judged and str(record["name"]).startswith(CLAIM) and net["activation"] in found and epochs:
            found[net["activation"]][record["recipe"]["seed"]] = [1 - 1 / net["classes"], *epochs]
    if not any(found.values()):
        raise InputError(f"no run of {CLAIM} in {study} has finished an epoch")
    return found


def figure_1(errors: ErrorsByArm) -> "Figure":
    """Plot the errors from `training_errors` against epochs; CAPTION explains the lines."""
    figure = new_figure(9, 6)
    axes = figure.subplots()
    end = max((len(e) - 1 for of_seeds in errors.values() for e in of_seeds.values()), default=1)
    for arm, of_seeds in errors.items():
        for each in of_seeds.values():
            axes.plot(
                middles(each), [100 * e for e in each], linewidth=0.9 if len(of_seeds) > 1 else 2.4, **STYLES[arm]
            )
        if len(of_seeds) > 1:
            # The mean ends with the shortest run, because beyond it the mean would be over other nets.
            shared = [100 * statistics.fmean(e) for e in zip(*of_seeds.values(), strict=False)]
            axes.plot(middles(shared), shared, linewidth=2.8, **STYLES[arm])
        seeds = f"{len(of_seeds)} seed{'s' * (len(of_seeds) != 1)}"
        axes.plot([], linewidth=2.4, label=f"{WORDS[arm]} ({seeds})", **STYLES[arm])
    axes.axhline(100 * UNTIL, color=INK, linewidth=1, linestyle=":")
    axes.annotate(
        f"{100 * UNTIL:.0f} %",
        (0, 100 * UNTIL),
        xycoords=("axes fraction", "data"),
        xytext=(6, 4),
        textcoords="offset points",
        ha="left",
        fontsize=SMALL,
        color=INK,
    )
    axes.set(ylim=(0, 75), xlim=(0, end))
    axes.set_xlabel("epoch", fontsize=TEXT)
    axes.set_ylabel("training error (%)", fontsize=TEXT)
    axes.locator_params(axis="x", integer=True)
    axes.tick_params(labelsize=TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=TEXT, handlelength=3.2)
    return figure


def middles(errors: Sequence[float]) -> list[float]:
    """Place the errors on the axis: chance at 0, and the mean over epoch i at its middle."""
    return [max(0.0, i - 0.5) for i in range(len(errors))]


def reached(errors: ErrorsByArm) -> str:
    """Describe the figure: epochs to a training error of 25 % by seed, and their mean ratio with its interval."""
    from alexnet.studies.measures import crossing

    epochs = {arm: {seed: crossing(e, UNTIL) for seed, e in sorted(errors[arm].items())} for arm in STYLES}
    said = []
    for arm, of_seeds in epochs.items():
        each = [
            f"{e:.1f}" if e is not None else f"not in the {len(errors[arm][s]) - 1} so far" for s, e in of_seeds.items()
        ]
        said.append(f"{WORDS[arm]} {', '.join(each) or 'not trained yet'}")
    words = f"Epochs to a training error of {100 * UNTIL:.0f} %, by seed: {'; '.join(said)}."
    tanh, relu = ([math.log(e) for e in epochs[arm].values() if e] for arm in ("tanh", "relu"))
    if not tanh or not relu:
        return f"{words} No seed has reached it with {'tanh' if relu else 'ReLU'}, so there is no ratio yet. {PAPER}"
    ratio = math.exp(statistics.fmean(tanh) - statistics.fmean(relu))
    fewest = min(len(tanh), len(relu))
    seeds = f"{fewest} seed{'s' * (fewest > 1)}" if len(tanh) == len(relu) else f"{len(tanh)} and {len(relu)} seeds"
    return f"{words} tanh took {ratio:.2f} times as many in the mean of {seeds} ({interval(tanh, relu)}). {PAPER}"


def interval(tanh: Sequence[float], relu: Sequence[float]) -> str:
    """Write the 95 % interval of the ratio, and whether the seeds are enough for a verdict."""
    from alexnet.studies.statistics import FEWEST, compare

    estimate = compare(tanh, relu)
    if estimate is None:
        return f"one seed has no interval, and fewer than {FEWEST} give no verdict"
    low, high = map(math.exp, estimate.interval())
    few = f"; no verdict from fewer than {FEWEST} seeds" if estimate.seeds < FEWEST else ""
    return f"95 % interval {low:.2f} to {high:.2f}{few}"
