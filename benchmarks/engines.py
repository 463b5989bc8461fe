"""Inference with our net against ONNX Runtime and OpenVINO, with the same weights (recipe paper)."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import peers
import torch
from torch import Tensor

from alexnet.bench import computing, timing
from alexnet.bench.timing import Clock, Line, compared
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.models.alexnet import AlexNet
from alexnet.models.layer_table import overhang

OPSET, IR = 17, 8  # old enough for every engine that is still in use
CLOSE = 1e-3  # largest difference of float32 logits, as a share of the largest logit

Engine = Callable[
    [bytes, np.ndarray, int], Callable[[], np.ndarray]
]  # (graph, views, threads) -> function that computes the logits


def graph(net: AlexNet, batch: int) -> Any:
    """Write the net in eval mode as an ONNX model, node by node: "views" -> "logits"."""
    onnx = peers.needed("onnx")
    made, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape, norm = net.net, net.net.lrn
    if norm is None or shape.activation != "relu" or shape.spatial_lrn or shape.lrn1_first:
        raise ValueError("this graph has only the layers of recipe paper")
    nodes: list[Any] = []
    constants = {name: p.detach().float().numpy() for name, p in net.named_parameters()}
    constants["kept"] = np.array([1 - shape.dropout], np.float32)

    def node(kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        nodes.append(made.make_node(kind, inputs, outputs, outputs[0], **attributes))
        return outputs[0]

    def layer(kind: str, x: str, name: str, **attributes: Any) -> str:
        return node(kind, [x, f"{name}.weight", f"{name}.bias"], name, **attributes)

    # ONNX divides alpha by the window's size, the net of 2012 does not; and its window never reaches the other tower.
    numbers: dict[str, Any] = {"size": norm.n, "alpha": norm.a * norm.n, "beta": norm.beta, "bias": norm.k}
    pool: dict[str, Any] = {"kernel_shape": [shape.pool] * 2, "strides": [2, 2], "ceil_mode": 1}
    over = overhang(shape.image_size, shape.kernel_sizes[0], shape.stride)
    x = "views"
    for i in range(1, 6):
        side, groups = shape.kernel_sizes[i - 1], shape.towers if i in (2, 4, 5) else 1
        pads = [0, 0, over, over] if i == 1 else [side // 2] * 4
        strides = [shape.stride if i == 1 else 1] * 2
        x = layer("Conv", x, f"conv{i}", kernel_shape=[side] * 2, strides=strides, pads=pads, group=groups)
        x = node("Relu", [x], f"relu{i}")
        if i <= 2:
            towers = [f"relu{i}.{t}" for t in range(shape.towers)]
            node("Split", [x], *towers, axis=1)
            normed = [node("LRN", [tower], f"norm{i}.{t}", **numbers) for t, tower in enumerate(towers)]
            x = node("Concat", normed, f"norm{i}", axis=1)
        if i in (1, 2, 5):
            x = node("MaxPool", [x], f"pool{i}", **pool)
    x = node("Flatten", [x], "flat", axis=1)
    for i in (6, 7):
        x = node("Relu", [layer("Gemm", x, f"fc{i}", transB=1)], f"relu{i}")
        x = node("Mul", [x, "kept"], f"drop{i}")  # section 4.2: testing uses all units and halves their outputs
    node("Gemm", [x, "fc8.weight", "fc8.bias"], "logits", transB=1)
    views = made.make_tensor_value_info("views", floats, [batch, 3, shape.image_size, shape.image_size])
    logits = made.make_tensor_value_info("logits", floats, [batch, shape.classes])
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    whole = made.make_graph(nodes, "AlexNet", [views], [logits], weights)
    return made.make_model(whole, opset_imports=[made.make_opsetid("", OPSET)], ir_version=IR)


def onnx_runtime(model: bytes, views: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """Set up ONNX Runtime with all its optimisations."""
    ort = peers.needed("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Otherwise its threads go on spinning while another engine has its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"views": views})[0]


def openvino(precision: str) -> Engine:
    """Set up OpenVINO to compute in "f32" or "bf16"."""

    def made(model: bytes, views: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
        ov = peers.needed("openvino")
        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,  # the other engines' threads are not pinned either
        }  # fmt: skip
        core = ov.Core()
        compiled = core.compile_model(core.read_model(model), "CPU", options)
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
            raise peers.MissingError(f"OpenVINO does not compute in {precision} on this machine")
        request = compiled.create_infer_request()
        # Sharing saves two copies.
        return lambda: request.infer([views], share_inputs=True, share_outputs=True)[0]

    return made


ENGINES: dict[tuple[str, str], Engine] = {
    ("onnxruntime", "fp32"): onnx_runtime,
    ("openvino", "fp32"): openvino("f32"),
    ("openvino", "bf16"): openvino("bf16"),
}
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def infer(clock: Clock, batch: int, rounds: int) -> Iterator[Line]:
    """Time inference on the same float32 views, N x 3 x 224 x 224. Bound: multiply-adds at full speed, and all weights.

    Ours runs in bfloat16 if the machine has it, and also in float32 to compare with the engines in float32.
    """
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    own = AlexNet(net).eval()
    views = 60 * torch.randn(batch, 3, net.image_size, net.image_size, generator=torch.Generator().manual_seed(1))
    model = graph(own, batch).SerializeToString()
    places = {p: Compute(clock.compute.device, p) for p in dict.fromkeys((clock.compute.precision, "fp32"))}
    ours = {p: server(net, compute, views) for p, compute in places.items()}
    exact = ours["fp32"]().numpy()
    for precision in ours.keys() - {"fp32"}:
        tell(f"ours {precision}", batch, ours[precision]().float().numpy(), exact)
    works, names = [], []
    for (library, precision), make in ENGINES.items():
        try:
            answer = make(model, views.numpy(), clock.threads)
        except peers.MissingError as missing:
            once(str(missing))
            continue
        name = f"{NAMES[library]} {peers.needed(library).__version__.split('-')[0]} {precision}"
        if tell(name, batch, answer(), exact) > CLOSE and precision == "fp32":
            peers.say(f"{name} computes other logits than ours, so it is not measured")
            continue
        works.append(answer)
        names.append((f"{name}, {timing.malloc(True)}", precision))
    if not works:
        return
    taken = clock.medians([*ours.values(), *works], 4 * rounds if batch == 1 else rounds)
    mine, theirs = dict(zip(ours, taken, strict=False)), taken[len(ours) :]
    speed, count = timing.bytes_read_per_second(clock), sum(p.numel() for p in own.parameters())
    for precision, compute in places.items():
        bound = batch * computing.products(net) / timing.products_per_second(clock, compute.dtype)
        bound += count * compute.dtype.itemsize / speed
        what = f"inference, batch {batch}, {precision}, paper"
        for (name, other), peer in zip(names, theirs, strict=True):
            if precision != "fp32" or other == "fp32":
                yield compared(what, mine[precision], peer, name, clock, amount=0 if batch == 1 else batch, bound=bound)


def server(net: Net, compute: Compute, views: Tensor) -> Callable[[], Tensor]:
    """Make our inference on the views; converting them to its layout and precision counts, as for the engines."""
    own = compute.serve(AlexNet(net)).eval()

    def serve() -> Tensor:
        with torch.inference_mode(), compute.arithmetic():
            logits: Tensor = own(views.to(compute.dtype, memory_format=torch.channels_last))
            return logits

    return serve


def tell(name: str, batch: int, logits: np.ndarray, exact: np.ndarray) -> float:
    """Compute and print how far logits are from ours in float32, as a share of the largest of ours."""
    error = float(np.abs(logits - exact).max() / np.abs(exact).max())
    once(f"{name}, batch {batch}: logits within {error:.1e} of ours in fp32")
    return error


@cache
def once(words: str) -> None:
    """Print a line on standard error, the first time only."""
    peers.say(words)


def lines(batch: int, rounds: int, threads: int | None) -> Iterator[Line]:
    """Time one picture and a batch, by each clock."""
    for clock in peers.clocks(threads):
        for pictures in sorted({1, batch}):
            yield from infer(clock, pictures, rounds)


def main() -> int:
    """Measure and print; exit status 1 if no engine could be measured."""
    flags = peers.parser(__doc__, 64, "pictures in a batch, in addition to one at a time").parse_args()
    try:
        return peers.show(lines(flags.batch, flags.rounds, flags.threads), flags.json)
    except peers.MissingError as missing:  # onnx, without which there is no graph
        peers.say(missing)
        return 1


if __name__ == "__main__":
    sys.exit(main())
