"""The figures of a run: learning curves, the kernels of conv1 (figure 3) and the likeliest classes (figure 4)."""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alexnet.errors import UnusableError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib takes as long to import as a figure to draw, so it is imported where a figure is made.

INK, SOFT, TRUE, FALSE = "#1b1f24", "#6b7480", "#b4261a", "#a9bdd6"
PANEL = 8  # pictures in a top-5 panel, four a row
ACROSS = 4


def curves(log: Sequence[Mapping[str, Any]], classes: int) -> "Figure":
    """Loss and error against epochs, from the lines of a run's log; chance is ln(classes) and 1 - 1 / classes.

    Training is measured in passing, with dropout and random views; validation with one central view. A dotted line
    marks where the rate falls. Raises UnusableError for a log that holds neither steps nor epochs.
    """
    epochs = [line for line in log if line["kind"] == "epoch"]
    steps = [line for line in log if line["kind"] == "step"]
    if not epochs and not steps:
        raise UnusableError("no step has been logged yet")
    # Lines of steps come every ten seconds: in a short run they are coarser than the epochs' own means.
    if len(steps) > len(epochs):
        training = [(s["epoch"], s["loss"], s["error"]) for s in steps]
    else:
        training = [(e["epoch"], e["train_loss"], e["train_error"]) for e in epochs]
    validation = [(e["epoch"], e["nats"], e["top1"], e["top5"]) for e in epochs]

    figure = _figure(10, 4)
    loss, error = figure.subplots(1, 2)
    loss.axhline(math.log(classes), color=SOFT, dashes=(6, 3), linewidth=1, label=f"chance, ln {classes:,}")
    _line(loss, training, 1, "training", color=SOFT, linewidth=1.2)
    _line(loss, validation, 1, "validation", color=INK, linewidth=2, marker="o")
    error.axhline(100 - 100 / classes, color=SOFT, dashes=(6, 3), linewidth=1, label="chance, top-1")
    _line(error, training, 2, "training, top-1", 100, color=SOFT, linewidth=1.2)
    _line(error, validation, 2, "validation, top-1", 100, color=INK, linewidth=2, marker="o")
    if classes > 5:
        _line(error, validation, 3, "validation, top-5", 100, color=INK, linewidth=1.5, linestyle="--", marker="s")
    final = next((line for line in reversed(log) if line["kind"] == "final"), None)
    if final and epochs:
        label = f"{final['views']} views, top-1: {100 * final['top1']:.1f} %"
        last = epochs[-1]["epoch"], 100 * final["top1"]
        error.plot(*last, "*", color=TRUE, markersize=13, label=label, clip_on=False, zorder=3)

    loss.set(ylabel="loss (nats a picture)", ylim=(0, None))
    error.set(ylabel="error (%)", ylim=(0, 103))
    for axes in (loss, error):
        axes.set(xlabel="epoch", xlim=(0, max([t[0] for t in training] + [e["epoch"] for e in epochs])))
        for epoch, rate in _drops([*steps, *epochs]):
            axes.axvline(epoch, color=SOFT, linestyle=":", linewidth=1)
            axes.annotate(
                f"rate {rate:.2g}", (epoch, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", fontsize=7, color=SOFT,
            )  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6ea", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=9)
    return figure


def kernels(weight: np.ndarray, towers: int) -> "Figure":
    """Figure 3: the kernels of conv1, weight (K, 3, s, s), as colour tiles; tower 0 stands above tower 1.

    Each tile is scaled on its own to 0..1, so that brightness cannot be compared between tiles.
    """
    share, side = len(weight) // towers, weight.shape[-1]
    across = min(16, share)
    down = -(-share // across)
    cell, apart = side + 1, 3
    height = towers * (down * cell - 1) + (towers - 1) * apart
    canvas = np.ones((height, across * cell - 1, 3))
    starts = [tower * (down * cell - 1 + apart) for tower in range(towers)]
    for number, kernel in enumerate(weight):
        tower, place = divmod(number, share)
        y, x = starts[tower] + place // across * cell, place % across * cell
        canvas[y : y + side, x : x + side] = _scaled(kernel.transpose(1, 2, 0))

    figure = _figure(8, 8 * height / canvas.shape[1] + 0.1)
    axes = figure.subplots()
    axes.imshow(canvas, interpolation="nearest")
    axes.set_xticks([])
    names = [f"tower {tower}" for tower in range(towers)] if towers > 1 else []
    middles = [start + (down * cell - 2) / 2 for start in starts][: len(names)]
    axes.set_yticks(middles, names, rotation=90, va="center", color=SOFT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def top5(pictures: np.ndarray, truths: Sequence[str], predictions: Sequence[Sequence[tuple[str, float]]]) -> "Figure":
    """Figure 4, left: pictures uint8 (n, S, S, 3), the true label beneath, and the likeliest classes as bars.

    `predictions` holds (class, probability in 0..1) of up to five classes a picture, best first. The bar of the true
    class is red, hatched and in bold.
    """
    across = min(ACROSS, len(pictures))
    down = -(-len(pictures) // across)
    figure = _figure(2.3 * across + 0.4, 4.0 * down)
    grid = figure.subplots(2 * down, across, squeeze=False, height_ratios=[2, 1.4] * down)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (picture, truth, ranked) in enumerate(zip(pictures, truths, predictions, strict=True)):
        row, column = 2 * (number // across), number % across
        shown, bars = grid[row, column], grid[row + 1, column]
        shown.imshow(picture)
        shown.text(
            0.5, -0.03, _short(truth, 26), transform=shown.transAxes, ha="center", va="top",
            weight="bold", fontsize=10, color=INK, parse_math=False,
        )  # fmt: skip
        for place, (name, probability) in enumerate(ranked):
            right = name == truth
            bars.barh(
                place + 0.2, probability, height=0.34, color=TRUE if right else FALSE, linewidth=0,
                hatch="/////" if right else None, edgecolor="white" if right else FALSE,
            )  # fmt: skip
            bold = "bold" if right else "normal"
            words = {"y": place - 0.03, "va": "bottom", "fontsize": 8, "color": INK, "weight": bold}
            bars.text(x=0.02, s=_short(name, 24), parse_math=False, **words)
            bars.text(x=1, s=f"{100 * probability:.0f} %", ha="right", **words)
        bars.set(xlim=(0, 1), ylim=(4.5, -0.6))
        bars.axvline(0, color=INK, linewidth=1)
    return figure


def of_run(run: Path) -> dict[str, "Figure | str"]:
    """The figures of a run, "curves", "kernels" and "top5"; where one cannot be drawn, the reason.

    Raises UnusableError if the folder is not a run.
    """
    from alexnet import checkpoint, runlog
    from alexnet.run import classes_of, recipe_of

    _, recipe = recipe_of(run)
    drawn: dict[str, Figure | str] = {}
    try:
        drawn["curves"] = curves(runlog.read(run), len(classes_of(run)))
    except UnusableError as reason:
        drawn["curves"] = str(reason)
    try:
        net = checkpoint.load(run)
    except UnusableError as reason:
        return drawn | {"kernels": str(reason), "top5": str(reason)}
    drawn["kernels"] = kernels(net.state_dict()["conv1.weight"].numpy(), getattr(recipe.net, "towers", 1))
    try:
        drawn["top5"] = _panel(run, net)
    except UnusableError as reason:
        drawn["top5"] = str(reason)
    return drawn


def draw(run: Path, out: Path) -> tuple[list[Path], dict[str, str]]:
    """Write the figures of a run to the folder `out`; returns the files, a PNG and an SVG each, and why any is missing.

    Raises UnusableError if the folder is not a run.
    """
    figures = of_run(run)
    out.mkdir(parents=True, exist_ok=True)
    paths = [p for name, figure in figures.items() if not isinstance(figure, str) for p in save(figure, out / name)]
    return paths, {name: reason for name, reason in figures.items() if isinstance(reason, str)}


def save(figure: "Figure", path: Path) -> list[Path]:
    """Write `path`.png and `path`.svg; the same figure gives the same bytes. Returns both paths."""
    png, svg = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.svg")
    png.write_bytes(rendered(figure, "png"))
    svg.write_bytes(rendered(figure, "svg"))
    return [png, svg]


def rendered(figure: "Figure", form: Literal["png", "svg"], dots: int = 150) -> bytes:
    """The figure as a file's bytes, with no date in it; `dots` an inch."""
    import matplotlib

    out = io.BytesIO()
    metadata = {"Software": None} if form == "png" else {"Date": None}
    # The identifiers in an SVG are random without a salt.
    with matplotlib.rc_context({"svg.hashsalt": "alexnet"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class name in a script that the font lacks shows as boxes
        figure.savefig(out, format=form, dpi=dots, metadata=metadata)
    return out.getvalue()


def _panel(run: Path, net: Any) -> "Figure":
    """The top-5 panel of held-out pictures that lie evenly across the split, so across the classes too."""
    from alexnet.data.store import Store, labels
    from alexnet.device import place
    from alexnet.prediction import predict_arrays
    from alexnet.run import environment_of

    store = Store(environment_of(run)["store"])
    split = store[store.held_out]
    count = min(PANEL, len(split))
    ids = (2 * np.arange(count) + 1) * len(split) // (2 * count)
    pictures = split.read(ids)
    names = labels(store.classes)
    ranked = predict_arrays(net, pictures, top=5, where=place("cpu", "fp32"))
    return top5(pictures, [names[label] for label in split.labels[ids]], ranked)


def _figure(width: float, height: float) -> "Figure":
    """An empty figure that no window and no global state knows of; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _line(
    axes: "Axes", points: Sequence[tuple[float, ...]], column: int, label: str, scale: float = 1, **style: Any
) -> None:
    if points:
        if "marker" in style:
            style |= {"markersize": 4, "markevery": -(-len(points) // 20)}
        axes.plot([p[0] for p in points], [scale * p[column] for p in points], label=label, **style)


def _drops(lines: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """(epoch, new rate) wherever the rate falls."""
    ordered = sorted(lines, key=lambda line: line["step"])
    return [(after["epoch"], after["rate"]) for before, after in pairwise(ordered) if after["rate"] < before["rate"]]


def _scaled(kernel: np.ndarray) -> np.ndarray:
    low, high = kernel.min(), kernel.max()
    return (kernel - low) / (high - low) if high > low else np.full_like(kernel, 0.5)


def _short(name: str, longest: int) -> str:
    """The first of several names for a class, cut to fit beneath a picture."""
    first = name.split(",")[0]
    return first if len(first) <= longest else first[: longest - 1] + "…"
