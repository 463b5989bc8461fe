"""The pictures of a deck, by the names that its text uses."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from alexnet.core.errors import InputError, WorkFailed
from alexnet.reporting.slides import draw_data, draw_dropout, draw_nets, draw_operations, draw_records, draw_runs
from alexnet.reporting.slides.source import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alexnet.figures.run_data import RunData
    from alexnet.studies.record import Records

DOTS = 120  # per inch: 1,440 pixels for a slide of 1,280

ALWAYS: dict[str, "Callable[[], Figure]"] = {
    "architecture": draw_nets.architecture,
    "weights": draw_nets.weights,
    "fully-connected": draw_nets.fully_connected,
    "volumes": draw_nets.volumes,
    "receptive-field": draw_nets.receptive,
    "towers": draw_nets.towers,
    "pooling": draw_operations.pooling,
    "overlap": draw_operations.overlap,
    "activations": draw_operations.activations,
    "norm": draw_operations.norm,
    "momentum": draw_operations.momentum,
    "fits": draw_data.fits,
    "augmentation": draw_data.augmentation,
    "ten-views": draw_data.ten_views,
    "colour": draw_data.colour,
    "thinned": draw_dropout.thinned,
    "dropout": draw_dropout.pair,
    "dropout-twice": draw_dropout.two_times,
    "unit": draw_dropout.plain_unit,
    "unit-dropout": draw_dropout.masked_unit,
}
OF_A_RUN: dict[str, "Callable[[RunData], Figure]"] = {
    "curves": draw_runs.curves,
    "kernels": draw_runs.kernels,
    "top5": draw_runs.likeliest,
    "maps": draw_runs.maps,
    "saturation": draw_runs.saturation,
}
OF_RECORDS: dict[str, "Callable[[Records], Figure]"] = {
    "relu-tanh": draw_records.relu_tanh,
    "overfitting": draw_records.overfitting,
}
# PNG by name, or the reason why a picture is missing; "" if nothing was given to draw it from
Pictures = dict[str, bytes | str]


def draw_pictures(source: Source, said: Callable[[int, int], None] = lambda done, of: None) -> Pictures:
    """Draw every picture of a deck.

    Args:
        source: What the deck is made from.
        said: Function called with the number of pictures drawn, and that of all.

    Returns:
        By name, the PNG or the reason why it cannot be drawn.
    """
    works: dict[str, Callable[[], Figure] | None] = dict(ALWAYS)
    works |= {name: partial(draw, source.run) if source.run else None for name, draw in OF_A_RUN.items()}
    works |= {name: partial(draw, source.records) if source.records else None for name, draw in OF_RECORDS.items()}
    for place, rows in enumerate(draw_records.pages(list(source.rows.values())), 1):
        works[f"claims-{place}"] = partial(draw_records.claims, rows)
    made: Pictures = {}
    for name, work in works.items():
        made[name] = _drawn(work) if work else ""
        said(len(made), len(works))
    return made


def _drawn(work: "Callable[[], Figure]") -> bytes | str:
    from alexnet.figures.style import rendered

    try:
        return rendered(work(), "png", DOTS)
    except (InputError, WorkFailed) as reason:
        return str(reason)
