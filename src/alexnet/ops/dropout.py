"""The paper's dropout in training. In testing, the nets multiply all units by 1 - p instead (section 4.2)."""

import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alexnet.core import rng
from alexnet.ops import cpu
from alexnet.ops.dispatch import best, view_of
from alexnet.ops.library import define


def dropout(x: Tensor, p: float, seed: int, layer: str, step: int | Tensor, position: int, unit: int = 0) -> Tensor:
    """Set each unit to zero with probability p, and leave the others as they are (section 4.2).

    Unlike nn.Dropout, it does not scale the kept units up. The mask is a function of (seed, layer, step, position in
    the global batch, unit of the whole layer), so it is the same however the batch or the layer is split.

    Args:
        x: (N, units), any float dtype.
        p: Probability of a zero, 0 or more and below 1.
        seed: Seed of the run.
        layer: Name of the layer, such as "fc6".
        step: Training step, from 0. A tensor stays on its device, so that a captured CUDA graph reads its current
            value.
        position: Position of row 0 in the global batch.
        unit: Unit of the whole layer in column 0.

    Returns:
        (N, units), in the dtype of x.
    """
    if view_of(x) == "operator":
        now = step if isinstance(step, Tensor) else torch.full((), step, dtype=torch.int64)
        return torch.ops.alexnet.dropout(x, now, p, seed & rng.MASK, layer, position, unit)
    purpose, least = f"dropout {layer}", round(p * 2**32)
    quad, lead = divmod(unit, 4)  # one Philox call gives the words of four units
    units = lead + x.shape[1]
    form = best(x) if isinstance(step, int) else best(x, step)
    if hasattr(form, "dropout"):
        made: Tensor = Dropout.apply(x, form.dropout, (p, seed, layer, step, position, unit))  # type: ignore[no-untyped-call]
        return made
    if isinstance(step, int) and form is cpu:
        code = zlib.crc32(purpose.encode())
        return x * cpu.kept(x.shape[0], units, quad, position, step, seed & rng.MASK, code, least)[:, lead:]
    pictures = torch.arange(position, position + x.shape[0], device=x.device)
    quads = torch.arange(quad, quad + (units + 3) // 4, device=x.device)
    four = rng.words(seed, purpose, quads, pictures[:, None], step & rng.MASK, step >> 32)
    return x * (four.flatten(1)[:, lead:units] >= least)


class Dropout(torch.autograd.Function):
    """Dropout by a kernel, which masks gradients as it masks units: it draws the same words again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Callable[..., Tensor], place: tuple[Any, ...]) -> Tensor:
        """Mask units."""
        ctx.kernel, ctx.place = kernel, place
        return kernel(x, *place)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Mask their gradients."""
        return Dropout.apply(g, ctx.kernel, ctx.place), None, None  # type: ignore[no-untyped-call]


def masked(x: Tensor, step: Tensor, *place: Any) -> Tensor:
    """Compute dropout as an operator, whose step is a tensor (): a compiled graph reads its current value."""
    p, seed, layer, position, unit = place
    return dropout(x, p, seed, layer, step if step.device == x.device != CPU else int(step), position, unit)


def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep the place, from which the same words are drawn again."""
    _, step, *ctx.place = inputs
    ctx.save_for_backward(step)


def slope(ctx: Any, g: Tensor) -> Any:
    """Mask gradients."""
    return torch.ops.alexnet.dropout(g, *ctx.saved_tensors, *ctx.place), *[None] * 6


CPU = torch.device("cpu")
define(
    "dropout(Tensor x, Tensor step, float p, int seed, str layer, int position, int unit) -> Tensor",
    masked,
    lambda x, *_: torch.empty_like(x),
    keep,
    slope,
)
