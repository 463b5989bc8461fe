"""Register operators `torch.ops.alexnet.*`: what exporters, compilers and tracers see in place of our kernels."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

LIBRARY = torch.library.Library("alexnet", "DEF")


def define(
    schema: str,
    compute: Callable[..., Any],
    fake: Callable[..., Any],
    keep: Callable[..., None] | None = None,
    slope: Callable[..., Any] | None = None,
) -> None:
    """Register an operator.

    Args:
        schema: Its name, arguments and results, such as "half(Tensor x) -> Tensor".
        compute: The operator on tensors with numbers.
        fake: The operator on tensors without numbers: it returns empty tensors of the same shapes and strides.
        keep: What to keep for the gradient, a function of (ctx, inputs, output).
        slope: The gradients of the inputs, a function of (ctx, g); without it the operator has no derivative.
    """
    name = schema.split("(")[0]

    def computed(*given: Any) -> Any:
        if forward_ad._current_level >= 0:  # PyTorch would take the derivative for 0
            raise RuntimeError(f"alexnet::{name} has no derivative in forward mode; differentiate the net itself")
        return compute(*given)

    LIBRARY.define(schema)
    LIBRARY.impl(name, computed, "CompositeExplicitAutograd")
    torch.library.register_fake(f"alexnet::{name}", fake, lib=LIBRARY)
    torch.library.register_autograd(f"alexnet::{name}", slope or refuse, setup_context=keep, lib=LIBRARY)


def refuse(ctx: Any, *_: Any) -> Any:
    """Raise RuntimeError for a derivative that an operator does not have, which autograd would omit."""
    raise RuntimeError("this gradient has no derivative of its own; use create_graph=False")
