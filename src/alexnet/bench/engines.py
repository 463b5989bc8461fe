"""Engines of inference as peers, where they are installed: ONNX Runtime and OpenVINO, on what `export` writes."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alexnet.core.device import Compute
from alexnet.core.errors import WorkFailed
from alexnet.interop import onnx_writer
from alexnet.models.alexnet import AlexNet

CLOSE = 1e-3  # largest difference of float32 logits, as a share of the largest logit
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}

Answer = Callable[[], np.ndarray]
Engine = Callable[[bytes, np.ndarray, int], Answer]  # (graph, views, threads) -> function that computes the logits


def models(net: AlexNet) -> dict[str, Any]:
    """Return a net in eval mode and float32 as a graph and as modules; empty if no engine, or no onnx, is installed."""
    if not find_spec("onnx") or not any(find_spec(library) for library, _ in ENGINES):
        return {}
    exact = AlexNet(net.net).eval()
    exact.load_state_dict(net.state_dict())
    return {"graph": onnx_writer.graph(net), "net": exact}


def answers(made: dict[str, Any], views: Tensor, threads: int, compute: Compute) -> dict[str, Answer]:
    """Set up the engines that are installed, by name: in float32, and in bfloat16 where we compute in it.

    An engine in float32 whose logits are not ours, or one that fails, is left out, with a line on standard error.

    Args:
        made: What `models` returned.
        views: Float32, N x 3 x image_size x image_size.
        threads: Number of threads of an engine.
        compute: Our device and precision.
    """
    model, batch = made["graph"], len(views)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch  # one size of batch: no engine gains by another
    data = model.SerializeToString()
    with torch.inference_mode():
        exact = made["net"](views).numpy()
    found: dict[str, Answer] = {}
    for (library, precision), make in ENGINES.items():
        if not find_spec(library) or (precision == "bf16" and compute.precision != "bf16"):
            continue
        name = f"{NAMES[library]} {import_module(library).__version__.split('-')[0]} {precision}"
        try:
            answer = make(data, views.numpy(), threads)
            off = float(np.abs(answer() - exact).max() / np.abs(exact).max())
            if precision == "fp32" and not off < CLOSE:
                raise WorkFailed(f"its logits differ from ours by {off:.1e} of the largest")
        except Exception as error:  # whatever an engine raises
            print(f"left out: {name}: {' '.join(str(error).split())[:200]}", file=sys.stderr, flush=True)
            continue
        found[name] = answer
    return found


def onnx_runtime(model: bytes, views: np.ndarray, threads: int) -> Answer:
    """Set up ONNX Runtime with all its optimisations."""
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Otherwise its threads go on spinning while another engine has its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {onnx_writer.VIEWS: views})[0]


def openvino(precision: str) -> Engine:
    """Set up OpenVINO to compute in "f32" or "bf16"."""

    def made(model: bytes, views: np.ndarray, threads: int) -> Answer:
        ov = import_module("openvino")
        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,  # the other engines' threads are not pinned either
        }  # fmt: skip
        core = ov.Core()
        compiled = core.compile_model(core.read_model(model), "CPU", options)
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
            raise WorkFailed(f"it does not compute in {precision} on this machine")
        request = compiled.create_infer_request()
        # Sharing saves two copies.
        return lambda: request.infer([views], share_inputs=True, share_outputs=True)[0]

    return made


ENGINES: dict[tuple[str, str], Engine] = {
    ("onnxruntime", "fp32"): onnx_runtime,
    ("openvino", "fp32"): openvino("f32"),
    ("openvino", "bf16"): openvino("bf16"),
}
