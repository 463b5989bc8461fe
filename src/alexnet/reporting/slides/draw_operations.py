"""Pictures of operations for the slides, computed by the package's own operations."""

from typing import TYPE_CHECKING, Any

from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.figures.style import FALSE, INK, LARGE, PALE, SMALL, SOFT, TEXT, TOWERS, TRUE, new_figure
from alexnet.reporting.slides.draw_nets import blank, paper_net

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERS = ((1, 1, 2, 4), (5, 6, 7, 8), (3, 2, 1, 0), (1, 2, 3, 4))  # a map to pool
STEPS = 60  # of the descent
HILL = (0.01, 1.0)  # curvatures of the loss in the picture of momentum: a long valley
RATE = 0.5  # the same with and without momentum


def cells(axes: "Axes", values: Any, at: tuple[float, float], colours: Any, size: float = 1.0) -> None:
    """Draw a matrix of numbers as coloured cells, the first row at the top."""
    from matplotlib.patches import Rectangle

    for row, line in enumerate(values):
        for place, value in enumerate(line):
            x, y = at[0] + place * size, at[1] + (len(values) - 1 - row) * size
            style: dict[str, Any] = {"facecolor": colours(row, place), "edgecolor": INK, "linewidth": 1.2}
            axes.add_patch(Rectangle((x, y), size, size, **style))
            axes.text(x + size / 2, y + size / 2, f"{value:g}", ha="center", va="center", fontsize=LARGE + 3, color=INK)


def pooling() -> "Figure":
    """Draw a map of 4 x 4 and the maxima of its windows of 2 x 2, which the package computes."""
    import torch

    from alexnet.ops.reference import pool_forward

    pooled = pool_forward(torch.tensor(NUMBERS, dtype=torch.float32)[None, None], 2, True, False)[0][0, 0].tolist()
    shades = (TOWERS[0], TOWERS[1], "#dcebd9", "#eddcec")
    figure = new_figure(10, 5)
    axes = figure.subplots()
    blank(axes, 10.2, 5)
    cells(axes, NUMBERS, (0.3, 0.5), lambda row, place: shades[2 * (row // 2) + place // 2])
    cells(axes, pooled, (7.3, 1.5), lambda row, place: shades[2 * row + place])
    axes.annotate("", (7.0, 2.5), (4.6, 2.5), arrowprops={"arrowstyle": "-|>", "linewidth": 2})
    axes.text(5.8, 2.7, "the largest of\n2 × 2 values,\nstride 2", ha="center", va="bottom", fontsize=LARGE, color=INK)
    return figure


def overlap() -> "Figure":
    """Draw the windows of pools of 2 and of 3 at stride 2 over a row of units."""
    from matplotlib.patches import Rectangle

    from alexnet.models.layer_table import output_side

    figure = new_figure(12, 5)
    for axes, size in zip(figure.subplots(1, 2), (2, paper_net().pool), strict=True):
        blank(axes, 8.6, 6)
        width = 7
        for i in range(width):
            axes.add_patch(Rectangle((0.8 + i, 1.0), 1, 1, facecolor="white", edgecolor=INK, linewidth=1.2))
        count = output_side(width, size, 2, ceil=False)
        for i in range(count):
            low, y = 0.8 + 2 * i, 2.25 + 0.55 * i
            style: dict[str, Any] = {
                "facecolor": TOWERS[i % 2],
                "edgecolor": INK,
                "hatch": ("", "//", "")[i % 3],
                "linewidth": 1.2,
            }
            axes.add_patch(Rectangle((low + 0.04, y), size - 0.08, 0.42, **style))
        shared = [i for i in range(width) if sum(2 * j <= i < 2 * j + size for j in range(count)) > 1]
        for i in shared:
            axes.add_patch(Rectangle((0.8 + i, 1.0), 1, 1, facecolor="#f4cfc9", edgecolor=TRUE, linewidth=2.2))
        kind = "s = z: pools side by side" if size == 2 else "s < z: overlapping pools"
        axes.text(0.8, 5.5, f"z = {size}, s = 2", fontsize=LARGE + 2, weight="bold", color=INK)
        axes.text(0.8, 4.85, kind, fontsize=LARGE, color=INK)
        words = f"{len(shared)} units lie in two windows" if shared else "each unit lies in one window at most"
        axes.text(0.8, 0.3, words, fontsize=LARGE, color=TRUE if shared else INK)
    return figure


def activations() -> "Figure":
    """Draw the three activations of the package, and their slopes."""
    import torch

    from alexnet.models.layers import ACTIVATIONS

    x = torch.linspace(-4, 4, 401, dtype=torch.float64, requires_grad=True)
    figure = new_figure(12, 4.9)
    left, right = figure.subplots(1, 2)
    styles: dict[str, dict[str, Any]] = {
        "relu": {"color": INK},
        "tanh": {"color": TRUE, "dashes": (5, 2.5)},
        "logistic": {"color": SOFT, "dashes": (1.5, 1.5)},
    }
    names = {"relu": "ReLU, max(0, x)", "tanh": "tanh x", "logistic": "logistic, 1 / (1 + e⁻ˣ)"}
    for name, style in styles.items():
        y = ACTIVATIONS[name]()(x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        left.plot(x.tolist(), y.tolist(), linewidth=2.6, label=names[name], **style)
        right.plot(x.tolist(), slope.tolist(), linewidth=2.6, **style)
    left.set(ylim=(-1.2, 3), xlim=(-4, 4))
    right.set(ylim=(-0.05, 1.15), xlim=(-4, 4))
    left.set_title("output", loc="left", fontsize=LARGE, weight="bold", color=INK)
    right.set_title("slope: what the gradient is multiplied by", loc="left", fontsize=LARGE, weight="bold", color=INK)
    left.legend(frameon=False, fontsize=TEXT, loc="upper left")
    for axes in (left, right):
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.tick_params(labelsize=TEXT)
        axes.set_xlabel("x", fontsize=TEXT)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def norm() -> "Figure":
    """Draw the activities of twelve maps at one place before and after response normalisation."""
    import torch

    from alexnet.ops.reference import norm

    net = RECIPES["source"].net
    assert isinstance(net, Net)
    assert net.lrn
    numbers = net.lrn
    a = torch.tensor([20.0, 30, 25, 400, 35, 20, 15, 300, 380, 330, 20, 30])
    scale = numbers.alpha / numbers.n if numbers.divide_alpha_by_n else numbers.alpha
    figure = new_figure(12, 3.9)
    for axes, (words, alpha) in zip(
        figure.subplots(1, 2, sharey=True),
        {"as the paper prints it": numbers.alpha, f"as the code of 2012: α / n = {scale:g}": scale}.items(),
        strict=True,
    ):
        b = norm(a.view(1, -1, 1, 1), 1, numbers.n, numbers.k, alpha, numbers.beta, "").flatten()
        axes.bar(range(len(a)), a.tolist(), color="white", edgecolor=SOFT, linewidth=1.2, label="before, a")
        axes.bar(range(len(a)), b.tolist(), color=FALSE, edgecolor=INK, hatch="//", label="after, b")
        axes.set_title(words, loc="left", fontsize=LARGE, weight="bold", color=INK)
        axes.set_xlabel("map i, all at one place", fontsize=TEXT)
        axes.set_xticks(range(len(a)))
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=TEXT)
    return figure


def momentum() -> "Figure":
    """Draw the descent into a long valley with and without momentum, by the package's update."""
    import numpy as np
    import torch

    from alexnet.ops import reference

    sgd = RECIPES["paper"].sgd
    figure = new_figure(12, 4.9)
    for axes, mu in zip(figure.subplots(1, 2), (0.0, sgd.momentum), strict=True):
        w, v = torch.tensor([-9.0, 1.6], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        path = [w.tolist()]
        for _ in range(STEPS):
            slope = torch.tensor(HILL, dtype=torch.float64) * w
            reference.momentum(w, v, slope, None, torch.tensor(True), RATE, mu, 0.0)
            path.append(w.tolist())
        x, y = np.meshgrid(np.linspace(-10, 4, 140), np.linspace(-2.4, 2.4, 90))
        loss = (HILL[0] * x**2 + HILL[1] * y**2) / 2
        axes.contour(x, y, np.sqrt(loss), levels=11, colors=SOFT, linewidths=0.6)
        axes.plot(*zip(*path, strict=True), "-o", color=INK, markersize=3.5, linewidth=1.3)
        axes.plot(0, 0, "*", color=TRUE, markersize=16)
        last = (HILL[0] * path[-1][0] ** 2 + HILL[1] * path[-1][1] ** 2) / 2
        words = f"momentum {mu:g}: loss {last:.2g} after {STEPS} steps"
        axes.set_title(words, loc="left", fontsize=LARGE, weight="bold", color=INK)
        axes.set(xlim=(-10, 4), ylim=(-2.4, 2.4))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(PALE)
    return figure
