"""A layer's outputs in float64, and how far float32 may be from them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.rounding import reach

from alexnet.runs.run import load


def exactly(run: Path, split: Any, layer: str) -> tuple[np.ndarray, float]:
    """Compute a layer's output for each picture of a split in float64, and the rounding error that float32 may add."""
    net = load(run).double()
    views = net.transform.center_crop(torch.from_numpy(split.read(np.arange(len(split)))), torch.float64)

    def put_out() -> list[torch.Tensor]:
        return [net.features(views, layer)]

    with torch.inference_mode():
        (values,), (room,) = put_out(), reach(put_out)
    apart = np.abs(values.numpy()[:, None] - values.numpy()).reshape(len(split), len(split), -1).max(2)
    assert (
        2 * room < apart[~np.eye(len(split), dtype=bool)].min()
    )  # far enough apart to tell all pictures from each other
    return values.numpy(), room
