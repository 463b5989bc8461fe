"""Response normalisation, across the maps of a tower (section 3.3) and within a map (2012 code).

Each norm is one operation with an analytic gradient. This file makes the norms autograd functions, and chooses their
implementation; pool.py has those with a pool after them. reference.py has the formulas of forward and backward (`norm`,
`norm_gradient`); native/ and triton/ compute them in one pass over memory. tests/ops/test_norm.py checks reference.py
against autograd's gradient of the printed formula in float64; test_cpu.py and triton/test_norm.py check the fast
kernels.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops import cpu, dispatch, reference
from alexnet.ops.dispatch import best
from alexnet.ops.library import define

Relu = Literal["", "before", "after"]


def response_norm(x: Tensor, norm: LRN, towers: int, relu: Relu = "") -> Tensor:
    """Normalise each map by its neighbours in the same tower (section 3.3).

    ``b_i = a_i / (k + alpha sum_j a_j^2)^beta``, over the maps j within n/2 of i. A window ends at the first and last
    map of its tower. PyTorch's LocalResponseNorm divides alpha by n, as the 2012 code does; the printed formula does
    not, and `norm.divide_alpha_by_n` chooses.

    Args:
        x: Maps, (N, C, H, W), any float dtype; sums and powers are float32 or wider.
        norm: The numbers n, k, alpha and beta.
        towers: Number of towers, which must divide C.
        relu: Also apply the ReLU "before" or "after" the norm, in the same pass over memory; "" applies none.

    Returns:
        (N, C, H, W), in the dtype of x.

    Raises:
        ValueError: n is even, or the maps cannot be split evenly over the towers.
    """
    numbers = towers, norm.n, norm.k, norm.a, norm.beta, relu
    view = dispatch.view_of(x)
    if view == "operator":
        return torch.ops.alexnet.norm(x, *numbers)
    check(x, norm.n, towers)
    if view == "onnx" and not relu:
        return torch.cat([onnx_norm(part, norm) for part in x.chunk(towers, 1)], 1)
    if view != "kernel":
        return reference.norm(x.to(reference.wider(x)), *numbers).to(x.dtype)
    return differentiable(x, "norm", numbers)


def within_map_norm(x: Tensor, norm: SpatialLRN) -> Tensor:
    """Normalise each unit by the n x n units around it in its own map (2012 code; not in the paper).

    The window is clipped at the border, but alpha is always divided by n * n.

    Args:
        x: Maps, (N, C, H, W), any float dtype.
        norm: The numbers n, k, alpha and beta.

    Returns:
        (N, C, H, W), in the dtype of x.
    """
    numbers = norm.n, norm.k, norm.a, norm.beta
    view = dispatch.view_of(x)
    if view == "operator":
        return torch.ops.alexnet.within(x, *numbers)
    if view != "kernel":
        return reference.within(x.to(reference.wider(x)), *numbers).to(x.dtype)
    return differentiable(x, "within", numbers)


def check(x: Tensor, n: int, towers: int) -> None:
    """Raise ValueError for an even n, or for maps that do not split evenly over the towers."""
    if n % 2 == 0:
        raise ValueError(f"n is {n}; it must be odd, so that the window has a centre")
    if not torch.jit.is_tracing() and x.shape[1] % towers:  # type: ignore[attr-defined, no-untyped-call]
        raise ValueError(f"{x.shape[1]} maps cannot be split evenly over {towers} towers")


def onnx_norm(x: Tensor, norm: LRN) -> Tensor:
    """Write the norm of a tower as ONNX's LRN, which divides alpha by n."""
    numbers: Any = {"size": norm.n, "alpha": norm.a * norm.n, "beta": norm.beta, "bias": norm.k}
    return torch.onnx.ops.symbolic("LRN", (x,), numbers, dtype=x.dtype, shape=x.shape)


def formula(what: str, backward: bool = False) -> Callable[..., Tensor]:
    """Return the formula of a norm, or of its gradient, in operations that PyTorch can differentiate."""
    found: Callable[..., Tensor] = getattr(reference, f"{what}_gradient" if backward else what)
    return found


def supporting(module: Any, what: str, numbers: tuple[Any, ...]) -> Any:
    """Return the module, or `reference` if the module has no kernel of a norm with these numbers."""
    n, beta = (numbers[1], numbers[4]) if what == "norm" else (numbers[0], numbers[3])
    return reference if module is cpu and not cpu.supports(n, beta) else module


def differentiable(x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
    """Compute a norm, with a record for autograd where there is a gradient to come, or a transform."""
    if torch._C._are_functorch_transforms_active() or (x.requires_grad and torch.is_grad_enabled()):
        made: Tensor = Norm.apply(x, what, numbers)  # type: ignore[no-untyped-call]
        return made
    return normed(x, what, numbers)


def normed(x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
    """Compute a norm by the fastest kernel."""
    made: Tensor = getattr(supporting(best(x), what, numbers), f"{what}_forward")(x, *numbers)
    return made


def gradient(g: Tensor, x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
    """Compute the gradient of a norm by the fastest kernel; by the formula if a transform wraps g or x."""
    if not (dispatch.addressed(g) and dispatch.addressed(x)):
        return formula(what, backward=True)(*(t.to(reference.wider(x)) for t in (g, x)), *numbers).to(x.dtype)
    made: Tensor = getattr(supporting(best(x), what, numbers), f"{what}_backward")(g, x, *numbers)
    return made


def second(
    gg: Tensor, g: Tensor, x: Tensor, what: str, numbers: tuple[Any, ...], wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """Compute the gradients of g and x from gg, that of `gradient`: autograd's, of the formula in reference.py."""
    wide = [t.to(reference.wider(x)) for t in (g, x)]
    _, back, *_ = torch.func.vjp(lambda g, x: formula(what, backward=True)(g, x, *numbers), *wide)
    found = back(gg.to(wide[0].dtype))
    return [t.to(x.dtype) if want else None for t, want in zip(found, wanted, strict=True)]


class Norm(torch.autograd.Function):
    """A norm with its analytic gradient, which needs only x."""

    @staticmethod
    def forward(x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
        """Compute the norm, in the dtype of x."""
        return normed(x, what, numbers)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep x."""
        x, ctx.what, ctx.numbers = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Compute the gradient of x."""
        (x,) = ctx.saved_tensors
        if not torch.is_grad_enabled():  # no second derivative is wanted
            return gradient(g, x, ctx.what, ctx.numbers), None, None
        return NormGradient.apply(g, x, ctx.what, ctx.numbers), None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(info: Any, dims: Any, x: Tensor, what: str, numbers: tuple[Any, ...]) -> tuple[Tensor, int]:
        """Compute the norms of several batches as one batch: a norm takes each picture alone."""
        x = x.movedim(dims[0], 0)
        made: Tensor = Norm.apply(x.flatten(0, 1), what, numbers)  # type: ignore[no-untyped-call]
        return made.unflatten(0, x.shape[:2]), 0


class NormGradient(torch.autograd.Function):
    """The gradient of a norm; its own is that of the formula."""

    @staticmethod
    def forward(g: Tensor, x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
        """Compute the gradient, in the dtype of x."""
        return gradient(g, x, what, numbers)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep g and x."""
        g, x, ctx.what, ctx.numbers = inputs
        ctx.save_for_backward(g, x)

    @staticmethod
    def backward(ctx: Any, gg: Tensor) -> Any:
        """Compute the gradients of g and x."""
        g, x = ctx.saved_tensors
        return *second(gg, g, x, ctx.what, ctx.numbers, ctx.needs_input_grad[:2]), None, None

    @staticmethod
    def vmap(info: Any, dims: Any, g: Tensor, x: Tensor, what: str, numbers: tuple[Any, ...]) -> tuple[Tensor, int]:
        """Compute several batches as one batch; a tensor without a dimension to map is the same for all."""
        g, x = (
            t.movedim(dim, 0) if dim is not None else t.expand(info.batch_size, *t.shape)
            for t, dim in zip((g, x), dims, strict=False)
        )
        both = g.flatten(0, 1), x.flatten(0, 1)
        made: Tensor = NormGradient.apply(*both, what, numbers)  # type: ignore[no-untyped-call]
        return made.unflatten(0, x.shape[:2]), 0


def like(x: Tensor, what: str, numbers: tuple[Any, ...]) -> Tensor:
    """Return an empty tensor with the layout of a norm of x: the kernels write channels last."""
    fast = supporting(dispatch.kernels_for(x.device, x.dtype), what, numbers) is not reference
    return torch.empty_like(x, memory_format=torch.channels_last if fast else torch.preserve_format)


def register(what: str, names: str) -> None:
    """Register the operators of a norm and of its gradient, whose numbers have these names."""
    nothing = [None] * (names.count(",") + 1)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*(t for t in inputs if isinstance(t, Tensor)))
        ctx.numbers = tuple(t for t in inputs if not isinstance(t, Tensor))

    def slope(ctx: Any, g: Tensor) -> Any:
        return getattr(torch.ops.alexnet, f"{what}_backward")(g, *ctx.saved_tensors, *ctx.numbers), *nothing

    def slopes(ctx: Any, gg: Tensor) -> Any:
        g, x = ctx.saved_tensors
        return *second(gg, g, x, what, ctx.numbers, ctx.needs_input_grad[:2]), *nothing

    def made(x: Tensor, *numbers: Any) -> Tensor:
        if what == "norm":
            check(x, numbers[1], numbers[0])
        return normed(x, what, numbers)

    define(f"{what}(Tensor x, {names}) -> Tensor", made, lambda x, *numbers: like(x, what, numbers), keep, slope)
    define(
        f"{what}_backward(Tensor g, Tensor x, {names}) -> Tensor",
        lambda g, x, *numbers: gradient(g, x, what, numbers),
        lambda g, x, *numbers: like(x, what, numbers),
        keep,
        slopes,
    )


ACROSS = "int towers, int n, float k, float a, float beta, str relu"
register("norm", ACROSS)
register("within", "int n, float k, float a, float beta")
