# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Random numbers in a kernel, the bits of core.rng: dropout (section 4.2), and where views lie (section 4.1)."""

import math
import zlib

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr

from alexnet.core import rng
from alexnet.ops.triton.rows import ceil, positive

QUADS = 128  # per program: four units, or numbers, each
PICTURES = 32  # per program
LOG = constexpr([1 / n for n in range(21, 0, -2)])
COS = constexpr([(-1) ** n / math.factorial(2 * n) for n in range(8, -1, -1)])
SIN = constexpr([(-1) ** n / math.factorial(2 * n + 1) for n in range(8, -1, -1)])
HALF, LOG_2, TURN = constexpr(math.sqrt(0.5)), constexpr(math.log(2)), constexpr(2 * math.pi)


@triton.jit
def held(number):
    """Read a whole number, 64 bits, that is an argument or lies on the device."""
    if number.dtype.is_ptr():
        return tl.load(number)
    return number.to(tl.int64)


@triton.jit
def words(c0, c1, c2, c3, k0, k1):
    """Compute rng.words: four words of 32 bits for each place (c0, c1, c2, c3), whole numbers of one shape."""
    low = c0 * 0
    return tl.philox_impl(
        c0.to(tl.uint32), (low + c1).to(tl.uint32), (low + c2).to(tl.uint32), (low + c3).to(tl.uint32),
        (low + k0).to(tl.uint32), (low + k1).to(tl.uint32), 10,
    )  # fmt: skip


@triton.jit(do_not_specialize=["step", "position", "quad", "k0", "k1", "least"])
def dropout_kernel(
    x, y, step, position, quad, k0, k1, least, units: constexpr, lead: constexpr, relu: constexpr, B: constexpr
):  # fmt: skip
    """Compute y = x, or its ReLU, where the word of a unit is at least `least`, else 0."""
    row = tl.program_id(0).to(tl.int64)
    at = held(step)
    q = (tl.program_id(1) * B + tl.arange(0, B)).to(tl.int64)
    a, b, c, d = words(quad.to(tl.int64) + q, position.to(tl.int64) + row, at & 0xFFFFFFFF, at >> 32, k0, k1)
    word = tl.reshape(tl.join(tl.join(a, c), tl.join(b, d)), (4 * B,)).to(tl.int64)
    unit = tl.program_id(1) * (4 * B) + tl.arange(0, 4 * B) - lead
    ok = (unit >= 0) & (unit < units)
    value = tl.load(x + row * units + unit, mask=ok, other=0).to(tl.float32)
    kept = tl.where(word >= least, 1.0, 0.0)  # a product keeps the NaN of a dropped unit, as PyTorch's form does
    if relu:
        value = positive(value)
    tl.store(y + row * units + unit, (value * kept).to(y.dtype.element_ty), mask=ok)


@triton.jit
def polynomial(x, coefficients: constexpr, count: constexpr):
    """Compute a polynomial by Horner's rule, in separate products and sums (the launch forbids fused ones)."""
    total = x * 0 + coefficients[0]
    for i in tl.static_range(1, count):
        total = total * x + coefficients[i]
    return total


@triton.jit
def logarithm(x):
    """Compute rng._log."""
    bits = x.to(tl.int64, bitcast=True)
    exponent = ((bits >> 52) & 0x7FF) - 1022
    m = ((bits & 0xFFFFFFFFFFFFF) | (1022 << 52)).to(tl.float64, bitcast=True)
    low = (m - HALF) < 0  # a comparison would round the constant to float32
    m = tl.where(low, 2 * m, m)
    s = (m - 1) / (m + 1)
    return (exponent - low.to(tl.int64)).to(tl.float64) * LOG_2 + 2 * s * polynomial(s * s, LOG, 11)


@triton.jit
def cosine_sine(turn):
    """Compute rng._cos_sin."""
    quarter = tl.floor(4 * turn + 0.5)
    t = TURN * (turn - quarter / 4)
    cos, sin = polynomial(t * t, COS, 9), t * polynomial(t * t, SIN, 9)
    odd = (quarter == 1) | (quarter == 3)
    along, up = tl.where(odd, sin, cos), tl.where(odd, cos, sin)
    along = tl.where((quarter == 1) | (quarter == 2), -along, along)
    return along, tl.where((quarter == 2) | (quarter == 3), -up, up)


@triton.jit
def uniform(word):
    """Map a word to a number between 0 and 1."""
    return (word.to(tl.float64) + 0.5) * 0.00000000023283064365386962890625  # 2^-32


@triton.jit(do_not_specialize=["pictures", "epoch", "first", "k0", "k_crop", "k_colour", "places"])
def draw_kernel(
    ids, components, top, left, mirrored, shift, pictures, epoch, first, k0, k_crop, k_colour, places, colour,
    shared: constexpr, crops: constexpr, mirror: constexpr, coloured: constexpr, B: constexpr,
):  # fmt: skip
    """Draw where a view of each picture lies, whether it is mirrored, and its colour shift."""
    picture = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    ok = picture < pictures
    own = tl.load(ids + picture, mask=ok, other=0)
    if shared > 1:
        who = (picture + held(first)) // shared
    else:
        who = own
    at = held(epoch)
    a, b, c, _ = words(who, at, 0, 0, k0, k_crop)
    y = picture * 0 + (places - 1) // 2
    x = y
    if crops:
        y, x = (a.to(tl.int64) * places) >> 32, (b.to(tl.int64) * places) >> 32
    tl.store(top + picture, y, mask=ok)
    tl.store(left + picture, x, mask=ok)
    flip = picture < 0
    if mirror:
        flip = c.to(tl.int64) >= 2147483648
    tl.store(mirrored + picture, flip.to(tl.uint8), mask=ok)
    if coloured:
        a, b, c, d = words(own, at, 0, 0, k0, k_colour)
        long, short = tl.sqrt(-2 * logarithm(uniform(a))), tl.sqrt(-2 * logarithm(uniform(b)))
        cos, sin = cosine_sine(uniform(c))
        other, _ = cosine_sine(uniform(d))
        first_ = (colour * (long * cos).to(tl.float32)).to(tl.float64)
        second = (colour * (short * other).to(tl.float32)).to(tl.float64)
        third = (colour * (long * sin).to(tl.float32)).to(tl.float64)
        for i in tl.static_range(3):
            light = first_ * tl.load(components + 3 * i).to(tl.float64)
            light += second * tl.load(components + 3 * i + 1).to(tl.float64)
            light += third * tl.load(components + 3 * i + 2).to(tl.float64)
            tl.store(shift + picture * 3 + i, light.to(tl.float32), mask=ok)


def dropout(
    x: Tensor, p: float, seed: int, layer: str, step: int | Tensor, position: int, unit: int = 0, relu: bool = False
) -> Tensor:
    """Compute ops.dropout.dropout in one kernel; with `relu`, of the ReLU of x."""
    x = x.contiguous()
    y = torch.empty_like(x)
    quad, lead = divmod(unit, 4)
    code, least = zlib.crc32(f"dropout {layer}".encode()), round(p * 2**32)
    grid = len(x), ceil(lead + x.shape[1], 4 * QUADS)
    if x.numel():
        with torch.cuda.device_of(x):
            dropout_kernel[grid](
                x, y, step, position, quad, seed & rng.MASK, code, least, x.shape[1], lead, relu, QUADS
            )  # fmt: skip
    return y


def draw(
    ids: Tensor, seed: int, epoch: int | Tensor, first: int | Tensor, margin: int, pictures_per_crop: int, crops: bool,
    mirror: bool, colour: float, components: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
    """Draw as ops.crop.draw does, in one kernel."""
    pictures, device = len(ids), ids.device
    top, left = (torch.empty(pictures, dtype=torch.int64, device=device) for _ in range(2))
    mirrored = torch.empty(pictures, dtype=torch.bool, device=device)
    shift = torch.empty((pictures, 3), dtype=torch.float32, device=device) if colour else None
    codes = [zlib.crc32(purpose.encode()) for purpose in ("crop", "colour")]
    if pictures:
        with torch.cuda.device_of(ids):
            draw_kernel[(ceil(pictures, PICTURES),)](
                ids, components.float().contiguous(), top, left, mirrored.view(torch.uint8), shift, pictures, epoch,
                first, seed & rng.MASK, *codes, margin + 1, colour, pictures_per_crop, crops, mirror, colour != 0,
                PICTURES, enable_fp_fusion=False,
            )  # fmt: skip
    return top, left, mirrored, shift
