"""The paper's dropout: zeros in training, all units times 1 - p in testing (section 4.2)."""

import torch
from torch import Tensor

from alexnet import rng


def dropout(x: Tensor, p: float, seed: int, layer: str, step: int, position: int) -> Tensor:
    """x (N, units) with each unit set to zero with probability p and the rest left as they are.

    The mask is a function of (seed, layer, step, position in the global batch, unit in the whole layer): row 0 of x is
    the picture at `position`.
    """
    pictures = torch.arange(position, position + x.shape[0], device=x.device)
    quads = torch.arange((x.shape[1] + 3) // 4, device=x.device)
    four = rng.words(seed, f"dropout {layer}", quads, pictures[:, None], step & rng.MASK, step >> 32)
    return x * (four.flatten(1)[:, : x.shape[1]] >= round(p * 2**32))
