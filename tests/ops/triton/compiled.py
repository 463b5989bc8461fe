"""Compile every form of the kernels for a GPU of which there is none here, with the sizes of AlexNet in bfloat16.

Its arguments are how many processes share the forms, and the number of this one. It prints a line of JSON for each.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from alexnet.ops.triton import loss, norm, random, relu, rows, update, views, within

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
SLOW = within.within_kernel, within.within_gradient_kernel  # half of the time goes to their three forms
Form = tuple[Any, dict[str, str], dict[str, Any]]  # a kernel, the types of its arguments, and its constants


def part(maps: int, side: int) -> rows.Part:
    return rows.Part.of(torch.empty(1, maps, side, side, dtype=torch.bfloat16, device="meta"))


def forms() -> list[Form]:
    """List the forms; the types and constants may name arguments that a kernel does not have."""
    first = rows.form(part(96, 55), 2, 5, 2.0, 1e-4, 0.75, "before", 3, 2)
    plain = rows.form(part(96, 55), 1, 0, 0.0, 0.0, 0.75, "", 3, 2)
    around = within.strips(rows.form(part(128, 27), 1, 5, 1.0, 4e-5, 0.75, "", 3, 2))
    X, P = part(96, 55).strides, part(96, 27).strides
    maps = dict.fromkeys(("x", "y", "g", "dx", "p", "direct", "u", "bias"), "*bf16") | {"index": "*u8"}
    weights = {"w": "*fp32", "v": "*fp32", "g": "*bf16", "shadow": "*bf16", "finite": "*u8"}
    weights |= {"row": "*fp32", "mu": "fp32", "pull": "fp32", "push": "fp32", "numbers": "i64"}
    ints = dict.fromkeys(("step", "epoch", "first", "ids", "rows", "top", "left", "lines", "columns"), "*i64")
    ints |= dict.fromkeys(("position", "quad", "k0", "k1", "k_crop", "k_colour", "least", "pictures", "places"), "i64")
    floats = dict.fromkeys(("components", "mean", "shift", "sums"), "*fp32") | {"colour": "fp32", "factor": "fp32"}
    floats |= {"down": "*fp32", "across": "*fp32", "smoothing": "fp32"}
    small = (
        ints
        | floats
        | {
            "logits": "*bf16",
            "slope": "*bf16",
            "seen": "*fp64",
            "labels": "*i64",
            "weights": "*fp32",
            "images": "*u8",
            "table": "*i32",
            "mirrored": "*u8",
            "views": "*bf16",
        }
    )
    sums = maps | floats | {"places": "i32", "out": "*bf16"}
    normed = {"F": first, "X": X, "Y": X, "D": X}
    windows = {"F": around, "X": P, "Y": P, "U": P, "D": P}
    tile = {
        "tiles": 3,
        "rows": 338,
        "maps": 192,
        "of_g": 192,
        "of_y": 192,
        "of_dx": 384,
        "width": 384,
        "P": 32,
        "M": 64,
    }
    wide = {"classes": 1000, "B": 1024}
    blocks = {"height": 224, "width": 224, "blocks": 57, "block": 4}
    cut = {"side": 256, "size": 224, "place": True, "blocks": 57, "block": 4, "V": 8}
    return [
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
        (loss.loss_kernel, maps | small | {"weights": "*i64"}, wide | {"WEIGHTED": False, "SMOOTHED": False}),
        (loss.loss_kernel, maps | small, wide | {"WEIGHTED": True, "SMOOTHED": True}),
        (update.momentum_kernel, weights, {"decays": True}),
        (update.momentum_kernel, weights, {"decays": True, "row": None}),
        (views.cut_kernel, small, cut),
        (views.scaled_kernel, small, cut),
        (views.pack_kernel, maps, blocks),
        (views.unpack_kernel, maps, blocks),
    ]


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, Any]) -> Any:
    """Compile a form as its launch does."""
    constants = {name: value for name, value in ({"B": 128} | constants).items() if name in kernel.arg_names}
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(signature.values()) if t[0] == "*"}
    options = {"enable_fp_fusion": kernel is not random.draw_kernel}
    return triton.compile(ASTSource(kernel, signature, constants, aligned), GPUTarget("cuda", 90, 32), options)


def resources(binary: bytes) -> dict[str, int]:
    """Read from its binary what a kernel takes: REG registers, bytes of STACK and LOCAL memory; {} without a tool."""
    if not CUOBJDUMP.exists():
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [str(CUOBJDUMP), "-res-usage", file.name]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    return {name: int(number) for name, _, number in (word.partition(":") for word in line.split()) if number}


def main() -> None:
    processes, process, slow = map(int, sys.argv[1:])
    kept = [form for form in forms() if slow or form[0] not in SLOW]
    for kernel, types, constants in kept[process::processes]:
        made = compiled(kernel, types, constants)
        without = [name for name, value in constants.items() if value is None and name in kernel.arg_names]
        ptx = {word: made.asm["ptx"].count(word) for word in ("shfl", "ld.shared", "ld.local", "ld.global.v4")}
        name = kernel.__name__ + "".join(f", no {argument}" for argument in without)
        print(json.dumps({"name": name, "ptx": ptx, "takes": resources(made.asm["cubin"])}))


if __name__ == "__main__":
    main()
