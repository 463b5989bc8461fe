"""Check an ONNX model against the net that it was written from, quantise it, and measure what that costs."""

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import choose_compute
from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.rng import generator
from alexnet.inference.evaluate import probabilities
from alexnet.interop.onnx_writer import PICTURES, VIEWS, onnx_or_refuse
from alexnet.models.network import Network

# How far the logits of float32 may lie from those of float64, as a multiple of how far PyTorch's own float32 lies. Both
# sum the same products, in other orders; a wrong node is off by a thousand times more.
ALLOWED = 64.0
READY = "onnx.quant.pre_process"  # the mark of a model that onnxruntime's quantiser takes as it is

Answer = Callable[[Tensor], Tensor]  # uint8 pictures to probabilities


def runtime_or_none() -> Any:
    """Import onnxruntime, or return None if it is missing."""
    try:
        return import_module("onnxruntime")
    except ImportError:
        return None


def session(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Open a model in onnxruntime, on as many threads as PyTorch has; return the function of its one input."""
    ort = runtime_or_none()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    opened = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = opened.get_inputs()
    return lambda x: opened.run(None, {given.name: x})[0]


def check(model: Any, net: Network, views: int) -> float | None:
    """Check a model's form, and its answers at two batches if onnxruntime is there.

    Args:
        model: An onnx.ModelProto that `graph` or `raw_graph` wrote.
        net: The net in eval mode, float32, on the CPU.
        views: Number of views in the graph, for `raw_graph`.

    Returns:
        The largest difference from the net in float64, as a share of the largest answer; None without onnxruntime.

    Raises:
        WorkFailed: The answers differ by more than rounding.
    """
    onnx_or_refuse().checker.check_model(model, full_check=True)
    if runtime_or_none() is None:
        return None
    run, raw = session(model.SerializeToString()), model.graph.input[0].name == PICTURES
    side, chance = net.transform.side, generator(net.seed, "export")
    pictures = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8, generator=chance)
    inputs = pictures if raw else net.transform.center_crop(pictures)
    exact, plain = (answers(net, inputs, dtype, views if raw else 0) for dtype in (torch.float64, torch.float32))
    net.float()
    if not exact.isfinite().all():
        raise WorkFailed(
            "the net gives NaN or infinity for random pictures: its training diverged before this checkpoint"
        )
    most, rounding = exact.abs().max().item(), (plain - exact).abs().max().item()
    allowed = ALLOWED * max(rounding, torch.finfo(torch.float32).eps / 2 * most)
    worst = 0.0
    for count in (1, 3):
        off = np.abs(run(inputs[:count].numpy()) - exact[:count].numpy()).max()
        worst = max(worst, float(off))
        if not off <= allowed:
            raise WorkFailed(
                f"the ONNX file would not compute what the net does: {count} pictures are off by {off:.2g} of "
                f"{most:.2g}, and rounding explains {allowed:.1g}; nothing was written. Report this as a bug"
            )
    return worst / most if most else 0.0


@torch.inference_mode()
def answers(net: Network, inputs: Tensor, dtype: torch.dtype, views: int) -> Tensor:
    """Compute the logits of views in a dtype, or with `views` the probabilities of pictures, as float64."""
    net.to(dtype)
    if not views:
        return net(inputs.to(dtype)).double()
    own = net.transform
    each = own.ten_crop(inputs) if views > 1 else own.center_crop(inputs)[None]
    found: Tensor = torch.softmax(net(each.flatten(0, 1).to(dtype)), 1).view(len(each), len(inputs), -1)
    return found.mean(0).double()


def quantized(model: Any) -> Any:
    """Store the weights of the fully connected layers as 8-bit integers, and multiply in them.

    Each column of weights has its own scale. The scale of a layer's inputs is that of the batch, found as it runs.
    Weights are unsigned: signed ones saturate on processors without VNNI.

    Returns:
        An onnx.ModelProto, with the metadata of `model`.
    """
    if runtime_or_none() is None:
        raise InputError("--quantize needs onnxruntime, which is not installed; pip install 'alexnet[onnx]'")
    onnx, tools = onnx_or_refuse(), import_module("onnxruntime.quantization")
    ready = onnx.ModelProto()
    ready.CopyFrom(model)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(ready, facts | {READY: "onnxruntime.quant"})
    with tempfile.TemporaryDirectory(prefix="alexnet-") as folder:
        path = Path(folder) / "net.onnx"
        tools.quantize_dynamic(
            ready, path, op_types_to_quantize=["Gemm", "MatMul"], weight_type=tools.QuantType.QUInt8, per_channel=True
        )
        made = onnx.load(path)
    before, after = ([node.op_type for node in m.graph.node] for m in (model, made))
    if after.count("MatMulInteger") != before.count("Gemm"):
        raise WorkFailed("onnxruntime left fully connected layers as they were; try another version of it")
    onnx.helper.set_model_props(made, facts)
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def answer_of(model: bytes, net: Network, views: int) -> Answer:
    """Return the function from pictures to probabilities that a model computes, with that many views."""
    run, cpu = session(model), choose_compute("cpu", "fp32")
    opened = onnx_or_refuse().load_model_from_string(model)
    if opened.graph.input[0].name != VIEWS:
        return lambda images: torch.from_numpy(run(images.numpy()))

    def logits(x: Tensor) -> Tensor:
        return torch.from_numpy(run(x.numpy()))

    return lambda images: probabilities(logits, net.transform, images, cpu, views)[1]
