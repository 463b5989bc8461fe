"""Response normalisation against loops over the printed formula (section 3.3) and over the 2012 kernels."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.rounding import UNIT, gamma
from torch import Tensor

from alexnet.config.recipe import LRN, SpatialLRN
from alexnet.ops.norm import Relu, response_norm, within_map_norm

Array = np.ndarray[Any, np.dtype[np.float64]]


def lrn_by_loops(x: Array, n: int, k: float, a: float, beta: float, towers: int) -> Array:
    """Compute section 3.3 by index; j runs over max(first, i - n/2) .. min(last, i + n/2) of i's tower."""
    pictures, maps, height, width = x.shape
    each = maps // towers
    out = np.empty_like(x)
    for i in range(maps):
        first = i // each * each
        for p in range(pictures):
            for r in range(height):
                for c in range(width):
                    s = 0.0
                    for j in range(max(first, i - n // 2), min(first + each - 1, i + n // 2) + 1):
                        s += x[p, j, r, c] ** 2
                    out[p, i, r, c] = x[p, i, r, c] / (k + a * s) ** beta
    return out


def within_by_loops(x: Array, n: int, k: float, alpha: float, beta: float) -> Array:
    """Compute kRNorm of the 2012 code: a clipped n x n window around the unit; alpha / (n * n) even at the border."""
    pictures, maps, height, width = x.shape
    out = np.empty_like(x)
    for p, m, r, c in np.ndindex(pictures, maps, height, width):
        s = 0.0
        for y in range(max(0, r - n // 2), min(height - 1, r + n // 2) + 1):
            for z in range(max(0, c - n // 2), min(width - 1, c + n // 2) + 1):
                s += x[p, m, y, z] ** 2
        out[p, m, r, c] = x[p, m, r, c] / (k + alpha / n**2 * s) ** beta
    return out


def lrn_plain(x: Tensor, norm: LRN, towers: int) -> Tensor:
    """Compute the formula in differentiable operations, for autograd: one slice of squares for each neighbour."""
    a = norm.alpha / norm.n if norm.divide_alpha_by_n else norm.alpha
    parts = []
    for tower in x.chunk(towers, 1):
        squares = F.pad(tower**2, (0, 0, 0, 0, norm.n // 2, norm.n // 2))
        s = sum((squares[:, j : j + tower.shape[1]] for j in range(norm.n)), torch.zeros_like(tower))
        parts.append(tower / (norm.k + a * s) ** norm.beta)
    return torch.cat(parts, 1)


def within_plain(x: Tensor, norm: SpatialLRN) -> Tensor:
    """Compute the norm within a map in differentiable operations."""
    h = norm.n // 2
    squares = F.pad(x**2, (h, h, h, h))
    s = torch.zeros_like(x)
    for y in range(norm.n):
        for z in range(norm.n):
            s = s + squares[:, :, y : y + x.shape[2], z : z + x.shape[3]]
    return x / (norm.k + norm.alpha / norm.n**2 * s) ** norm.beta


FORMS: list[Callable[[Tensor], Tensor]] = [  # as the recipes have them, in two towers
    lambda x: response_norm(x, LRN(), 2),
    lambda x: within_map_norm(x, SpatialLRN()),
]


def close(terms: int, dtype: torch.dtype = torch.float64) -> float:
    """Return the relative tolerance between two norms with windows of `terms` squares, summed in any order.

    32 roundings allow for the powers, mostly for two reciprocal roots. The squares have one sign, so nothing cancels.
    """
    return 2 * gamma(terms + 32, dtype)


# A gradient's two terms cancel, but their rounding errors stay. They are g s^-beta and 2 a beta b sum(g b s^-beta / s),
# with a b^2 < s. For g of standard deviation 1, neither is above 8 here.
SLOPE = 16


def raw(*shape: int, seed: int = 0, std: float = 60.0) -> Tensor:
    """Draw numbers as large as raw pixels, so that the sum matters next to k."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0, std, shape))


def gradient(form: Callable[[Tensor], Tensor], x: Tensor, g: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(form(x), x, g)[0]


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize("n", [1, 3, 5, 9])
def test_the_norm_across_maps_is_the_printed_formula(n: int, towers: int, share: bool) -> None:
    """Section 3.3; `share` divides alpha by n (CHM layer.py:1183). With alpha 0.01, the sum is as large as k."""
    x = raw(2, 8, 3, 2, seed=n)
    norm = LRN(n=n, alpha=0.01, divide_alpha_by_n=share)
    a = 0.01 / n if share else 0.01
    expected = lrn_by_loops(x.numpy(), n, 2.0, a, 0.75, towers)
    np.testing.assert_allclose(response_norm(x, norm, towers).numpy(), expected, rtol=close(n))


@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.2])
def test_any_beta_and_k_is_raised_as_printed(beta: float) -> None:
    """Section 3.3: k and beta are hyper-parameters."""
    x = raw(2, 6, 2, 2)
    expected = lrn_by_loops(x.numpy(), 3, 0.7, 0.02, beta, 1)
    np.testing.assert_allclose(response_norm(x, LRN(3, 0.7, 0.02, beta), 1).numpy(), expected, rtol=close(3))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(("n", "towers"), [(1, 1), (3, 2), (5, 1), (5, 2), (9, 2)])
def test_its_gradient_is_that_of_the_plain_formula(n: int, towers: int, share: bool) -> None:
    """Section 3.3, differentiated by autograd and by finite differences."""
    x, norm = raw(2, 8, 3, 2, seed=n), LRN(n=n, alpha=0.01, divide_alpha_by_n=share)
    g = raw(2, 8, 3, 2, seed=n + 100, std=1.0)
    found = gradient(lambda t: response_norm(t, norm, towers), x, g)
    expected = gradient(lambda t: lrn_plain(t, norm, towers), x, g)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SLOPE * close(n))
    small = raw(1, 4, 2, 1, seed=n, std=3.0).requires_grad_()
    large = LRN(n=n, alpha=0.5, divide_alpha_by_n=share)
    assert torch.autograd.gradcheck(lambda t: response_norm(t, large, towers), (small,))


@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_the_norm_within_a_map_is_the_2012_kernel(n: int) -> None:
    """2012 code: rnorm, scale divided by n * n (CHM layer.py:1183), window clipped at the border."""
    x, norm = raw(2, 3, 6, 5, seed=n), SpatialLRN(n=n, alpha=0.05)
    expected = within_by_loops(x.numpy(), n, 1.0, 0.05, 0.75)
    np.testing.assert_allclose(within_map_norm(x, norm).numpy(), expected, rtol=close(n * n))
    g = raw(2, 3, 6, 5, seed=n + 100, std=1.0)
    found = gradient(lambda t: within_map_norm(t, norm), x, g)
    np.testing.assert_allclose(
        found, gradient(lambda t: within_plain(t, norm), x, g), rtol=0, atol=SLOPE * close(n * n)
    )
    small = raw(1, 1, 3, 3, std=3.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: within_map_norm(t, SpatialLRN(n=n, alpha=2.0)), (small,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("relu", ["before", "after"])
def test_the_relu_that_is_taken_in_is_the_relu_beside_it(relu: Relu, dtype: torch.dtype) -> None:
    """Section 3.3 after the ReLU, or before it as in net 145: the same numbers and slopes as two operations."""
    x, norm = raw(2, 8, 3, 2).to(dtype), LRN(alpha=0.01)
    g = raw(2, 8, 3, 2, seed=9, std=1.0).to(dtype)

    def two(t: Tensor) -> Tensor:
        return lrn_plain(F.relu(t), norm, 2) if relu == "before" else F.relu(lrn_plain(t, norm, 2))

    torch.testing.assert_close(response_norm(x, norm, 2, relu), two(x), rtol=close(5, dtype), atol=0)
    found = gradient(lambda t: response_norm(t, norm, 2, relu), x, g)
    torch.testing.assert_close(found, gradient(two, x, g), rtol=0, atol=SLOPE * close(5, dtype))
    if dtype == torch.float64:
        small = raw(1, 4, 2, 1, seed=3, std=3.0).requires_grad_()  # no number near 0, where the slope jumps
        assert torch.autograd.gradcheck(lambda t: response_norm(t, LRN(alpha=0.5), 2, relu), (small,))


def test_the_window_never_crosses_from_one_tower_to_the_other() -> None:
    """Section 3.3 with figure 2: "N is the total number of kernels in the layer", a GPU's own in the 2012 code."""
    x = raw(1, 8, 2, 2)
    changed = x.clone()
    changed[:, 4:] *= 10
    before, after = (response_norm(t, LRN(alpha=0.01), 2) for t in (x, changed))
    assert torch.equal(before[:, :4], after[:, :4])


def test_torch_local_response_norm_is_the_shared_reading() -> None:
    """PyTorch divides alpha by n, as the 2012 code does; each tower is a separate call."""
    x = raw(2, 96, 5, 5).float()
    parts = [F.local_response_norm(t, 5, 1e-4, 0.75, 2.0) for t in x.chunk(2, 1)]
    rtol = close(5, torch.float32)  # PyTorch computes the powers differently
    torch.testing.assert_close(response_norm(x, LRN(divide_alpha_by_n=True), 2), torch.cat(parts, 1), rtol=rtol, atol=0)
    literal = [F.local_response_norm(t, 5, 5e-4, 0.75, 2.0) for t in x.chunk(2, 1)]
    torch.testing.assert_close(response_norm(x, LRN(), 2), torch.cat(literal, 1), rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_narrow_input_costs_the_rounding_of_the_output_alone(dtype: torch.dtype) -> None:
    """Sums and powers in float32, then one rounding; for bfloat16 the compiled roots are right to 2^-14 (2.5 times)."""
    rtol = close(25, torch.float32)
    if dtype != torch.float32:
        rtol += UNIT[dtype] + (2.5 * 2**-14 if dtype == torch.bfloat16 else 0)
    x = raw(2, 12, 5, 4).to(dtype)
    wide = x.double().numpy()
    loops = [lrn_by_loops(wide, 5, 2.0, 1e-4, 0.75, 2), within_by_loops(wide, 5, 1.0, 1e-3, 0.75)]
    for form, expected in zip(FORMS, loops, strict=True):
        found = form(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.double().numpy(), expected, rtol=rtol)


def test_autocast_leaves_the_norms_in_float32() -> None:
    """Mixed precision keeps the norms in float32: the same float32 input gives the same float32 output and gradient."""
    x, g = raw(2, 8, 4, 4).float(), raw(2, 8, 4, 4, seed=1).float()
    for form in FORMS:
        plain, plain_gradient = form(x), gradient(form, x, g)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, mixed_gradient = form(x), gradient(form, x, g)
        assert torch.equal(mixed, plain)
        assert torch.equal(mixed_gradient, plain_gradient)


@pytest.mark.parametrize(
    "shape", [(2, 1, 3, 3), (2, 3, 3, 3), (2, 2, 1, 1), (1, 4, 1, 1), (1, 4, 1, 7), (3, 4, 7, 1)], ids=str
)
def test_awkward_shapes_are_only_shapes(shape: tuple[int, int, int, int]) -> None:
    """One map, fewer maps than n, maps of one unit, maps of one row: clipped windows, as printed."""
    x = raw(*shape)
    towers = 2 if shape[1] % 2 == 0 else 1
    across = lrn_by_loops(x.numpy(), 5, 2.0, 0.01, 0.75, towers)
    np.testing.assert_allclose(response_norm(x, LRN(alpha=0.01), towers).numpy(), across, rtol=close(5))
    within = within_by_loops(x.numpy(), 5, 1.0, 0.01, 0.75)
    np.testing.assert_allclose(within_map_norm(x, SpatialLRN(alpha=0.01)).numpy(), within, rtol=close(25))


@pytest.mark.parametrize("form", ["across", "within"])
def test_the_memory_layout_changes_nothing(form: str) -> None:
    """Channels first, channels last, and strided views of either give the same numbers and gradients."""

    def norm(t: Tensor) -> Tensor:
        return response_norm(t, LRN(alpha=0.01), 2) if form == "across" else within_map_norm(t, SpatialLRN(alpha=0.01))

    whole = raw(4, 8, 6, 5)
    x, g = whole[::2, :, 1:, ::2], raw(2, 8, 5, 3, seed=5, std=1.0)
    assert not x.is_contiguous()
    expected, slope = norm(x.contiguous()), gradient(norm, x.contiguous(), g)
    for laid in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
        for along in (g, g.contiguous(memory_format=torch.channels_last), g[:, :1, :1, :1].expand_as(g)):
            own = slope if along.stride() != (0, 0, 0, 0) and torch.equal(along, g) else gradient(norm, x, along)
            torch.testing.assert_close(gradient(norm, laid, along), own, rtol=0, atol=SLOPE * close(25))
        torch.testing.assert_close(norm(laid), expected, rtol=close(25), atol=0)


def test_no_pictures_give_no_pictures() -> None:
    """An empty batch has an empty result and an empty gradient."""
    for form in FORMS:
        x = torch.zeros(0, 8, 3, 3)
        assert form(x).shape == x.shape
        assert gradient(form, x, torch.zeros_like(x)).shape == x.shape


def test_a_large_batch_is_the_small_batches_in_a_row() -> None:
    """The size of a chunk changes nothing: 300 pictures of 1,024 numbers are more than a chunk of 131,072."""
    x = raw(300, 16, 8, 8).float()
    for form in FORMS:
        rows = torch.cat([form(t) for t in x.split(7)])
        # A matrix product may sum in another order for a longer batch.
        torch.testing.assert_close(form(x), rows, rtol=close(25, torch.float32), atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_comes_through(bad: float) -> None:
    """Where the printed formula gives NaN, the norm gives NaN, and other pictures do not change."""
    x = raw(2, 8, 5, 5)
    x[0, 3, 2, 2] = bad
    with np.errstate(invalid="ignore"):
        across = lrn_by_loops(x.numpy(), 5, 2.0, 1e-4, 0.75, 2)
        within = within_by_loops(x.numpy(), 5, 1.0, 1e-3, 0.75)
    assert np.isnan(across[0, 3, 2, 2])
    assert np.isnan(within[0, 3, 2, 2])
    for form, expected in zip(FORMS, (across, within), strict=True):
        found = form(x).numpy()
        assert np.isnan(found[np.isnan(expected)]).all()
        np.testing.assert_allclose(found[1], expected[1], rtol=close(25))


def test_large_finite_numbers_stay_finite() -> None:
    """Activations of 1e12 have squares that float32 holds; 2012 computed so too."""
    x = torch.full((1, 8, 2, 2), 1e12)
    expected = lrn_by_loops(x.double().numpy(), 5, 2.0, 1e-4, 0.75, 2)
    np.testing.assert_allclose(response_norm(x, LRN(), 2).double().numpy(), expected, rtol=close(5, torch.float32))


def test_testing_first_does_not_spoil_training_after() -> None:
    """A backward pass must not use tensors that inference mode has cached."""
    norm, x = LRN(alpha=0.013), raw(1, 22, 3, 3)
    with torch.inference_mode():
        response_norm(x, norm, 2)
    g = raw(1, 22, 3, 3, seed=2)
    found = gradient(lambda t: response_norm(t, norm, 2), x, g)
    expected = gradient(lambda t: lrn_plain(t, norm, 2), x, g)
    np.testing.assert_allclose(found, expected, rtol=0, atol=60 * SLOPE * close(5))  # g is 60 times as large here


@pytest.mark.parametrize("relu", ["", "before", "after"])
def test_the_second_derivative_is_the_slope_of_the_first(relu: Relu) -> None:
    """The gradient is analytic; its own is autograd's, of the formula."""
    across = partial(response_norm, norm=LRN(alpha=0.3), towers=2, relu=relu)
    within = partial(within_map_norm, norm=SpatialLRN(alpha=0.3, n=3))
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 8, 3, 2))).requires_grad_()
    for form in (across, within):
        assert torch.autograd.gradgradcheck(form, (x,))


def test_a_penalty_on_the_gradient_reaches_the_input() -> None:
    """The gradient's own gradient leads back to the input twice: through the norm, and through what it gets."""
    slopes = []
    norm, forms = LRN(alpha=0.3), (response_norm, lrn_plain)
    for form in (partial(form, norm=norm, towers=2) for form in forms):
        x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 8, 3, 2))).requires_grad_()
        (g,) = torch.autograd.grad(form(form(x)).square().sum(), x, create_graph=True)
        g.square().sum().backward()
        slopes.append(x.grad)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-10, atol=1e-12)


def test_maps_that_do_not_part_into_towers_are_refused() -> None:
    for x in (raw(1, 7, 2, 2), raw(1, 7, 2, 2).float()):
        with pytest.raises(ValueError, match="7 maps cannot be split evenly over 2 towers"):
            response_norm(x, LRN(), 2)
