"""Pictures of data for the slides: fits of curves, and views and colours of a built-in picture."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.config.recipes import RECIPES
from alexnet.figures.style import INK, LARGE, SMALL, SOFT, TEXT, TRUE, new_figure

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

    from alexnet.data.transforms import Transform

SEED, POINTS, OTHERS, NOISE = 3, 12, 200, 0.22  # of the fits
DEGREES = (1, 4, 11)  # of polynomials: too few parameters, enough, one a point
PICTURES, EXAMPLE = 24, 3  # built-in pictures whose colours are measured, and the one that is shown
VIEWS = 8  # random views of it


def fits() -> "Figure":
    """Fit polynomials of three degrees to the same noisy points, and measure them on points that they did not see."""
    rng = np.random.default_rng(SEED)

    def truth(x: np.ndarray) -> np.ndarray:
        return np.sin(1.5 * np.pi * x) + 0.4 * x

    x, other = np.linspace(0, 1, POINTS), rng.uniform(0, 1, OTHERS)
    y, seen = truth(x) + NOISE * rng.normal(size=POINTS), truth(other) + NOISE * rng.normal(size=OTHERS)
    figure = new_figure(12, 4.9)
    fine = np.linspace(0, 1, 400)
    for axes, degree in zip(figure.subplots(1, len(DEGREES), sharey=True), DEGREES, strict=True):
        fit = np.polynomial.Polynomial.fit(x, y, degree)
        training, test = (float(np.sqrt(np.mean((fit(a) - b) ** 2))) for a, b in ((x, y), (other, seen)))
        kind = {DEGREES[0]: "underfits", DEGREES[-1]: "overfits"}.get(degree, "fits")
        axes.plot(fine, truth(fine), color=SOFT, dashes=(5, 3), linewidth=1.4, label="the truth")
        axes.plot(fine, fit(fine), color=TRUE, linewidth=2.4, label=f"degree {degree}")
        axes.plot(x, y, "o", color=INK, markersize=7, label="training points")
        axes.set_title(f"{kind}: error {training:.2f} in training,\n{test:.2f} on other points", fontsize=LARGE,
                       loc="left", color=INK)  # fmt: skip
        axes.set(ylim=(-1.7, 2.0), xticks=[], yticks=[])
        axes.legend(frameon=False, fontsize=TEXT, loc="lower left")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


@cache
def transform() -> "Transform":
    """Make the transform of recipe source, with the mean and the colours of some built-in pictures."""
    import torch

    from alexnet.data.prepare.statistics import statistics, sums
    from alexnet.data.sources.drawings import draw
    from alexnet.data.transforms import make_transform

    found = statistics(sums((draw(i) for i in range(PICTURES)), 256))
    parts = (torch.from_numpy(np.asarray(part)).float() for part in (found.mean, found.eigenvalues, found.eigenvectors))
    return make_transform(RECIPES["source"], *parts)


def example() -> np.ndarray:
    """Return the built-in picture that the slides show, uint8 (256, 256, 3)."""
    from alexnet.data.sources.drawings import draw

    return draw(EXAMPLE)


def seen(view: "torch.Tensor") -> np.ndarray:
    """Undo the mean's subtraction for a view (3, size, size), to show it."""
    of = transform()
    margin = of.margin // 2
    mean = of.mean[margin : margin + of.size, margin : margin + of.size]
    return np.asarray((view.permute(1, 2, 0) + mean).clamp(0, 255).to(view.dtype)).astype(np.uint8)


def augmentation() -> "Figure":
    """Draw a picture and some of its random crops and mirrors, as training cuts them."""
    import torch
    from matplotlib.patches import Rectangle

    from alexnet.ops import crop

    of, picture = transform(), example()
    images = torch.from_numpy(np.stack([picture] * VIEWS))
    ids = torch.arange(VIEWS)
    top, left, mirrored, _ = crop.draw(ids, 0, 0, 0, of.margin, 1, True, True, 0.0, of.components)
    views = of.crop(images, top, left, mirrored, None, 1.0, torch.float32)
    figure = new_figure(12, 4.9)
    outer = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 2.2])[0]
    whole = outer[0].subplots()
    whole.set_axis_off()
    whole.imshow(picture)
    whole.set_title("256 × 256", fontsize=LARGE, color=INK)
    for i, axes in enumerate(outer[1].subplots(2, VIEWS // 2).flat):
        corner = int(left[i]), int(top[i])
        frame: dict[str, Any] = {
            "fill": False,
            "edgecolor": TRUE if i == 0 else INK,
            "linewidth": 2.2 if i == 0 else 0.6,
        }
        whole.add_patch(Rectangle(corner, of.size, of.size, **frame))
        axes.set_axis_off()
        axes.imshow(seen(views[i]))
        words = f"({corner[0]}, {corner[1]})" + (", mirrored" if mirrored[i] else "")
        axes.set_title(words, fontsize=TEXT, color=INK)
    return figure


def ten_views() -> "Figure":
    """Draw the frames of the ten views of testing, and the views."""
    from matplotlib.patches import Rectangle

    of, picture = transform(), example()
    places = of.places()
    figure = new_figure(12, 4.9)
    outer = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 2.4])[0]
    shown = outer[0].subplots()
    shown.imshow(picture)
    shown.set_axis_off()
    shown.set_title(f"five places of {of.size} in 256", fontsize=LARGE, color=INK)
    for i, (top, left, _) in enumerate(places[:5]):
        style: dict[str, Any] = {
            "fill": False,
            "edgecolor": TRUE if i == 2 else INK,
            "linewidth": 2,
            "linestyle": "-" if i == 2 else "--",
        }
        shown.add_patch(Rectangle((left, top), of.size, of.size, **style))
    cut = of.ten_crop(picture)[:, 0]
    for i, axes in enumerate(outer[1].subplots(2, 5).flat):
        axes.imshow(seen(cut[i]))
        axes.set_axis_off()
        axes.set_title(f"{i + 1}" + (", mirrored" if places[i][2] else ""), fontsize=TEXT, color=INK)
    return figure


def colour() -> "Figure":
    """Draw a picture under the colour noise of several epochs, of the paper's size and three times as strong."""
    import torch

    from alexnet.ops import crop

    of, picture = transform(), example()
    count = 4
    images = torch.from_numpy(np.stack([picture] * count))
    middle = torch.full((count,), of.margin // 2)
    figure = new_figure(12, 5.2)
    grid = figure.subplots(2, count + 1)
    for row, (axes_of, strength) in enumerate(zip(grid, (of.views.colour, 3 * of.views.colour), strict=True)):
        none = torch.zeros(count, dtype=torch.bool)
        drawn = crop.draw(torch.arange(count), 7, 0, 0, of.margin, 1, False, False, strength, of.components)[3]
        assert drawn is not None
        views = of.crop(images, middle, middle, none, drawn.float(), 1.0, torch.float32)
        axes_of[0].imshow(picture[16:-16, 16:-16])
        axes_of[0].set_title("unchanged" if row == 0 else "", fontsize=TEXT, color=INK)
        for i, axes in enumerate(axes_of[1:]):
            axes.imshow(seen(views[i]))
            axes.set_title(
                ", ".join(
                    f"{value:+.0f}".replace("-0", "0").replace("+0", "0").replace("-", "−")
                    for value in drawn[i].tolist()
                ),
                fontsize=SMALL,
                color=INK,
            )
        for axes in axes_of:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        axes_of[0].set_ylabel(f"deviation of α: {strength:g}", fontsize=TEXT, color=INK)
    return figure
