"""Shared parts of the tests of figures: a log, and the text on a figure."""

from typing import Any


def step(number: int, rate: float = 0.01) -> dict[str, Any]:
    return {
        "kind": "step", "step": number, "epoch": number / 10, "loss": 2 / number, "error": 0.9 / number, "rate": rate,
    }  # fmt: skip


def epoch(number: int, rate: float = 0.01) -> dict[str, Any]:
    errors = {"train_loss": 2 / number, "train_error": 0.8 / number, "top1": 0.7 / number, "top5": 0.3 / number}
    return {"kind": "epoch", "step": 10 * number, "epoch": number, "rate": rate, "nats": 2.1 / number} | errors


FINAL = {"kind": "final", "step": 40, "views": 10, "top1": 0.15, "top5": 0.02, "nats": 0.5, "images": 20}
LOG = [epoch(1), epoch(2), step(25, 0.001), epoch(3, 0.001), epoch(4, 0.0001), FINAL]


def labels(figure: Any, panel: int) -> list[str]:
    return [str(label) for label in figure.axes[panel].get_legend_handles_labels()[1]]


def written(figure: Any) -> list[str]:
    """List every text on a figure's panels."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]
