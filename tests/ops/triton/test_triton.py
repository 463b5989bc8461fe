"""The kernels, compiled for a GPU of which there is none here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tests.ops.triton.shared  # noqa: F401 (skips these tests where Triton is missing)

pytestmark = pytest.mark.gpu

COMPILE = """
import sys, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from alexnet.ops.triton import norm, random, relu, rows, update, views, within

def part(maps, side):
    return rows.Part.of(torch.empty(1, maps, side, side, dtype=torch.bfloat16, device="meta"))

F = rows.form(part(96, 55), 2, 5, 2.0, 1e-4, 0.75, "before", 3, 2)
plain = rows.form(part(96, 55), 1, 0, 0.0, 0.0, 0.75, "", 3, 2)
around = within.strips(rows.form(part(128, 27), 1, 5, 1.0, 4e-5, 0.75, "", 3, 2))
X, P = part(96, 55).strides, part(96, 27).strides
maps = dict.fromkeys(("x", "y", "g", "dx", "p", "direct", "u", "bias"), "*bf16") | {"index": "*u8"}
weights = {"w": "*fp32", "v": "*fp32", "g": "*bf16", "shadow": "*bf16", "finite": "*u8"}
weights |= {"row": "*fp32", "mu": "fp32", "pull": "fp32", "push": "fp32", "numbers": "i64"}
ints = dict.fromkeys(("step", "epoch", "first", "ids", "rows", "top", "left"), "*i64")
ints |= dict.fromkeys(("position", "quad", "k0", "k1", "k_crop", "k_colour", "least", "pictures", "places"), "i64")
floats = dict.fromkeys(("components", "mean", "shift", "sums"), "*fp32") | {"colour": "fp32", "factor": "fp32"}
small = ints | floats | {"images": "*u8", "table": "*i32", "mirrored": "*u8", "views": "*bf16"}
sums = maps | floats | {"places": "i32", "tiles": "i32", "rows": "i32", "out": "*bf16"}
normed = {"F": F, "X": X, "Y": X, "D": X}
windows = {"F": around, "X": P, "Y": P, "U": P, "D": P}
tile = {"maps": 192, "of_g": 192, "of_y": 192, "of_dx": 384, "width": 384, "P": 32, "M": 64}
blocks = {"height": 224, "width": 224, "blocks": 57, "block": 4}
cut = {"side": 256, "size": 224, "place": True, "blocks": 57, "block": 4, "V": 8}
for kernel, types, constants in [
    (norm.norm_kernel, maps, normed | {"bias": None}),
    (norm.gradient_kernel, maps, normed | {"G": X, "bias": None}),
    (norm.pool_gradient_kernel, maps, normed | {"G": P, "K": P}),
    (norm.pool_kernel, maps, normed | {"P": P, "K": P, "alive": False}),
    (norm.pool_kernel, maps, normed | {"F": plain, "P": P, "K": P, "alive": True, "bias": None}),
    (norm.unpool_kernel, maps, normed | {"F": plain, "G": P, "K": P}),
    (within.within_kernel, maps, windows | {"g": None, "index": None, "u": None, "G": None, "K": None}),
    (within.within_kernel, maps, windows | {"G": P, "K": P}),
    (within.within_gradient_kernel, maps, windows),
    (relu.relu_gradient_kernel, sums, tile),
    (relu.relu_gradient_kernel, sums, tile | {"y": None, "dx": None}),
    (relu.total_kernel, sums, tile),
    (random.dropout_kernel, maps | ints, {"units": 4096, "lead": 0, "relu": True}),
    (random.draw_kernel, small, {"shared": 32, "crops": True, "mirror": True, "coloured": True}),
    (update.momentum_kernel, weights, {"decays": True}),
    (update.momentum_kernel, weights, {"decays": True, "row": None}),
    (views.cut_kernel, small, cut),
    (views.pack_kernel, maps, blocks),
    (views.unpack_kernel, maps, blocks),
]:
    constants = {name: value for name, value in (constants | {"B": 128}).items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t[0] == "*"}
    options = {"enable_fp_fusion": kernel is not random.draw_kernel}
    compiled = triton.compile(ASTSource(kernel, signature, constants, aligned), GPUTarget("cuda", 90, 32), options)
    words = compiled.asm["ptx"].count
    print(kernel.__name__, words("shfl"), words("ld.shared"), words("ld.local"), words("ld.global.v4"))
"""


def test_every_form_compiles_where_there_is_no_device_and_keeps_a_row_in_a_thread(tmp_path: Path) -> None:
    """The interpreter does not check types. The norms are fast only if a window sums one thread's registers."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", COMPILE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 19
    for name, shuffles, shared, spilled, wide in lines[:4]:  # the norms across maps
        assert (shuffles, shared, spilled) == ("0", "0", "0"), name
        assert int(wide) > 0, name
