"""The paper's dropout: zeros in training, all units times 1 - p in testing (section 4.2)."""

import zlib

import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.ops import cpu
from alexnet.ops.dispatch import best


def dropout(x: Tensor, p: float, seed: int, layer: str, step: int | Tensor, position: int, unit: int = 0) -> Tensor:
    """x (N, units) with each unit set to zero with probability p and the rest left as they are.

    The mask is a function of (seed, layer, step, position in the global batch, unit in the whole layer): row 0 of x is
    the picture at `position`, column 0 is unit `unit`. A step that is a tensor stays where it is: a captured graph
    reads it anew each time.
    """
    purpose, least = f"dropout {layer}", round(p * 2**32)
    quad, lead = divmod(unit, 4)  # a word of random bits for each of four units
    units = lead + x.shape[1]
    if isinstance(step, int) and best(x) is cpu:
        code = zlib.crc32(purpose.encode())
        return x * cpu.kept(x.shape[0], units, quad, position, step, seed & rng.MASK, code, least)[:, lead:]
    pictures = torch.arange(position, position + x.shape[0], device=x.device)
    quads = torch.arange(quad, quad + (units + 3) // 4, device=x.device)
    four = rng.words(seed, purpose, quads, pictures[:, None], step & rng.MASK, step >> 32)
    return x * (four.flatten(1)[:, lead:units] >= least)
