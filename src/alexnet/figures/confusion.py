"""The worst classes of a net, and its most frequent mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alexnet.figures.run_data import RunData, evenly_spaced
from alexnet.figures.style import INK, SMALL, SOFT, TEXT, new_figure, short, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 10  # classes shown
PAIRS = 8  # mistakes named
HELD_OUT = 1000  # held-out pictures to count, or ten a class if that is more

TITLE = "The worst classes"
CAPTION = (
    "The classes with the largest error, and the classes that the net took their pictures for, with one view. If the "
    f"split has more than {HELD_OUT:,} pictures (or ten a class), these are a sample spread evenly over it; the "
    "heading gives its size."
)


def draw(run_data: RunData) -> "Figure":
    """Draw the classes with the largest error on the held-out split."""
    split = run_data.held_out
    ids = evenly_spaced(max(HELD_OUT, 10 * len(run_data.names)), len(split))
    return confusion(
        split.labels[ids], run_data.predicted(split, ids), run_data.names, len(split), run_data.pictures_words
    )


def confusion(
    truth: np.ndarray,
    said: np.ndarray,
    classes: Sequence[str],
    of: int | None = None,
    what: str = "held-out pictures",
) -> "Figure":
    """Draw the worst classes against the predicted classes, and list the most frequent mistakes.

    Args:
        truth: Class number of each picture, int (n,).
        said: Predicted class number of each picture, int (n,).
        classes: Names of all classes.
        of: Number of pictures in the split, if these are a sample of it.
        what: What the pictures are.
    """
    counts = counted(truth, said, len(classes))
    rows = worst(counts, WORST)
    shares = 100 * counts[rows] / counts[rows].sum(1, keepdims=True)
    inside = shares[:, rows]
    rest = len(classes) > len(rows)
    table = np.c_[inside, 100 - inside.sum(1)] if rest else inside
    names = [short(classes[i], 15) for i in rows]

    figure = new_figure(12, 6.6)
    axes, words = figure.subplots(1, 2, width_ratios=[2, 1])
    axes.imshow(table, cmap="Greys", vmin=0, vmax=130, aspect="auto")
    for y, x in np.ndindex(*table.shape):
        if table[y, x] >= 0.5:
            right = x < len(rows) and y == x
            axes.text(
                x,
                y,
                f"{table[y, x]:.0f}",
                ha="center",
                va="center",
                fontsize=SMALL,
                weight="bold" if right else "normal",
                color="white" if table[y, x] > 65 else INK,
            )
    across = [*names, "others"] if rest else names
    axes.set_xticks(range(len(across)), across, rotation=45, ha="right", rotation_mode="anchor", fontsize=SMALL)
    axes.set_yticks(range(len(names)), names, fontsize=SMALL)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    axes.set_xlabel("taken for", fontsize=TEXT)
    axes.set_ylabel("true class, worst first", fontsize=TEXT)
    axes.set_title("per cent of a class's pictures", loc="left", fontsize=TEXT, color=INK)
    axes.tick_params(length=0)

    words.set_axis_off()
    words.set(xlim=(0, 1), ylim=(PAIRS, -0.6))
    words.text(0, -0.5, "most often mistaken", fontsize=TEXT, weight="bold", color=INK)
    for place, (true, taken, times, pictures) in enumerate(mistakes(counts, PAIRS)):
        style = {"color": INK, "parse_math": False}
        words.text(0, place + 0.05, f"{short(classes[true], 16)} → {short(classes[taken], 16)}", fontsize=TEXT, **style)
        words.text(0, place + 0.42, f"{times} of {pictures} pictures", fontsize=SMALL, color=SOFT)
    sample = f", {len(truth):,} of {of:,}" if of and of > len(truth) else f", all {len(truth):,}"
    title(figure, f"{what.capitalize()}{sample}, one view: {100 * np.mean(truth != said):.1f} % wrong")
    return figure


def counted(truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Count how often each true class (row) was predicted as each class (column)."""
    counts: np.ndarray = np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)
    return counts


def worst(counts: np.ndarray, most: int) -> np.ndarray:
    """Find the classes with the largest error, worst first; classes without pictures are left out."""
    pictures = counts.sum(1)
    wrong = np.where(pictures > 0, 1 - np.diag(counts) / np.maximum(pictures, 1), -1)
    order = np.argsort(-wrong, kind="stable")[:most]
    found: np.ndarray = order[pictures[order] > 0]
    return found


def mistakes(counts: np.ndarray, most: int) -> list[tuple[int, int, int, int]]:
    """List (true class, predicted class, times, pictures of the true class), the most frequent first."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return [(t, s, int(off[t, s]), int(counts[t].sum())) for t, s in pairs if off[t, s]]
